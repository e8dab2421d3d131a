"""An engine of the local route: found or started once, closed with the session."""

from __future__ import annotations

import math
import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import anyio

from privity.disclosure import Disclosure
from privity.infer.catalogue import Offer
from privity.infer.config import DETECT, EMBEDDED
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.local import LocalRoute, local_disclosure
from privity.infer.routes.route import Route
from privity.infer.rung import Rung
from privity.policy import Policy

if TYPE_CHECKING:
    from privity.infer.engines.engine import Engine

__all__ = ["ENGINE_KEY", "LocalEngine"]

ENGINE_KEY = "PRIVITY_ENGINE_KEY"
"""Names the environment variable with the API key of an engine that is configured by URL."""


class LocalEngine:
    """One engine a person may use: the embedded one, one that is found, or one at a URL.

    Args:
        wanted: ``embedded``, ``detect``, or a base URL.
        name: what the person calls it; empty takes what it is.
        key_env: the environment variable with its API key.
    """

    def __init__(self, wanted: str, name: str = "", key_env: str = ENGINE_KEY) -> None:
        self._wanted = wanted
        self.name = name or (wanted if wanted in (EMBEDDED, DETECT) else "engine")
        self._key_env = key_env
        self._engine: Engine | None = None
        self._lock = anyio.Lock()

    def rung(self, policy: Policy) -> Rung:
        """Return it as a rung of the ladder; nothing is started yet."""
        keeper = RouteKeeper(self.find, policy, max_age=math.inf)
        rung = Rung("local", self.name, keeper, self._list, close=self.aclose)
        rung.version = self._version
        if self._wanted == EMBEDDED:
            # Known without starting it, which takes a second and its memory.
            rung.shown, rung.lazy = _embedded(self.name)
        return rung

    async def find(self) -> Route:
        """Return the route to it, found or started if it is not yet.

        Raises:
            EngineError: it cannot be started, or does not answer.
            MissingDependency: a part of it is not installed.
        """
        async with self._lock:
            if self._engine is None:
                engine = await self._choose()
                await engine.start()
                self._engine = engine
        return LocalRoute(self._engine, local_disclosure(self._engine.base_url, self._engine.kind))

    async def aclose(self) -> None:
        """Let go of it; what was started for it ends."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()

    async def _list(self, route: Route) -> tuple[Offer, ...]:
        from privity.infer.engines.describe import offers

        if self._engine is None:
            return tuple(Offer(model.id, "local", self.name) for model in route.models)
        return await offers(self._engine, self.name)

    def _version(self) -> str:
        """Return what it is and its release, as far as that is known yet."""
        engine = self._engine
        if (self._wanted if engine is None else engine.kind) == EMBEDDED:
            return _embedded_version()
        if engine is None:
            return ""
        return f"{engine.kind} {getattr(engine, 'version', '')}".rstrip()

    async def _choose(self) -> Engine:
        # Imported here: a session that seals never needs them.
        from privity.infer.engines.discover import discover as discover_servers
        from privity.infer.engines.embedded import EmbeddedEngine
        from privity.infer.engines.openai_server import OpenAIServer

        if self._wanted not in (EMBEDDED, DETECT):
            return OpenAIServer(self._wanted, api_key=os.environ.get(self._key_env) or None)
        if self._wanted == DETECT:
            # The key is for the engine that was named, not for whoever came first to a port.
            for server in await discover_servers():
                if server.models:
                    return server
        return EmbeddedEngine()


def _embedded_version() -> str:
    """Return the release of what runs the embedded model; empty where it is not installed."""
    try:
        return f"xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError:
        return ""


def _embedded(name: str) -> tuple[Disclosure | None, tuple[Offer, ...]]:
    """Return what the embedded engine discloses and has; nothing where it is not installed."""
    from privity.errors import MissingDependency
    from privity.infer.engines.describe import embedded_offer

    try:
        offer = embedded_offer(name)
    except MissingDependency:
        return None, ()
    return local_disclosure("http://127.0.0.1", EMBEDDED), (offer,)
