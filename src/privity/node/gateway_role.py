"""Floor 5: an admission gateway as a process: its ledger, its store, the enclave behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from privity.anon.admission import Admission
from privity.anon.field import Field
from privity.anon.query_terms import QueryTerms
from privity.anon.stores import Store, open_store
from privity.errors import InputError, PeerError, PrivityError
from privity.node.admission_gateway import AdmissionGateway, EnclaveUpstream, OnDoubleSignal
from privity.node.beside import run_beside
from privity.node.listen import bind, end_with_stdin, serve_app
from privity.node.query_gate import QueryGate
from privity.node.slash_desk import SlashDesk
from privity.node.slashing import slash_all
from privity.node.watched_members import LedgerSettings, WatchedMembers, watch_members
from privity.seal.asgi import Receive, Scope, Send

__all__ = ["GatewayApp", "GatewaySettings", "serve"]

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class GatewaySettings:
    """How to run an admission gateway.

    Attributes:
        enclave: base URL of the enclave behind it.
        scope: the provider's account on the ledger: what proofs must be made for.
        store: where signals are remembered; one for all gateways of a provider.
        ledger: whose members it admits.
        query: in what each request must be proved; None to ask for no proof of what is asked.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        lifeline: end when standard input ends.
    """

    enclave: str
    scope: str
    store: str = field(repr=False)  # it may hold a password
    ledger: LedgerSettings
    query: QueryTerms | None = None
    host: str = "127.0.0.1"
    port: int = 0
    lifeline: bool = False


class GatewayApp:
    """An admission gateway with what it needs, opened and closed by its server's lifespan.

    Args:
        settings: how it runs.

    Attributes:
        failure: why the app did not start, if it did not.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._app: AdmissionGateway | None = None
        self.failure: PrivityError | None = None
        self._members: WatchedMembers | None = None
        self._looked = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._app is None:
            raise InputError("the gateway has not started", hint="its server must run lifespan")
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            try:
                self._app = await self._open(stack)
            except PrivityError as error:
                self.failure = error
                await receive()
                await send({"type": "lifespan.startup.failed", "message": error.message})
                return
            await self._app(scope, receive, send)

    async def _open(self, stack: AsyncExitStack) -> AdmissionGateway:
        settings = self._settings
        store: Store = await stack.enter_async_context(open_store(settings.store))
        self._members = await watch_members(stack, settings.ledger)
        gate: QueryGate | None = None
        if settings.query is not None:
            gate = QueryGate([settings.query.vocabulary], buckets=settings.query.buckets)
            await gate.warm()
        return AdmissionGateway(
            Admission(settings.scope.lower(), self._members.view, store),
            EnclaveUpstream(settings.enclave),
            on_double_signal=self._slashing(stack, self._members),
            look_again=self._look_again,
            query_check=gate,
        )

    async def _look_again(self) -> bool:
        """Read the members now, once a second at most; return whether that was done."""
        now = time.monotonic()
        if self._members is None or now - self._looked < _LOOK_EVERY_S:
            return False
        self._looked = now
        try:
            await self._members.view.update()
        except PeerError:
            return False
        return True

    def _slashing(self, stack: AsyncExitStack, members: WatchedMembers) -> OnDoubleSignal | None:
        """Return what takes revealed secrets, to be slashed until `stack` ends it."""
        if self._settings.ledger.account is None:
            return None
        desk = SlashDesk(partial(slash_all, members.ledger, members.history))
        run_beside(stack, desk.run())

        async def take(secret: Field) -> None:
            desk.take(secret)

        return take


def serve(settings: GatewaySettings, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run a gateway in this process until it is told to end. Blocks.

    Args:
        settings: how to run it.
        on_ready: told ``{"ready", "url", "pid"}`` once it serves.

    Raises:
        InputError: a setting cannot be had.
        PeerError: the ledger or the store cannot be reached.
        MissingDependency: the native wheel, or a client library, is not installed.
    """
    app = GatewayApp(settings)
    sock = bind(settings.host, settings.port)
    if settings.lifeline:
        end_with_stdin()
    serve_app(
        app,
        sock,
        on_ready=lambda url: on_ready({"ready": True, "url": url, "pid": os.getpid()}),
    )
