"""Which gateway is tried where another does not answer, and what that gives a guard.

Each sentence is in spec/relays.md.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from privity.attest.log.memory import LogMemory
from privity.attest.trust import Trust
from privity.errors import InputError, PeerError, PrivityError
from privity.identity.keys import SigningKey
from privity.infer.anonymous.heard import Heard, is_unconnected
from privity.infer.anonymous.network import Network
from privity.infer.anonymous.registry import Chosen
from privity.infer.peers import EnclavePeer
from privity.infer.routes.confidential import discover
from privity.ledger.credits import KeyRotation
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind
from privity.ledger.wire import Block, Hash, check_address
from privity.node.relay_role import RelayRole, RelaySettings, make_relay
from privity.seal.connections import Connections
from privity.seal.hops import RelayKeys, exit_url, through_relay
from wire import Wire

pytestmark = pytest.mark.anyio

Serve = Callable[[Any], str]
PROVIDER = check_address("0x" + "ab" * 20)
UNREACHED = b"the second relay could not reach the gateway"


def listed(index: int, kind: ProviderKind) -> ProviderEntry:
    owner = PROVIDER if kind is ProviderKind.GATEWAY else check_address(f"0x{index:040x}")
    did = SigningKey(bytes([index]) * 32).did
    url = f"https://h{index}.example"
    return ProviderEntry(index, owner, kind, did, url, bytes([index]) * 32, 0)


class Ledger:
    """Lists the gateways of one provider, and ten relays."""

    def __init__(self, gateways: int) -> None:
        entries = [listed(100 + n, ProviderKind.GATEWAY) for n in range(gateways)]
        entries += [listed(1 + n, ProviderKind.RELAY) for n in range(10)]
        self._listing = Listing(Block(1, Hash(bytes(32)), 0, 0), tuple(entries))
        self.members = None
        self.addresses = SimpleNamespace(settle_s=60)

    async def providers(self) -> Listing:
        return self._listing

    async def issuer_key(self) -> KeyRotation:
        return object.__new__(KeyRotation)

    async def aclose(self) -> None: ...


class Answers(httpx.AsyncByteStream):
    def __init__(self, cut: bool) -> None:
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield UNREACHED
        if self._cut:
            raise PeerError("the answer was cut off")


class Way(httpx.AsyncBaseTransport):
    """A chain of relays whose guard and second relay do what a test says."""

    def __init__(self, *, refuses: bool, cuts: bool, offline: bool) -> None:
        self._refuses = refuses
        self._cuts = cuts
        self._offline = offline

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._offline:
            raise PeerError("not reached") from httpx.ConnectError("no route to host")
        if self._refuses:
            raise PeerError("the first relay could not reach the second")
        return httpx.Response(502, stream=Answers(self._cuts))


class Device:
    """A device's network, over ways that a test scripts; notes which were taken."""

    def __init__(
        self,
        gateways: int,
        *,
        refuses: bool = False,
        cuts: bool = False,
        offline: bool = False,
    ) -> None:
        wallet: Any = SimpleNamespace(membership=None)
        closed: Any = SimpleNamespace(aclose=Ledger(0).aclose)
        self.network = Network(cast("Any", Ledger(gateways)), wallet, closed)
        self.taken: list[Chosen] = []
        self.alive: set[int] = set()

        def chain(chosen: Chosen) -> httpx.AsyncBaseTransport:
            self.taken.append(chosen)
            return Way(refuses=refuses, cuts=cuts, offline=offline)

        self.network._chain = chain  # type: ignore[method-assign]

    async def find(self) -> PrivityError | None:
        """Look for a way; return why there is none, None where one was found."""

        async def find(peer: EnclavePeer, http: httpx.AsyncBaseTransport) -> Any:
            gateway = self.taken[-1].gateway
            if gateway.index in self.alive:
                digest = "sha256:" + gateway.keys_digest.hex()
                return SimpleNamespace(
                    enclave=SimpleNamespace(keyset=SimpleNamespace(digest=digest))
                )
            response = await http.handle_async_request(httpx.Request("GET", "https://way.test"))
            await response.aread()
            raise PeerError("answered 502", hint="it may be down")

        try:
            await self.network._found(find)
        except PrivityError as error:
            return error
        return None


async def test_another_gateway_is_tried_where_one_does_not_answer() -> None:
    device = Device(2)
    device.alive = {101}
    for _ in range(64):
        device.taken.clear()
        assert await device.find() is None
        asked = [one.gateway.index for one in device.taken]
        assert asked in ([100, 101], [101]), "each once, and the living one is enough"


async def test_no_more_gateways_are_tried_than_there_are_and_a_few_at_most() -> None:
    for count, most in ((1, 1), (2, 2), (9, 3)):
        device = Device(count)
        error = await device.find()
        assert isinstance(error, PeerError)
        asked = [one.gateway.index for one in device.taken]
        assert len(asked) == len(set(asked)) == most
        tried = f"{most} gateways of the provider were tried; "
        assert (tried in (error.hint or "")) is (most > 1)
        assert f"the relays on this way are {device.taken[-1].first.url}" in (error.hint or "")


