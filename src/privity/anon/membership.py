"""Membership: the secret that is rate-limited, and the tree of everyone's commitments.

A leaf is ``Poseidon(Poseidon(secret), limit)``, zerokit's rate commitment; the tree has depth 20,
circomlib's Poseidon and empty leaves 0, so its root is the ledger's and Waku's. Who follows the
ledger builds the tree from its events; nobody else's tree is trusted.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from privity.anon.field import FIELD_BYTES, ORDER, ZERO, Field, field
from privity.errors import InputError, MalformedError
from privity.hazmat.native import native

if TYPE_CHECKING:
    import privity_core

__all__ = [
    "DEPTH",
    "MOST_MESSAGES",
    "KnownRoot",
    "MemberTree",
    "Place",
    "RateIdentity",
    "poseidon",
]

DEPTH = 20
"""Levels between a leaf and the root: a million members."""

MOST_MESSAGES = 65_535
"""Largest limit of messages an epoch: the circuit compares message ids in 16 bits."""

_MOST_ROOTS = 4096


def poseidon(*inputs: Field) -> Field:
    """Return the Poseidon hash of 1 to 8 elements, with circomlib's constants.

    Raises:
        InputError: none, too many, or not elements.
        MissingDependency: the native wheel is not installed.
    """
    try:
        return Field(native("poseidon").poseidon(list(inputs)))
    except ValueError as error:
        raise InputError(f"Poseidon was not given field elements: {error}") from None


class RateIdentity:
    """The secret whose messages are counted; whoever exceeds the limit reveals it.

    It is made for this use alone, so that losing it tells nothing of payment or votes. `close`
    overwrites it; copies that Python made on the way are overwritten when the memory is used again.
    """

    def __init__(self, secret: bytes) -> None:
        """Take a secret of 32 bytes.

        Raises:
            MalformedError: it is not an element of the field, or it is zero.
        """
        if field(secret) == ZERO:
            raise MalformedError("a rate secret of zero is nobody's")
        self._secret = bytearray(secret)
        self._commitment: Field | None = None

    def __repr__(self) -> str:
        return "RateIdentity(…)"

    def __enter__(self) -> RateIdentity:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def generate(cls, randomness: Callable[[int], bytes] = os.urandom) -> RateIdentity:
        """Return a fresh identity; 48 random bytes make the bias of the reduction below 2^-128."""
        number = int.from_bytes(randomness(48), "little") % (ORDER - 1) + 1
        return cls(number.to_bytes(FIELD_BYTES, "little"))

    @property
    def commitment(self) -> Field:
        """``Poseidon(secret)``, which the ledger's events show."""
        if self._commitment is None:
            self._commitment = poseidon(self.unsafe_secret())
        return self._commitment

    def leaf(self, limit: int) -> Field:
        """Return the leaf of this identity with a limit of messages an epoch.

        Raises:
            InputError: the limit is not between 1 and `MOST_MESSAGES`.
        """
        if not 1 <= limit <= MOST_MESSAGES:
            raise InputError(f"a limit of messages is between 1 and {MOST_MESSAGES}, not {limit}")
        return poseidon(self.commitment, Field(limit.to_bytes(FIELD_BYTES, "little")))

    def unsafe_secret(self) -> Field:
        """Return the secret, to store it encrypted or to prove with; never to send or log.

        Raises:
            InputError: the identity was closed.
        """
        if not any(self._secret):
            raise InputError("this rate identity was closed")
        return Field(bytes(self._secret))

    def close(self) -> None:
        """Overwrite the secret. A closed identity proves nothing more."""
        self._secret[:] = bytes(FIELD_BYTES)


@dataclass(frozen=True)
class Place:
    """Where a member stands in the tree: what a proof needs beside the secret.

    Attributes:
        index: of the leaf.
        limit: messages an epoch, as registered.
        path: the 20 siblings from the leaf upwards, 640 bytes.
        root: of the tree the path was taken from.
    """

    index: int
    limit: int
    path: bytes
    root: Field


class KnownRoot(NamedTuple):
    """A root, and the time (Unix, seconds) from which it was the current one."""

    root: Field
    since: float


