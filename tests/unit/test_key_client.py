"""A lease: renewed in time, ended at once by a refusal, and at its end by silence."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from privity.attest.grant import Purpose, SignedGrant
from privity.attest.grant_revocation import GrantRevocation
from privity.attest.release import BootKeys
from privity.errors import EvidenceError, InputError, PeerError
from privity.identity.jcs import canonical
from privity.node import key_client
from privity.node.broker import Broker
from privity.node.key_client import RELEASE_PATH, KeyClient, Released, elapsed
from privity.statement import Statement
from releases import ARTEFACT, KEY, Clock, Owner, RealTime, app_of, client_of, events

pytestmark = pytest.mark.anyio


@pytest.fixture
def owner() -> Owner:
    return Owner(clock=RealTime())


@pytest.fixture
def broker(owner: Owner, tmp_path: Path) -> Broker:
    return owner.broker(tmp_path / "broker")


class Line:
    """A line to a broker that can be cut."""

    def __init__(self, app: object) -> None:
        self.inner = httpx.ASGITransport(app)  # type: ignore[arg-type]
        self.cut = False
        self.refused = 0
        self.requests: list[httpx.Request] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            self.refused += 1
            raise httpx.ConnectError("cut")
        self.requests.append(request)
        return await self.inner.handle_async_request(request)

    def sent(self, path: str) -> list[Any]:
        return [json.loads(one.content) for one in self.requests if one.url.path == path]


@pytest.fixture
def line(owner: Owner, broker: Broker) -> Line:
    return Line(app_of(owner, broker))


@pytest.fixture
def client(owner: Owner, line: Line) -> KeyClient:
    return client_of(owner, None, transport=httpx.MockTransport(line.answer))  # type: ignore[arg-type]


async def begin(
    owner: Owner, broker: Broker, client: KeyClient, *, lease_s: int = 1
) -> tuple[SignedGrant, Released]:
    signed = owner.signed(lease_s=lease_s)
    broker.add(signed, KEY)
    return signed, await client.obtain(ARTEFACT, Purpose.SERVE)


async def test_a_lease_is_renewed_for_as_long_as_it_may(
    owner: Owner, broker: Broker, client: KeyClient, tmp_path: Path
) -> None:
    _, released = await begin(owner, broker, client, lease_s=3)
    assert (released.key, released.signed.grant.name) == (KEY, "tiny")
    async with anyio.create_task_group() as group:
        group.start_soon(client.keep, released)
        with anyio.fail_after(60):
            while elapsed() < released.until:
                await anyio.sleep(0.02)
            count = len(events(tmp_path / "broker"))
            while len(events(tmp_path / "broker")) == count:  # it goes on
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    kinds = [event for event, _ in events(tmp_path / "broker")]
    assert kinds[:2] == ["added", "granted"] and set(kinds[2:]) == {"renewed"}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that moves when somebody sleeps, by as much, and not otherwise."""
    clock = Clock()

    async def sleep(seconds: float) -> None:
        clock.forward(seconds)

    monkeypatch.setattr(key_client.anyio, "sleep", sleep)
    return clock


async def test_a_refused_renewal_ends_it_at_once(slept: Clock, tmp_path: Path) -> None:
    owner = Owner(clock=slept)
    broker = owner.broker(tmp_path / "broker")
    client = client_of(owner, app_of(owner, broker))
    signed, released = await begin(owner, broker, client, lease_s=60)
    began = slept.seconds()
    broker.revoke(GrantRevocation(signed.digest, owner.key.did, "sold", slept()).sign(owner.key))
    with pytest.raises(EvidenceError, match="sold") as caught:
        await client.keep(released)
    assert caught.value.check == "grant revoked"
    assert slept.seconds() == began + 30  # at half of the lease it asked, and no more