async def test_what_failed_before_does_not_decide_which_gateway_is_asked_first() -> None:
    """Else a device would be known by the gateways that it stays away from."""
    device = Device(2)
    device.alive = {101}
    first = set()
    for _ in range(64):
        device.taken.clear()
        await device.find()
        first.add(device.taken[0].gateway.index)
    assert first == {100, 101}


@pytest.mark.parametrize("how", ["refuses", "cuts"])
async def test_a_guard_that_lets_nothing_through_has_no_other_way_tried(how: str) -> None:
    """It could else have second relays drawn until one is its accomplice's."""
    device = Device(5, refuses=how == "refuses", cuts=how == "cuts")
    assert isinstance(await device.find(), PeerError)
    assert len(device.taken) == 1
    guard = device.taken[0].first.did
    for _ in range(200):
        if device.taken[-1].first.did != guard:
            break
        await device.find()
    assert device.taken[-1].first.did != guard, "and after a few it is left"


async def test_who_is_offline_loses_no_guard() -> None:
    device = Device(5, offline=True)
    for _ in range(50):
        error = await device.find()
        assert isinstance(error, PeerError)
        assert "are you online?" in (error.hint or "")
    assert len(device.taken) == 50, "no other gateway is tried: none would be reached"
    assert len({one.first.did for one in device.taken}) == 1


async def test_gateways_that_are_down_cost_no_guard() -> None:
    """A provider could else walk a device through the guards until one is its accomplice."""
    device = Device(3)
    for _ in range(50):
        await device.find()
    assert len({one.first.did for one in device.taken}) == 1
    assert len({one.second.did for one in device.taken}) > 3


async def test_a_gateway_that_is_left_out_is_not_chosen() -> None:
    registry = Device(2).network.registry
    assert {(await registry.choose([100])).gateway.index for _ in range(32)} == {101}
    with pytest.raises(InputError, match="no other gateway"):
        await registry.choose([100, 101])


def dead_url() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


@asynccontextmanager
async def relays(
    serve: Serve, folder: Path, *, middle: str = ""
) -> AsyncIterator[tuple[Wire, Heard]]:
    """Run two relays before a gateway that is down; or the second is, at ``middle``."""
    async with AsyncExitStack() as stack:
        second = make_relay(RelaySettings({"gateway": dead_url()}, folder / "second.keys"))
        served = serve(second)
        first: RelayRole = make_relay(
            RelaySettings({"second": middle or served}, folder / "first.keys")
        )
        wire = await stack.enter_async_context(Wire(serve(first)).laid())
        connections = Connections()
        stack.push_async_callback(connections.aclose)
        assert second.keys_digest is not None
        keys = RelayKeys(connections, wire.url, "second", second.keys_digest)
        if not middle:
            await keys.current()
        yield wire, Heard(through_relay(connections, wire.url, "second", keys, "gateway"))


async def fetched(way: Heard) -> int:
    url = f"{exit_url('gateway')}/.well-known/privity/statement?nonce={'A' * 43}"
    response = await way.handle_async_request(httpx.Request("GET", url))
    await response.aread()
    return response.status_code


async def test_a_second_relay_says_under_its_seal_that_a_gateway_is_down(
    serve: Serve, tmp_path: Path
) -> None:
    async with relays(serve, tmp_path) as (_, way):
        assert await fetched(way) == 502
        assert way.whole
        peer = EnclavePeer("https://gateway.example", exit_url("gateway"), "")
        with pytest.raises(PeerError, match="answered 502") as told:
            await discover(peer, Trust(), way, memory=LogMemory(tmp_path))
        assert told.value.hint == "the gateway, or the enclave behind it, may be down or starting"


async def test_an_answer_that_the_first_relay_cuts_off_is_none(
    serve: Serve, tmp_path: Path
) -> None:
    async with relays(serve, tmp_path) as (wire, way):
        wire.cut_after = len(wire.down) + 600
        with pytest.raises((PrivityError, httpx.HTTPError)):
            await fetched(way)
        assert not way.whole


async def test_a_second_relay_that_is_down_has_said_nothing(serve: Serve, tmp_path: Path) -> None:
    async with relays(serve, tmp_path, middle=dead_url()) as (_, way):
        with pytest.raises(PeerError) as told:
            await fetched(way)
        assert not way.whole
        assert not is_unconnected(told.value), "the guard says so, and was told which one"


async def unfound(guard: str) -> PeerError:
    """Return why there is no way by a guard at this URL."""
    connections = Connections()
    keys = RelayKeys(connections, guard, "second", bytes(32))
    way = Heard(through_relay(connections, guard, "second", keys, "gateway"))
    peer = EnclavePeer("https://gateway.example", exit_url("gateway"), "")
    with pytest.raises(PeerError) as told:
        await discover(peer, Trust(), way)
    await connections.aclose()
    return told.value


async def test_a_guard_that_nothing_connects_to_was_told_nothing() -> None:
    assert is_unconnected(await unfound(dead_url()))


async def test_a_guard_that_hangs_up_once_it_was_told_is_no_unconnected_one() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"/second" in await reader.readline()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert not is_unconnected(await unfound(f"http://127.0.0.1:{port}"))
