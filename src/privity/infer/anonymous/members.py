"""The tree of members as the ledger has it, kept on this device and read whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import anyio

from privity.anon.field import Field
from privity.anon.membership import MemberTree, Place
from privity.errors import MalformedError, PrivityError
from privity.home import write_private
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, MemberEvent, Members

__all__ = ["MemberView"]

_FRESH_S = 20.0


class MemberView:
    """Follows the ledger's leaf events into a tree. Run by the device.

    Args:
        members: the ledger's contract of members.
        path: where what was read is kept, so that a start reads only what is new; None for nowhere.
        fresh_s: seconds after which the ledger is asked again.
        clock: seconds, monotonic.

    Guarantees:
        A tree whose root is not the contract's is never proved with: a node that leaves out or
        makes up a member is found out (tests/unit/test_anonymous_members.py).
    """

    def __init__(
        self,
        members: Members,
        path: Path | None = None,
        *,
        fresh_s: float = _FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members = members
        self._path = path
        self._fresh_s = fresh_s
        self._clock = clock
        self._history = _restored(path)
        self._tree = _built(self._history.events)
        self._read_at: float | None = None
        self._lock = anyio.Lock()

    def __len__(self) -> int:
        """Return how many leaves there ever were."""
        return len(self._tree)

    async def place(self, index: int, limit: int) -> Place:
        """Return what a member proves with, of a tree that is fresh enough.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
            InputError: there is no such leaf.
        """
        await self.refresh()
        return self._tree.place(index, limit)

    async def refresh(self, *, now: bool = False) -> None:
        """Read what is new, unless that was done a moment ago; raises `PeerError`."""
        async with self._lock:
            age = None if self._read_at is None else self._clock() - self._read_at
            if age is not None and age < self._fresh_s and not now:
                return
            await self._read()
            self._read_at = self._clock()

    async def _read(self) -> None:
        update = await self._history.update(self._members)
        if update.rewound is not None:
            self._tree = _built(self._history.events)
        else:
            _apply(self._tree, update.events)
        height = self._history.block
        block = None if height is None else await self._members.block(height)
        if block is not None:
            try:
                await self._members.check_root(self._tree.root, block)
            except PrivityError:
                # From the start next time: what is kept may be what is wrong.
                self._history, self._tree = MemberHistory(), MemberTree()
                raise
        if self._path is not None and (update.events or update.rewound is not None):
            with suppress(OSError):  # it only saves time
                write_private(self._path, self._history.dump())


def _restored(path: Path | None) -> MemberHistory:
    """Return what was kept; what is damaged is read anew from the ledger."""
    if path is not None:
        with suppress(OSError, MalformedError):
            return MemberHistory.restore(path.read_bytes())
    return MemberHistory()


def _built(events: Iterable[MemberEvent]) -> MemberTree:
    tree = MemberTree()
    _apply(tree, events)
    return tree


def _apply(tree: MemberTree, events: Iterable[MemberEvent]) -> None:
    """Bring a tree up to date: leaves that follow each other at once, which is far cheaper."""
    new: list[Field] = []
    for event in events:
        if isinstance(event, LeafAdded):
            new.append(Field(event.leaf))
            continue
        if new:
            tree.extend(new)
            new = []
        tree.remove(event.index)
    if new:
        tree.extend(new)
