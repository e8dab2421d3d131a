"""contracts/Membership.vy: what each call does, and every reason for which it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evm
from evm import NO_ONE, Chain, poseidon, refused, restored, tree_root

P = evm.script("poseidon_vyper").P
STAKE, BOUNTY, DELAY = 100, 7, 1000
SECRET = 4242
YEAR = 365 * 86400


class World(Chain):
    def __init__(self, membership: str | dict[str, Any] = "Membership") -> None:
        super().__init__()
        self.owner, self.member, self.other, self.hunter, self.treasury = self.accounts[:5]
        self.token = self.deploy("Token")
        self.membership = self.deploy(
            membership, self.token.address, STAKE, BOUNTY, DELAY, self.treasury
        )
        self.does = self.membership.functions
        for who in (self.member, self.other):
            self.send(self.token.functions.mint(who, 10**9))
            self.send(self.token.functions.approve(self.membership.address, 2**256 - 1), by=who)

    def register(self, secret: int = SECRET, limit: int = 3, by: str | None = None) -> int:
        call = self.does.register(poseidon(secret), limit)
        return int(self.result(call, by=by or self.member))

    def has(self, who: str) -> int:
        return int(self.token.functions.balanceOf(who).call())


@pytest.fixture(scope="module")
def made() -> World:
    return World()


@pytest.fixture
def world(made: World) -> Iterator[World]:
    yield from restored(made)


def test_registering_takes_the_stake_and_places_the_leaf(world: World) -> None:
    before = world.has(world.member)
    receipt = world.send(world.does.register(poseidon(SECRET), 3), by=world.member)
    leaf = poseidon(poseidon(SECRET), 3)
    assert world.events(world.membership, "Registered", receipt) == [
        {"index": 0, "leaf": leaf, "limit": 3}
    ]
    assert world.has(world.member) == before - 3 * STAKE
    assert world.has(world.membership.address) == 3 * STAKE
    assert world.does.leafCount().call() == 1
    assert world.does.leaf(0).call() == leaf
    assert world.does.member(0).call() == (world.member, 3, 0)


def test_what_was_set_can_be_read(world: World) -> None:
    does = world.does
    assert does.token().call() == world.token.address
    assert does.stakePerMessage().call() == STAKE
    assert does.bounty().call() == BOUNTY
    assert does.exitDelay().call() == DELAY
    assert does.treasury().call() == world.treasury
    assert does.member(0).call() == (NO_ONE, 0, 0)
    assert does.leaf(2**200).call() == 0


@pytest.mark.parametrize(
    ("commitment", "limit", "reason"),
    [
        (0, 1, "not a field element"),
        (P, 1, "not a field element"),
        (2**256 - 1, 1, "not a field element"),
        (1, 0, "limit out of range"),
        (1, 2**16, "limit out of range"),
        (1, 2**256 - 1, "limit out of range"),
    ],
)
def test_a_registration_is_refused(world: World, commitment: int, limit: int, reason: str) -> None:
    with refused(reason):
        world.send(world.does.register(commitment, limit), by=world.member)


def test_a_registration_without_money_is_refused(world: World) -> None:
    with refused("allowance too small"):
        world.send(world.does.register(1, 1), by=world.hunter)
    world.send(world.token.functions.approve(world.membership.address, 10**9), by=world.hunter)
    with refused("balance too small"):
        world.send(world.does.register(1, 1), by=world.hunter)
    assert world.does.leafCount().call() == 0


def test_a_full_tree_is_whole_and_takes_no_more(tmp_path: Path) -> None:
    """With a depth of 2, so that it can be filled: every way up to the top, full and not."""
    world = World(evm.variant("Membership", tmp_path, DEPTH="2", CAPACITY="2**2"))
    leaves: list[int] = []
    assert world.does.root().call() == tree_root([], 2)
    for secret in (1, 2, 3, 4):
        world.register(secret)
        leaves.append(poseidon(poseidon(secret), 3))
        assert world.does.root().call() == tree_root(leaves, 2)
    with refused("the tree is full"):
        world.register(5)
    for index in (2, 1, 0, 3):
        world.send(world.does.slash(index, index + 1, world.hunter))
        leaves[index] = 0
        assert world.does.root().call() == tree_root(leaves, 2)


def test_slashing_pays_the_bounty_and_the_treasury(world: World) -> None:
    index = world.register()
    receipt = world.send(world.does.slash(index, SECRET, world.hunter), by=world.other)
    leaf = poseidon(poseidon(SECRET), 3)
    assert world.events(world.membership, "Removed", receipt) == [
        {"index": index, "leaf": leaf, "slashed": True}
    ]
    assert world.events(world.membership, "Slashed", receipt) == [
        {"index": index, "receiver": world.hunter, "bounty": BOUNTY, "rest": 3 * STAKE - BOUNTY}
    ]
    assert world.has(world.hunter) == BOUNTY
    assert world.has(world.treasury) == 3 * STAKE - BOUNTY
    assert world.has(world.membership.address) == 0
    assert world.does.leaf(index).call() == 0
    assert world.does.leafCount().call() == 1


@pytest.mark.parametrize(
    ("index", "secret", "receiver", "reason"),
    [
        (0, SECRET + 1, "hunter", "not the secret"),
        (0, SECRET + P, "hunter", "not a field element"),
        (1, SECRET, "hunter", "no such member"),
        (2**255, SECRET, "hunter", "no such member"),
        (0, SECRET, "nobody", "no receiver"),
        (0, SECRET, "contract", "no receiver"),
    ],
)
def test_a_slashing_is_refused(
    world: World, index: int, secret: int, receiver: str, reason: str
) -> None:
    world.register()
    named = {"nobody": NO_ONE, "contract": world.membership.address, "hunter": world.hunter}
    with refused(reason):
        world.send(world.does.slash(index, secret, named[receiver]))


def test_leaving_takes_the_leaf_out_at_once_and_pays_after_the_delay(world: World) -> None:
    before = world.has(world.member)
    index = world.register()
    receipt = world.send(world.does.requestExit(index), by=world.member)
    [asked] = world.events(world.membership, "ExitRequested", receipt)
    assert asked == {
        "index": index,
        "staker": world.member,
        "withdrawableAt": world.now + DELAY,
    }
    [removed] = world.events(world.membership, "Removed", receipt)
    assert removed["slashed"] is False
    assert world.does.leaf(index).call() == 0
    with refused("too early"):
        world.send(world.does.withdraw(index), by=world.member)
    world.wait(DELAY)
    receipt = world.send(world.does.withdraw(index), by=world.other)
    assert world.events(world.membership, "Withdrawn", receipt) == [
        {"index": index, "staker": world.member, "amount": 3 * STAKE}
    ]
    assert world.has(world.member) == before


def test_an_exit_is_refused(world: World) -> None:
    index = world.register()
    with refused("no such member"):
        world.send(world.does.requestExit(index + 1), by=world.member)
    with refused("not the staker"):
        world.send(world.does.requestExit(index), by=world.other)
    with refused("not leaving"):
        world.send(world.does.withdraw(index), by=world.member)
    world.send(world.does.requestExit(index), by=world.member)
    with refused("leaving already"):
        world.send(world.does.requestExit(index), by=world.member)
    world.wait(DELAY)
    world.send(world.does.withdraw(index), by=world.member)
    for call in (world.does.withdraw(index), world.does.requestExit(index)):
        with refused("no such member"):
            world.send(call, by=world.member)
    with refused("no such member"):
        world.send(world.does.slash(index, SECRET, world.hunter))


def test_one_commitment_can_stake_twice_and_lose_twice(world: World) -> None:
    first, second = world.register(), world.register(by=world.other)
    world.send(world.does.slash(first, SECRET, world.hunter))
    world.send(world.does.slash(second, SECRET, world.hunter))
    assert world.has(world.hunter) == 2 * BOUNTY


def test_the_last_64_recorded_roots_are_known(tmp_path: Path) -> None:
    """Counted with 4: the number is one constant of the source."""
    assert "HISTORY: constant(uint256) = 64\n" in (evm.ROOT / "contracts/Membership.vy").read_text()
    world = World(evm.variant("Membership", tmp_path, HISTORY="4"))
    recorded = []
    for number in range(6):
        world.register(number + 1, 1)
        receipt = world.send(world.does.recordRoot())
        [said] = world.events(world.membership, "RootRecorded", receipt)
        assert said == {"root": world.does.root().call(), "number": number}
        recorded.append((said["root"], world.now))
    assert len({root for root, _ in recorded}) == 6
    for number, (root, at) in enumerate(recorded):
        assert world.does.knownRoot(root).call() is (number >= 2)
        assert world.does.rootRecordedAt(root).call() == (at if number >= 2 else 0)


def test_the_root_now_is_known_before_it_is_recorded(world: World) -> None:
    empty = world.does.root().call()
    assert world.does.knownRoot(empty).call()
    assert world.does.rootRecordedAt(empty).call() == 0
    world.register()
    assert not world.does.knownRoot(empty).call()
    assert world.does.knownRoot(world.does.root().call()).call()
    assert not world.does.knownRoot(0).call()
    assert not world.does.knownRoot(2**256 - 1).call()


def test_recording_one_root_again_only_renews_its_time(world: World) -> None:
    world.register()
    world.send(world.does.recordRoot())
    world.wait(50)
    receipt = world.send(world.does.recordRoot())
    assert world.events(world.membership, "RootRecorded", receipt) == []
    assert world.does.rootCount().call() == 1
    assert world.does.rootRecordedAt(world.does.root().call()).call() == world.now


def test_a_removal_forgets_the_roots_before_it(world: World) -> None:
    first, second = world.register(1), world.register(2)
    world.send(world.does.recordRoot())
    old = world.does.root().call()
    assert world.does.rootRecordedAt(old).call() == world.now
    world.send(world.does.slash(first, 1, world.hunter))
    assert not world.does.knownRoot(old).call()
    assert world.does.rootRecordedAt(old).call() == 0
    world.send(world.does.recordRoot())
    assert world.does.knownRoot(world.does.root().call()).call()
    world.send(world.does.requestExit(second), by=world.member)
    assert world.does.root().call() == tree_root([0])
    assert world.does.rootRecordedAt(tree_root([0, poseidon(poseidon(2), 3)])).call() == 0


def test_a_root_that_comes_back_counts_from_its_last_recording(tmp_path: Path) -> None:
    """A tree whose last leaf left has the root that it had before that leaf came."""
    world = World(evm.variant("Membership", tmp_path, HISTORY="3"))
    world.register(1)
    root = world.does.root().call()
    world.send(world.does.recordRoot())
    for secret in (2, 3):
        index = world.register(secret)
        world.send(world.does.recordRoot())
        world.send(world.does.requestExit(index), by=world.member)
        assert world.does.root().call() == root
        world.send(world.does.recordRoot())
    assert world.does.rootCount().call() == 5
    assert world.does.rootRecordedAt(root).call() == world.now


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"token": NO_ONE}, "no token"),
        ({"treasury": NO_ONE}, "no treasury"),
        ({"bounty": STAKE}, "bounty not below the stake"),
        ({"stake": 0, "bounty": 0}, "bounty not below the stake"),
        ({"stake": 2**128}, "stake too large"),
        ({"delay": 0}, "delay out of range"),
        ({"delay": YEAR + 1}, "delay out of range"),
    ],
)
def test_a_deployment_is_refused(world: World, changed: dict[str, Any], reason: str) -> None:
    terms = {
        "token": world.token.address,
        "stake": STAKE,
        "bounty": BOUNTY,
        "delay": DELAY,
        "treasury": world.treasury,
        **changed,
    }
    with refused(reason):
        world.deploy("Membership", *terms.values())
