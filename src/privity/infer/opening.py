"""Opens a session: from what a person configured and asked for to a transport that runs jobs."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio
import httpx

from privity.errors import InputError
from privity.home import home
from privity.identity.keystore import device_key
from privity.infer.config import DETECT, EMBEDDED, Config, load_config, load_devnet
from privity.infer.journal import Journal
from privity.infer.peers import EnclavePeer
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.confidential import discover
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.local import LocalRoute, local_disclosure
from privity.infer.routes.route import Route
from privity.infer.session import PrivateTransport
from privity.policy import Policy
from privity.seal.transport import Shape, default_pool

if TYPE_CHECKING:
    from privity.infer.engines.engine import Engine

__all__ = ["ENGINE_KEY", "RouteName", "SessionSettings", "open_session"]

ENGINE_KEY = "PRIVITY_ENGINE_KEY"
"""Names the environment variable with the API key of an engine that is configured by URL."""

RouteName = Literal["auto", "local", "confidential"]


@dataclass(frozen=True)
class SessionSettings:
    """What a person asked for; None takes what ``config.toml`` says.

    Attributes:
        policy: a preset's name, or the path of a policy file.
        enclave: a configured enclave's name, or a URL.
        relay: URL of a relay's resource for that enclave.
        route: ``auto`` takes the configured enclave or the devnet, and the local engine only
            where there is neither; it never falls from one to the other because of a failure.
    """

    policy: str | Path | None = None
    enclave: str | None = None
    relay: str | None = None
    route: RouteName = "auto"


def open_session(
    settings: SessionSettings | None = None,
    *,
    config: Config | None = None,
    store: ReceiptStore | None = None,
    inner: httpx.AsyncBaseTransport | None = None,
) -> PrivateTransport:
    """Return a transport that runs jobs as the person asked; nothing is sent or started yet.

    Args:
        settings: what was asked for.
        config: what is configured; by default the file in the privity home.
        store: where receipts go; by default the privity home.
        inner: connections to the first hop; by default new ones, which no proxy setting of the
            environment redirects.

    Raises:
        InputError: a setting is wrong, or names what does not exist.
    """
    settings = settings or SessionSettings()
    config = config or load_config()
    policy = Policy.load(settings.policy or config.policy_source)
    peer = _peer(settings, config)
    inner = inner or default_pool()
    journal = Journal(store or ReceiptStore(), device_key())
    if peer is None:
        local = _LocalEngine(config.engine)
        keeper = RouteKeeper(local.find, policy, max_age=math.inf)
        return PrivateTransport(keeper, journal, inner, close=local.aclose)
    find = _finder(peer, config, policy, inner)
    keeper = RouteKeeper(find, policy, max_age=config.max_age)
    return PrivateTransport(keeper, journal, inner)


def _peer(settings: SessionSettings, config: Config) -> EnclavePeer | None:
    if settings.route == "local":
        if settings.enclave or settings.relay:
            raise InputError("the local route has no enclave and no relay")
        return None
    peer = config.peer(settings.enclave, settings.relay)
    if peer is None and settings.route == "confidential":
        raise InputError(
            "no enclave is configured and no devnet runs",
            hint="start one with `privity devnet`, or add an [[enclave]] to config.toml",
        )
    return peer


def _finder(
    peer: EnclavePeer, config: Config, policy: Policy, inner: httpx.AsyncBaseTransport
) -> Callable[[], Awaitable[Route]]:
    config.trust(policy.evidence)  # what is wrong in it is said now, not at the first job
    shape = Shape(config.records, config.cadence_ms or None)
    of_devnet = config.devnet is not None and peer == config.devnet.peer

    async def find() -> Route:
        # Whom the person trusts is read each time: a revocation put there counts from then on, in a
        # session that is open for weeks too.
        current = load_config(config.folder) if config.folder else config
        trust = current.trust(policy.evidence)
        # A devnet that was started again listens elsewhere, under the same root.
        restarted = load_devnet(home()) if of_devnet else None
        found = restarted.peer if restarted else peer
        return await discover(found, trust, inner, shape=shape, logs=current.logs)

    return find


class _LocalEngine:
    """The engine of a local route: found or started once, closed with the session."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._engine: Engine | None = None
        self._lock = anyio.Lock()

    async def find(self) -> Route:
        async with self._lock:
            if self._engine is None:
                engine = await self._choose()
                await engine.start()
                self._engine = engine
        return LocalRoute(self._engine, local_disclosure(self._engine.base_url, self._engine.kind))

    async def aclose(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()

    async def _choose(self) -> Engine:
        # Imported here: a session that seals never needs them.
        from privity.infer.engines.discover import discover as discover_servers
        from privity.infer.engines.embedded import EmbeddedEngine
        from privity.infer.engines.openai_server import OpenAIServer

        if self._wanted not in (EMBEDDED, DETECT):
            return OpenAIServer(self._wanted, api_key=os.environ.get(ENGINE_KEY) or None)
        if self._wanted == DETECT:
            # The key is for the engine that was named, not for whoever came first to a port.
            for server in await discover_servers():
                if server.models:
                    return server
        return EmbeddedEngine()
