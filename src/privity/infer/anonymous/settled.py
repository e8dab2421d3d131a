"""The list of members as it was at a moment that is the same for every device.

A gateway sees which list a request was proved of. The newest list would say when its device last
read the ledger; and where somebody has just joined, the list that ends with them is the one they
read, and for a while perhaps nobody else. So everyone proves of an older list: as it was at the
start of the last whole period, two periods ago at most. Whoever read the ledger since then has the
same one, whenever that was, and only a newcomer is not in it yet.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from privity.anon.membership import MemberTree
from privity.errors import InputError
from privity.infer.anonymous.tree_events import apply_events
from privity.ledger.addresses import SETTLE_S
from privity.ledger.members import LeafRemoved, MemberEvent
from privity.ledger.wire import Block

__all__ = ["SettledMembers"]

_AHEAD = 32
"""Events after which the older list is given up, before gateways forget its root."""

ReadBlock = Callable[[int], Awaitable[Block | None]]


class SettledMembers:
    """Follows the members' events one to two periods behind. Run by the device.

    Args:
        period_s: seconds between two moments; everybody of a network has to have the same.
        clock: seconds since 1970.

    Raises:
        InputError: the period is not above 0.

    Guarantees:
        Of two devices that read the ledger in the same period, however far apart, both prove of
        one list; a list that somebody was removed from is not proved of any more
        (tests/adversary/test_settled_members.py).
    """

    def __init__(
        self, period_s: float = SETTLE_S, *, clock: Callable[[], float] = time.time
    ) -> None:
        if not period_s > 0:
            raise InputError("the period in which members settle is above 0 seconds")
        self._period_s = period_s
        self._clock = clock
        self._times: dict[int, float] = {}
        self._tree = MemberTree(window=1)
        self._count = 0  # events in the tree
        self._rewinds = 0

    @property
    def moment(self) -> float:
        """The start of the last whole period: what happened before it has settled."""
        return (self._clock() // self._period_s - 1) * self._period_s

    @property
    def until_next_s(self) -> float:
        """Seconds until the moment moves on."""
        return self._period_s - self._clock() % self._period_s

    async def read_times(self, events: Sequence[MemberEvent], block: ReadBlock) -> None:
        """Learn when the newest events happened, as far back as that matters.

        A block that says it is of the future counts from when it was seen.

        Args:
            events: all of them, in order.
            block: reads a block by its height.

        Raises:
            PeerError: the node is not reached.
        """
        moment = self.moment
        known: dict[int, float] = {}
        for event in reversed(events):
            if event.block in known:
                continue
            at = self._times.get(event.block)
            if at is None:
                found = await block(event.block)
                at = self._clock() if found is None else min(found.time, self._clock())
            known[event.block] = at
            if at < moment or len(known) > _AHEAD:
                break
        self._times = known

    def tree(self, events: Sequence[MemberEvent], rewinds: int = 0) -> MemberTree:
        """Return the tree to prove of.

        Args:
            events: all of them, in order, as `read_times` was given them.
            rewinds: how often earlier ones were taken back so far.
        """
        count = self._settled(events)
        if rewinds != self._rewinds or count < self._count:  # or this clock was set back
            self._tree, self._count, self._rewinds = MemberTree(window=1), 0, rewinds
        apply_events(self._tree, events[self._count : count])
        self._count = count
        return self._tree

    def _settled(self, events: Sequence[MemberEvent]) -> int:
        """Return how many events have settled.

        A removal settles at once, and all before it: gateways forget every list before it. And
        so does what is so many events ago that they forget it for its age.
        """
        moment = self.moment
        count = len(events)
        oldest = max(0, count - _AHEAD)
        while count > oldest:
            event = events[count - 1]
            if isinstance(event, LeafRemoved) or self._times.get(event.block, 0.0) < moment:
                break
            count -= 1
        return count
