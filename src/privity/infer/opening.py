"""Opens a session: from what a person configured and asked for to a transport that runs jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import httpx

from privity.attest.log.memory import LogMemory, Remembered
from privity.errors import InputError
from privity.home import home
from privity.identity.keystore import device_key
from privity.infer.anonymous.recovery import Recovery
from privity.infer.budget import Spending
from privity.infer.catalogue import Shelf
from privity.infer.config import Config, load_config, load_devnet
from privity.infer.journal import Journal
from privity.infer.ladder import Ladder
from privity.infer.local_engine import LocalEngine
from privity.infer.peers import EnclavePeer, NetworkPeer
from privity.infer.provider_rung import LazyPseudonyms, provider_rung
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.anonymous import AnonymousRoute
from privity.infer.routes.confidential import ConfidentialRoute, discover
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.route import Route
from privity.infer.rung import Rung
from privity.infer.session import PrivateTransport
from privity.policy import Policy
from privity.seal.transport import default_pool

if TYPE_CHECKING:
    from privity.infer.anonymous.network import Network
    from privity.infer.anonymous.purse import SharedWallet

__all__ = ["AnonymousWay", "RouteName", "SessionSettings", "open_session", "shelves"]

RouteName = Literal["auto", "local", "anonymous", "confidential", "zdr"]


@dataclass(frozen=True)
class SessionSettings:
    """What a person asked for; None takes what ``config.toml`` says.

    Attributes:
        policy: a preset's name, or the path of a policy file.
        enclave: a configured enclave's name, or a URL.
        relay: URL of a relay's resource for that enclave.
        route: ``auto`` takes the configured enclaves or the devnet, the local engine where there
            is none or one is configured, and the providers there are; it never falls from one to
            another that shows more because of a failure, unless ``[routing] fallback`` says so.
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
    inner = inner or default_pool()
    journal = Journal(store or ReceiptStore(), device_key())
    return PrivateTransport(_open_ladder(settings, config, policy, inner), journal, inner)


async def shelves(settings: SessionSettings, config: Config) -> tuple[Shelf, ...]:
    """Return what every rung a person asked for has and discloses now; nothing of a job is sent.

    Raises:
        InputError: a setting is wrong.
    """
    policy = Policy.load(settings.policy or config.policy_source)
    inner = default_pool()
    try:
        ladder = _open_ladder(settings, config, policy, inner)
        try:
            return await ladder.shelves()
        finally:
            await ladder.aclose()
    finally:
        await inner.aclose()


def _open_ladder(
    settings: SessionSettings, config: Config, policy: Policy, inner: httpx.AsyncBaseTransport
) -> Ladder:
    """Return the rungs a person asked for; nothing is sent or started yet.

    Raises:
        InputError: as `open_session`.
    """
    pseudonyms = LazyPseudonyms(config)
    rungs = [
        *_anonymous(settings, config, policy),
        *_enclaves(settings, config, policy, inner),
        *_locals(settings, config, policy),
        *_providers(settings, config, policy, pseudonyms),
    ]
    if not rungs:
        raise InputError(
            "no provider is configured",
            hint="add a [[provider]] to config.toml: docs/how-to/use-a-provider.md",
        )
    spending = Spending(config.budget) if any(rung.route == "zdr" for rung in rungs) else None
    return Ladder(rungs, policy, rules=config.rules, examine=pseudonyms.examine, spending=spending)


def _anonymous(settings: SessionSettings, config: Config, policy: Policy) -> list[Rung]:
    if settings.route not in ("auto", "anonymous"):
        return []
    peer = config.network
    if peer is None:
        if settings.route == "anonymous":
            raise InputError(
                "no ledger is configured for anonymous requests, and no devnet with one runs",
                hint="start one with `privity devnet --anonymous`, or add an [anonymous] table to "
                "config.toml: docs/how-to/ask-anonymously.md",
            )
        return []
    if settings.route == "auto" and (settings.enclave is not None or settings.relay is not None):
        return []
    way = AnonymousWay(peer, config, policy)
    keeper = RouteKeeper(way.find, policy, max_age=config.max_age, once=True)
    name = peer.provider or urlsplit(peer.ledger).netloc
    recovery = Recovery(way.wallet, way.desk)
    return [Rung("anonymous", name, keeper, close=way.aclose, recovery=recovery)]


class _Forgetful(LogMemory):
    """Remembers no log: nothing then has to be asked of one."""

    def get(self, origin: str) -> Remembered | None:
        return None

    def keep(self, origin: str, seen: Remembered, *, compared: Remembered | None) -> None:
        return None