class MemberTree:
    """The tree of members, as the ledger's events build it, with the last roots it had.

    A gateway accepts proofs of any of `roots`, because provers see an event later than it does. A
    removal forgets all earlier roots: of those trees the removed member could still prove. Others
    who had a proof of them at hand make a new one. Methods may be called from several threads.
    """

    def __init__(self, *, window: int = 64) -> None:
        """Begin an empty tree that remembers ``window`` roots.

        Raises:
            InputError: the window is not between 1 and 4096.
            MissingDependency: the native wheel is not installed.
        """
        if not 1 <= window <= _MOST_ROOTS:
            raise InputError(f"a window of roots is between 1 and {_MOST_ROOTS}, not {window}")
        self._tree: privity_core.MerkleTree = native("MerkleTree").MerkleTree(DEPTH)
        self._lock = threading.Lock()
        self._roots: deque[KnownRoot] = deque(maxlen=window)
        self._note(0.0)

    def __len__(self) -> int:
        return len(self._tree)

    @property
    def root(self) -> Field:
        """The current root."""
        return self._roots[-1].root

    @property
    def roots(self) -> tuple[KnownRoot, ...]:
        """The last roots, the current one last."""
        with self._lock:
            return tuple(self._roots)

    def append(self, leaf: Field, *, index: int | None = None, at: float = 0.0) -> int:
        """Add the leaf that the ledger registered, and return its index.

        Args:
            leaf: the rate commitment.
            index: the index the ledger gave it; a gap means that an event was missed.
            at: when, in Unix seconds.

        Raises:
            InputError: an event was missed or came twice, or the tree is full.
            MalformedError: the leaf is not a field element, or is zero.
        """
        return self.extend([leaf], index=index, at=at)

    def extend(self, leaves: list[Field], *, index: int | None = None, at: float = 0.0) -> int:
        """Add leaves in one go, which is many times cheaper; only the last root is remembered.

        Returns the index of the first; raises what `append` raises.
        """
        if any(field(leaf) == ZERO for leaf in leaves):
            raise MalformedError("a leaf of zero is an empty one")
        with self._lock:
            first = len(self._tree)
            if index is not None and index != first:
                raise InputError(
                    f"the ledger's leaf {index} was expected to be {first}: an event was missed",
                    hint="read the ledger's events again from the start",
                )
            try:
                self._tree.extend(b"".join(leaves))
            except ValueError as error:
                raise InputError(f"the members cannot be added: {error}") from None
            self._note(at)
            return first

    def remove(self, index: int, *, at: float = 0.0) -> None:
        """Empty a leaf that was slashed or left, and forget the roots before.

        Raises:
            InputError: there is no such leaf.
        """
        with self._lock:
            try:
                self._tree.set(index, ZERO)
            except (IndexError, OverflowError):
                raise InputError(f"the tree has no leaf {index} to remove") from None
            # In one step, since `root` is read without the lock.
            left = KnownRoot(Field(self._tree.root()), at)
            self._roots = deque([left], maxlen=self._roots.maxlen)

    def leaf(self, index: int) -> Field:
        """Return a leaf; zero where it was removed. Raises `InputError` where there is none."""
        try:
            return Field(self._tree.leaf(index))
        except (IndexError, OverflowError):
            raise InputError(f"the tree has no leaf {index}") from None

    def path(self, index: int) -> bytes:
        """Return the 20 siblings from a leaf upwards, 640 bytes; raises `InputError` likewise."""
        try:
            return self._tree.path(index)
        except (IndexError, OverflowError):
            raise InputError(f"the tree has no leaf {index}") from None

    def place(self, index: int, limit: int) -> Place:
        """Return what the member at ``index`` proves with, all of one tree.

        Raises:
            InputError: there is no such leaf.
        """
        with self._lock:
            return Place(index, limit, self.path(index), self.root)

    def knows(self, root: bytes) -> bool:
        """Tell whether a root is one of `roots`."""
        with self._lock:
            return any(known.root == root for known in self._roots)

    def _note(self, at: float) -> None:
        self._roots.append(KnownRoot(Field(self._tree.root()), at))
