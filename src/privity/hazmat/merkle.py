"""Merkle trees over SHA-256, as transparency logs and sealed artefacts use them.

Hashing is that of RFC 9162 §2.1: a leaf is ``SHA-256(0x00 ‖ data)``, a node
``SHA-256(0x01 ‖ left ‖ right)``, so that neither can pass for the other. Proofs are those of
RFC 9162 §2.1.3 (inclusion) and §2.1.4 (consistency).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from privity.errors import MalformedError

__all__ = [
    "EMPTY",
    "HASH_BYTES",
    "CompactTree",
    "Tree",
    "leaf_hash",
    "node_hash",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32

EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes | memoryview) -> bytes:
    """Return the 32-byte hash of a leaf's data."""
    total = hashlib.sha256(b"\0")
    total.update(data)
    return total.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of two subtrees' roots."""
    return hashlib.sha256(b"\1" + left + right).digest()


class CompactTree:
    """A tree that can only grow, in memory that grows with the logarithm of its size."""

    def __init__(self) -> None:
        self._peaks: list[bytes] = []  # roots of the full subtrees, the largest first
        self.size = 0

    def append(self, leaf: bytes) -> None:
        """Add a leaf, by its hash."""
        self._peaks.append(leaf)
        self.size += 1
        for _ in range((self.size & -self.size).bit_length() - 1):
            right = self._peaks.pop()
            self._peaks[-1] = node_hash(self._peaks[-1], right)

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._peaks:
            return EMPTY
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


class Tree:
    """A tree whose every leaf hash is kept, for whoever makes proofs.

    Full subtrees are kept too, so that a root or a proof costs a logarithm of hashes.
    """

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf, by its hash."""
        node, height = leaf, 0
        while True:
            if height == len(self._levels):
                self._levels.append([])
            level = self._levels[height]
            level.append(node)
            if len(level) % 2:
                return
            node, height = node_hash(level[-2], level[-1]), height + 1

    def leaf(self, index: int) -> bytes:
        """Return the hash of one leaf; raises `MalformedError` where there is none."""
        if not 0 <= index < len(self):
            raise MalformedError(f"a tree of {len(self)} leaves has no leaf {index}")
        return self._levels[0][index]

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` leaves; all of them where it is None.

        Raises:
            MalformedError: there are fewer.
        """
        size = len(self) if size is None else size
        self._check(size)
        return self._range(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that leaf ``index`` is in the tree of the first ``size`` leaves.

        Raises:
            MalformedError: there is no such leaf.
        """
        self._check(size)
        if not 0 <= index < size:
            raise MalformedError(f"a tree of {size} leaves has no leaf {index}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start = middle
        return proof[::-1]

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return the proof that the first ``old`` leaves begin the tree of the first ``size``.

        Raises:
            MalformedError: not ``0 < old <= size``, or there are fewer leaves.
        """
        self._check(size)
        if not 0 < old <= size:
            raise MalformedError(f"no proof leads from {old} leaves to {size}")
        proof: list[bytes] = []
        start, end, whole = 0, size, True
        while old - start != end - start:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._range(start, end))
        return proof[::-1]

    def _check(self, size: int) -> None:
        if not 0 <= size <= len(self):
            raise MalformedError(f"the tree has {len(self)} leaves, not {size}")

    def _range(self, start: int, end: int) -> bytes:
        """Return the root of the subtree over leaves ``start`` to ``end``, split as the tree is."""
        width = end - start
        if width & (width - 1) == 0:
            height = width.bit_length() - 1
            return self._levels[height][start >> height]
        middle = start + _split(width)
        return node_hash(self._range(start, middle), self._range(middle, end))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf hash is at ``index`` of the tree with this size and root.

    Raises:
        MalformedError: it is not, or the proof is not of the form RFC 9162 §2.1.3.2 checks.
    """
    if not 0 <= index < size:
        raise MalformedError(f"a tree of {size} leaves has no leaf {index}")
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_BYTES:
            raise MalformedError("the inclusion proof is not of this tree's shape")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last or node != root:
        raise MalformedError("the inclusion proof does not lead to the root")


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``size`` leaves begins with the tree of ``old_size`` leaves.

    Raises:
        MalformedError: it does not, or the proof is not of the form RFC 9162 §2.1.4.2 checks.
    """
    if not 0 < old_size <= size:
        raise MalformedError(f"no proof leads from {old_size} leaves to {size}")
    if old_size == size:
        if proof or old_root != root:
            raise MalformedError("two trees of one size have different roots")
        return
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path or any(len(node) != HASH_BYTES for node in path):
        raise MalformedError("the consistency proof is not of this tree's shape")
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MalformedError("the consistency proof is not of this tree's shape")
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        position, last = position >> 1, last >> 1
    if last or first != old_root or second != root:
        raise MalformedError("the consistency proof does not lead to both roots")


def _split(width: int) -> int:
    """Return the largest power of two that is smaller than ``width``."""
    return 1 << (width - 1).bit_length() - 1
