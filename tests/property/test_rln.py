"""Totality of the admission header; the tree against a naive one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import needs_native
from privity.anon.field import ORDER, ZERO, Field, field_from_int
from privity.anon.membership import DEPTH, MemberTree, poseidon
from privity.anon.rln import Claimed, Proof, recover_secret, signal, verify_proofs
from privity.anon.rln import Point as LinePoint
from privity.errors import AdmissionError, InputError, PrivityError
from privity.identity.multibase import encode_base64url

NUMBERS = st.integers(0, ORDER - 1)
FIELDS = NUMBERS.map(field_from_int)
NONZERO = st.integers(1, ORDER - 1).map(field_from_int)
EPOCHS = st.integers(0, (1 << 64) - 1)
PROOFS = st.builds(Proof, EPOCHS, st.binary(min_size=128, max_size=128), FIELDS, FIELDS, FIELDS)


@given(PROOFS)
def test_a_header_round_trips(proof: Proof) -> None:
    assert Proof.from_header(proof.to_header()) == proof


@given(st.text() | st.binary(min_size=233, max_size=233).map(encode_base64url))
def test_a_header_is_read_totally_and_has_one_spelling(text: str) -> None:
    try:
        proof = Proof.from_header(text)
    except PrivityError:
        return
    assert proof.to_header() == text


@given(PROOFS, st.integers(0, 310), st.characters(codec="ascii"))
def test_one_other_character_is_another_proof_or_none(proof: Proof, at: int, other: str) -> None:
    text = proof.to_header()
    changed = text[:at] + other + text[at + 1 :]
    try:
        found = Proof.from_header(changed)
    except PrivityError:
        return
    assert (found == proof) == (changed == text)


@needs_native
@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Claimed, PROOFS, st.just("did:x"), st.just(bytes(32))), max_size=4))
def test_made_up_proofs_are_refused_and_nothing_else(claims: list[Claimed]) -> None:
    assert all(isinstance(one, AdmissionError) for one in verify_proofs(claims))


def naive_root(leaves: list[Field]) -> Field:
    """Hash level by level, each padded with the root of an empty subtree."""
    level, empty = list(leaves), ZERO
    for _ in range(DEPTH):
        if len(level) % 2:
            level.append(empty)
        pairs = zip(level[::2], level[1::2], strict=True)
        level, empty = [poseidon(*pair) for pair in pairs], poseidon(empty, empty)
    return level[0] if level else empty


@needs_native
@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(NONZERO, max_size=20), max_size=4), st.data())
def test_the_tree_is_a_naive_one(batches: list[list[Field]], data: st.DataObject) -> None:
    tree, leaves = MemberTree(), list[Field]()
    for batch in batches:
        tree.extend(batch)
        leaves += batch
        if leaves and data.draw(st.booleans()):
            index = data.draw(st.integers(0, len(leaves) - 1))
            tree.remove(index)
            leaves[index] = ZERO
        assert tree.root == naive_root(leaves)


@needs_native
@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_line_is_recovered_from_two_points(
    secret: int, slope: int, first: int, second: int
) -> None:
    def point(x: int) -> LinePoint:
        return LinePoint(field_from_int(x), field_from_int((secret + slope * x) % ORDER))

    if first == second:
        with pytest.raises(InputError):
            recover_secret(point(first), point(second))
    else:
        assert recover_secret(point(first), point(second)) == field_from_int(secret)


@needs_native
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_two_requests_have_two_signals(first: bytes, second: bytes) -> None:
    assert (signal(first) == signal(second)) == (first == second)
