"""Attacks on readers of the registry: entries that name another's DID, copies, used-up places."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from privity.anon.relays import Guards, RelayEntry, choose_relays, target_name
from privity.errors import InputError
from privity.infer.anonymous.registry import RegistryView
from privity.ledger import providers
from privity.ledger.credits import KeyRotation
from privity.ledger.providers import (
    MOST,
    MOST_PLACES,
    Listing,
    ProviderEntry,
    ProviderKind,
    Registry,
    listed_providers,
)
from privity.ledger.wire import Block, Hash, check_address
from privity.node.gateway_role import GatewaySettings
from privity.node.registry_targets import FollowSettings, registered_targets
from privity.node.watched_members import LedgerSettings

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
BLOCK = Block(1, Hash(bytes(32)), 0, 0)
VICTIM, OTHER, THIRD, THIEF = (check_address("0x" + digit * 40) for digit in "1239")


def relay(did: str, operator: str, url: str = "", keys: bytes = b"") -> RelayEntry:
    keys = keys or hashlib.sha256(f"{did} {operator}".encode()).digest()
    return RelayEntry(did, operator, url or f"https://{did[-1]}{operator[-1]}.example", keys)


def entry(
    index: int, owner: str, did: str, *, kind: ProviderKind = ProviderKind.RELAY, url: str = ""
) -> ProviderEntry:
    digest = hashlib.sha256(b"%d" % index).digest()
    address = check_address(owner)
    return ProviderEntry(index, address, kind, did, url or f"https://h{index}.example", digest, 0)


# Who puts themselves into a guard's place, or stands for two.


def test_a_guard_stays_with_the_account_that_listed_it() -> None:
    """Whatever account names the guard's DID, and whether it sorts before or after."""
    honest, other = relay("did:key:a", VICTIM), relay("did:key:b", OTHER)
    _, guards = Guards().first([honest], enclave_operator=None, now=NOW)
    for thief in ("0x" + "0" * 40, "0x" + "f" * 40):
        entries = [honest, other, relay("did:key:a", thief, "https://thief.example")]
        found, same = guards.first(entries, enclave_operator=None, now=NOW + 60)
        assert (found, same) == (honest, guards)


@pytest.mark.parametrize("shared", ["did", "place", "keys"])
def test_one_relay_under_two_accounts_is_no_pair(shared: str) -> None:
    one = relay("did:key:a", VICTIM, "https://a.example", b"k" * 32)
    two = relay(
        "did:key:a" if shared == "did" else "did:key:b",
        OTHER,
        "https://A.example:443/b" if shared == "place" else "https://b.example",
        b"k" * 32 if shared == "keys" else b"l" * 32,
    )
    with pytest.raises(InputError, match="second relay"):
        choose_relays([one, two], enclave_operator=None)
    third = relay("did:key:c", THIRD)
    for _ in range(32):
        first, second = choose_relays([one, two, third], enclave_operator=None)
        assert third in (first, second)


def test_copies_of_honest_relays_do_not_choose_the_second_one() -> None:
    """The operator of the first one lists all relays but its accomplice's as its own too."""
    mine = relay("did:key:m", THIEF)
    honest = [relay(f"did:key:{n}", owner) for n, owner in (("a", VICTIM), ("b", OTHER))]
    copies = [
        relay(f"did:key:x{n}", THIEF, one.url, one.keys_digest) for n, one in enumerate(honest)
    ]
    accomplice = relay("did:key:c", THIRD)
    entries = [mine, *honest, *copies, accomplice]
    seconds = {choose_relays(entries, enclave_operator=None, first=mine)[1] for _ in range(200)}
    assert seconds == {*honest, accomplice}


def test_of_a_did_that_many_list_the_first_counts() -> None:
    true, own = entry(0, VICTIM, "did:key:a"), entry(5, VICTIM, "did:key:a")
    false, other = entry(1, THIEF, "did:key:a"), entry(2, OTHER, "did:key:b")
    assert listed_providers([own, false, other, true]) == (true, other, own)
    targets = registered_targets([false, other, true], own=None)
    assert targets[target_name("did:key:a")] == true.endpoint


def test_a_relays_own_entry_gives_nobody_its_name() -> None:
    """A relay leaves itself out of its targets; who copied its DID does not come in its place."""
    mine, thief = entry(0, VICTIM, "did:key:a"), entry(1, THIEF, "did:key:a")
    assert registered_targets([mine, thief], own=mine.keys_digest) == {}


# Who passes for a provider.


class Ledger:
    """A ledger that lists what it is told to."""

    def __init__(self, *entries: ProviderEntry) -> None:
        self._entries = entries

    async def providers(self) -> Listing:
        return Listing(BLOCK, self._entries)

    async def issuer_key(self) -> KeyRotation:
        return object.__new__(KeyRotation)


