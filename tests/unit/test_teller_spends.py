"""What a person gets back and takes out: no spend that is refused holds up another."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from native import needs_kernel
from privity.anon.desk import OpenJob, SettledBefore
from privity.anon.wallet_hints import YOUNG_S
from privity.errors import PaymentError, PeerError
from privity.identity.multibase import decode_base64url
from privity.infer.anonymous.teller import Recovered
from privity.ledger.credits import SignedExit
from teller_world import World

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


async def test_one_spend_that_is_refused_holds_up_no_other_refund(world: World) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    world.spend(3)
    world.refuse = {("recover", 0): "spent", ("recover", 1): "running"}
    found = await world.teller.recover()
    assert (found.spends, found.running, found.refused) == (1, 1, 1)
    assert world.wallet.read().balance == 100
    world.refuse = {}
    found = await world.teller.recover()
    assert (found.spends, found.credits) == (2, 0)
    assert world.wallet.read().balance == 300


async def test_spends_are_recovered_one_at_a_time_in_no_order_of_theirs(world: World) -> None:
    """Whoever sees the store's rows, or counts at a gateway, would see whose they all are."""
    for _ in range(6):
        await world.teller.top_up(100)
    world.spend(6)
    kept = [one.id for one in world.wallet.read().unfinished()]
    events: list[str] = []

    async def sleep(seconds: float) -> None:
        assert 0 <= seconds <= 60
        events.append("wait")

    serve = world.desk_recover

    async def recover(body: Any) -> Any:
        spends = {one.spend: one.id for one in world.wallet.read().unfinished()}
        events.append(spends[decode_base64url(body["spend"])])
        return await serve(body)

    world.desk_recover = recover  # type: ignore[method-assign]
    before = world.ways
    chance = random.Random(7)
    teller = world.another_teller(between_s=30, young_s=0, sleep=sleep, chance=chance)
    assert (await teller.recover()).spends == 6
    assert [one == "wait" for one in events] == [False, True] * 5 + [False]
    asked = events[::2]
    assert sorted(asked) == sorted(kept) and asked != kept
    assert world.ways == before + 6


async def test_a_spend_that_is_being_recovered_is_not_taken_back_unsent(world: World) -> None:
    """Another process showed it to the desk: taken back as well, its credits would be lost."""
    await world.teller.top_up(100)
    purse = world.wallet.purse(world.issuer.terms)
    reserved = await purse.spend(10)
    serve = world.desk_recover

    async def recover(body: Any) -> Any:
        await purse.unsent(reserved.id)
        return await serve(body)

    world.desk_recover = recover  # type: ignore[method-assign]
    assert (await world.teller.recover()).spends == 1
    assert world.wallet.read().balance == 100
    again = await purse.spend(10)
    await purse.unsent(again.id)
    await purse.unsent(again.id)  # it changes nothing
    assert world.wallet.read().balance == 100 and not world.wallet.read().unfinished()


async def test_one_payout_that_is_refused_holds_up_no_other(world: World) -> None:
    for _ in range(2):
        await world.teller.top_up(100)
    world.refuse = {("exit", 0): "proof"}
    with pytest.raises(PaymentError):
        await world.teller.exit()
    assert [one.amount for one in world.exits] == [100]
    world.refuse = {}
    assert await world.teller.exit() == 100
    assert len({one.nonce for one in world.exits}) == 2


async def test_a_payout_that_broke_off_on_the_ledger_is_taken_up(world: World) -> None:
    await world.teller.top_up(100)
    sent = world.exit_unspent

    async def down(signed: SignedExit) -> None:
        await sent(signed)
        raise PeerError("the node is down")

    world.exit_unspent = down  # type: ignore[method-assign]
    with pytest.raises(PeerError):
        await world.teller.exit()
    assert world.wallet.read().balance == 0
    world.exit_unspent = sent  # type: ignore[method-assign]
    assert await world.teller.exit() == 100
    assert world.exits[0].nonce == world.exits[1].nonce


async def test_another_process_takes_back_nothing_that_is_being_served(world: World) -> None:
    await world.teller.top_up(100)
    with world.wallet.turn(world.issuer.terms) as mine:
        reserved = mine.spend(10)
    job = await world.desk.begin(reserved.spend, least=10)
    assert isinstance(job, OpenJob)
    found = await world.teller.recover()  # of another process, meanwhile
    assert (found.spends, found.running) == (0, 1)
    refund = await job.settle(4)
    assert (await world.teller.recover()).credits == 4
    with world.wallet.turn(world.issuer.terms) as mine:
        assert mine.refunded(reserved.id, refund) == 4  # again: it changes nothing
        assert mine.balance == 96


async def test_a_spend_whose_job_may_be_on_its_way_is_left_alone(world: World) -> None:
    """The desk was not shown it yet: it would refund it, and refuse the job that comes with it."""
    await world.teller.top_up(100)
    with world.wallet.turn(world.issuer.terms) as mine:
        reserved = mine.spend(10)
    now = [float(reserved.time)]
    teller = world.another_teller(clock=lambda: now[0])
    for age in (0.0, YOUNG_S - 1):
        now[0] = reserved.time + age
        found = await teller.recover()
        assert (found.spends, found.young) == (0, 1) and world.calls.get("recover") is None
    job = await world.desk.begin(reserved.spend, least=10)
    assert isinstance(job, OpenJob)
    await job.settle(4)
    now[0] = reserved.time + YOUNG_S
    assert await teller.recover() == Recovered(1, 4, 0)
    with world.wallet.turn(world.issuer.terms) as mine:
        other = mine.spend(10)
    now[0] = other.time - 60.0  # the clock was put back: it is not left for ever
    assert (await teller.recover()).spends == 1


async def test_what_another_process_took_back_before_it_was_sent_is_not_served(
    world: World,
) -> None:
    await world.teller.top_up(100)
    with world.wallet.turn(world.issuer.terms) as mine:
        reserved = mine.spend(10)
    assert (await world.teller.recover()).spends == 1
    found = await world.desk.begin(reserved.spend, least=10)
    assert isinstance(found, SettledBefore) and found.charged == 0
    with world.wallet.turn(world.issuer.terms) as mine:
        mine.refunded(reserved.id, found.refund)
        assert mine.balance == 100


async def test_a_person_who_waits_is_told_how_far_it_is(world: World) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    world.spend(3)
    told: list[str] = []

    async def sleep(seconds: float) -> None:
        assert f"{seconds:.0f} s" in told[-1]

    chance = random.Random(7)
    teller = world.another_teller(
        told=told.append, between_s=9, young_s=0, sleep=sleep, chance=chance
    )
    await teller.recover()
    assert [one for one in told if "of 3" in one] == [
        f"asking for spend {n} of 3" for n in (1, 2, 3)
    ]
    assert sum("waiting" in one for one in told) == 2
