"""Who is a member, as gateways and devices know it: the ledger's events, followed into a tree.

Each update is checked against the contract's own root, so a node that leaves out an event is found
out before a root of it is believed. Where the ledger cannot be read a gateway goes on with what it
knows: meanwhile new members are not admitted yet, and one who was slashed still is, at their rate.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import anyio

from privity.anon.field import ZERO, field
from privity.anon.membership import MemberTree, Place
from privity.errors import InputError, MalformedError, PeerError
from privity.home import write_private
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, MemberEvent, Members

__all__ = ["DeviceMembers", "LedgerSource", "MemberSource", "MemberView"]

logger = logging.getLogger("privity.admission")

EVERY_S = 5.0
"""Seconds between two looks at the ledger, where nothing else is said."""

FRESH_S = 20.0
"""Seconds after which a device asks the ledger again."""

WINDOW = 64
"""Roots that are known at a time, as many as the contract's."""


class MemberSource(Protocol):
    """Where the events come from: all of them once, then what is new."""

    @property
    def events(self) -> Sequence[MemberEvent]:
        """All events so far, in order."""
        ...

    async def update(self) -> tuple[Sequence[MemberEvent], bool]:
        """Read on; return the new events, and whether earlier ones were taken back.

        Raises:
            PeerError: the ledger cannot be read, or does not fit together.
        """
        ...

    async def check_root(self, root: bytes) -> None:
        """Raise `PeerError` unless the contract has this root as of the last update."""
        ...


class LedgerSource:
    """The members' contract, read over a node.

    Args:
        members: the contract.
        history: what was read before; nothing by default.
    """

    def __init__(self, members: Members, history: MemberHistory | None = None) -> None:
        self._members = members
        self.history = history or MemberHistory()

    @property
    def events(self) -> Sequence[MemberEvent]:
        """All events so far, in order."""
        return self.history.events

    async def update(self) -> tuple[Sequence[MemberEvent], bool]:
        """Read on from the last update."""
        update = await self.history.update(self._members)
        return update.events, update.rewound is not None

    async def check_root(self, root: bytes) -> None:
        """Compare with the contract's root as of the block that was read up to."""
        if self.history.block is None:
            return
        block = await self._members.block(self.history.block)
        if block is None:
            raise PeerError("the ledger changed while its members were read; try again")
        await self._members.check_root(root, block)


