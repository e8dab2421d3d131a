"""contracts/Credits.vy: what each call does, and every reason for which it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import evm
from evm import NO_ONE, Chain, refused, restored, sign_exit

ROTATION, ISSUE = 2000, 500
DENOMINATIONS = [10, 100, 1000]
KEY, NEXT_KEY = b"\x01" * 32, b"\x02" * 32
DIGEST = b"\xd1" * 32
YEAR = 365 * 86400
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class World(Chain):
    def __init__(self) -> None:
        super().__init__()
        self.owner, self.operator, self.guardian, self.buyer, self.other = self.accounts[:5]
        self.signer, self.key = evm.signer(1)
        self.token = self.deploy("Token")
        self.credits = self.deploy("Credits", *self.terms().values())
        self.does = self.credits.functions
        self.chain_id = self.web3.eth.chain_id
        self.send(self.token.functions.mint(self.buyer, 10**6))
        self.send(self.token.functions.approve(self.credits.address, 2**256 - 1), by=self.buyer)

    def terms(self, **changed: Any) -> dict[str, Any]:
        return {
            "token": self.token.address,
            "operator": self.operator,
            "signer": self.signer,
            "guardian": self.guardian,
            "denominations": DENOMINATIONS,
            "issuer_key": KEY,
            "rotation_delay": ROTATION,
            "issue_delay": ISSUE,
            **changed,
        }

    def bought(self, amount: int = 100, *, claimed: bool = True) -> int:
        deposit = int(self.result(self.does.deposit(amount, DIGEST), by=self.buyer))
        if claimed:
            self.send(self.does.claimIssued(deposit), by=self.operator)
        return deposit

    def exit(self, amount: int, nonce: bytes, to: str | None = None, **other: Any) -> Any:
        to = to or self.other
        signed = {"key": self.key, "amount": amount, "to": to, "nonce": nonce, **other}
        chain = signed.pop("chain_id", self.chain_id)
        signature = sign_exit(self.credits, chain_id=chain, **signed)
        return self.does.exitUnspent(amount, to, nonce, signature)

    def has(self, who: str) -> int:
        return int(self.token.functions.balanceOf(who).call())

    def books(self) -> tuple[int, int, int, int]:
        does = self.does
        return tuple(f().call() for f in (does.pending, does.issued, does.withdrawn, does.exited))  # type: ignore[return-value]


def nullifier(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture(scope="module")
def made() -> World:
    return World()


@pytest.fixture
def world(made: World) -> Iterator[World]:
    yield from restored(made)


def test_what_was_set_can_be_read(world: World) -> None:
    does = world.does
    assert does.token().call() == world.token.address
    assert does.operator().call() == world.operator
    assert does.signer().call() == world.signer
    assert does.guardian().call() == world.guardian
    assert does.issuerKey().call() == KEY
    assert does.denominations().call() == DENOMINATIONS
    assert [does.isDenomination(n).call() for n in (10, 11, 0)] == [True, False, False]
    assert does.rotationDelay().call() == ROTATION
    assert does.issueDelay().call() == ISSUE
    assert does.depositAt(0).call() == (NO_ONE, 0, bytes(32), 0, 0)


def test_a_deposit_is_booked_with_the_digest_of_its_request(world: World) -> None:
    receipt = world.send(world.does.deposit(100, DIGEST), by=world.buyer)
    assert world.events(world.credits, "Deposited", receipt) == [
        {"depositId": 0, "amount": 100, "requestDigest": DIGEST}
    ]
    assert world.does.depositAt(0).call() == (world.buyer, 100, DIGEST, world.now + ISSUE, 1)
    assert world.has(world.credits.address) == 100
    assert world.books() == (100, 0, 0, 0)


def test_a_deposit_is_refused(world: World) -> None:
    with refused("not a denomination"):
        world.send(world.does.deposit(99, DIGEST), by=world.buyer)
    with refused("not a denomination"):
        world.send(world.does.deposit(0, DIGEST), by=world.buyer)
    with refused("no request"):
        world.send(world.does.deposit(100, bytes(32)), by=world.buyer)
    with refused("allowance too small"):
        world.send(world.does.deposit(100, DIGEST), by=world.other)
    world.send(world.does.pause(), by=world.guardian)
    with refused("paused"):
        world.send(world.does.deposit(100, DIGEST), by=world.buyer)
    assert world.books() == (0, 0, 0, 0)


def test_a_claim_makes_a_deposit_issued(world: World) -> None:
    deposit = world.bought(claimed=False)
    receipt = world.send(world.does.claimIssued(deposit), by=world.operator)
    assert world.events(world.credits, "Claimed", receipt) == [
        {"depositId": deposit, "amount": 100, "requestDigest": DIGEST}
    ]
    assert world.books() == (0, 100, 0, 0)
    assert world.does.depositAt(deposit).call()[4] == 2
    assert world.does.unspent().call() == 100


def test_a_claim_is_refused(world: World) -> None:
    deposit = world.bought(claimed=False)
    with refused("not the operator"):
        world.send(world.does.claimIssued(deposit), by=world.buyer)
    with refused("not pending"):
        world.send(world.does.claimIssued(deposit + 1), by=world.operator)
    world.send(world.does.pause(), by=world.guardian)
    with refused("paused"):
        world.send(world.does.claimIssued(deposit), by=world.operator)
    world.send(world.does.unpause(), by=world.guardian)
    world.send(world.does.claimIssued(deposit), by=world.operator)
    with refused("not pending"):
        world.send(world.does.claimIssued(deposit), by=world.operator)
    late = world.bought(claimed=False)
    world.wait(ISSUE + 1)
    with refused("too late"):
        world.send(world.does.claimIssued(late), by=world.operator)


def test_what_was_not_claimed_comes_back(world: World) -> None:
    before = world.has(world.buyer)
    deposit = world.bought(claimed=False)
    with refused("too early"):
        world.send(world.does.refundDeposit(deposit), by=world.buyer)
    world.wait(ISSUE + 1)
    with refused("not the depositor"):
        world.send(world.does.refundDeposit(deposit), by=world.other)
    receipt = world.send(world.does.refundDeposit(deposit), by=world.buyer)
    assert world.events(world.credits, "Refunded", receipt) == [
        {"depositId": deposit, "depositor": world.buyer, "amount": 100}
    ]
    assert world.has(world.buyer) == before
    assert world.books() == (0, 0, 0, 0)
    with refused("not pending"):
        world.send(world.does.refundDeposit(deposit), by=world.buyer)
    claimed = world.bought()
    world.wait(ISSUE + 1)
    with refused("not pending"):
        world.send(world.does.refundDeposit(claimed), by=world.buyer)


def test_the_operator_withdraws_what_was_spent(world: World) -> None:
    world.bought(1000)
    spent = [nullifier(1), nullifier(2)]
    receipt = world.send(world.does.withdrawSpent(DIGEST, spent, [299, 1]), by=world.operator)
    assert world.events(world.credits, "WithdrawnSpent", receipt) == [
        {"batchDigest": DIGEST, "count": 2, "amount": 300}
    ]
    assert world.has(world.operator) == 300
    assert world.books() == (0, 1000, 300, 0)
    assert all(world.does.used(n).call() for n in spent)


def test_a_batch_of_256_is_taken(world: World) -> None:
    world.bought(1000)
    spent = [nullifier(i + 1) for i in range(256)]
    world.send(world.does.withdrawSpent(DIGEST, spent, [1] * 256), by=world.operator)
    assert world.has(world.operator) == 256


def test_a_withdrawal_is_refused(world: World) -> None:
    world.bought(100)
    does, one = world.does, nullifier(1)
    with refused("not the operator"):
        world.send(does.withdrawSpent(DIGEST, [one], [1]), by=world.buyer)
    with refused("an empty batch"):
        world.send(does.withdrawSpent(DIGEST, [], []), by=world.operator)
    with refused("not one amount a nullifier"):
        world.send(does.withdrawSpent(DIGEST, [one], [1, 1]), by=world.operator)
    with refused("not one amount a nullifier"):
        world.send(does.withdrawSpent(DIGEST, [one, nullifier(2)], [1]), by=world.operator)
    with refused("nothing to withdraw"):
        world.send(does.withdrawSpent(DIGEST, [nullifier(2), one], [1, 0]), by=world.operator)
    with refused("nullifier used"):
        world.send(does.withdrawSpent(DIGEST, [one, one], [1, 1]), by=world.operator)
    with refused("more than was issued"):
        world.send(does.withdrawSpent(DIGEST, [one], [101]), by=world.operator)
    with pytest.raises(evm.Refused):  # the sum overflows
        world.send(
            does.withdrawSpent(DIGEST, [one, nullifier(2)], [2**256 - 1, 1]), by=world.operator
        )
    world.send(does.withdrawSpent(DIGEST, [one], [60]), by=world.operator)
    with refused("nullifier used"):
        world.send(does.withdrawSpent(DIGEST, [nullifier(2), one], [1, 1]), by=world.operator)
    with refused("more than was issued"):
        world.send(does.withdrawSpent(DIGEST, [nullifier(2)], [41]), by=world.operator)
    world.send(does.pause(), by=world.guardian)
    with refused("paused"):
        world.send(does.withdrawSpent(DIGEST, [nullifier(2)], [1]), by=world.operator)
    assert world.has(world.operator) == 60


def test_a_batch_of_257_is_refused(world: World) -> None:
    world.bought(1000)
    spent = [nullifier(i + 1) for i in range(257)]
    with pytest.raises(evm.Refused):  # its bytes are not of the form: no reason
        world.send(world.does.withdrawSpent(DIGEST, spent, [1] * 257), by=world.operator)


def test_unspent_credits_go_out_with_the_desks_signature(world: World) -> None:
    world.bought(1000)
    call = world.exit(700, nullifier(9))
    receipt = world.send(call, by=world.buyer)
    assert world.events(world.credits, "Exited", receipt) == [
        {"nonce": nullifier(9), "to": world.other, "amount": 700}
    ]
    assert world.has(world.other) == 700
    assert world.books() == (0, 1000, 0, 700)
    with refused("nullifier used"):
        world.send(call, by=world.buyer)
    with refused("nullifier used"):
        world.send(world.does.withdrawSpent(DIGEST, [nullifier(9)], [1]), by=world.operator)


def test_the_digest_that_is_signed_is_eip_712s(world: World) -> None:
    """Software that is not ours (eth-account) computes it too, in `sign_exit`."""
    world.bought(100)
    world.send(world.exit(1, nullifier(1)))
    assert len(world.does.exitDigest(1, world.other, nullifier(1)).call()) == 32


def test_an_exit_is_refused(world: World) -> None:
    world.bought(100)
    n = nullifier(9)
    with refused("no receiver"):
        world.send(world.exit(1, n, NO_ONE))
    with refused("no receiver"):
        world.send(world.exit(1, n, world.credits.address))
    with refused("nothing to take out"):
        world.send(world.exit(0, n))
    with refused("more than was issued"):
        world.send(world.exit(101, n))
    _, another_key = evm.signer(2)
    changed: list[dict[str, Any]] = [
        {"key": another_key},
        {"signed_amount": 99},
        {"signed_to": world.buyer},
        {"signed_nonce": nullifier(8)},
        {"chain_id": 1},
    ]
    for change in changed:
        signed = {k.removeprefix("signed_"): v for k, v in change.items()}
        terms = {"key": world.key, "amount": 100, "to": world.other, "nonce": n}
        chain = {"chain_id": world.chain_id}
        signature = sign_exit(world.credits, **{**terms, **chain, **signed})
        with refused("not signed"):
            world.send(world.does.exitUnspent(100, world.other, n, signature))
    twin = world.deploy("Credits", *world.terms().values())
    elsewhere = sign_exit(twin, world.key, 100, world.other, n, world.chain_id)
    with refused("not signed"):
        world.send(world.does.exitUnspent(100, world.other, n, elsewhere))
    world.send(world.exit(100, n))


def test_a_signature_of_another_form_is_refused(world: World) -> None:
    world.bought(100)
    n = nullifier(9)
    good = sign_exit(world.credits, world.key, 100, world.other, n, world.chain_id)
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    mirrored = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    forms = [b"", good[:64], mirrored, good[:64] + bytes([v - 27]), bytes(64) + b"\x1b", bytes(65)]
    for form in forms:
        with refused("not signed"):
            world.send(world.does.exitUnspent(100, world.other, n, form))
    world.send(world.does.exitUnspent(100, world.other, n, good))


def test_the_issuers_key_changes_after_a_delay_that_all_see(world: World) -> None:
    does = world.does
    with refused("nothing proposed"):
        world.send(does.activateIssuerKey())
    with refused("not the operator"):
        world.send(does.proposeIssuerKey(NEXT_KEY), by=world.buyer)
    with refused("no issuer key"):
        world.send(does.proposeIssuerKey(bytes(32)), by=world.operator)
    receipt = world.send(does.proposeIssuerKey(b"\x07" * 32), by=world.operator)
    world.wait(ROTATION - 10)
    receipt = world.send(does.proposeIssuerKey(NEXT_KEY), by=world.operator)
    assert world.events(world.credits, "IssuerKeyProposed", receipt) == [
        {"key": NEXT_KEY, "activeFrom": world.now + ROTATION}
    ]
    world.wait(ROTATION - 10)
    with refused("too early"):  # the first proposal's delay does not count
        world.send(does.activateIssuerKey(), by=world.operator)
    assert does.issuerKey().call() == KEY
    assert does.proposedIssuerKey().call() == NEXT_KEY
    world.wait(10)
    receipt = world.send(does.activateIssuerKey(), by=world.other)
    assert world.events(world.credits, "IssuerKeyActivated", receipt) == [{"key": NEXT_KEY}]
    assert does.issuerKey().call() == NEXT_KEY
    assert does.issuerKeyActiveFrom().call() == 0
    with refused("nothing proposed"):
        world.send(does.activateIssuerKey())


def test_the_signer_changes_after_a_delay_that_all_see(world: World) -> None:
    does = world.does
    next_signer, next_key = evm.signer(2)
    world.bought(100)
    with refused("nothing proposed"):
        world.send(does.activateSigner())
    with refused("not the operator"):
        world.send(does.proposeSigner(next_signer), by=world.buyer)
    with refused("no signer"):
        world.send(does.proposeSigner(NO_ONE), by=world.operator)
    receipt = world.send(does.proposeSigner(next_signer), by=world.operator)
    assert world.events(world.credits, "SignerProposed", receipt) == [
        {"signer": next_signer, "activeFrom": world.now + ROTATION}
    ]
    with refused("too early"):
        world.send(does.activateSigner())
    world.send(world.exit(10, nullifier(1)))
    world.wait(ROTATION)
    receipt = world.send(does.activateSigner(), by=world.other)
    assert world.events(world.credits, "SignerActivated", receipt) == [{"signer": next_signer}]
    with refused("not signed"):
        world.send(world.exit(10, nullifier(2)))
    world.send(world.exit(10, nullifier(2), key=next_key))
    with refused("nothing proposed"):
        world.send(does.activateSigner())


def test_only_the_guardian_pauses(world: World) -> None:
    does = world.does
    for call in (does.pause(), does.unpause()):
        with refused("not the guardian"):
            world.send(call, by=world.operator)
    with refused("not paused"):
        world.send(does.unpause(), by=world.guardian)
    assert world.events(world.credits, "Paused", world.send(does.pause(), by=world.guardian))
    assert does.paused().call()
    with refused("paused"):
        world.send(does.pause(), by=world.guardian)
    assert world.events(world.credits, "Unpaused", world.send(does.unpause(), by=world.guardian))
    assert not does.paused().call()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"token": NO_ONE}, "no token"),
        ({"operator": NO_ONE}, "no operator"),
        ({"signer": NO_ONE}, "no signer"),
        ({"guardian": NO_ONE}, "no guardian"),
        ({"issuer_key": bytes(32)}, "no issuer key"),
        ({"rotation_delay": 0}, "delay out of range"),
        ({"rotation_delay": YEAR + 1}, "delay out of range"),
        ({"issue_delay": 0}, "delay out of range"),
        ({"issue_delay": YEAR + 1}, "delay out of range"),
        ({"denominations": []}, "no denominations"),
        ({"denominations": [0, 1]}, "denominations not ascending"),
        ({"denominations": [1, 1]}, "denominations not ascending"),
        ({"denominations": [2, 1]}, "denominations not ascending"),
        ({"denominations": [2**128]}, "denomination too large"),
    ],
)
def test_a_deployment_is_refused(world: World, changed: dict[str, Any], reason: str) -> None:
    with refused(reason):
        world.deploy("Credits", *world.terms(**changed).values())
