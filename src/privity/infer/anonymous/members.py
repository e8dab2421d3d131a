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
from typing import Protocol

from privity.anon.membership import MemberTree
from privity.errors import InputError, MalformedError, PeerError
from privity.infer.anonymous.tree_events import WINDOW, apply_events
from privity.ledger.history import MemberHistory
from privity.ledger.members import MemberEvent, Members

__all__ = ["LedgerSource", "MemberSource", "MemberView"]

logger = logging.getLogger("privity.admission")

EVERY_S = 5.0
"""Seconds between two looks at the ledger, where nothing else is said."""


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

    Attributes:
        rewinds: how often earlier events were taken back.
    """

    def __init__(self, members: Members, history: MemberHistory | None = None) -> None:
        self._members = members
        self.history = history or MemberHistory()
        self.rewinds = 0

    @property
    def events(self) -> Sequence[MemberEvent]:
        """All events so far, in order."""
        return self.history.events

    async def update(self) -> tuple[Sequence[MemberEvent], bool]:
        """Read on from the last update."""
        update = await self.history.update(self._members)
        rewound = update.rewound is not None
        self.rewinds += rewound
        return update.events, rewound

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
            await asyncio.to_thread(apply_events, self._tree, events, self._clock())
        except MalformedError as error:
            raise PeerError("the ledger's node listed a member that cannot be one") from error
        except InputError as error:
            raise PeerError(f"the ledger's events make no tree: {error.message}") from error
        await self._source.check_root(self._tree.root)
        self._roots = frozenset(known.root for known in self._tree.roots)
        self._built = True

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
