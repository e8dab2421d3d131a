"""Rate identities, and the tree that follows the ledger's events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from native import needs_native
from privity.anon.field import ORDER, ZERO, Field, field_from_int
from privity.anon.membership import (
    MOST_MESSAGES,
    KnownRoot,
    MemberTree,
    RateIdentity,
    poseidon,
)
from privity.errors import InputError, MalformedError, PrivityError

pytestmark = needs_native

EMPTY_ROOT = 15019797232609675441998260052101280400536945603062888308240081994073687793470
"""Of the empty tree of depth 20, as Tornado Cash, Semaphore and zerokit know it."""


def leaf(number: int) -> Field:
    return field_from_int(number)


def filled(count: int, **settings: int) -> MemberTree:
    tree = MemberTree(**settings)
    for number in range(1, count + 1):
        tree.append(leaf(number), at=float(number))
    return tree


def test_the_empty_root_is_the_known_one() -> None:
    assert MemberTree().root == field_from_int(EMPTY_ROOT)


def test_a_leaf_is_the_rate_commitment() -> None:
    identity = RateIdentity(field_from_int(42))
    assert identity.commitment == poseidon(field_from_int(42))
    assert identity.leaf(9) == poseidon(identity.commitment, field_from_int(9))


@pytest.mark.parametrize("limit", [0, -1, MOST_MESSAGES + 1])
def test_a_limit_the_circuit_cannot_compare_is_refused(limit: int) -> None:
    with pytest.raises(InputError):
        RateIdentity.generate().leaf(limit)


def test_generated_secrets_come_from_the_randomness_given() -> None:
    assert RateIdentity.generate(bytes).unsafe_secret() == field_from_int(1)
    most = RateIdentity.generate(lambda count: (ORDER - 2).to_bytes(count, "little"))
    assert most.unsafe_secret() == field_from_int(ORDER - 1)
    wrapped = RateIdentity.generate(lambda count: (ORDER - 1).to_bytes(count, "little"))
    assert wrapped.unsafe_secret() == field_from_int(1)
    assert RateIdentity.generate().commitment != RateIdentity.generate().commitment


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, bytes(31)])
def test_what_is_no_secret_is_refused(secret: bytes) -> None:
    with pytest.raises(MalformedError):
        RateIdentity(secret)


def test_leaves_are_appended_in_the_ledgers_order() -> None:
    tree = MemberTree()
    assert [tree.append(leaf(n), index=n - 1) for n in (1, 2, 3)] == [0, 1, 2]
    for wrong in (2, 4):
        with pytest.raises(InputError, match="an event was missed"):
            tree.append(leaf(9), index=wrong)
    assert len(tree) == 3 and tree.leaf(2) == leaf(3)


def test_all_at_once_is_the_same_tree() -> None:
    tree = MemberTree()
    assert tree.extend([leaf(n) for n in range(1, 41)]) == 0
    assert tree.root == filled(40).root
    assert tree.extend([]) == 40


@pytest.mark.parametrize("wrong", [ZERO, Field(b"\xff" * 32), Field(b"")])
def test_what_is_no_leaf_is_refused_and_changes_nothing(wrong: Field) -> None:
    tree = filled(2)
    before = tree.roots
    with pytest.raises(PrivityError):
        tree.extend([leaf(3), wrong])
    assert (tree.roots, len(tree)) == (before, 2)


def test_the_last_roots_are_known_with_their_times() -> None:
    tree = filled(5, window=3)
    roots = tree.roots
    assert [known.since for known in roots] == [3.0, 4.0, 5.0]
    assert tree.root == roots[-1].root
    assert all(tree.knows(known.root) for known in roots)
    assert not tree.knows(filled(2).root)
    assert all(one.root != other.root for one, other in pairwise(roots))


def test_a_removal_empties_the_leaf_and_forgets_the_roots_before() -> None:
    tree = filled(4)
    before = tree.roots
    tree.remove(1, at=9.0)
    assert tree.leaf(1) == ZERO and len(tree) == 4
    assert tree.roots == (KnownRoot(tree.root, 9.0),)
    assert not any(tree.knows(known.root) for known in before)
    assert tree.append(leaf(5)) == 4
    assert len(tree.roots) == 2


@pytest.mark.parametrize("index", [-1, 4, 1 << 70])
def test_there_is_nothing_at_an_index_never_registered(index: int) -> None:
    tree = filled(4)
    calls: list[Callable[[int], object]] = [tree.leaf, tree.path, tree.remove]
    for call in calls:
        with pytest.raises(InputError):
            call(index)
    with pytest.raises(InputError):
        tree.place(index, 1)


def test_a_path_leads_to_the_root() -> None:
    tree = filled(11)
    for index in (0, 5, 10):
        node = tree.leaf(index)
        path = tree.path(index)
        for height in range(20):
            sibling = Field(path[32 * height : 32 * height + 32])
            right = index >> height & 1
            node = poseidon(sibling, node) if right else poseidon(node, sibling)
        assert node == tree.root


@pytest.mark.parametrize("window", [0, 4097])
def test_a_window_has_a_size(window: int) -> None:
    with pytest.raises(InputError):
        MemberTree(window=window)


def test_threads_may_share_a_tree() -> None:
    tree = MemberTree()
    tree.append(leaf(1))

    def append() -> None:
        for number in range(2, 22):
            tree.append(leaf(number))
            tree.place(0, 1)

    threads = [threading.Thread(target=append) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(tree) == 81
    again = MemberTree()
    again.extend([tree.leaf(index) for index in range(len(tree))])
    assert tree.root == again.root


def test_poseidon_refuses_what_is_no_element() -> None:
    with pytest.raises(InputError):
        poseidon(Field(b"\xff" * 32))
    with pytest.raises(InputError):
        poseidon(Field(b"short"))
