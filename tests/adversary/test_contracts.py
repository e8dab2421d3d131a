"""spec/contracts.md: what an operator, a guardian, a cheater and a front-runner cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import evm
from evm import (
    Chain,
    Refused,
    artefact,
    odd_token,
    poseidon,
    refused,
    restored,
    sign_exit,
    tree_root,
)
from native import needs_kernel

STAKE, BOUNTY, DELAY = 100, 7, 1000
ROTATION, ISSUE = 2000, 500
SECRET, LIMIT = 77, 3
DIGEST = b"\xd1" * 32
NULLIFIER = b"\x09" * 32


class World(Chain):
    """Everything over one token, which may be an odd one."""

    def __init__(self, token: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.member, self.hunter, self.treasury = self.accounts[1:4]
        self.operator, self.guardian, self.thief = self.accounts[4:7]
        self.signer, self.key = evm.signer(1)
        self.token = self.deploy(token or "Token")
        address = self.token.address
        self.membership = self.deploy("Membership", address, STAKE, BOUNTY, DELAY, self.treasury)
        terms = [self.operator, self.signer, self.guardian, [100], b"\x01" * 32, ROTATION, ISSUE]
        self.credits = self.deploy("Credits", address, *terms)
        self.providers = self.deploy("Providers", address, STAKE, DELAY)
        self.send(self.token.functions.mint(self.member, 10_000))
        if token is None:
            for contract in (self.membership, self.credits, self.providers):
                allow = self.token.functions.approve(contract.address, 2**256 - 1)
                self.send(allow, by=self.member)

    def register(self, secret: int = SECRET) -> int:
        call = self.membership.functions.register(poseidon(secret), LIMIT)
        return int(self.result(call, by=self.member))

    def bought(self) -> int:
        deposit = int(self.result(self.credits.functions.deposit(100, DIGEST), by=self.member))
        self.send(self.credits.functions.claimIssued(deposit), by=self.operator)
        return deposit

    def exit(self, amount: int = 100, nonce: bytes = NULLIFIER) -> Any:
        chain_id = self.web3.eth.chain_id
        signed = sign_exit(self.credits, self.key, amount, self.member, nonce, chain_id)
        return self.credits.functions.exitUnspent(amount, self.member, nonce, signed)

    def has(self, who: str) -> int:
        return int(self.token.functions.balanceOf(who).call())


@pytest.fixture(scope="module")
def made() -> World:
    return World()


@pytest.fixture
def world(made: World) -> Iterator[World]:
    yield from restored(made)


# The cheater.


def test_slashing_oneself_does_not_pay(world: World) -> None:
    before = world.has(world.member)
    index = world.register()
    world.send(world.membership.functions.slash(index, SECRET, world.member), by=world.member)
    assert world.has(world.member) == before - STAKE * LIMIT + BOUNTY
    assert STAKE * LIMIT - BOUNTY > 0


def test_leaving_does_not_save_the_stake_until_it_is_withdrawn(world: World) -> None:
    index = world.register()
    does = world.membership.functions
    world.send(does.requestExit(index), by=world.member)
    world.wait(DELAY + 10)
    receipt = world.send(does.slash(index, SECRET, world.hunter))
    assert world.has(world.hunter) == BOUNTY
    assert world.has(world.treasury) == STAKE * LIMIT - BOUNTY
    assert world.events(world.membership, "Removed", receipt) == []  # the leaf was out before
    assert len(world.events(world.membership, "Slashed", receipt)) == 1
    with refused("no such member"):
        world.send(does.withdraw(index), by=world.member)


def test_a_stake_is_lost_once(world: World) -> None:
    index, does = world.register(), world.membership.functions
    world.register(SECRET + 1)
    world.send(does.slash(index, SECRET, world.hunter))
    with refused("no such member"):
        world.send(does.slash(index, SECRET, world.hunter))
    assert world.has(world.membership.address) == STAKE * LIMIT


def test_a_slashed_leaf_is_out_and_its_place_is_never_used_again(world: World) -> None:
    index, does = world.register(), world.membership.functions
    neighbour = world.register(SECRET + 1)
    world.send(does.slash(index, SECRET, world.hunter))
    other = poseidon(poseidon(SECRET + 1), LIMIT)
    assert does.root().call() == tree_root([0, other])
    assert world.register() == neighbour + 1
    assert does.leaf(index).call() == 0


@needs_kernel("Rln", "MerkleTree")
def test_a_slashed_member_can_prove_nothing_against_the_new_root(world: World) -> None:
    """With its old path, and with the path that its place has now, of a leaf that is 0."""
    from dataclasses import replace

    from privity.anon.field import Field, field_from_int
    from privity.anon.membership import MemberTree, RateIdentity
    from privity.anon.rln import Prover, verify_proof
    from privity.errors import PrivityError

    identity, tree = RateIdentity(field_from_int(SECRET)), MemberTree()
    index, does = world.register(), world.membership.functions
    world.register(SECRET + 1)
    tree.append(identity.leaf(LIMIT))
    tree.append(RateIdentity(field_from_int(SECRET + 1)).leaf(LIMIT))
    before = tree.place(index, LIMIT)
    assert int.from_bytes(before.root, "little") == does.root().call()
    world.send(does.slash(index, SECRET, world.hunter))
    tree.remove(index)
    now = Field(does.root().call().to_bytes(32, "little"))
    assert tree.root == now
    proofs = []
    for place in (before, replace(before, path=tree.path(index), root=now)):
        prover = Prover(identity, "did:key:zProvider")
        try:
            proofs.append(prover.prove(place, epoch=1, message_id=0, digest=DIGEST))
        except PrivityError:
            continue  # our prover sees that the path does not lead to the root it was given
        finally:
            prover.close()
    assert proofs
    for made in proofs:
        assert not does.knownRoot(int.from_bytes(made.root, "little")).call()
        with pytest.raises(PrivityError):
            verify_proof(replace(made, root=now), scope="did:key:zProvider", digest=DIGEST)


def test_registering_anothers_commitment_harms_only_who_pays_for_it(world: World) -> None:
    does = world.membership.functions
    world.send(world.token.functions.mint(world.thief, 10_000))
    allow = world.token.functions.approve(world.membership.address, 10_000)
    world.send(allow, by=world.thief)
    world.send(does.register(poseidon(SECRET), LIMIT), by=world.thief)
    index = world.register()
    with refused("not the staker"):
        world.send(does.requestExit(index), by=world.thief)
    world.send(does.requestExit(index), by=world.member)


# The front-runner.


def test_front_running_a_slash_changes_only_who_gets_the_bounty(world: World) -> None:
    index, does = world.register(), world.membership.functions
    world.send(does.slash(index, SECRET, world.thief), by=world.thief)
    with refused("no such member"):
        world.send(does.slash(index, SECRET, world.hunter), by=world.hunter)
    assert world.has(world.thief) == BOUNTY
    assert world.has(world.treasury) == STAKE * LIMIT - BOUNTY


def test_whoever_sends_an_exit_pays_the_one_it_was_signed_for(world: World) -> None:
    world.bought()
    before = world.has(world.member)
    world.send(world.exit(), by=world.thief)
    assert world.has(world.member) == before + 100
    assert world.has(world.thief) == 0


def test_a_refund_that_is_due_cannot_be_overtaken_by_a_claim(world: World) -> None:
    does = world.credits.functions
    deposit = int(world.result(does.deposit(100, DIGEST), by=world.member))
    world.wait(ISSUE + 1)
    with refused("too late"):
        world.send(does.claimIssued(deposit), by=world.operator)
    world.send(does.refundDeposit(deposit), by=world.member)


# The operator.


def test_the_operator_takes_no_more_than_was_issued(world: World) -> None:
    world.bought()
    does = world.credits.functions
    world.send(does.deposit(100, DIGEST), by=world.member)  # pending: not the operator's
    one, two = b"\x01" * 32, b"\x02" * 32
    with refused("more than was issued"):
        world.send(does.withdrawSpent(DIGEST, [one], [101]), by=world.operator)
    world.send(does.withdrawSpent(DIGEST, [one], [100]), by=world.operator)
    with refused("more than was issued"):
        world.send(does.withdrawSpent(DIGEST, [two], [1]), by=world.operator)


def test_a_nullifier_is_paid_for_once_to_either_side(world: World) -> None:
    world.bought()
    world.bought()
    does, other = world.credits.functions, b"\x0a" * 32
    world.send(does.withdrawSpent(DIGEST, [NULLIFIER], [10]), by=world.operator)
    with refused("nullifier used"):
        world.send(does.withdrawSpent(DIGEST, [NULLIFIER], [10]), by=world.operator)
    world.send(world.exit(nonce=other))
    with refused("nullifier used"):
        world.send(does.withdrawSpent(DIGEST, [other], [10]), by=world.operator)
    with refused("nullifier used"):
        world.send(world.exit(nonce=other))


def test_a_withdrawal_under_its_nullifier_stops_no_signed_exit(world: World) -> None:
    """The operator sees an exit before it is mined, and names its nullifier first."""
    world.bought()
    world.bought()
    does = world.credits.functions
    with refused("nothing to withdraw"):
        world.send(does.withdrawSpent(DIGEST, [NULLIFIER], [0]), by=world.operator)
    world.send(does.withdrawSpent(DIGEST, [NULLIFIER], [1]), by=world.operator)
    before = world.has(world.member)
    world.send(world.exit(), by=world.member)
    assert world.has(world.member) == before + 100
    with refused("nullifier used"):
        world.send(world.exit(), by=world.member)
    with refused("more than was issued"):  # both came out of what was issued, no more
        world.send(does.withdrawSpent(DIGEST, [b"\x0b" * 32], [100]), by=world.operator)


def test_the_operator_cannot_change_the_issuers_key_unseen(world: World) -> None:
    does = world.credits.functions
    world.send(does.proposeIssuerKey(b"\x02" * 32), by=world.operator)
    with refused("too early"):
        world.send(does.activateIssuerKey(), by=world.operator)
    assert does.issuerKey().call() == b"\x01" * 32


# The guardian.


def test_a_pause_stops_no_refund_and_no_exit(world: World) -> None:
    world.bought()
    does = world.credits.functions
    deposit = int(world.result(does.deposit(100, DIGEST), by=world.member))
    world.send(does.pause(), by=world.guardian)
    world.wait(ISSUE + 1)
    before = world.has(world.member)
    world.send(does.refundDeposit(deposit), by=world.member)
    world.send(world.exit(), by=world.member)
    assert world.has(world.member) == before + 200


def test_a_pause_stops_the_operator(world: World) -> None:
    world.bought()
    does = world.credits.functions
    deposit = int(world.result(does.deposit(100, DIGEST), by=world.member))
    world.send(does.pause(), by=world.guardian)
    for call in (does.claimIssued(deposit), does.withdrawSpent(DIGEST, [NULLIFIER], [1])):
        with refused("paused"):
            world.send(call, by=world.operator)


def test_the_guardian_can_move_nothing(world: World) -> None:
    world.bought()
    does = world.credits.functions
    with refused("not the operator"):
        world.send(does.withdrawSpent(DIGEST, [NULLIFIER], [1]), by=world.guardian)
    with refused("not the operator"):
        world.send(does.proposeSigner(world.guardian), by=world.guardian)
    with refused("not the operator"):
        world.send(does.proposeIssuerKey(b"\x02" * 32), by=world.guardian)


@pytest.mark.parametrize("name", ["Membership", "Providers"])
def test_nobody_can_pause_own_or_upgrade(name: str) -> None:
    """Every call that changes something is named here: a new one has to be argued."""
    known = {
        "Membership": {"register", "slash", "requestExit", "withdraw", "recordRoot"},
        "Providers": {"register", "update", "retire", "withdraw"},
    }
    changing = {
        entry["name"]
        for entry in artefact(name)["abi"]
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert changing == known[name]


def test_no_contract_takes_ether(world: World) -> None:
    for contract in (world.token, world.membership, world.credits, world.providers):
        terms = {"from": world.member, "to": contract.address, "value": 1, "gas": 100_000}
        sent = world.web3.eth.send_transaction(terms)  # type: ignore[arg-type]
        assert world.web3.eth.get_transaction_receipt(sent)["status"] == 0
        for entry in contract.abi:
            assert entry.get("stateMutability") != "payable"


# Tokens that do not behave.


@pytest.fixture(scope="module")
def odd() -> World:
    return World(odd_token("Odd"))


def test_a_token_that_says_false_is_refused(odd: World) -> None:
    before = odd.tester.take_snapshot()
    no_one = evm.NO_ONE
    odd.bought()
    index = odd.register()
    odd.send(odd.token.functions.behave(False, 0, no_one, b""))
    calls = [
        odd.membership.functions.register(poseidon(1), 1),
        odd.credits.functions.deposit(100, DIGEST),
        odd.providers.functions.register(1, "did:x", "https://x.example", DIGEST, 1),
    ]
    for call in calls:
        with refused("not paid"):
            odd.send(call, by=odd.member)
    for call in (odd.exit(), odd.membership.functions.slash(index, SECRET, odd.hunter)):
        with refused("not paid out"):
            odd.send(call)
    assert odd.membership.functions.leafCount().call() == 1
    assert odd.membership.functions.leaf(index).call() != 0
    odd.tester.revert_to_snapshot(before)


def test_a_token_that_keeps_a_fee_is_refused(odd: World) -> None:
    before = odd.tester.take_snapshot()
    odd.send(odd.token.functions.behave(True, 1, evm.NO_ONE, b""))
    for call in (
        odd.membership.functions.register(poseidon(1), 1),
        odd.credits.functions.deposit(100, DIGEST),
    ):
        with refused("paid another amount"):
            odd.send(call, by=odd.member)
    odd.tester.revert_to_snapshot(before)


def test_a_token_that_returns_nothing_is_taken() -> None:
    world = World(odd_token("Silent"))
    index = world.register()
    world.send(world.membership.functions.slash(index, SECRET, world.hunter))
    assert world.has(world.hunter) == BOUNTY
    world.bought()
    before = world.has(world.member)
    world.send(world.exit())
    assert world.has(world.member) == before + 100


@pytest.mark.parametrize("entered", ["exit", "refund", "slash", "withdraw", "record"])
def test_nothing_is_entered_while_money_moves(odd: World, entered: str) -> None:
    """The token calls back in the middle of a payment, with a call that alone would succeed."""
    before = odd.tester.take_snapshot()
    credits, membership = odd.credits.functions, odd.membership.functions
    deposit = int(odd.result(credits.deposit(100, DIGEST), by=odd.member))
    odd.bought()
    odd.bought()
    first, second = odd.register(), odd.register(SECRET + 1)
    odd.send(membership.requestExit(second), by=odd.member)
    odd.wait(DELAY + ISSUE)
    inner, outer = {
        "exit": (odd.exit(nonce=b"\x01" * 32), odd.exit(nonce=b"\x02" * 32)),
        "refund": (odd.exit(), credits.refundDeposit(deposit)),
        "slash": (membership.slash(second, SECRET + 1, odd.hunter), membership.withdraw(second)),
        "withdraw": (membership.withdraw(second), membership.slash(first, SECRET, odd.hunter)),
        "record": (membership.recordRoot(), membership.slash(first, SECRET, odd.hunter)),
    }[entered]
    target = odd.credits if entered in ("exit", "refund") else odd.membership
    message = bytes.fromhex(inner._encode_transaction_data()[2:])
    odd.send(odd.token.functions.behave(True, 0, target.address, message))
    odd.send(outer, by=odd.member)
    assert odd.token.functions.reentered().call() == 1
    odd.send(odd.token.functions.behave(True, 0, evm.NO_ONE, b""))
    if entered != "slash":  # there the outer call took what the inner one wanted
        odd.send(inner, by=odd.member)
    else:
        with pytest.raises(Refused):
            odd.send(inner, by=odd.member)
    odd.tester.revert_to_snapshot(before)
