"""Whatever the registry holds: two operators, never the enclave's, and a guard that stays."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from privity.anon.relays import Guards, RelayEntry, choose_relays
from privity.errors import InputError

NAMES = st.text("abcdef0123456789", min_size=1, max_size=4)
ENTRIES = st.lists(
    st.builds(
        lambda name, operator: RelayEntry(
            f"did:key:{name}{operator}",
            f"0x{operator}",
            f"https://{name}.{operator}.example",
            sha256(f"{name} {operator}".encode()).digest(),
        ),
        NAMES,
        st.sampled_from(["aB", "ab", "AB", "c", "d", "e"]),
    ),
    max_size=12,
)
ENCLAVE = st.sampled_from([None, "0xAb", "0xc", "0xZ"])


@given(ENTRIES, ENCLAVE)
def test_the_operators_differ_from_each_other_and_the_enclaves(
    entries: list[RelayEntry], enclave: str | None
) -> None:
    usable = {one.operator.casefold() for one in entries} - {(enclave or "").casefold()}
    try:
        first, second = choose_relays(entries, enclave_operator=enclave)
    except InputError:
        assert len(usable) < 2
        return
    assert {first, second} <= set(entries)
    operators = {first.operator.casefold(), second.operator.casefold()}
    assert len(operators) == 2
    assert operators <= usable


@given(ENTRIES, ENCLAVE, st.integers(0, 2_000_000_000), st.integers(0, 29 * 86_400))
def test_a_guard_is_kept_until_its_time(
    entries: list[RelayEntry], enclave: str | None, now: int, later: int
) -> None:
    try:
        first, guards = Guards().first(entries, enclave_operator=enclave, now=now)
    except InputError:
        return
    again, same = guards.first(entries, enclave_operator=enclave, now=now + later)
    assert (again.did, same) == (first.did, guards)
    assert now + 30 * 86_400 <= guards.held[0].until < now + 60 * 86_400
    _, renewed = guards.first(entries, enclave_operator=enclave, now=guards.held[0].until)
    assert renewed.held[0].until > guards.held[0].until
