"""The list of members as it was at a moment that is the same for every device.

A gateway sees which list a request was proved of. The newest list would say when its device last
read the ledger; and where somebody has just joined, the list that ends with them is the one they
read, and for a while perhaps nobody else. So everyone proves of an older list: as it was at the
start of the last whole period, two periods ago at most. Whoever read the ledger since then has the
same one, whenever that was, and only a newcomer is not in it yet.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from privity.anon.membership import MemberTree
from privity.errors import InputError
from privity.infer.anonymous.tree_events import apply_events
from privity.ledger.addresses import SETTLE_S
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent
from privity.ledger.wire import Block

__all__ = ["KnownMembers", "SettledMembers"]

_AHEAD = 32
"""Events after which the older list is given up, before gateways forget its root."""

_SKEW_S = 60.0
"""By how much a block may be ahead of this device's clock and still be believed its time."""

ReadBlock = Callable[[int], Awaitable[Block | None]]


@dataclass(frozen=True)
class KnownMembers:
    """What one reading of the ledger brought, whole.

    Attributes:
        events: all of them, in order.
        times: when they could be believed, by the height of their block; older ones are left out.
        chain: another value after events were taken back.
        at: when it was read, in seconds since 1970.
        roots: the last ones, of the tree of all events.
    """

    events: Sequence[MemberEvent] = ()
    times: Mapping[int, float] = field(default_factory=dict)
    chain: object = None
    at: float = 0.0
    roots: frozenset[bytes] = frozenset()

    def has(self, index: int) -> bool:
        """Tell whether a leaf was ever added."""
        return any(isinstance(one, LeafAdded) and one.index == index for one in self.events)


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
        self._tree = MemberTree(window=1)
        self._count = 0  # events in the tree
        self._chain: object = None

    @property
    def moment(self) -> float:
        """The start of the last whole period: what happened before it has settled."""
        return (self._clock() // self._period_s - 1) * self._period_s

    @property
    def until_next_s(self) -> float:
        """Seconds until the moment moves on."""
        return self._period_s - self._clock() % self._period_s

    async def times(
        self, events: Sequence[MemberEvent], confirming: ReadBlock, before: Mapping[int, float]
    ) -> dict[int, float]:
        """Return when the newest events could be believed, as far back as that matters.

        An event happens for everybody when the block comes that confirms its own, or a device that
        waits for confirmations would know none that has not settled. A block far ahead of this
        device's clock counts from when it was seen.

        Args:
            events: all of them, in order.
            confirming: reads the block that confirms those of a height.
            before: what the last call returned, if the chain is the same.

        Raises:
            PeerError: the node is not reached.
        """
        moment, now = self.moment, self._clock()
        times: dict[int, float] = {}
        for event in reversed(events):
            if event.block in times:
                continue
            at = before.get(event.block)
            if at is None:
                block = await confirming(event.block)
                at = now if block is None or block.time > now + _SKEW_S else float(block.time)
            times[event.block] = at
            if at < moment or len(times) > _AHEAD:
                break
        return times

    def tree(self, known: KnownMembers) -> MemberTree:
        """Return the tree to prove of; the next call may change it."""
        count = self._settled(known)
        if known.chain != self._chain or count < self._count:  # or this clock was set back
            self._tree, self._count, self._chain = MemberTree(window=1), 0, known.chain
        apply_events(self._tree, known.events[self._count : count])
        self._count = count
        return self._tree

    def crowd(self, known: KnownMembers, own: int | None = None) -> int:
        """Return how many members are on the list.

        Args:
            known: what the ledger had.
            own: the leaf of who asks. Not on the list yet, they wait until it has grown to them.
        """
        count = self._settled(known)
        for at, event in enumerate(known.events[count:], count):
            if isinstance(event, LeafAdded) and event.index == own:
                count = at + 1
        present: set[int] = set()
        for event in known.events[:count]:
            if isinstance(event, LeafAdded):
                present.add(event.index)
            else:
                present.discard(event.index)
        return len(present)

    def _settled(self, known: KnownMembers) -> int:
        """Return how many events have settled.

        A removal settles at once, and all before it: gateways forget every list before it. And
        so does what is so many events ago that they forget it for its age.
        """
        moment = self.moment
        count = len(known.events)
        oldest = max(0, count - _AHEAD)
        while count > oldest:
            event = known.events[count - 1]
            if isinstance(event, LeafRemoved) or known.times.get(event.block, 0.0) < moment:
                break
            count -= 1
        return count
