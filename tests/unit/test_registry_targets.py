"""A relay whose targets follow the registry: which they are, and what a change does."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from privity.anon.relays import target_name
from privity.errors import InputError, PeerError, PrivityError
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind
from privity.ledger.wire import Block, Hash, check_address
from privity.node.registry_targets import FollowingRelay, FollowSettings, registered_targets
from privity.node.relay_role import RelaySettings
from privity.seal.key_config import KEYS_TYPE

pytestmark = pytest.mark.anyio

OWNER = check_address("0x" + "11" * 20)
EVERY_S = 0.01


def entry(
    index: int,
    did: str,
    endpoint: str = "http://gateway.test",
    *,
    kind: ProviderKind = ProviderKind.GATEWAY,
    digest: bytes = bytes(32),
) -> ProviderEntry:
    return ProviderEntry(index, OWNER, kind, did, endpoint, digest, 0)


class Scripted:
    """A registry that says what it is told to, or fails."""

    def __init__(self, *entries: ProviderEntry) -> None:
        self.entries: Sequence[ProviderEntry] = entries
        self.failure: PrivityError | None = None
        self.read = 0

    async def __call__(self) -> Listing:
        self.read += 1
        if self.failure is not None:
            raise self.failure
        return Listing(Block(1, Hash(bytes(32)), 0, 0), tuple(self.entries))

    async def again(self) -> None:
        """Wait until it was read twice more: the first of them may have begun before."""
        seen = self.read
        with anyio.fail_after(60):
            while self.read < seen + 2:
                await anyio.sleep(EVERY_S)


async def answering(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", KEYS_TYPE.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"keys"})


def following(source: Scripted, settings: RelaySettings, *, local: bool = True) -> FollowingRelay:
    follow = FollowSettings("http://ledger.test", Path("none"), every_s=EVERY_S, local=local)
    return FollowingRelay(settings, follow, source=source)


@asynccontextmanager
async def running(relay: FollowingRelay) -> AsyncIterator[httpx.AsyncClient]:
    """Run a relay from its server's start to its end."""
    events: list[MutableMapping[str, Any]] = [{"type": "lifespan.startup"}]
    scope: MutableMapping[str, Any] = {"type": "lifespan"}
    ended, said = anyio.Event(), anyio.Event()
    messages: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if events:
            return events.pop()
        await ended.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)
        said.set()

    async with anyio.create_task_group() as group:
        group.start_soon(relay.__call__, scope, receive, send)
        await said.wait()
        transport = httpx.ASGITransport(relay)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://relay") as http:
                yield http
        finally:
            ended.set()
    assert messages[0]["type"].startswith("lifespan.startup")


async def status(http: httpx.AsyncClient, did: str) -> int:
    return (await http.get("/" + target_name(did))).status_code


async def test_what_is_listed_is_reached_and_what_vanishes_is_not(serve: Any) -> None:
    url = serve(answering)
    source = Scripted(entry(0, "did:a:1", url))
    async with running(following(source, RelaySettings({}))) as http:
        assert await status(http, "did:a:1") == 200
        assert await status(http, "did:a:2") == 404
        source.entries = [entry(1, "did:a:2", url, kind=ProviderKind.RELAY)]
        await source.again()
        assert await status(http, "did:a:1") == 404
        assert await status(http, "did:a:2") == 200


async def test_a_ledger_that_cannot_be_read_changes_nothing(serve: Any) -> None:
    source = Scripted(entry(0, "did:a:1", serve(answering)))
    async with running(following(source, RelaySettings({}))) as http:
        source.failure = PeerError("the node is down")
        await source.again()
        assert await status(http, "did:a:1") == 200
        source.failure, source.entries = None, []
        await source.again()
        assert await status(http, "did:a:1") == 404


async def test_a_start_without_a_registry_is_refused_with_the_reason() -> None:
    source = Scripted()
    source.failure = PeerError("the node is down")
    relay = following(source, RelaySettings({}))
    async with running(relay):
        pass
    assert relay.failure is source.failure


async def test_the_operators_own_targets_stay_and_come_first(serve: Any) -> None:
    url = serve(answering)
    name = target_name("did:a:1")
    source = Scripted(entry(0, "did:a:1", "http://127.0.0.1:9"))
    async with running(following(source, RelaySettings({"home": url, name: url}))) as http:
        assert (await http.get("/home")).status_code == 200
        assert await status(http, "did:a:1") == 200


async def test_a_relay_is_no_target_of_itself(tmp_path: Path) -> None:
    source = Scripted()
    relay = following(source, RelaySettings({}, tmp_path / "keys"))
    assert relay.keys_digest is not None
    own = entry(0, "did:a:1", kind=ProviderKind.RELAY, digest=relay.keys_digest)
    assert registered_targets([own], own=relay.keys_digest) == {}
    assert len(registered_targets([own], own=bytes(32))) == 1


def test_a_later_entry_takes_over_no_name() -> None:
    first = entry(3, "did:a:1", "http://first.test")
    second = entry(7, "did:a:1", "http://second.test")
    for order in ([first, second], [second, first]):
        assert registered_targets(order) == {target_name("did:a:1"): "http://first.test"}


def test_without_a_file_of_contracts_there_is_no_relay(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        FollowingRelay(RelaySettings({}), FollowSettings("http://x.test", tmp_path / "none"))