async def test_a_broker_out_of_reach_ends_it_with_the_lease_and_not_before(
    slept: Clock, tmp_path: Path
) -> None:
    owner = Owner(clock=slept)
    broker = owner.broker(tmp_path / "broker")
    line = Line(app_of(owner, broker))
    client = client_of(owner, None, transport=httpx.MockTransport(line.answer))  # type: ignore[arg-type]
    _, released = await begin(owner, broker, client, lease_s=60)
    line.cut = True
    with pytest.raises(EvidenceError) as caught:
        await client.keep(released)
    assert caught.value.check == "lease"
    assert slept.seconds() == pytest.approx(released.until, abs=1e-3)
    assert line.refused > 3  # and it asked until then


async def test_a_broker_back_in_time_keeps_it(
    owner: Owner, broker: Broker, client: KeyClient, line: Line, tmp_path: Path
) -> None:
    signed = owner.signed(lease_s=8)  # long enough that a busy machine does not end it
    broker.add(signed, KEY)
    released = await client.obtain(ARTEFACT, Purpose.SERVE)
    line.cut = True
    async with anyio.create_task_group() as group:
        group.start_soon(client.keep, released)
        with anyio.fail_after(60):
            while not line.refused:
                await anyio.sleep(0.02)
            line.cut = False
            while ("renewed", None) not in events(tmp_path / "broker"):
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()


async def test_a_lease_counts_from_before_it_was_asked_for(
    owner: Owner, broker: Broker, client: KeyClient
) -> None:
    before = elapsed()
    _, released = await begin(owner, broker, client)
    assert before + 1 <= released.until <= elapsed() + 1


async def test_another_plaintext_is_no_renewal(
    owner: Owner, broker: Broker, client: KeyClient, tmp_path: Path
) -> None:
    _, released = await begin(owner, broker, client)
    other = Owner(root=owner.root, clock=owner.clock)
    both = owner.broker(tmp_path / "both", owners=(owner.key.did, other.key.did))
    both.add(other.signed(lease_s=1, root="tree-sha256:" + "b" * 64), KEY)
    client._http._transport = httpx.ASGITransport(app_of(owner, both))
    with pytest.raises(EvidenceError, check=lambda error: error.check == "root"):
        await client.keep(released)


async def test_a_silent_broker_is_not_waited_for_without_end(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr("privity.node.key_client._EXCHANGE_S", 0.2)
    client = client_of(owner, None, transport=httpx.MockTransport(silent))  # type: ignore[arg-type]
    with anyio.fail_after(60), pytest.raises(PeerError, match="in time"):
        await client.obtain(ARTEFACT, Purpose.SERVE)


@pytest.mark.parametrize("url", ["broker.example", "ftp://broker.example", "http://u@b.example"])
def test_what_is_no_brokers_url_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        KeyClient(url, [], receipts=Owner().key.did)


async def test_each_exchange_has_keys_of_its_own_that_end_with_it(
    owner: Owner, broker: Broker, client: KeyClient, line: Line
) -> None:
    before = _boot_keys()
    broker.add(owner.signed(), KEY)
    first, second = [await client.obtain(ARTEFACT, Purpose.SERVE) for _ in range(2)]
    keysets = [
        Statement.parse(canonical(one["statement"])).keyset for one in line.sent(RELEASE_PATH)
    ]
    assert first.key == second.key == KEY
    assert len({one.ohttp for one in keysets}) == len(keysets) == 2
    assert len({one.receipts for one in keysets}) == 1  # the process stays the same to the broker
    left = [one for one in _boot_keys() if not any(one is kept for kept in before)]
    assert left == []  # nothing in the process refers to the keys of either


def _boot_keys() -> list[BootKeys]:
    return [one for one in gc.get_objects() if isinstance(one, BootKeys)]


async def test_a_released_key_is_not_shown(owner: Owner, broker: Broker, client: KeyClient) -> None:
    import pickle

    _, released = await begin(owner, broker, client)
    assert repr(KEY)[2:-1] not in repr(released) and KEY.hex() not in repr(released)
    with pytest.raises(TypeError):
        pickle.dumps(released)
