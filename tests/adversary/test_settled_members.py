"""The list a question is proved of says neither who has just joined nor when a device reads."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest

from native import needs_native
from privity.anon.field import field, field_from_int
from privity.anon.membership import MemberTree
from privity.errors import InputError, PeerError
from privity.infer.anonymous import device_members
from privity.infer.anonymous.device_members import DeviceMembers
from privity.infer.anonymous.settled import SettledMembers
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent, MemberPage
from privity.ledger.wire import Block, Hash

pytestmark = [pytest.mark.anyio, needs_native]

PERIOD_S = 60
START = 60_000.0


class Clock:
    """A device's clock; it stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Chain:
    """A ledger of members: one block a registration, with the time it was mined."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fork = itertools.count()
        self.blocks: list[tuple[int, float, MemberEvent]] = []
        self.asked: list[int] = []

    @property
    def events(self) -> list[MemberEvent]:
        return [event for *_, event in self.blocks]

    def join(self, leaf: int = 0, *, at: float | None = None) -> int:
        added = [one for one in self.events if isinstance(one, LeafAdded)]
        index = len(added)
        one = LeafAdded(index, field_from_int(leaf or 1000 + index), 5, len(self.blocks))
        self._mine(one, at)
        return index

    def remove(self, index: int) -> None:
        leaf = next(e.leaf for e in self.events if isinstance(e, LeafAdded) and e.index == index)
        self._mine(LeafRemoved(index, leaf, True, len(self.blocks)), None)

    def _mine(self, event: MemberEvent, at: float | None) -> None:
        self.blocks.append((next(self._fork), self._clock.now if at is None else at, event))

    async def page(self, since: int | None = None) -> MemberPage | None:
        first, last = since or 0, await self.block(len(self.blocks) - 1)
        if last is None or last.number < first:
            return None
        return MemberPage(first, last, tuple(self.events[first:]))

    async def block(self, number: int) -> Block | None:
        self.asked.append(number)
        if not 0 <= number < len(self.blocks):
            return None
        fork, at, _ = self.blocks[number]
        return Block(number, Hash(f"{number}/{fork}".encode().ljust(32, b".")), int(at), 0)

    async def check_root(self, root: bytes, block: Block) -> None:
        if root != root_of(self.events[: block.number + 1]):
            raise PeerError("another root")


def root_of(events: list[MemberEvent]) -> bytes:
    tree = MemberTree()
    for one in events:
        if isinstance(one, LeafAdded):
            tree.append(field(one.leaf))
        else:
            tree.remove(one.index)
    return bytes(tree.root)


def device(chain: Chain, clock: Clock, path: Path | None = None) -> DeviceMembers:
    members: Any = chain
    return DeviceMembers(members, path, settle_s=PERIOD_S, clock=clock)


async def root(one: DeviceMembers, index: int = 0) -> bytes:
    return bytes((await one.place(index, 5)).root)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(device_members.anyio, "sleep", clock.sleep)
    return clock


async def test_when_a_device_read_does_not_show(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    early, late = device(chain, clock), device(chain, clock)
    seen = set()
    for _ in range(PERIOD_S // 10 - 1):  # each reads at its own times, somebody joins in between
        await early.refresh(now=True)
        chain.join()
        clock.now += 5
        await late.refresh(now=True)
        seen |= {await root(early), await root(late)}
        clock.now += 5
    assert seen == {root_of(chain.events[:1])}
    assert len(chain.events) == PERIOD_S // 10


async def test_all_move_on_together(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    one, other = device(chain, clock), device(chain, clock)
    chain.join()
    await one.refresh(now=True)
    clock.now += PERIOD_S - 1
    await other.refresh(now=True)
    before = root_of(chain.events[:1])
    assert (await root(one), await root(other)) == (before, before)
    clock.now += PERIOD_S + 1
    after = root_of(chain.events)
    assert (await root(one), await root(other)) == (after, after)


async def test_a_newcomer_waits_until_they_are_one_of_many(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    clock.now += 17
    index = chain.join()
    began = clock.now
    one = device(chain, clock)
    # What the ledger shows them do anyway does not wait: it could not be proved otherwise.
    assert await root(one, index) == root_of(chain.events)
    await one.wait_until_settled(index)
    assert PERIOD_S < clock.now - began <= 2.2 * PERIOD_S
    chain.join()
    old = device(chain, clock)
    assert await root(one, index) == await root(old) == root_of(chain.events[:2])


async def test_who_is_no_newcomer_does_not_wait(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 2 * PERIOD_S
    chain.join()
    began = clock.now
    await device(chain, clock).wait_until_settled(0)
    assert clock.now == began


async def test_who_is_no_member_does_not_wait_for_ever(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    with pytest.raises(InputError, match="no leaf"):
        await device(chain, clock).wait_until_settled(1)


async def test_a_list_with_somebody_who_was_removed_is_not_proved_of(clock: Clock) -> None:
    chain = Chain(clock)
    for _ in range(3):
        chain.join()
    clock.now += 10 * PERIOD_S
    one = device(chain, clock)
    assert await root(one) == root_of(chain.events)
    chain.join()
    chain.remove(1)
    chain.join()
    await one.refresh(now=True)
    assert await root(one) == root_of(chain.events[:5])  # settled at once, and what was before it


async def test_a_list_that_gateways_forget_is_given_up(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    one = device(chain, clock)
    for _ in range(40):
        chain.join()
    await one.refresh(now=True)
    assert await root(one) == root_of(chain.events[: 41 - 32])


async def test_a_block_of_the_future_settles(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join(at=START + 10**6)
    one = device(chain, clock)
    await one.wait_until_settled(0)
    assert clock.now < START + 3 * PERIOD_S


async def test_what_the_ledger_took_back_is_not_proved_of(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    chain.join()
    chain.join()
    clock.now += 10 * PERIOD_S
    one = device(chain, clock)
    assert await root(one) == root_of(chain.events)
    del chain.blocks[1:]
    chain.join(leaf=77)
    chain.join()
    clock.now += 10 * PERIOD_S
    await one.refresh(now=True)
    assert await root(one) == root_of(chain.events)


async def test_a_clock_that_is_set_back_is_no_way_round(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    chain.join()
    clock.now += 10 * PERIOD_S
    one = device(chain, clock)
    assert await root(one) == root_of(chain.events)
    clock.now -= 10 * PERIOD_S
    assert await root(one) == root_of(chain.events[:1])


async def test_what_is_kept_on_disk_settles_as_well(clock: Clock, tmp_path: Path) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    chain.join()
    await device(chain, clock, tmp_path / "members").refresh()
    chain.asked.clear()
    again = device(chain, clock, tmp_path / "members")
    assert await root(again) == root_of(chain.events[:1])
    clock.now += 2 * PERIOD_S
    assert await root(again) == root_of(chain.events)


async def test_of_a_long_history_only_the_newest_blocks_are_asked_for(clock: Clock) -> None:
    chain = Chain(clock)
    for _ in range(500):
        chain.join()
    clock.now += 10 * PERIOD_S
    one = device(chain, clock)
    await one.refresh()
    assert set(chain.asked) == {499}


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(InputError):
        SettledMembers(0)


async def test_waiting_can_be_given_up() -> None:
    chain = Chain(Clock())
    chain.join()
    one = DeviceMembers(chain, settle_s=PERIOD_S)  # type: ignore[arg-type]
    chain.blocks[0] = (0, 2.0**40, chain.blocks[0][2])
    with anyio.move_on_after(0.2) as scope:
        await one.wait_until_settled(0)
    assert scope.cancelled_caught