class AnonymousWay:
    """Finds anonymous routes; opens ledger and wallet when it is first asked.

    Args:
        peer: the ledger.
        config: what is configured.
        policy: what evidence it demands.
    """

    def __init__(self, peer: NetworkPeer, config: Config, policy: Policy) -> None:
        config.trust(policy.evidence)  # what is wrong in it is said now, not at the first job
        self._peer = peer
        self._config = config
        self._policy = policy
        self._network: Network | None = None

    async def network(self) -> Network:
        """Return the network, opened.

        Raises:
            InputError: a setting is wrong.
            MissingDependency: the native wheel, or a library of the ledger, is not installed.
        """
        config = load_config(self._config.folder) if self._config.folder else self._config
        moved = config.network is not None and config.network != self._peer
        if config.network is not None and moved:  # a devnet that was started again
            await self.aclose()
            self._peer = config.network
        if self._network is None:
            # Imported here: who never asks anonymously needs neither ledger nor native wheel.
            from privity.infer.anonymous.network import open_network

            self._network = open_network(self._peer, self._edge)
        return self._network

    async def _edge(self, peer: EnclavePeer, inner: httpx.AsyncBaseTransport) -> ConfidentialRoute:
        """Verify the edge prover as the enclave is, and ask the policy; raises `PrivityError`."""
        from privity.infer.anonymous.edge_prover import EdgeRoute

        current = load_config(self._config.folder) if self._config.folder else self._config
        trust = current.trust(self._policy.evidence)
        found = await discover(peer, trust, inner, shape=current.shape, memory=_Forgetful())
        self._policy.admit(EdgeRoute(found))
        return found

    async def find(self, *, newcomer: bool = False) -> Route:
        """Find and verify a way for one job; raises `PrivityError`.

        Args:
            newcomer: look for a way as it will be for who is no member yet, too.
        """
        network = await self.network()
        current = load_config(self._config.folder) if self._config.folder else self._config
        trust = current.trust(self._policy.evidence)

        async def verified(peer: EnclavePeer, chain: httpx.AsyncBaseTransport) -> ConfidentialRoute:
            # No log is asked on this way: it would see who asks, around relays and proxy. That all
            # are shown the same keys is the ledger's to say.
            return await discover(peer, trust, chain, shape=current.shape, memory=_Forgetful())

        return await network.find(verified, newcomer=newcomer)

    async def desk(self) -> httpx.AsyncBaseTransport:
        """Return a new way to the enclave's desk, verified and admitted.

        Raises:
            PolicyRefusal: the policy admits no such way.
            PrivityError: as `find`.
        """
        route = self._policy.admit(await self.find()).route
        if not isinstance(route, AnonymousRoute):
            raise InputError("this is no anonymous way")
        return route.desk

    async def check(self) -> None:
        """Find a way as `desk` does, also for who is no member yet; raises as that."""
        self._policy.admit(await self.find(newcomer=True))

    async def wallet(self) -> SharedWallet:
        """Return the person's wallet; raises as `network`."""
        return (await self.network()).wallet

    async def aclose(self) -> None:
        """Close what was opened."""
        network, self._network = self._network, None
        if network is not None:
            await network.aclose()


def _enclaves(
    settings: SessionSettings, config: Config, policy: Policy, inner: httpx.AsyncBaseTransport
) -> list[Rung]:
    if settings.route not in ("auto", "confidential"):
        if settings.enclave or settings.relay:
            raise InputError(f"the {settings.route} route has no enclave and no relay")
        return []
    first = config.peer(settings.enclave, settings.relay)
    # The enclave of an anonymous devnet serves who is admitted and pays, by that route alone.
    ours = config.devnet is not None and config.devnet.network is not None
    if settings.route == "auto" and ours and config.devnet and first == config.devnet.peer:
        return []
    if first is None:
        if settings.route == "confidential":
            raise InputError(
                "no enclave is configured and no devnet runs",
                hint="start one with `privity devnet`, or add an [[enclave]] to config.toml",
            )
        return []
    # Whoever names one enclave means that one.
    named = settings.enclave is not None or settings.relay is not None
    peers = [first] if named else [first, *config.enclaves[1:]]
    rungs = []
    for peer in peers:
        find = _finder(peer, config, policy, inner)
        keeper = RouteKeeper(find, policy, max_age=config.max_age)
        rungs.append(Rung("confidential", _rung_name(peer), keeper))
    return rungs


def _rung_name(peer: EnclavePeer) -> str:
    return peer.name or urlsplit(peer.url).netloc


def _locals(settings: SessionSettings, config: Config, policy: Policy) -> list[Rung]:
    """Return the engines: all of them where asked for, else those that were configured."""
    if settings.route not in ("auto", "local"):
        return []
    if settings.route == "auto" and settings.enclave is not None:
        return []
    # Where there is an enclave and nothing else, nobody asked for a choice.
    alone = config.peer() is not None and not (config.engines or config.providers)
    if settings.route == "auto" and alone:
        return []
    engines = [LocalEngine(config.engine, "")]
    engines += [LocalEngine(peer.url, peer.name, peer.key_env) for peer in config.engines]
    return [engine.rung(policy) for engine in engines]


def _providers(
    settings: SessionSettings, config: Config, policy: Policy, pseudonyms: LazyPseudonyms
) -> list[Rung]:
    if settings.route not in ("auto", "zdr"):
        return []
    if settings.route == "auto" and settings.enclave is not None:
        return []
    return [provider_rung(peer, policy, pseudonyms.get) for peer in config.providers]


def _finder(
    peer: EnclavePeer, config: Config, policy: Policy, inner: httpx.AsyncBaseTransport
) -> Callable[[], Awaitable[Route]]:
    config.trust(policy.evidence)  # what is wrong in it is said now, not at the first job
    shape = config.shape
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
