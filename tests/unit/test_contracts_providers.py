"""contracts/Providers.vy and Token.vy: each call, and every reason for which it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evm import NO_ONE, Chain, refused, restored

STAKE, DELAY = 50, 900
DID, ENDPOINT = "did:web:relay.example", "https://relay.example"
KEYS = b"\x0c" * 32


class World(Chain):
    def __init__(self) -> None:
        super().__init__()
        self.owner, self.provider, self.other = self.accounts[:3]
        self.token = self.deploy("Token")
        self.coin = self.token.functions
        self.providers = self.deploy("Providers", self.token.address, STAKE, DELAY)
        self.does = self.providers.functions
        self.send(self.coin.mint(self.provider, 1000))
        self.send(self.coin.approve(self.providers.address, 1000), by=self.provider)

    def register(self, kind: int = 2, did: str = DID, endpoint: str = ENDPOINT) -> int:
        call = self.does.register(kind, did, endpoint, KEYS, 5)
        return int(self.result(call, by=self.provider))

    def has(self, who: str) -> int:
        return int(self.coin.balanceOf(who).call())


@pytest.fixture(scope="module")
def made() -> World:
    return World()


@pytest.fixture
def world(made: World) -> Iterator[World]:
    yield from restored(made)


def test_an_entry_stakes_and_is_listed(world: World) -> None:
    receipt = world.send(world.does.register(1, DID, ENDPOINT, KEYS, 5), by=world.provider)
    [said] = world.events(world.providers, "EntryRegistered", receipt)
    assert said == {
        "index": 0,
        "owner": world.provider,
        "kind": 1,
        "did": DID,
        "endpoint": ENDPOINT,
        "keysDigest": KEYS,
        "price": 5,
    }
    assert world.does.count().call() == 1
    assert world.does.entry(0).call() == (world.provider, 1, DID, ENDPOINT, KEYS, 5, 0, True)
    assert world.does.entry(1).call() == (NO_ONE, 0, "", "", bytes(32), 0, 0, False)
    assert world.has(world.providers.address) == STAKE
    assert world.does.stake().call() == STAKE
    assert world.does.exitDelay().call() == DELAY
    assert world.does.token().call() == world.token.address


def test_the_longest_strings_fit(world: World) -> None:
    index = world.register(did="d" * 128, endpoint="e" * 256)
    assert world.does.entry(index).call()[2:4] == ["d" * 128, "e" * 256] or world.does.entry(
        index
    ).call()[2:4] == ("d" * 128, "e" * 256)


@pytest.mark.parametrize(
    ("kind", "did", "endpoint", "reason"),
    [
        (0, DID, ENDPOINT, "unknown kind"),
        (3, DID, ENDPOINT, "unknown kind"),
        (1, "", ENDPOINT, "no DID"),
        (2, DID, "", "no endpoint"),
    ],
)
def test_an_entry_is_refused(world: World, kind: int, did: str, endpoint: str, reason: str) -> None:
    with refused(reason):
        world.register(kind, did, endpoint)
    with refused("allowance too small"):
        world.send(world.does.register(1, DID, ENDPOINT, KEYS, 5), by=world.other)


def test_only_its_owner_changes_or_retires_an_entry(world: World) -> None:
    index = world.register()
    change = world.does.update(index, "https://other.example", b"\x0d" * 32, 6)
    for call in (change, world.does.retire(index)):
        with refused("not the owner"):
            world.send(call, by=world.other)
    with refused("no such entry"):
        world.send(world.does.retire(index + 1), by=world.provider)
    with refused("no endpoint"):
        world.send(world.does.update(index, "", KEYS, 6), by=world.provider)
    receipt = world.send(change, by=world.provider)
    assert world.events(world.providers, "EntryUpdated", receipt) == [
        {
            "index": index,
            "endpoint": "https://other.example",
            "keysDigest": b"\x0d" * 32,
            "price": 6,
        }
    ]
    assert world.does.entry(index).call()[1:6] in (
        (2, DID, "https://other.example", b"\x0d" * 32, 6),
        [2, DID, "https://other.example", b"\x0d" * 32, 6],
    )


def test_a_retired_entry_gives_its_stake_back_once_after_the_delay(world: World) -> None:
    before = world.has(world.provider)
    index = world.register()
    with refused("in service"):
        world.send(world.does.withdraw(index), by=world.provider)
    with refused("no stake"):
        world.send(world.does.withdraw(index + 1), by=world.provider)
    receipt = world.send(world.does.retire(index), by=world.provider)
    assert world.events(world.providers, "EntryRetired", receipt) == [
        {"index": index, "withdrawableAt": world.now + DELAY}
    ]
    for call in (world.does.retire(index), world.does.update(index, ENDPOINT, KEYS, 1)):
        with refused("retired"):
            world.send(call, by=world.provider)
    with refused("too early"):
        world.send(world.does.withdraw(index), by=world.provider)
    world.wait(DELAY)
    receipt = world.send(world.does.withdraw(index), by=world.other)
    assert world.events(world.providers, "StakeWithdrawn", receipt) == [
        {"index": index, "owner": world.provider, "amount": STAKE}
    ]
    assert world.has(world.provider) == before
    with refused("no stake"):
        world.send(world.does.withdraw(index), by=world.provider)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"token": NO_ONE}, "no token"),
        ({"stake": 0}, "no stake"),
        ({"delay": 0}, "delay out of range"),
        ({"delay": 365 * 86400 + 1}, "delay out of range"),
    ],
)
def test_a_deployment_is_refused(world: World, changed: dict[str, Any], reason: str) -> None:
    terms = {"token": world.token.address, "stake": STAKE, "delay": DELAY, **changed}
    with refused(reason):
        world.deploy("Providers", *terms.values())


def test_the_token_moves_what_is_there_and_no_more(world: World) -> None:
    coin = world.coin
    assert (coin.name().call(), coin.symbol().call(), coin.decimals().call()) == (
        "privity test token",
        "TST",
        18,
    )
    receipt = world.send(coin.transfer(world.other, 10), by=world.provider)
    assert world.events(world.token, "Transfer", receipt) == [
        {"sender": world.provider, "receiver": world.other, "value": 10}
    ]
    assert world.has(world.other) == 10
    assert coin.totalSupply().call() == 1000
    with refused("balance too small"):
        world.send(coin.transfer(world.provider, 11), by=world.other)
    with refused("no receiver"):
        world.send(coin.transfer(NO_ONE, 1), by=world.provider)


def test_the_token_lets_others_move_what_was_allowed(world: World) -> None:
    coin = world.coin
    receipt = world.send(coin.approve(world.other, 5), by=world.provider)
    assert world.events(world.token, "Approval", receipt) == [
        {"owner": world.provider, "spender": world.other, "value": 5}
    ]
    world.send(coin.transferFrom(world.provider, world.owner, 3), by=world.other)
    assert coin.allowance(world.provider, world.other).call() == 2
    with refused("allowance too small"):
        world.send(coin.transferFrom(world.provider, world.owner, 3), by=world.other)
    world.send(coin.approve(world.other, 2**256 - 1), by=world.provider)
    world.send(coin.transferFrom(world.provider, world.owner, 3), by=world.other)
    assert coin.allowance(world.provider, world.other).call() == 2**256 - 1


def test_only_the_owner_mints(world: World) -> None:
    with refused("not the owner"):
        world.send(world.coin.mint(world.other, 1), by=world.other)
    with refused("no receiver"):
        world.send(world.coin.mint(NO_ONE, 1))
    assert world.coin.owner().call() == world.owner
