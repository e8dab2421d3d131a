"""Floor 5: a relay whose targets are the public registry's: all gateways and relays in service.

So no operator has to write down by hand whom their relay reaches, and every relay reaches the same.
Anyone with a stake writes into the registry, also the addresses of machines that only this relay
can reach. So what came from there is connected to at public addresses alone, looked up and checked
for every connection (`PublicAddresses`); targets that the operator named are reached as they are.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx

from privity import statement
from privity.anon.relays import target_name
from privity.errors import PeerError, PrivityError
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind, listed_providers
from privity.node.beside import run_beside
from privity.node.relay import RelayLimits, connection_pool
from privity.node.relay_role import RelayRole, RelaySettings, make_relay
from privity.seal.asgi import Receive, Scope, Send
from privity.seal.gateway import GATEWAY_PATH

__all__ = [
    "EVERY_S",
    "FollowSettings",
    "FollowingRelay",
    "PublicAddresses",
    "registered_targets",
]

EVERY_S = 60.0
"""Seconds between two readings of the registry."""

Source = Callable[[], Awaitable[Listing]]
LookUp = Callable[[str, int], Awaitable[list[str]]]

logger = logging.getLogger("privity.relay")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1: the last 32 bits are of IPv4


@dataclass(frozen=True)
class FollowSettings:
    """Which registry a relay follows.

    Attributes:
        ledger: URL of a ledger's node.
        contracts: the file with the contracts' addresses.
        every_s: seconds between two readings.
        local: whether entries at private addresses are reached too: for tests and a devnet.
        proxy: a SOCKS proxy to the ledger's node; empty for none.
    """

    ledger: str = field(repr=False)  # it may hold a key
    contracts: Path
    every_s: float = EVERY_S
    local: bool = False
    proxy: str = field(default="", repr=False)


class FollowingRelay:
    """A relay whose targets follow a registry, as an ASGI application. Run by the relay.

    Args:
        settings: what the relay is; its targets come before the registry's.
        follow: which registry.
        source: reads the registry; None for that of ``follow``.

    Attributes:
        failure: why the app did not start, if it did not.

    Raises:
        InputError: as `make_relay`, or the contracts' file cannot be read.

    Guarantees:
        An entry that is no longer listed is not reached from the next reading on; a ledger that
        cannot be read changes nothing (tests/unit/test_registry_targets.py).
    """

    def __init__(
        self, settings: RelaySettings, follow: FollowSettings, *, source: Source | None = None
    ) -> None:
        self._follow = follow
        self._fixed = settings.targets
        self._source = source
        self._addresses = None if source else Addresses.from_file(follow.contracts)
        self.failure: PrivityError | None = None
        transport = None if follow.local else PublicAddresses(settings.limits, settings.targets)
        self.relay: RelayRole = make_relay(settings, transport=transport)

    @property
    def keys_digest(self) -> bytes | None:
        """SHA-256 of the relay's key configurations; None where it has none."""
        return self.relay.keys_digest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "lifespan":
            await self.relay(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            try:
                source = await self._opened(stack)
                await self.update(source)
            except PrivityError as error:
                self.failure = error
                await receive()
                await send({"type": "lifespan.startup.failed", "message": error.message})
                return
            run_beside(stack, self._keep(source))
            await self.relay(scope, receive, send)

    async def update(self, source: Source) -> None:
        """Read the registry and take its targets; raises `PeerError`."""
        listing = await source()
        targets = registered_targets(listing.entries, own=self.keys_digest)
        self.relay.retarget({**targets, **self._fixed})

    async def _opened(self, stack: AsyncExitStack) -> Source:
        if self._source is not None or self._addresses is None:
            return self._source or _nothing
        ledger = Ledger(self._follow.ledger, self._addresses, proxy=self._follow.proxy or None)
        return (await stack.enter_async_context(ledger)).providers

    async def _keep(self, source: Source) -> None:
        while True:
            await anyio.sleep(self._follow.every_s)
            try:
                await self.update(source)
            except PrivityError as error:
                # Without its address, which may hold a secret; what was read before still holds.
                logger.warning("the registry could not be read: %s", error.message)


async def _nothing() -> Listing:
    raise PeerError("there is no registry to read")


def registered_targets(
    entries: Iterable[ProviderEntry], *, own: bytes | None = None
) -> dict[str, str]:
    """Return the targets that a registry's entries make: `target_name` and base URL.

    Args:
        entries: those in service, in the registry's order.
        own: the digest of this relay's keys; it is no target of itself.

    Guarantees:
        Of two entries with one DID the earlier counts, so that nobody takes over a name that is
        listed (tests/unit/test_registry_targets.py::test_a_later_entry_takes_over_no_name), by the
        rule of every client (`listed_providers`).
    """
    found: dict[str, str] = {}
    for entry in listed_providers(entries):
        if entry.kind is ProviderKind.RELAY and entry.keys_digest == own:
            continue
        found.setdefault(target_name(entry.did), entry.endpoint)
    return found


class PublicAddresses(httpx.AsyncBaseTransport):
    """Connections to public addresses alone, but for targets that the operator named.

    A name is looked up here, and the connection goes to the address that was checked: a second
    look-up could answer something else.

    Args:
        limits: of the relay.
        named: the operator's own targets, reached as they are.
        inner: connects; shared pools by default.
        look_up: returns the addresses of a name.

    Guarantees:
        No entry of a registry leads into the relay's own network
        (tests/adversary/test_registry_targets.py).
    """

    def __init__(
        self,
        limits: RelayLimits,
        named: Mapping[str, str],
        *,
        inner: httpx.AsyncBaseTransport | None = None,
        look_up: LookUp | None = None,
    ) -> None:
        self._inner = inner or connection_pool(limits)
        # To an address, not a name: a connection that is kept could serve another name there, whose
        # certificate nobody looked at. So none is.
        self._listed = inner or httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=limits.concurrency, max_keepalive_connections=0),
            trust_env=False,
        )
        self._look_up = look_up or _looked_up
        self._named = frozenset(
            str(httpx.URL(url.rstrip("/") + path))
            for url in named.values()
            for path in (GATEWAY_PATH, statement.PATH)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of the relay.

        Raises:
            httpx.ConnectError: the target has no public address, or none that answers.
        """
        url = request.url
        if str(url.copy_with(query=None)) in self._named:
            return await self._inner.handle_async_request(request)
        port = url.port or (443 if url.scheme == "https" else 80)
        public = [one for one in await self._look_up(url.host, port) if is_public(one)]
        failure = httpx.ConnectError("the target has no public address", request=request)
        for address in public:
            try:
                return await self._listed.handle_async_request(_sent_to(address, request))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = httpx.ConnectError(str(error), request=request)
        raise failure

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
        if self._listed is not self._inner:
            await self._listed.aclose()


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet, in whatever form it is written."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
        elif found.teredo is not None or found.is_site_local:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _sent_to(address: str, request: httpx.Request) -> httpx.Request:
    """Return the request for one address, under the name that it was for."""
    extensions = dict(request.extensions)
    if request.url.scheme == "https":
        extensions["sni_hostname"] = request.url.host  # what the certificate has to be for
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers.raw,  # its `host` field stays
        stream=request.stream,
        extensions=extensions,
    )


async def _looked_up(host: str, port: int) -> list[str]:
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError("the target's name has no address") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
