"""The root: one digest that names a plaintext of many gigabytes, sealed or not.

The hash tree of RFC 9162 §2.1.1 over leaves of 1 MiB, spelled ``tree-sha256:<hex>``. Leaves are
hashed on several threads (hashlib releases the interpreter lock), so that naming a model costs
half of what one SHA-256 over it would on two cores, in constant memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from privity.errors import InputError
from privity.hazmat.merkle import CompactTree, leaf_hash
from privity.identity.digests import tree_digest
from privity.vault.lanes import Turns, run_lanes

__all__ = ["LEAF_BYTES", "Progress", "RootHasher", "root_of", "root_of_file"]

LEAF_BYTES = 1 << 20
"""Bytes of plaintext under one leaf; the last leaf may have fewer."""

Progress = Callable[[int], None]
"""Told, from any thread but never from two at once, how many bytes are done so far."""


class RootHasher:
    """Puts leaf hashes, in order, together into the root; memory grows with the logarithm."""

    def __init__(self) -> None:
        self._tree = CompactTree()

    def add(self, leaf: bytes) -> None:
        """Add the next leaf by its hash (`privity.hazmat.merkle.leaf_hash`)."""
        self._tree.append(leaf)

    def root(self) -> str:
        """Return the root over the leaves so far, as ``tree-sha256:<hex>``."""
        return tree_digest(self._tree.root())


def root_of(data: bytes) -> str:
    """Return the root of bytes in memory."""
    hasher = RootHasher()
    view = memoryview(data)
    for start in range(0, len(data), LEAF_BYTES):
        hasher.add(leaf_hash(view[start : start + LEAF_BYTES]))
    return hasher.root()


def root_of_file(path: Path, *, progress: Progress | None = None) -> str:
    """Return the root of a file; reads all of it, in constant memory.

    Raises:
        InputError: it cannot be read.
    """
    hasher = RootHasher()
    try:
        with path.open("rb", buffering=0) as file:
            _hash_file(file.fileno(), hasher, progress)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return hasher.root()


def _hash_file(fd: int, hasher: RootHasher, progress: Progress | None) -> None:
    done = 0

    def lane(turns: Turns) -> None:
        nonlocal done
        buffer = bytearray(LEAF_BYTES)
        view = memoryview(buffer)
        while True:
            number = turns.draw()
            read = _read_at(fd, view, number * LEAF_BYTES)
            leaf = leaf_hash(view[:read])
            with turns.turn(number):
                if read:
                    hasher.add(leaf)
                    done += read
                    if progress:
                        progress(done)
            if read < LEAF_BYTES:
                return

    run_lanes(lane)


def _read_at(fd: int, view: memoryview, offset: int) -> int:
    """Fill ``view`` from ``offset``, short only at the end of the file."""
    read = 0
    while read < len(view):
        got = os.preadv(fd, [view[read:]], offset + read)
        if not got:
            break
        read += got
    return read
