"""Floor 5: an enclave as a process: its engine, its evidence, its log, where it listens."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from privity.attest.evidence import Quoter
from privity.errors import InputError
from privity.identity.keys import SigningKey
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine
from privity.infer.engines.hardening import harden
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.tokenizer_file import tokens_of_tokenizer
from privity.infer.engines.weights import find_default, weights_at
from privity.infer.loopback import is_loopback
from privity.node.attestation import AttestationSettings
from privity.node.enclave import EnclaveApp
from privity.node.enclave_queries import ProvedQueries
from privity.node.listen import bind, end_with_stdin, serve_app
from privity.node.publication import LogSubmission, Publication

if TYPE_CHECKING:
    from privity.node.payments import PaidService

__all__ = ["EnclaveSettings", "serve"]

logger = logging.getLogger("privity.enclave")


@dataclass(frozen=True)
class EnclaveSettings:
    """How to run an enclave.

    Attributes:
        attestation: how it proves what it runs.
        log: what to have a log record; by default nothing.
        engine: base URL of an engine on this machine's loopback, or None for the embedded one.
        engine_key: that engine's API key.
        weights: a GGUF file for the embedded engine, or None for the default model.
        artefact: where a sealed model is kept, to serve that; needs a broker.
        artefact_id: the id it must have; by default whatever is there.
        broker: URL of the broker that releases its key.
        unsafe_shared_cache: accept an engine that shares prefixes between callers.
        unsafe_swap: open a sealed model also where memory may be written to swap.
        payments: the file that says how it is paid; None to ask for nothing.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        lifeline: end when standard input ends.
        unsafe_inspectable: let others of the same user look into its processes, for tests.
    """

    attestation: AttestationSettings
    log: LogSubmission | None = None
    engine: str | None = None
    engine_key: str | None = field(default=None, repr=False)
    weights: Path | None = None
    artefact: str | None = None
    artefact_id: str | None = None
    broker: str | None = None
    unsafe_shared_cache: bool = False
    unsafe_swap: bool = False
    payments: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    lifeline: bool = False
    unsafe_inspectable: bool = False

    def __post_init__(self) -> None:
        if self.engine is not None and not is_loopback(urlsplit(self.engine).hostname or ""):
            raise InputError(
                f"{self.engine} is not on this machine's loopback: prompts would leave the enclave",
                hint="run the engine beside the enclave, such as at http://127.0.0.1:8000",
            )
        if self.engine is not None and self.weights is not None:
            raise InputError("weights are for the embedded engine; an engine by URL has its own")
        if (self.artefact is None) != (self.broker is None):
            raise InputError(
                "a sealed model is an artefact and the broker that releases its key",
                hint="give both --artefact and --broker",
            )
        if self.artefact_id is not None and self.artefact is None:
            raise InputError("an artefact's id is given with where it is kept: --artefact")
        if self.artefact is not None and (self.engine is not None or self.weights is not None):
            raise InputError("a sealed model is served by the embedded engine, in place of weights")
        if self.unsafe_swap and self.artefact is None:
            raise InputError("--unsafe-swap is of a sealed model: --artefact")

    def make_engine(self, quoters: Sequence[Quoter] = ()) -> Engine:
        """Return the engine, not started; raises `InputError` if the weights cannot be read.

        Args:
            quoters: what a sealed model's key is asked for with.
        """
        if self.artefact is not None and self.broker is not None:
            return self._sealed(self.artefact, self.broker, quoters)
        if self.engine is not None:
            return OpenAIServer(self.engine, api_key=self.engine_key)
        weights = None if self.weights is None else weights_at(self.weights)
        return EmbeddedEngine(weights, unsafe_inspectable=self.unsafe_inspectable)

    def make_payments(self) -> PaidService | None:
        """Return what takes payment, not opened; raises `InputError` for a wrong file."""
        if self.payments is None:
            return None
        # Imported here: an enclave that asks for nothing needs no ledger.
        from privity.node.payments import load_payments

        return load_payments(self.payments)

    def make_queries(self, payments: PaidService | None) -> ProvedQueries | None:
        """Return what compares jobs with their proofs, where the terms ask for proofs.

        Raises:
            InputError: the engine's vocabulary is not at hand, or is another than the terms'.
            MissingDependency: the tokenizers library, or the default model, is not installed.
        """
        if payments is None or payments.settings.query is None:
            return None
        terms, tokenizer = payments.settings.query, payments.settings.tokenizer
        if tokenizer is not None:
            found = tokens_of_tokenizer(tokenizer, wanted=terms.vocabulary.tokenizer)
            return ProvedQueries(terms, found)
        if self.engine is not None or self.artefact is not None:
            raise InputError(
                "the vocabulary of this engine's model is not at hand to compare queries in",
                hint="name its tokenizer.json as `tokenizer` in the settings of payment, or take "
                "`query` out of them",
            )
        weights = find_default() if self.weights is None else weights_at(self.weights)
        return ProvedQueries.of(terms, weights)

    def _sealed(self, artefact: str, broker: str, quoters: Sequence[Quoter]) -> Engine:
        # Imported here: an enclave without a sealed model needs no object store.
        from privity.node.key_client import KeyClient
        from privity.node.sealed_model import SealedModel

        receipts, beside = SigningKey.generate().did, self.attestation.approval()
        client = KeyClient(broker, quoters, receipts=receipts, beside=beside)
        make = partial(
            EmbeddedEngine,
            unsafe_inspectable=self.unsafe_inspectable,
            refuse_swap=not self.unsafe_swap,
        )
        return SealedModel(
            artefact,
            client,
            artefact=self.artefact_id,
            make_engine=make,
            unsafe_swap=self.unsafe_swap,
        )


def serve(settings: EnclaveSettings, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run an enclave in this process until it is told to end. Blocks.

    Args:
        settings: how to run it.
        on_ready: told what it is, once it serves: ``url``, ``models``, ``evidence`` …

    Raises:
        InputError: a setting cannot be had.
        EngineError: the engine does not start; or a sealed model is to be opened where memory may
            be written to swap.
        EvidenceError: a broker refuses the key of a sealed model; ``.check`` says why.
        MissingDependency: a part of the engine is not installed.
    """
    hardened = harden(unsafe_inspectable=settings.unsafe_inspectable)
    if settings.artefact is not None and not settings.unsafe_swap:
        hardened.refuse_swap()
    gaps = hardened.gaps()
    quoters = settings.attestation.quoters()
    kinds = [quoter.kind for quoter in quoters]
    engine = settings.make_engine(quoters)
    payments = settings.make_payments()
    sock = bind(settings.host, settings.port)
    log = settings.log
    if log is not None and not log.name:
        log = replace(log, name=f"{settings.host}:{sock.getsockname()[1]}")
    app = EnclaveApp(
        engine,
        quoters,
        publication=Publication(settings.attestation.approval(), log),
        payments=payments,
        queries=settings.make_queries(payments),
        unsafe_shared_cache=settings.unsafe_shared_cache,
    )
    if settings.lifeline:
        end_with_stdin()

    def ready(url: str) -> None:
        if "dev" in kinds:
            logger.warning("evidence of kind dev: plain software, which does not stop its host")
        for gap in gaps:
            logger.warning("%s", gap)
        models = [model.id for model in engine.models]
        who = {"root": settings.attestation.root, "models": models, "evidence": kinds}
        who["keyset"] = app.keyset.digest
        on_ready({"ready": True, "url": url, "pid": os.getpid(), **who})

    serve_app(app, sock, on_ready=ready)
