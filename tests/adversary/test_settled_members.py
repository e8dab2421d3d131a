"""The list a question is proved of says neither who has just joined nor when a device reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from member_chain import PERIOD_S, START, Chain, Clock, device, root_of
from native import needs_native
from privity.errors import InputError
from privity.infer.anonymous import device_members
from privity.infer.anonymous.device_members import DeviceMembers
from privity.infer.anonymous.settled import SettledMembers
from privity.ledger.members import MemberPage
from privity.ledger.wire import Block

pytestmark = [pytest.mark.anyio, needs_native]


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
    assert PERIOD_S < clock.now - began <= 3 * PERIOD_S
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
    assert clock.now <= START + 3 * PERIOD_S


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


class Confirming(Chain):
    """A chain of 12 s a block, of which a device believes what 12 blocks follow."""

    DELAY_S = 12 * 12

    async def page(self, since: int | None = None) -> MemberPage | None:
        first = since or 0
        seen = [n for n, (_, at, _) in enumerate(self.blocks) if at <= self.now() - self.DELAY_S]
        if not seen or seen[-1] < first:
            return None
        last = await self.block(seen[-1])
        assert last is not None
        return MemberPage(first, last, tuple(self.events[first : seen[-1] + 1]))

    async def confirming(self, number: int) -> Block | None:
        block = await self.block(number)
        return block and replace(block, time=block.time + self.DELAY_S)


async def test_when_a_device_read_does_not_show_with_confirmations(clock: Clock) -> None:
    chain = Confirming(clock)
    chain.join()
    clock.now += 100 * PERIOD_S
    early, late = device(chain, clock), device(chain, clock)
    chain.join()  # somebody joins; 144 s later it is believed
    clock.now += chain.DELAY_S - 1
    await early.refresh(now=True)
    clock.now += 2
    await late.refresh(now=True)
    assert await root(early) == await root(late) == root_of(chain.events[:1])


async def test_a_newcomer_waits_with_confirmations(clock: Clock) -> None:
    chain = Confirming(clock)
    chain.join()
    clock.now += 100 * PERIOD_S
    old = device(chain, clock)
    index = chain.join()
    clock.now += chain.DELAY_S - 1
    await old.refresh(now=True)
    clock.now += 1  # who joined waited for as many blocks
    new, joined = device(chain, clock), clock.now
    await new.wait_until_settled(index)
    assert clock.now - joined > PERIOD_S
    assert await root(new, index) == await root(old)


async def test_a_block_dated_a_few_seconds_ahead_is_of_one_period_for_all(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S + 58  # 2 s before the next period
    chain.join(at=clock.now + 4)
    early, late = device(chain, clock), device(chain, clock)
    await early.refresh(now=True)
    clock.now += 10
    for _ in range(12):
        await late.refresh(now=True)
        assert await root(early) == await root(late)
        clock.now += 10
        await early.refresh(now=True)


async def test_a_block_that_was_replaced_is_dated_anew(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S + 50
    chain.join()
    early, late = device(chain, clock), device(chain, clock)
    await early.refresh(now=True)
    del chain.blocks[1:]
    clock.now += 20
    chain.join(leaf=77)  # another at the same height, a period later
    await early.refresh(now=True)
    await late.refresh(now=True)
    clock.now += PERIOD_S
    await early.refresh(now=True)
    await late.refresh(now=True)
    assert await root(early) == await root(late)


async def test_a_first_question_leaves_at_no_moment_that_tells_a_newcomers(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    left = []
    for number in range(60):
        clock.now += 7 * PERIOD_S + 1.5 * number  # they join anywhere in a period
        index = chain.join()
        await device(chain, clock).wait_until_settled(index)
        left.append(clock.now % PERIOD_S)
    # Ordinary questions fall anywhere in a period; so do these: each quarter has some of 60.
    assert {int(4 * at / PERIOD_S) for at in left} == {0, 1, 2, 3}


async def test_the_crowd_is_of_the_list_that_is_proved_of(clock: Clock) -> None:
    chain = Chain(clock)
    for _ in range(3):
        chain.join()
    chain.remove(1)
    clock.now += 10 * PERIOD_S
    chain.join()
    one = device(chain, clock)
    assert await one.crowd() == 2
    clock.now += 2 * PERIOD_S
    assert await one.crowd() == 3


async def test_a_newcomer_is_told_of_the_crowd_that_they_will_wait_for(clock: Clock) -> None:
    chain = Chain(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    one = device(chain, clock)
    assert await one.crowd() == 1
    chain.join()
    own = chain.join()  # after the last reading
    chain.join()
    assert await one.crowd(own) == 3 and await one.crowd() == 1
    await one.wait_until_settled(own)
    assert await one.crowd(own) >= 3


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
