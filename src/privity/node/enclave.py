"""Floor 5: the enclave: an engine behind a seal, which says what it is and signs what it served.

Its keys are made in memory and go with the process. Outside the seal it offers three things: its
statement, its sealed gateway, and a sign of life. Inside, any path below ``/v1`` of the OpenAI API.
Nothing of a prompt or an answer is logged, written, or kept after the reply.

Where the machine has no hardware that attests, evidence is of the kind ``dev``: the whole path of
attestation, without anything that would keep the host out. It says so in its statement, its
receipts and its log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyio import to_thread

from privity.attest import DevQuoter, DevRoot, Quoter, build_statement
from privity.attest.quoters.choose import AttesterSettings, choose_quoters
from privity.errors import EngineError, InputError, MalformedError, PrivityError
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.hardening import harden
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.proxy import EngineProxy
from privity.infer.engines.weights import weights_at
from privity.infer.loopback import is_loopback
from privity.node.enclave_receipts import Issuer, ReceiptMiddleware
from privity.node.listen import bind, end_with_stdin, serve_app
from privity.node.publication import Publication, PublicationSettings, approval_in
from privity.receipt import EvidenceRef
from privity.seal.asgi import Receive, Scope, Send, answer, answer_problem
from privity.seal.gateway import Gateway, GatewayLimits
from privity.seal.key_config import GatewayKeys
from privity.seal.problem import NO_METHOD, NOT_FOUND, Problem
from privity.statement import MEDIA_TYPE, PATH, Keyset, Software, Statement

__all__ = ["HEALTH_PATH", "EnclaveApp", "EnclaveSettings", "serve"]

logger = logging.getLogger("privity.enclave")

HEALTH_PATH = "/healthz"

_BAD_NONCE = Problem(400, "urn:privity:problem:nonce", "a nonce is 32 bytes in base64url")
_UNSEALED = Problem(
    404,
    "urn:privity:problem:unsealed",
    "this enclave reads sealed requests alone: send them to /.well-known/ohttp-gateway, "
    "as privity does",
)


class EnclaveApp:
    """The enclave as an ASGI app; it needs a server that runs its lifespan.

    Args:
        engine: answers; started and closed with the app.
        quoters: one for each kind of evidence it can give; at least one.
        publication: what it publishes beside its evidence; by default nothing.
        limits: what the gateway accepts.
        unsafe_shared_cache: accept an engine that shares prefixes between callers.
        clock: the enclave's time.

    Attributes:
        failure: why the app did not start, if it did not.

    Guarantees:
        Nothing below ``/v1`` is served unsealed (tests/unit/test_enclave.py). Nothing of a prompt
        or an answer is in a log, a file or an open file (tests/e2e/test_enclave_canary.py). Each
        statement's evidence is bound to the nonce it was asked with
        (`test_statement_is_bound_to_the_nonce`).
    """

    def __init__(
        self,
        engine: Engine,
        quoters: Sequence[Quoter],
        *,
        publication: Publication | None = None,
        limits: GatewayLimits | None = None,
        unsafe_shared_cache: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        if not quoters:
            raise InputError("an enclave without evidence is none")
        self._engine = engine
        self._quoters = tuple(quoters)
        self._publication = publication or Publication(PublicationSettings(), clock=clock)
        self._limits = limits
        self._shared_cache = unsafe_shared_cache
        self._clock = clock
        self._proxy: EngineProxy | None = None
        self._gateway: Gateway | None = None
        self._keyset: Keyset | None = None
        self.failure: PrivityError | None = None

    @property
    def keyset(self) -> Keyset:
        """What it publishes; raises `InputError` before it has started."""
        if self._keyset is None:
            raise InputError("the enclave has not started")
        return self._keyset

    async def open(self) -> None:
        """Start the engine, make the keys, and be ready to serve.

        Raises:
            EngineError: the engine does not start, or lets one caller see another's timing.
            MissingDependency: a part of the engine is not installed.
            InputError: the manifest to publish cannot be read.
            PeerError: the log does not record the keyset.
        """
        await self._engine.start()
        self._refuse_shared_cache()
        keys, signer = GatewayKeys.generate(), SigningKey.generate()
        self._keyset = Keyset(
            ohttp=keys.configs_bytes,
            receipts=signer.did,
            models=self._engine.models,
            software=(Software("privity", version("privity")),),
        )
        await self._publication.open(self._keyset)
        # Receipts name this evidence, so that they say ``dev`` by themselves.
        held = await self._quote(None)
        evidence = tuple(EvidenceRef.of(one) for one in held.evidence)
        self._proxy = EngineProxy(self._engine)
        jobs = ReceiptMiddleware(
            self._proxy, Issuer(signer, self._keyset.digest, evidence), clock=self._clock
        )
        self._gateway = Gateway(
            jobs,
            keys,
            outer=self._outside,
            limits=self._limits,
            clock=lambda: self._clock().timestamp(),
        )

    async def _quote(self, nonce: bytes | None) -> Statement:
        """Return a statement; quoting asks hardware, which takes a while, so it has a thread.

        A model that was withdrawn stays in the keyset, which is one for as long as the process
        lives: logs and receipts name it. Whoever asks for the model is told.
        """
        keyset, now, beside = self.keyset, self._clock(), self._publication.endorsements
        return await to_thread.run_sync(
            lambda: build_statement(keyset, self._quoters, now=now, nonce=nonce, beside=beside)
        )

    def _refuse_shared_cache(self) -> None:
        shared = self._engine.prefix_cache is PrefixCache.SHARED
        if shared and not self._shared_cache:
            raise EngineError(
                f"the {self._engine.kind} engine shares prefix caches between callers: how soon "
                "an answer begins tells one person what another asked",
                hint="take another, or --unsafe-shared-cache where all callers are one person",
            )

    async def aclose(self) -> None:
        """Drop the keys and close the engine."""
        self._gateway = self._keyset = None
        await self._publication.aclose()
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            await proxy.aclose()
        await self._engine.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._gateway is None:
            raise InputError("the enclave has not started", hint="its server must run lifespan")
        else:
            await self._gateway(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.open()
        except PrivityError as error:
            self.failure = error
            await self.aclose()
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is not sealed: nothing in it depends on anything that was."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"]
        if path in (PATH, HEALTH_PATH) and scope["method"] != "GET":
            await answer_problem(send, NO_METHOD)
        elif path == PATH:
            await self._publish(scope, send)
        elif path == HEALTH_PATH:
            await answer(send, 200, _fresh("application/json"), b'{"status":"ok"}')
        else:
            unsealed = path == "/v1" or path.startswith("/v1/")
            await answer_problem(send, _UNSEALED if unsealed else NOT_FOUND)

    async def _publish(self, scope: Scope, send: Send) -> None:
        """Answer with a statement made for the nonce that was sent, or a beacon without one."""
        nonces = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        try:
            nonce = _nonce(nonces.get("nonce", []))
            statement = await self._quote(nonce)
        except MalformedError:
            await answer_problem(send, _BAD_NONCE)
            return
        await answer(send, 200, _fresh(MEDIA_TYPE), statement.to_bytes())


@dataclass(frozen=True)
class EnclaveSettings:
    """How to run an enclave.

    Attributes:
        dev_root: the file of the development root that vouches for it where no hardware does;
            made if there is none.
        attester: which attesters to use, by name; none chooses by what the machine has.
        attesters: where to look for them, and what to send along.
        publication: what to publish beside the evidence.
        engine: base URL of an engine on this machine's loopback, or None for the embedded one.
        engine_key: that engine's API key.
        weights: a GGUF file for the embedded engine, or None for the default model.
        artefact: where a sealed model is kept, to serve that; needs a broker.
        artefact_id: the id it must have; by default whatever is there.
        broker: URL of the broker that releases its key.
        unsafe_shared_cache: accept an engine that shares prefixes between callers.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        lifeline: end when standard input ends.
        unsafe_inspectable: let others of the same user look into its processes, for tests.
    """

    dev_root: Path
    attester: tuple[str, ...] = ()
    attesters: AttesterSettings = field(default_factory=AttesterSettings)
    publication: PublicationSettings = field(default_factory=PublicationSettings)
    engine: str | None = None
    engine_key: str | None = field(default=None, repr=False)
    weights: Path | None = None
    artefact: str | None = None
    artefact_id: str | None = None
    broker: str | None = None
    unsafe_shared_cache: bool = False
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

    @property
    def root(self) -> str:
        """The did:key of the development root, which vouches only where no hardware does."""
        return DevRoot.load_or_create(self.dev_root).did

    def make_quoters(self) -> tuple[Quoter, ...]:
        """Return the quoters of this machine; raises as `choose_quoters` does."""

        def dev() -> Quoter:
            return DevQuoter(DevRoot.load_or_create(self.dev_root), now=utc_now())

        return choose_quoters(self.attesters, self.attester, dev=dev)

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

    def _sealed(self, artefact: str, broker: str, quoters: Sequence[Quoter]) -> Engine:
        # Imported here: an enclave without a sealed model needs no object store.
        from privity.node.key_client import KeyClient
        from privity.node.sealed_model import SealedModel

        manifest = self.publication.manifest
        beside = () if manifest is None else (approval_in(manifest),)
        receipts = SigningKey.generate().did
        client = KeyClient(broker, quoters, receipts=receipts, beside=beside)
        make = partial(EmbeddedEngine, unsafe_inspectable=self.unsafe_inspectable)
        return SealedModel(artefact, client, artefact=self.artefact_id, make_engine=make)


def serve(settings: EnclaveSettings, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run an enclave in this process until it is told to end. Blocks.

    Args:
        settings: how to run it.
        on_ready: told ``{"ready", "url", "pid", "root", "models", "evidence"}`` once it serves.

    Raises:
        InputError: a setting cannot be had.
        EngineError: the engine does not start.
        EvidenceError: a broker refuses the key of a sealed model; ``.check`` says why.
        MissingDependency: a part of the engine is not installed.
    """
    gaps = harden(unsafe_inspectable=settings.unsafe_inspectable).gaps()
    quoters = settings.make_quoters()
    kinds = [quoter.kind for quoter in quoters]
    engine = settings.make_engine(quoters)
    sock = bind(settings.host, settings.port)
    publication = settings.publication
    if not publication.name:
        publication = replace(publication, name=f"{settings.host}:{sock.getsockname()[1]}")
    app = EnclaveApp(
        engine,
        quoters,
        publication=Publication(publication),
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
        who = {"root": settings.root, "models": models, "evidence": kinds}
        on_ready({"ready": True, "url": url, "pid": os.getpid(), **who})

    try:
        serve_app(app, sock, on_ready=ready)
    except InputError:
        if app.failure is not None:
            raise app.failure from None
        raise


def _nonce(values: list[str]) -> bytes | None:
    if len(values) > 1:
        raise MalformedError("more than one nonce")
    return decode_base64url(values[0]) if values else None


def _fresh(media_type: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