RELAYS = (entry(10, OTHER, "did:key:r"), entry(11, THIRD, "did:key:s"))
TRUE = entry(0, VICTIM, "did:web:p.example", kind=ProviderKind.GATEWAY)
FALSE = entry(1, THIEF, "did:web:p.example", kind=ProviderKind.GATEWAY)
STRANGER = entry(2, THIEF, "did:web:q.example", kind=ProviderKind.GATEWAY)


async def asked(provider: str, *gateways: ProviderEntry) -> set[str]:
    ledger: Any = Ledger(*gateways, *RELAYS)
    view = RegistryView(ledger, provider=provider)
    return {(await view.choose()).gateway.endpoint for _ in range(32)}


async def test_who_names_a_providers_did_is_not_asked() -> None:
    assert await asked(VICTIM, TRUE, FALSE, STRANGER) == {TRUE.endpoint}
    assert await asked(VICTIM.upper().replace("0X", "0x"), TRUE, FALSE) == {TRUE.endpoint}
    assert await asked("did:web:p.example", TRUE, STRANGER) == {TRUE.endpoint}
    with pytest.raises(InputError, match="2 accounts") as refused:
        await asked("did:web:p.example", TRUE, FALSE)
    assert "account" in (refused.value.hint or "") and VICTIM in refused.value.message


async def test_nobody_is_asked_that_was_not_chosen() -> None:
    assert await asked("", TRUE) == {TRUE.endpoint}
    with pytest.raises(InputError, match="2 accounts") as refused:
        await asked("", TRUE, STRANGER)
    assert VICTIM in refused.value.message and THIEF in refused.value.message


# Who uses the list up.


class Places:
    """A contract with places, of which some are retired and some stakes are back."""

    def __init__(self, count: int, retired: Sequence[int], *, staked: bool = True) -> None:
        self.count, self.retired, self.staked = count, frozenset(retired), staked
        self.calls = 0
        self.artefact = self

    def result(self, name: str, data: bytes) -> list[Any]:
        index = int.from_bytes(data, "big")
        gone = index in self.retired
        did, at = f"did:key:z{index}", int(gone)
        return [(VICTIM, 2, did, "https://r.example", bytes(32), 0, at, self.staked or not gone)]

    async def call(self, name: str, *values: Any, block: Any = None) -> int:
        return self.count

    async def call_raw(self, name: str, index: int, *, block: Any = None) -> bytes:
        self.calls += 1
        return index.to_bytes(8, "big")


async def test_retired_entries_do_not_use_the_list_up() -> None:
    contract: Any = Places(MOST + 3, range(MOST), staked=False)
    registry = Registry(contract, contract, sender=None)
    listing = await registry.listing(BLOCK)
    assert [one.index for one in listing.entries] == [MOST, MOST + 1, MOST + 2]
    assert listing.left_out == 0
    contract.calls = 0
    assert (await registry.listing(BLOCK)).entries == listing.entries
    assert contract.calls == 3, "what is gone for good is not asked for again"


async def test_no_error_takes_the_place_of_a_cancellation() -> None:
    """Else who reads the registry beside something goes on after its end."""
    asked = anyio.Event()

    class Closing(Places):
        async def call_raw(self, name: str, index: int, *, block: Any = None) -> bytes:
            asked.set()
            try:
                await anyio.sleep_forever()
            finally:
                raise RuntimeError("the client has been closed")

    contract: Any = Closing(5, [])
    reading = asyncio.create_task(Registry(contract, contract, sender=None).listing(BLOCK))
    with anyio.fail_after(60):
        await asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_what_may_be_reorganised_is_asked_for_again() -> None:
    contract: Any = Places(5, [1, 2])
    registry = Registry(contract, contract, sender=None)
    await registry.listing(BLOCK)
    contract.retired = frozenset()
    assert len((await registry.listing(BLOCK)).entries) == 5


async def test_a_node_that_says_all_are_retired_is_read_in_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(providers, "MOST_PLACES", 1000)
    count = 2**60
    contract: Any = Places(count, [*range(500), *range(count - 500, count - 2)])
    listing = await Registry(contract, contract, sender=None).listing(BLOCK)
    assert [one.index for one in listing.entries] == [count - 2, count - 1]
    assert listing.left_out == count - 1000
    assert contract.calls == 1000 < MOST_PLACES


# What would be in a log.


def test_no_store_or_node_is_named_in_a_text() -> None:
    """Their URLs hold passwords and keys of accounts."""
    path = Path("contracts.json")
    gateway = GatewaySettings(
        enclave="http://enclave.test",
        scope=VICTIM,
        store="postgresql://gateway:geheim@db.test/signals",
        ledger=LedgerSettings("https://node.test/v3/geheim", path),
    )
    follow = FollowSettings("https://node.test/v3/geheim", path, proxy="socks5h://a:geheim@p.test")
    assert "geheim" not in repr(gateway) + str(gateway) + repr(follow)
