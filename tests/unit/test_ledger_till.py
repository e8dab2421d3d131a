"""Selling credits for deposits: for whom, when, and once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fake_spends import issuer
from native import needs_kernel
from privity.anon.credits import prepare_purchase
from privity.errors import PaymentError, PeerError
from privity.ledger.client import Ledger
from privity.ledger.credits import Deposit, DepositState
from privity.ledger.wire import Address
from privity.node.payments import LedgerTill

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

CONFIRMATIONS = 12


class Chain:
    """A chain whose newest blocks may be undone: what is claimed, and as of which block."""

    def __init__(self, deposit: Deposit) -> None:
        self.deposit = deposit
        self.head, self.claimed_at = 100, 0
        self.claims = 0
        self.credits = self.members = self

    async def confirmed(self) -> Any:
        return SimpleNamespace(number=self.head - CONFIRMATIONS)

    async def deposit_at(self, number: int, block: Any = None) -> Deposit:
        claimed = self.claimed_at and (block is None or block.number >= self.claimed_at)
        return replace(self.deposit, state=DepositState.CLAIMED) if claimed else self.deposit

    async def claim(self, number: int) -> None:
        self.claims += 1
        self.claimed_at, self.head = self.head + 1, self.head + 1 + CONFIRMATIONS


def sold() -> tuple[LedgerTill, Chain, bytes, Any]:
    of = issuer()
    pending, request = prepare_purchase(of.terms, 100)
    digest = hashlib.sha256(request).digest()
    chain = Chain(Deposit(0, Address("0x"), 100, digest, 0, DepositState.PENDING))
    return LedgerTill(cast("Ledger", chain), of), chain, request, pending


async def test_a_deposit_is_claimed_once_and_answered_again() -> None:
    till, chain, request, pending = sold()
    for _ in range(2):
        assert pending.complete(await till.issue(0, request)).balance == 100
    assert chain.claims == 1


async def test_nothing_is_answered_on_a_claim_that_may_be_undone() -> None:
    """Who asks twice would have credits for a deposit that went with its block."""
    till, chain, request, _ = sold()
    chain.head += 1
    chain.claimed_at = chain.head  # by the first answer, which still waits
    with pytest.raises(PeerError):
        await till.issue(0, request)
    chain.head += CONFIRMATIONS
    await till.issue(0, request)
    assert chain.claims == 0


@pytest.mark.parametrize("state", [DepositState.NONE, DepositState.REFUNDED])
async def test_no_deposit_no_credits(state: DepositState) -> None:
    till, chain, request, _ = sold()
    chain.deposit = replace(chain.deposit, state=state)
    with pytest.raises(PaymentError):
        await till.issue(0, request)


async def test_a_deposit_pays_for_the_request_it_names() -> None:
    till, _, _, _ = sold()
    with pytest.raises(PaymentError):
        await till.issue(0, sold()[2])
