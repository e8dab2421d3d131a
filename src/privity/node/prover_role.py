"""Floor 5: an edge prover as a process: an attested enclave that makes proofs of queries, no more.

It is an enclave without a model: keys in memory alone, a statement for each nonce, everything else
inside the seal. What it proves in is named when it starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anyio import to_thread

from privity.anon.query_terms import QueryTerms
from privity.attest import Quoter, build_statement
from privity.errors import InputError, PrivityError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.hardening import harden
from privity.infer.engines.tokens import tokens_of_file
from privity.infer.engines.weights import find_default
from privity.node.attestation import AttestationSettings
from privity.node.listen import bind, end_with_stdin, serve_app
from privity.node.outside import Outside
from privity.node.prover import ProverApp
from privity.node.publication import LogSubmission, Publication
from privity.seal.asgi import Receive, Scope, Send, open_with_server
from privity.seal.gateway import Gateway, GatewayLimits
from privity.seal.key_config import GatewayKeys
from privity.statement import Keyset, Software, Statement

__all__ = ["ProverEnclave", "ProverSettings", "serve"]

logger = logging.getLogger("privity.prover")

_LIMITS = GatewayLimits(request_bytes=1 << 20, whole_bytes=1 << 20, concurrency=256)


@dataclass(frozen=True)
class ProverSettings:
    """How to run an edge prover.

    Attributes:
        attestation: how it proves what it runs.
        log: what to have a log record; by default nothing.
        queries: files with the terms of queries that it proves in; none for the demo model's.
        at_once: proofs at one time.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        lifeline: end when standard input ends.
        unsafe_inspectable: let others of the same user look into it, for tests.
    """

    attestation: AttestationSettings
    log: LogSubmission | None = None
    queries: tuple[Path, ...] = ()
    at_once: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    lifeline: bool = False
    unsafe_inspectable: bool = False

    def terms(self) -> tuple[QueryTerms, ...]:
        """Return in what it proves.

        Raises:
            InputError: a file is no terms of queries.
            MissingDependency: none is named, and the demo model is not installed.
        """
        if self.queries:
            return tuple(QueryTerms.from_file(path) for path in self.queries)
        return (QueryTerms(tokens_of_file(find_default()).vocabulary),)


class ProverEnclave:
    """An edge prover as an ASGI app; it needs a server that runs its lifespan.

    Args:
        prover: makes the proofs, inside the seal.
        quoters: one for each kind of evidence it can give; at least one.
        publication: what it publishes beside its evidence; by default nothing.
        clock: the enclave's time.

    Attributes:
        failure: why the app did not start, if it did not.

    Guarantees:
        It takes no witness unsealed (tests/unit/test_prover_role.py).
    """

    def __init__(
        self,
        prover: ProverApp,
        quoters: Sequence[Quoter],
        *,
        publication: Publication | None = None,
        clock: Clock = utc_now,
    ) -> None:
        if not quoters:
            raise InputError("an enclave without evidence is none")
        self._prover = prover
        self._quoters = tuple(quoters)
        self._publication = publication or Publication()
        self._clock = clock
        keys = GatewayKeys.generate()
        self.keyset = Keyset(
            ohttp=keys.configs_bytes,
            receipts=SigningKey.generate().did,  # signs nothing: a proof needs no receipt
            software=(Software("privity", version("privity")),),
        )
        self._gateway = Gateway(
            prover,
            keys,
            outer=Outside(self._quote),
            limits=_LIMITS,
            clock=lambda: clock().timestamp(),
        )
        self.failure: PrivityError | None = None

    async def open(self) -> None:
        """Publish the keys, and make those to prove with.

        Raises:
            PeerError: the log does not record the keyset.
            MissingDependency: the native wheel is not installed.
        """
        await self._publication.open(self.keyset)
        await self._prover.warm()

    async def aclose(self) -> None:
        """Stop what it publishes."""
        await self._publication.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await open_with_server(self, receive, send)
        else:
            await self._gateway(scope, receive, send)

    async def _quote(self, nonce: bytes | None) -> Statement:
        beside = self._publication.endorsements
        return await to_thread.run_sync(
            lambda: build_statement(
                self.keyset, self._quoters, now=self._clock(), nonce=nonce, beside=beside
            )
        )


def serve(settings: ProverSettings, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run an edge prover in this process until it is told to end. Blocks.

    Args:
        settings: how to run it.
        on_ready: told ``{"ready", "url", "pid", "root", "evidence", "keyset", "tokenizers"}``
            once it serves.

    Raises:
        InputError: a setting cannot be had.
        PeerError: the log does not record its keys.
        MissingDependency: the native wheel, or the demo model, is not installed.
    """
    gaps = harden(unsafe_inspectable=settings.unsafe_inspectable).gaps()
    terms = settings.terms()
    quoters = settings.attestation.quoters()
    kinds = [quoter.kind for quoter in quoters]
    sock = bind(settings.host, settings.port)
    log = settings.log
    if log is not None and not log.name:
        log = replace(log, name=f"{settings.host}:{sock.getsockname()[1]}")
    app = ProverEnclave(
        ProverApp(terms, at_once=settings.at_once),
        quoters,
        publication=Publication(settings.attestation.approval(), log),
    )
    if settings.lifeline:
        end_with_stdin()

    def ready(url: str) -> None:
        if "dev" in kinds:
            logger.warning("evidence of kind dev: plain software, which does not stop its host")
        for gap in gaps:
            logger.warning("%s", gap)
        who = {"root": settings.attestation.root, "evidence": kinds, "keyset": app.keyset.digest}
        known = sorted({one.vocabulary.tokenizer for one in terms})
        on_ready({"ready": True, "url": url, "pid": os.getpid(), **who, "tokenizers": known})

    serve_app(app, sock, on_ready=ready)
