"""What a person buys where desk or ledger refuse: no purchase that fails holds up another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from native import needs_kernel
from privity.errors import InputError, PaymentError
from privity.ledger.credits import DepositState
from teller_world import World

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


async def test_one_purchase_that_fails_holds_up_no_other(world: World) -> None:
    world.poor = 500
    with pytest.raises(InputError):
        await world.teller.top_up(1000)
    with pytest.raises(InputError):
        await world.teller.top_up(100)
    assert world.wallet.read().balance == 100
    world.poor = 10**9
    assert await world.teller.finish_purchases() == 1000


async def test_a_purchase_that_broke_off_is_not_paid_for_twice(world: World) -> None:
    world.refuse = {("issue", 0): "proof"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    assert await world.teller.top_up(100) == 100
    assert len(world.deposits) == 1


async def test_without_an_amount_what_waits_is_finished_and_nothing_else_bought(
    world: World,
) -> None:
    world.refuse = {("issue", 0): "proof"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(1000)
    assert await world.teller.top_up(None) == 1000
    assert list(world.amounts.values()) == [1000], "paid for once, and for nothing more"
    assert await world.teller.top_up(None) == 100, "with nothing waiting, the fewest that are sold"
    assert list(world.amounts.values()) == [1000, 100]


async def test_a_deposit_that_was_not_claimed_in_time_is_taken_back(world: World) -> None:
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):  # early: it still waits
        await world.teller.top_up(100)
    assert world.states == {0: DepositState.PENDING} and world.wallet.read().purchases()
    world.late = True
    with pytest.raises(PaymentError, match="back in your account"):
        await world.teller.top_up(100)
    assert world.states == {0: DepositState.REFUNDED} and not world.wallet.read().purchases()
    world.late, world.refuse = False, {}
    assert await world.teller.top_up(100) == 100
    assert len(world.deposits) == 2


async def test_a_deposit_taken_back_before_a_crash_is_noted_after_it(world: World) -> None:
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.states[0] = DepositState.REFUNDED
    with pytest.raises(PaymentError, match="back in your account"):
        await world.teller.finish_purchases()
    assert not world.wallet.read().purchases()


async def test_a_refund_that_may_be_undone_keeps_the_purchase(world: World) -> None:
    """A reorganisation could let the issuer claim the deposit after all."""
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.states[0], world.believed = DepositState.REFUNDED, {0: DepositState.PENDING}
    with pytest.raises(PaymentError, match="refused"):
        await world.teller.finish_purchases()
    assert world.wallet.read().purchases()
    world.states[0], world.refuse = DepositState.PENDING, {}  # undone
    assert await world.teller.finish_purchases() == 100


@pytest.mark.parametrize("claimed", [True, False])
async def test_a_purchase_that_waits_while_the_issuers_key_changes_is_fetched(
    world: World, claimed: bool
) -> None:
    """The request is bound to no key: who has the new one answers it, for the same deposit."""
    issue = world.desk_issue

    async def lost(body: Any) -> Any:
        if claimed:
            await issue(body)
        raise PaymentError("the answer does not arrive", check="missing")

    world.desk_issue = lost  # type: ignore[method-assign]
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.desk_issue = issue  # type: ignore[method-assign]
    world.rotate()
    assert await world.teller.top_up(100) == 100
    assert len(world.deposits) == 1 and world.states == {0: DepositState.CLAIMED}
    assert not world.wallet.read().purchases()
    with world.wallet.turn(world.issuer.terms) as wallet:  # the new key's: it can be spent
        assert wallet.balance == 100


async def test_an_enclave_that_still_has_the_replaced_key_loses_no_deposit(world: World) -> None:
    """Its credits could not be spent: they wait for the answer under the new key."""
    before = world.issuer
    world.rotate()
    world.on_ledger, world.issuer = world.issuer, before
    for _ in range(2):
        with pytest.raises(PaymentError, match="key that the ledger has now") as refused:
            await world.teller.top_up(100)
        assert refused.value.check == "issuer" and "wallet top-up" in refused.value.hint
    assert len(world.deposits) == 1 and len(world.wallet.read().purchases()) == 1
    world.issuer = world.on_ledger  # the enclave was started with it
    assert await world.teller.finish_purchases() == 100
    assert len(world.deposits) == 1


async def test_a_deposit_that_nobody_claims_after_a_change_of_keys_is_taken_back(
    world: World,
) -> None:
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.rotate()
    world.late = True
    with pytest.raises(PaymentError, match="back in your account"):
        await world.teller.top_up(100)
    assert world.states == {0: DepositState.REFUNDED}
