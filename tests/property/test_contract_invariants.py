"""Random histories: each call does what a small model says, and the books always agree.

Promises of spec/contracts.md: no value is created, no exit is blocked, the root on chain is the
members' tree, a removed leaf is out of it, a nullifier is paid once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import evm
from evm import Chain, Refused, poseidon, sign_exit, tree_root

pytestmark = pytest.mark.slow

STAKE, BOUNTY, DELAY, ISSUE, ROTATION = 100, 7, 1000, 500, 2000
SUPPLY = 10**9
DENOMINATIONS = [10, 100]
HISTORIES = settings(
    max_examples=10,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Ledger(Chain):
    """One deployment for all histories; each begins at a snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self.people = self.accounts[1:4]
        self.operator, self.guardian, self.treasury, self.hunter = self.accounts[4:8]
        self.signer, self.key = evm.signer(1)
        self.token = self.deploy("Token")
        address = self.token.address
        self.membership = self.deploy("Membership", address, STAKE, BOUNTY, DELAY, self.treasury)
        terms = [self.operator, self.signer, self.guardian, DENOMINATIONS, b"\x01" * 32]
        self.credits = self.deploy("Credits", address, *terms, ROTATION, ISSUE)
        for who in self.people:
            self.send(self.token.functions.mint(who, SUPPLY // 4))
            for contract in (self.membership, self.credits):
                self.send(self.token.functions.approve(contract.address, 2**256 - 1), by=who)
        self.beginning = self.tester.take_snapshot()

    def has(self, who: str) -> int:
        return int(self.token.functions.balanceOf(who).call())

    def refusal(self, call: Any, by: str | None = None) -> str | None:
        """Send; return the reason if it was refused."""
        try:
            self.send(call, by=by)
        except Refused as refusal:
            return str(refusal)
        return None

    def all_there_is(self) -> int:
        named = {*self.accounts, self.membership.address, self.credits.address}
        return sum(self.has(who) for who in named)


_LEDGER: list[Ledger] = []


def ledger() -> Ledger:
    """Return the deployment as it was at first."""
    if not _LEDGER:
        _LEDGER.append(Ledger())
    _LEDGER[0].tester.revert_to_snapshot(_LEDGER[0].beginning)
    _LEDGER[0].beginning = _LEDGER[0].tester.take_snapshot()
    return _LEDGER[0]


@dataclass
class Staked:
    secret: int
    limit: int
    staker: str
    leaving: int | None = None


@dataclass
class MembersModel:
    leaves: list[int] = field(default_factory=list)
    staked: dict[int, Staked] = field(default_factory=dict)


class MembershipHistory(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.chain = ledger()
        self.does = self.chain.membership.functions
        self.model = MembersModel()

    @rule(secret=st.integers(1, 4), limit=st.integers(1, 3), who=st.integers(0, 2))
    def register(self, secret: int, limit: int, who: int) -> None:
        staker, commitment = self.chain.people[who], poseidon(secret)
        assert self.chain.refusal(self.does.register(commitment, limit), staker) is None
        self.model.staked[len(self.model.leaves)] = Staked(secret, limit, staker)
        self.model.leaves.append(poseidon(commitment, limit))

    @rule(index=st.integers(0, 6), secret=st.integers(1, 4))
    def slash(self, index: int, secret: int) -> None:
        chain, found = self.chain, self.model.staked.get(index)
        before = chain.has(chain.hunter), chain.has(chain.treasury)
        refusal = chain.refusal(self.does.slash(index, secret, chain.hunter))
        if found is None:
            assert refusal == "no such member"
        elif found.secret != secret:
            assert refusal == "not the secret"
        else:
            assert refusal is None
            rest = STAKE * found.limit - BOUNTY
            assert chain.has(chain.hunter) == before[0] + BOUNTY
            assert chain.has(chain.treasury) == before[1] + rest
            self._out(index)
            del self.model.staked[index]

    @rule(index=st.integers(0, 6), who=st.integers(0, 2))
    def request_exit(self, index: int, who: int) -> None:
        asking, found = self.chain.people[who], self.model.staked.get(index)
        refusal = self.chain.refusal(self.does.requestExit(index), asking)
        if found is None:
            assert refusal == "no such member"
        elif found.staker != asking:
            assert refusal == "not the staker"
        elif found.leaving is not None:
            assert refusal == "leaving already"
        else:
            assert refusal is None
            found.leaving = self.chain.now + DELAY
            self._out(index)

    @rule(index=st.integers(0, 6))
    def withdraw(self, index: int) -> None:
        found = self.model.staked.get(index)
        refusal = self.chain.refusal(self.does.withdraw(index))
        if found is None:
            assert refusal == "no such member"
        elif found.leaving is None:
            assert refusal == "not leaving"
        elif self.chain.now < found.leaving:
            assert refusal == "too early"
        else:
            assert refusal is None
            del self.model.staked[index]

    @rule(seconds=st.sampled_from([DELAY // 3, DELAY]))
    def wait(self, seconds: int) -> None:
        self.chain.wait(seconds)

    @precondition(lambda self: any(self.model.leaves))
    @rule()
    def look_at_the_root(self) -> None:
        assert self.does.root().call() == tree_root(self.model.leaves)

    @invariant()
    def the_contract_holds_the_stakes_and_no_more(self) -> None:
        staked = sum(STAKE * found.limit for found in self.model.staked.values())
        assert self.chain.has(self.chain.membership.address) == staked

    def _out(self, index: int) -> None:
        self.model.leaves[index] = 0
        assert self.does.leaf(index).call() == 0

    def teardown(self) -> None:
        """Let everybody leave: nothing can keep them, and nothing stays behind."""
        if not hasattr(self, "model"):
            return
        assert self.does.root().call() == tree_root(self.model.leaves)
        for index, found in self.model.staked.items():
            if found.leaving is None:
                self.chain.send(self.does.requestExit(index), by=found.staker)
        self.chain.wait(DELAY)
        for index, found in self.model.staked.items():
            before = self.chain.has(found.staker)
            self.chain.send(self.does.withdraw(index))
            assert self.chain.has(found.staker) == before + STAKE * found.limit
        assert self.chain.has(self.chain.membership.address) == 0
        assert self.chain.all_there_is() == 3 * (SUPPLY // 4)


@dataclass
class Bought:
    who: str
    amount: int
    until: int
    state: str = "pending"


class CreditsHistory(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.chain = ledger()
        self.does = self.chain.credits.functions
        self.bought: list[Bought] = []
        self.used: set[int] = set()
        self.exits: set[int] = set()
        self.issued = self.out = 0
        self.paused = False

    @rule(amount=st.sampled_from([*DENOMINATIONS, 11]), who=st.integers(0, 2))
    def deposit(self, amount: int, who: int) -> None:
        buyer = self.chain.people[who]
        refusal = self.chain.refusal(self.does.deposit(amount, b"\x05" * 32), buyer)
        if self.paused:
            assert refusal == "paused"
        elif amount not in DENOMINATIONS:
            assert refusal == "not a denomination"
        else:
            assert refusal is None
            self.bought.append(Bought(buyer, amount, self.chain.now + ISSUE))

    @precondition(lambda self: self.bought)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.bought) - 1))
        found = self.bought[index]
        refusal = self.chain.refusal(self.does.claimIssued(index), self.chain.operator)
        if self.paused:
            assert refusal == "paused"
        elif found.state != "pending":
            assert refusal == "not pending"
        elif self.chain.now > found.until:
            assert refusal == "too late"
        else:
            assert refusal is None
            found.state = "claimed"
            self.issued += found.amount

    @precondition(lambda self: self.bought)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.bought) - 1))
        found = self.bought[index]
        refusal = self.chain.refusal(self.does.refundDeposit(index), found.who)
        if found.state != "pending":
            assert refusal == "not pending"
        elif self.chain.now <= found.until:
            assert refusal == "too early"
        else:
            assert refusal is None
            found.state = "refunded"

    @rule(spent=st.dictionaries(st.integers(1, 9), st.integers(0, 60), min_size=1, max_size=4))
    def withdraw_spent(self, spent: dict[int, int]) -> None:
        batch = [number.to_bytes(32, "big") for number in spent]
        call = self.does.withdrawSpent(b"\x06" * 32, batch, list(spent.values()))
        refusal = self.chain.refusal(call, self.chain.operator)
        if self.paused:
            assert refusal == "paused"
        elif self.used & set(spent) or 0 in spent.values():
            assert refusal in ("nullifier used", "nothing to withdraw")
        elif sum(spent.values()) > self.issued - self.out:
            assert refusal == "more than was issued"
        else:
            assert refusal is None
            self.used |= set(spent)
            self.out += sum(spent.values())

    @rule(nonce=st.integers(1, 9), amount=st.integers(1, 120), who=st.integers(0, 2))
    def exit(self, nonce: int, amount: int, who: int) -> None:
        refusal = self._exit(nonce, amount, self.chain.people[who])
        if nonce in self.exits:  # one that was withdrawn against stops no exit
            assert refusal == "nullifier used"
        elif amount > self.issued - self.out:
            assert refusal == "more than was issued"
        else:
            assert refusal is None
            self.used.add(nonce)
            self.exits.add(nonce)
            self.out += amount

    @rule()
    def pause_or_go_on(self) -> None:
        call = self.does.unpause() if self.paused else self.does.pause()
        self.chain.send(call, by=self.chain.guardian)
        self.paused = not self.paused

    @rule(seconds=st.sampled_from([ISSUE // 3, ISSUE + 1]))
    def wait(self, seconds: int) -> None:
        self.chain.wait(seconds)

    @invariant()
    def the_books_agree(self) -> None:
        does = self.does
        pending = sum(found.amount for found in self.bought if found.state == "pending")
        assert does.pending().call() == pending
        assert does.issued().call() == self.issued
        assert does.withdrawn().call() + does.exited().call() == self.out
        assert self.chain.has(self.chain.credits.address) == pending + self.issued - self.out

    def _exit(self, nonce: int, amount: int, to: str) -> str | None:
        chain, raw = self.chain, nonce.to_bytes(32, "big")
        signed = sign_exit(chain.credits, chain.key, amount, to, raw, chain.web3.eth.chain_id)
        return chain.refusal(self.does.exitUnspent(amount, to, raw, signed))

    def teardown(self) -> None:
        """Let everybody out, paused: refunds of what is pending, exits of what is unspent."""
        if not hasattr(self, "bought"):
            return
        if not self.paused:
            self.pause_or_go_on()
        self.chain.wait(ISSUE + 1)
        for index, found in enumerate(self.bought):
            if found.state == "pending":
                self.chain.send(self.does.refundDeposit(index), by=found.who)
        if self.issued > self.out:
            assert self._exit(1000, self.issued - self.out, self.chain.people[0]) is None
        assert self.chain.has(self.chain.credits.address) == 0
        assert self.chain.all_there_is() == 3 * (SUPPLY // 4)


def test_any_history_of_members_agrees_with_a_model_and_all_can_leave() -> None:
    run_state_machine_as_test(MembershipHistory, settings=HISTORIES)


def test_any_history_of_credits_agrees_with_a_model_and_all_gets_out_while_paused() -> None:
    run_state_machine_as_test(CreditsHistory, settings=HISTORIES)
