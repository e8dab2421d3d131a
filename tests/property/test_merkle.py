"""Merkle trees: every proof verifies, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError
from privity.hazmat.merkle import (
    EMPTY,
    CompactTree,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

SIZES = st.integers(1, 70)


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(bytes([index])) for index in range(count)]


def plain_root(hashes: list[bytes]) -> bytes:
    """MTH as RFC 9162 §2.1.1 writes it, recursively."""
    if not hashes:
        return EMPTY
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(plain_root(hashes[:split]), plain_root(hashes[split:]))


@pytest.mark.parametrize("size", range(70))
def test_both_trees_have_the_root_of_the_definition(size: int) -> None:
    tree, compact = Tree(leaves(80)), CompactTree()
    for leaf in leaves(size):
        compact.append(leaf)
    assert tree.root(size) == compact.root() == plain_root(leaves(size))


def test_every_inclusion_proof_verifies_and_for_one_leaf_alone() -> None:
    tree = Tree(leaves(40))
    for size in range(1, 41):
        root = tree.root(size)
        for index in range(size):
            proof = tree.inclusion(index, size)
            verify_inclusion(tree.leaf(index), index, size, proof, root)
            for other in {0, size - 1, (index + 1) % size} - {index}:
                with pytest.raises(MalformedError):
                    verify_inclusion(tree.leaf(index), other, size, proof, root)


def test_every_consistency_proof_verifies() -> None:
    tree = Tree(leaves(40))
    for size in range(1, 41):
        for old in range(1, size + 1):
            proof = tree.consistency(old, size)
            verify_consistency(old, tree.root(old), size, tree.root(size), proof)


@given(SIZES, SIZES, st.data())
def test_another_history_is_not_consistent(one: int, other: int, data: st.DataObject) -> None:
    old, size = sorted((one, other))
    changed = data.draw(st.integers(0, old - 1))
    tree, forged = Tree(leaves(size)), leaves(size)
    forged[changed] = leaf_hash(b"forged")
    split = Tree(forged)
    with pytest.raises(MalformedError):
        verify_consistency(
            old, tree.root(old), size, split.root(size), split.consistency(old, size)
        )


@given(SIZES, SIZES, st.data())
def test_a_flipped_bit_in_a_proof_is_refused(one: int, other: int, data: st.DataObject) -> None:
    old, size = sorted((one, other))
    tree = Tree(leaves(size))
    proof = tree.consistency(old, size)
    if proof:
        place = data.draw(st.integers(0, len(proof) * 256 - 1))
        node = bytearray(proof[place // 256])
        node[place % 256 // 8] ^= 1 << place % 8
        proof[place // 256] = bytes(node)
        with pytest.raises(MalformedError):
            verify_consistency(old, tree.root(old), size, tree.root(size), proof)


@given(
    st.integers(-2, 300),
    st.integers(-2, 300),
    st.lists(st.binary(max_size=40), max_size=12),
    st.binary(max_size=33),
)
def test_verification_is_total(index: int, size: int, proof: list[bytes], node: bytes) -> None:
    for verify in (
        lambda: verify_inclusion(node, index, size, proof, node),
        lambda: verify_consistency(index, node, size, node, proof),
    ):
        try:
            verify()
        except MalformedError:
            continue
