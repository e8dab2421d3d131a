"""What the device does ahead of a request: the members read, the proof's larger part made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from privity.anon.membership import RateIdentity
from privity.anon.wallet import Membership
from privity.errors import AdmissionError, InputError, PeerError
from privity.identity.keys import SigningKey
from privity.infer.anonymous import member
from privity.infer.anonymous.member import MemberProver
from privity.infer.anonymous.network import Network

pytestmark = pytest.mark.anyio

SCOPE = "0x" + "11" * 20
EVERY_S = 0.01


class Members:
    """A view that counts its readings, and may fail."""

    def __init__(self) -> None:
        self.read = 0
        self.failing = False

    async def refresh(self, *, now: bool = False) -> None:
        self.read += now
        if self.failing:
            raise PeerError("the node is down")

    async def place(self, index: int, limit: int) -> tuple[int, int]:
        return index, limit


class Prover:
    def __init__(self) -> None:
        self.warmed: list[Any] = []
        self.closed = False

    def warm(self, place: Any) -> None:
        self.warmed.append(place)

    def close(self) -> None:
        self.closed = True


class Registry:
    async def read(self) -> None:
        pass


class Closed:
    async def aclose(self) -> None:
        pass


def network(members: Members, prover: Prover) -> Network:
    addresses = SimpleNamespace(settle_s=60)
    ledger: Any = SimpleNamespace(members=None, aclose=Closed().aclose, addresses=addresses)
    member = SimpleNamespace(index=3, limit=16, secret=bytes(32))
    wallet: Any = SimpleNamespace(membership=member)
    connections: Any = Closed()
    made: Any = Network(ledger, wallet, connections)
    made.member_prover = MemberProver(wallet, cast("Any", members))
    made.member_prover._provers[SCOPE, 3] = prover
    made.registry = Registry()
    return made  # type: ignore[no-any-return]


async def test_a_network_that_ends_overwrites_the_rate_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[RateIdentity] = []

    def made(identity: RateIdentity, scope: str) -> Prover:
        held.append(identity)
        return Prover()

    monkeypatch.setattr(member, "Prover", made)
    wallet = SimpleNamespace(membership=Membership(b"\2" * 31 + b"\0", 16, 3))
    one = MemberProver(cast("Any", wallet), cast("Any", Members()))
    await one.warm(SCOPE)
    await one.warm("0x" + "22" * 20)
    assert [identity.unsafe_secret() for identity in held] == [b"\2" * 31 + b"\0"] * 2
    one.close()
    for identity in held:
        with pytest.raises(InputError, match="closed"):
            identity.unsafe_secret()


async def times(members: Members, count: int) -> None:
    with anyio.fail_after(60):
        while members.read < count:
            await anyio.sleep(EVERY_S)


async def test_members_are_read_on_a_rhythm_and_not_when_one_asks() -> None:
    members, prover = Members(), Prover()
    one = network(members, prover)
    for _ in range(3):
        one.keep_warm(SCOPE, EVERY_S)  # each job has a route of its own: there is one rhythm
    assert len(one._tasks) == 1
    await times(members, 3)
    assert set(prover.warmed) == {(3, 16)}
    await one.aclose()
    assert prover.closed
    await anyio.sleep(5 * EVERY_S)
    seen = members.read
    await anyio.sleep(5 * EVERY_S)
    assert members.read == seen and not one._tasks


async def test_a_reading_has_ended_before_the_ledger_is_closed() -> None:
    happened: list[str] = []
    reading = anyio.Event()

    async def read() -> None:
        reading.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):  # a connection that is given back
                await anyio.lowlevel.checkpoint()
            happened.append("read")

    async def close() -> None:
        happened.append("closed")

    one = network(Members(), Prover())
    one.registry = cast("Any", SimpleNamespace(read=read))
    one.ledger = cast("Any", SimpleNamespace(aclose=close))
    one.keep_warm(SCOPE, EVERY_S)
    with anyio.fail_after(60):
        await reading.wait()
    await one.aclose()
    assert happened == ["read", "closed"]


async def test_a_ledger_that_is_down_is_read_again() -> None:
    members, prover = Members(), Prover()
    members.failing = True
    one = network(members, prover)
    one.keep_warm(SCOPE, EVERY_S)
    await times(members, 2)
    assert prover.warmed == []
    members.failing = False
    await times(members, members.read + 2)
    assert prover.warmed
    await one.aclose()


@pytest.mark.parametrize(("now", "wait"), [(6000.0, 60), (6036.5, 24), (6059.9, 1)])
async def test_a_minute_that_is_used_up_says_how_long_it_lasts(now: float, wait: int) -> None:
    async def none_left(epoch: int) -> int:
        raise AdmissionError("all 16 messages of this minute are used", check="rate", hint="wait")

    held = SimpleNamespace(index=3, limit=16, secret=bytes(32))
    wallet = SimpleNamespace(membership=held, take_message_id=none_left)
    one = MemberProver(cast("Any", wallet), cast("Any", Members()), clock=lambda: now)
    one._provers[SCOPE, 3] = cast("Any", Prover())
    with pytest.raises(AdmissionError, match=f"the next minute begins in {wait} s") as refused:
        await one.prove(SCOPE, bytes(32))
    assert (refused.value.check, refused.value.retry_after_s) == ("rate", wait)


async def test_a_way_that_fails_is_told_with_the_names_of_its_relays() -> None:
    one = network(Members(), Prover())
    failed: list[object] = []
    gateway = SimpleNamespace(
        did=SigningKey(b"\1" * 32).did,
        endpoint="https://gateway.example",
        keys_digest=bytes(32),
        index=7,
    )
    first, second = (SimpleNamespace(url=f"https://{name}.example") for name in ("one", "two"))
    chosen = SimpleNamespace(gateway=gateway, first=first, second=second, others=1)

    async def choose(without: Any) -> Any:
        return chosen

    async def find(peer: Any, chain: Any) -> Any:
        raise PeerError("the way could not be reached", hint="is it running?")

    one.registry = cast("Any", SimpleNamespace(choose=choose, failed=failed.append))
    one._chain = lambda chosen: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(PeerError) as refused:
        await one.find(find)
    assert refused.value.hint == (
        "is it running?; the relays on this way are https://one.example and https://two.example"
    )
    assert failed == [chosen]
    await one.aclose()