class MemberView:
    """Knows the members' last roots; what `Admission` asks. Run by gateways and by clients.

    Args:
        source: of the events.
        window: roots that are known at a time.
        clock: seconds since 1970, for the times of roots.

    Guarantees:
        No root is known that the contract did not have (`test_a_left_out_event_is_not_believed`);
        after a removal no earlier one is (`test_a_removed_member_is_not_admitted`).
    """

    def __init__(
        self,
        source: MemberSource,
        *,
        window: int = WINDOW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._window = window
        self._clock = clock
        self._tree = MemberTree(window=window)
        self._built = False
        self._roots: frozenset[bytes] = frozenset()
        self.as_of: float | None = None
        """When the ledger was last read and agreed with; None before."""

    @property
    def tree(self) -> MemberTree:
        """The tree as the last update left it; an update may put another in its place."""
        return self._tree

    @property
    def roots(self) -> frozenset[bytes]:
        """The last roots, as `knows` goes by."""
        return self._roots

    def knows(self, root: bytes) -> bool:
        """Tell whether a root is one of the last ones. None is before the first update."""
        return root in self._roots

    async def update(self) -> None:
        """Read the ledger once.

        Raises:
            PeerError: it cannot be read, or does not have the root that its events make. What was
                known before stays.
        """
        events, rewound = await self._source.update()
        if rewound or not self._built:
            events, self._tree = self._source.events, MemberTree(window=self._window)
        self._built = False  # until the root is confirmed, the next update begins anew
        try:
            await asyncio.to_thread(_follow, self._tree, events, self._clock())
        except MalformedError as error:
            raise PeerError("the ledger's node listed a member that cannot be one") from error
        except InputError as error:
            raise PeerError(f"the ledger's events make no tree: {error.message}") from error
        await self._source.check_root(self._tree.root)
        self._roots = frozenset(known.root for known in self._tree.roots)
        self._built, self.as_of = True, self._clock()

    async def follow(self, every_s: float = EVERY_S) -> None:
        """Update until cancelled; say once in the log when the ledger cannot be read."""
        failing = False
        while True:
            try:
                await self.update()
                if failing:
                    logger.info("the members are read from the ledger again")
                failing = False
            except PeerError as error:
                if not failing:
                    logger.warning("the members cannot be read: %s", error.message)
                failing = True
            await asyncio.sleep(every_s)


class DeviceMembers:
    """A view that is read when it is needed, and kept on disk in between. Run by the device.

    Args:
        members: the ledger's contract of members.
        path: where what was read is kept, so that a start reads only what is new; None for nowhere.
        fresh_s: seconds after which the ledger is asked again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        members: Members,
        path: Path | None = None,
        *,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members = members
        self._path = path
        self._fresh_s = fresh_s
        self._clock = clock
        self._read_at: float | None = None
        self._begin(_restored(path))
        self._lock = anyio.Lock()

    @property
    def roots(self) -> frozenset[bytes]:
        """The last roots; none before the first `refresh`."""
        return self._view.roots

    async def place(self, index: int, limit: int) -> Place:
        """Return what a member proves with, of a tree that is fresh enough.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
            InputError: there is no such leaf.
        """
        await self.refresh()
        return self._view.tree.place(index, limit)

    def __len__(self) -> int:
        """Return how many members there are, as of the last reading."""
        added = removed = 0
        gone: set[int] = set()
        for event in self._source.events:
            if isinstance(event, LeafAdded):
                added += 1
            elif event.index not in gone:
                gone.add(event.index)
                removed += 1
        return added - removed

    async def refresh(self, *, now: bool = False) -> None:
        """Read what is new, unless that was done a moment ago; raises `PeerError`."""
        async with self._lock:
            age = None if self._read_at is None else self._clock() - self._read_at
            if age is not None and age < self._fresh_s and not now:
                return
            known = len(self._source.events)
            try:
                await self._view.update()
            except PeerError:
                # From the start next time: what was kept may be what is wrong.
                self._begin(MemberHistory())
                raise
            self._read_at = self._clock()
            if self._path is not None and len(self._source.events) != known:
                with suppress(OSError):  # it only saves time
                    write_private(self._path, self._source.history.dump())

    def _begin(self, history: MemberHistory) -> None:
        self._source = LedgerSource(self._members, history)
        self._view = MemberView(self._source)
        self._read_at = None


def _restored(path: Path | None) -> MemberHistory:
    """Return what was kept; what is damaged is read anew from the ledger."""
    if path is not None:
        with suppress(OSError, MalformedError):
            return MemberHistory.restore(path.read_bytes())
    return MemberHistory()


def _follow(tree: MemberTree, events: Sequence[MemberEvent], now: float) -> None:
    """Apply events; the roots after each of the last ones are known, of earlier ones not."""
    added: list[LeafAdded] = []
    for event in events:
        if isinstance(event, LeafAdded):
            added.append(event)
            continue
        _add(tree, added, now)
        added = []
        # Who is slashed while leaving is removed twice; the tree has it from the first.
        if tree.leaf(event.index) != ZERO:
            tree.remove(event.index, at=now)
    _add(tree, added, now)


def _add(tree: MemberTree, added: Sequence[LeafAdded], now: float) -> None:
    """Add leaves: many in one go, but for the last ones, each of which makes a root of its own."""
    many = max(0, len(added) - WINDOW)
    if many:
        leaves = [field(one.leaf) for one in added[:many]]
        tree.extend(leaves, index=added[0].index, at=now)
    for one in added[many:]:
        tree.append(field(one.leaf), index=one.index, at=now)
