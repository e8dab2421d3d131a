"""Floor 5: the enclave: an engine behind a seal, which says what it is and signs what it served.

Its keys are made in memory and go with the process. Outside the seal it offers three things: its
statement, its sealed gateway, and a sign of life. Inside, any path below ``/v1`` of the OpenAI API.
Nothing of a prompt or an answer is logged, written, or kept after the reply.

Where the machine has no hardware that attests, evidence is of the kind ``dev``: the whole path of
attestation, without anything that would keep the host out. It says so in its statement, its
receipts and its log.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

from anyio import to_thread

from privity.attest import Quoter, build_statement
from privity.errors import EngineError, InputError, PrivityError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.proxy import EngineProxy
from privity.node.enclave_queries import ProvedQueries, QueryMiddleware, SealedRequests
from privity.node.enclave_receipts import Issuer, ReceiptMiddleware
from privity.node.outside import Outside
from privity.node.publication import Publication
from privity.receipt import EvidenceRef
from privity.seal.asgi import ASGIApp, Receive, Scope, Send, open_with_server
from privity.seal.gateway import Gateway, GatewayLimits
from privity.seal.key_config import GatewayKeys
from privity.statement import Keyset, Software, Statement

__all__ = ["EnclaveApp", "Payments"]


class Payments(Protocol):
    """Takes payment for what the enclave serves."""

    async def open(self, app: ASGIApp) -> ASGIApp:
        """Return ``app`` behind payment; raises `PrivityError` where none can be taken."""

    async def aclose(self) -> None:
        """Close what it uses."""


class EnclaveApp:
    """The enclave as an ASGI app; it needs a server that runs its lifespan.

    Args:
        engine: answers; started and closed with the app.
        quoters: one for each kind of evidence it can give; at least one.
        publication: what it publishes beside its evidence; by default nothing.
        limits: what the gateway accepts.
        payments: takes payment before it serves; None to ask for nothing.
        queries: compares each job with its proof; None to ask for no proofs.
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
        payments: Payments | None = None,
        queries: ProvedQueries | None = None,
        unsafe_shared_cache: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        if not quoters:
            raise InputError("an enclave without evidence is none")
        self._engine = engine
        self._quoters = tuple(quoters)
        self._publication = publication or Publication()
        self._limits = limits
        self._payments = payments
        self._queries = queries
        self._shared_cache = unsafe_shared_cache
        self._clock = clock
        self._proxy: EngineProxy | None = None
        self._gateway: ASGIApp | None = None
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
        served: ASGIApp = self._proxy
        if self._queries is not None:
            await self._queries.warm()
            served = QueryMiddleware(served, self._queries, signer, clock=self._clock)
        if self._payments is not None:
            served = await self._payments.open(served)
        jobs = ReceiptMiddleware(
            served, Issuer(signer, self._keyset.digest, evidence), clock=self._clock
        )
        gateway = Gateway(
            jobs,
            keys,
            outer=Outside(self._quote),
            limits=self._limits,
            clock=lambda: self._clock().timestamp(),
        )
        self._gateway = gateway if self._queries is None else SealedRequests(gateway)

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
        if self._payments is not None:
            await self._payments.aclose()
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            await proxy.aclose()
        await self._engine.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await open_with_server(self, receive, send)
        elif self._gateway is None:
            raise InputError("the enclave has not started", hint="its server must run lifespan")
        else:
            await self._gateway(scope, receive, send)
