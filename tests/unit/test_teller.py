"""How a person joins and leaves: what is looked at before they stake, and what comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from native import needs_kernel
from privity.anon.membership import RateIdentity
from privity.errors import InputError, PaymentError, PeerError, PolicyRefusal
from privity.infer.anonymous.staking import Stake
from privity.ledger.members import Standing
from teller_world import AT, ME, World

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


@needs_kernel("Rln")
async def test_a_secret_that_is_registered_is_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RateIdentity] = []
    generate = RateIdentity.generate

    def generated() -> RateIdentity:
        made.append(generate())
        return made[-1]

    monkeypatch.setattr(RateIdentity, "generate", generated)
    assert await world.teller.join(16) == await world.teller.join(16) == 5
    member = world.wallet.membership
    assert member is not None and world.registered == [RateIdentity(member.secret).commitment]
    assert len(made) == 1, "none is made that is not used"
    with pytest.raises(InputError, match="closed"):
        made[0].unsafe_secret()


async def refuses() -> None:
    raise PolicyRefusal("the policy admits no such way", report={})


@needs_kernel("Rln")
async def test_nothing_is_staked_or_paid_where_no_way_is_admitted(world: World) -> None:
    asked: list[str] = []

    async def admits() -> None:
        assert not (world.registered or world.deposits), "it is asked before anything is paid"
        asked.append("policy")

    with pytest.raises(PolicyRefusal):
        await world.another_teller(admitted=refuses).prepare(16, 100)
    wallet = world.wallet.read()
    assert wallet.begun_membership is None and not wallet.purchases()
    await world.another_teller(admitted=admits).prepare(16, 100)
    assert asked == ["policy"]
    await world.teller.join(16)
    with pytest.raises(PolicyRefusal):
        # Credits are still to be paid for.
        await world.another_teller(admitted=refuses).prepare(16, None)


@needs_kernel("Rln")
async def test_what_was_paid_is_fetched_or_taken_back_over_whichever_way_there_is(
    world: World,
) -> None:
    await world.teller.join(16)
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(1000)
    world.tokens = 0
    await world.another_teller(admitted=refuses).prepare(16, None)  # nothing is left to pay
    with pytest.raises(InputError, match="for credits"):
        await world.another_teller(admitted=refuses).prepare(16, 100)


@needs_kernel("Rln")
async def test_who_has_too_few_tokens_is_told_how_many_before_anything_is_sent(
    world: World,
) -> None:
    world.tokens = 16_000 + 99
    with pytest.raises(InputError, match="a stake of 16000 and 100 for credits") as refused:
        await world.teller.prepare(16, 100)
    assert ME in refused.value.message and str(AT) in refused.value.message
    assert "have 1 more sent" in refused.value.hint
    assert world.wallet.read().begun_membership is None
    world.tokens += 1
    await world.teller.prepare(16, 100)

    async def breaks(commitment: bytes, limit: int) -> Any:
        raise PeerError("the node is not reached")

    world.register_member = breaks  # type: ignore[method-assign]
    with pytest.raises(PeerError):
        await world.teller.join(16)
    with pytest.raises(InputError, match="a stake of 16000 and 1000"):
        await world.teller.prepare(1, 1000)  # begun with another limit, and not paid yet
    secret = world.wallet.read().begun_membership
    assert secret is not None
    world.registered.append(RateIdentity(secret.secret).commitment)
    world.tokens = 100
    await world.teller.prepare(16, 100)


class Members:
    """The contract of members, with one who joined."""

    def __init__(self) -> None:
        self.at = 0
        self.late = False
        self.gone = False

    async def stake_per_message(self) -> int:
        return 1000

    async def exit_delay(self) -> int:
        return 86_400

    async def standing(self, index: int) -> Standing | None:
        assert index == 3
        return None if self.gone else Standing(16, self.at)

    async def request_exit(self, index: int) -> None:
        if self.at:
            raise InputError("the contract Membership refused requestExit: leaving already")
        self.at = 1_800_000_000

    async def withdraw(self, index: int, *, intent: str = "") -> None:
        assert intent
        if not self.late:
            raise InputError("the contract Membership refused withdraw: too early")
        self.gone = True


def joined(world: World) -> Members:
    """Make the person a member."""
    members = world.members = Members()  # type: ignore[assignment]
    with world.wallet.turn() as wallet:
        wallet.join(bytes(31) + b"\1", 16)
        wallet.joined(3)
    return members


async def test_who_leaves_is_told_what_comes_back_and_when(world: World) -> None:
    with pytest.raises(InputError, match="no membership"):
        await world.teller.stake()
    members = joined(world)
    assert await world.teller.stake() == Stake(16_000, 86_400)
    assert members.at == 0  # looking asks for nothing
    asked = Stake(16_000, 86_400, at=1_800_000_000)
    assert await world.teller.leave_or_collect() == asked
    now = [1_799_999_999.0]
    teller = world.another_teller(clock=lambda: now[0])
    assert await teller.leave_or_collect() == asked  # too early: as it was
    now[0] += 1
    with pytest.raises(InputError, match="too early") as refused:  # the ledger's clock is behind
        await teller.leave_or_collect()
    assert "again" in refused.value.hint
    assert world.wallet.membership is not None
    members.late = True
    assert await world.teller.leave_or_collect() == replace(asked, returned=True)
    assert world.wallet.membership is None


async def test_a_stake_that_is_gone_forgets_no_membership(world: World) -> None:
    """A node that lies could else have a person forget a secret that has a stake."""
    joined(world).gone = True
    with pytest.raises(InputError, match="no stake"):
        await world.teller.leave_or_collect()
    assert world.wallet.membership is not None
