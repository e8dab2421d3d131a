"""Which relays are chosen, how often, and what a device remembers of it."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from privity.anon.relays import (
    Guard,
    Guards,
    RelayEntry,
    choose_relays,
    load_guards,
    save_guards,
    target_name,
)
from privity.errors import InputError, MalformedError


def relay(name: str, operator: str) -> RelayEntry:
    digest = hashlib.sha256(name.encode()).digest()
    return RelayEntry(f"did:key:{name}", operator, f"https://{name}.example", digest)


ENTRIES = [relay("a1", "0xA"), *(relay(f"b{n}", "0xB") for n in range(20)), relay("c1", "0xC")]


def test_each_operator_is_as_likely() -> None:
    """One that runs twenty relays is not met twenty times as often."""
    drawn = random.Random(3)
    firsts, seconds, pairs = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for _ in range(6000):
        first, second = choose_relays(ENTRIES, enclave_operator=None, rng=drawn.randrange)
        firsts[first.operator] += 1
        seconds[second.operator] += 1
        pairs[first.operator, second.operator] += 1
    assert len(pairs) == 6
    for counts, expected in ((firsts, 2000), (seconds, 2000), (pairs, 1000)):
        for count in counts.values():
            assert abs(count - expected) < 5 * expected**0.5


def test_too_few_operators_are_said() -> None:
    with pytest.raises(InputError, match="second relay"):
        choose_relays([relay("a", "0xA"), relay("b", "0xa")], enclave_operator=None)
    with pytest.raises(InputError, match="first relay"):
        choose_relays([relay("a", "0xA")], enclave_operator="0xa")
    with pytest.raises(InputError, match="enclave's operator"):
        choose_relays(ENTRIES, enclave_operator="0xA", first=ENTRIES[0])
    with pytest.raises(InputError, match="registry"):
        choose_relays(ENTRIES, enclave_operator=None, first=relay("new", "0xD"))


def test_a_guard_of_the_enclaves_operator_is_not_used_for_it() -> None:
    guards = Guards((Guard("did:key:a1", "0xa", 2_000_000_000),))
    first, after = guards.first(ENTRIES, enclave_operator="0xa", now=1_800_000_000)
    assert first.operator != "0xA"
    assert after.held[0] == guards.held[0]  # kept for the others
    assert len(after.held) == 2
    again, same = after.first(ENTRIES, enclave_operator="0xA", now=1_800_000_001)
    assert (again, same) == (first, after)


def test_guards_are_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "guards.json"
    assert load_guards(path) == Guards()
    _, guards = Guards().first(ENTRIES, enclave_operator=None, now=1_800_000_000)
    save_guards(path, guards)
    assert load_guards(path) == guards
    assert path.stat().st_mode & 0o777 == 0o600
    for wrong in (b"", b"{}", b"[]", b'{"type":"privity/guards/v2","guards":[1]}', b"[" * 99999):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="first relays"):
            load_guards(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"did": ""},
        {"did": "a b"},
        {"operator": ""},
        {"operator": "x" * 257},
        {"url": "ftp://x.example"},
        {"url": "https://"},
        {"url": "https://x.example/?q=1"},
        {"url": "https://user@x.example"},
        {"url": "https://x.example:99999"},
        {"url": "https://[::1"},
        {"keys_digest": b""},
    ],
)
def test_an_entry_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    fields = {"did": "did:key:a", "operator": "0xA", "url": "https://a.example"}
    with pytest.raises(MalformedError):
        RelayEntry(**{**fields, "keys_digest": bytes(32), **wrong})  # type: ignore[arg-type]


def test_a_relays_name_follows_from_its_did() -> None:
    assert relay("a", "0xA").name == target_name("did:key:a")
    assert len(target_name("did:key:a")) == 32
    assert target_name("did:key:a") != target_name("did:key:b")
