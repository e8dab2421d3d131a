"""All that happened to the leaves so far: kept across restarts, right across reorganisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from privity.errors import MalformedError, PeerError
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent, MemberPage, Members
from privity.ledger.wire import Block

__all__ = ["MemberHistory", "Update"]

_FORM = "privity/member-history/v1"
_MOST_POINTS = 64
_MOST_EVENTS = 2 * 2**20  # a leaf is registered and removed
_CAPACITY = 2**20
_MOST_BLOCK = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Update:
    """What an update brought.

    Attributes:
        events: those that are new, in order.
        rewound: how many of the events before it still hold; None where all do. A tree built of
            them is then built anew, from `MemberHistory.events`.
    """

    events: tuple[MemberEvent, ...]
    rewound: int | None = None


@dataclass(frozen=True, slots=True)
class _Point:
    """The chain up to a block, and how many events it held."""

    block: int
    hash: bytes
    events: int


class MemberHistory:
    """The events of the members' contract, followed from its first block on.

    Guarantees:
        After a reorganisation the events are those of the chain as it is
        (tests/e2e/test_ledger.py::test_a_reorganisation_takes_back_what_it_took_back).
        Indices without a gap, leaves removed as they were registered: a node that leaves out an
        event in the middle is found out
        (tests/unit/test_ledger_history.py::test_a_left_out_event_is_found_out). One that leaves
        out the newest is found out by the root, see `Members.check_root`.
    """

    def __init__(self) -> None:
        self._events: list[MemberEvent] = []
        self._points: list[_Point] = []
        self._leaves = _Leaves()

    @property
    def events(self) -> Sequence[MemberEvent]:
        """All events so far, in order."""
        return tuple(self._events)

    @property
    def block(self) -> int | None:
        """The height up to which the events are known; None at the beginning."""
        return self._points[-1].block if self._points else None

    async def update(self, members: Members) -> Update:
        """Read on from where the last update ended.

        Raises:
            PeerError: the node is not reached, or its events do not fit together. What was known
                before stays.
        """
        standing = await self._standing(members)
        if standing is None:
            return Update(())  # a node that is behind; it will catch up
        points = self._points[:standing]
        kept = points[-1].events if points else 0
        page = await members.page(points[-1].block + 1 if points else None)
        rewound = kept if standing < len(self._points) else None
        if page is None:
            return Update(()) if rewound is None else self._commit(points, kept, None, rewound)
        if points and await self._hash(members, points[-1].block) != points[-1].hash:
            raise PeerError("the ledger changed while its members were read; try again")
        return self._commit(points, kept, page, rewound)

    def _commit(
        self, points: list[_Point], kept: int, page: MemberPage | None, rewound: int | None
    ) -> Update:
        """Take over what was read, if it fits what is kept; nothing changes if not."""
        new = page.events if page else ()
        leaves = self._leaves if rewound is None else _Leaves.of(self._events[:kept])
        leaves = leaves.followed_by(new)
        self._leaves = leaves
        self._events[kept:] = new
        if page is not None:
            point = _Point(page.last.number, page.last.hash, len(self._events))
            points = [*points, point][-_MOST_POINTS:]
        self._points = points
        return Update(tuple(new), rewound)

    async def _standing(self, members: Members) -> int | None:
        """Return how many of the points are still on the chain; None where the node is behind."""
        unknown = False
        for place in reversed(range(len(self._points))):
            found = await self._hash(members, self._points[place].block)
            if found == self._points[place].hash:
                return None if unknown else place + 1
            unknown = found is None
        if unknown:
            raise PeerError(
                "the ledger's node has a shorter chain than the one read before",
                hint="it is behind, or of another chain: then forget what was read",
            )
        return 0

    async def _hash(self, members: Members, number: int) -> bytes | None:
        block: Block | None = await members.block(number)
        return None if block is None else block.hash

    def dump(self) -> bytes:
        """Return the history as bytes, for `restore`. It holds nothing but what is public."""
        events = [
            [0, e.index, e.leaf, e.limit, e.block]
            if isinstance(e, LeafAdded)
            else [1, e.index, e.leaf, int(e.slashed), e.block]
            for e in self._events
        ]
        points = [[p.block, p.hash, p.events] for p in self._points]
        return cbor2.dumps([_FORM, points, events])

    @classmethod
    def restore(cls, data: bytes) -> MemberHistory:
        """Return the history that `dump` wrote; the next update checks it against the chain.

        Raises:
            MalformedError: the bytes are something else.
        """
        try:
            parsed = cbor2.loads(data)
        except (cbor2.CBORDecodeError, ValueError, RecursionError, OverflowError):
            raise MalformedError("a history of members is CBOR") from None
        if not isinstance(parsed, list) or len(parsed) != 3 or parsed[0] != _FORM:
            raise MalformedError("not a history of members")
        history = cls()
        history._points = [_point(item) for item in _list(parsed[1], _MOST_POINTS)]
        history._events = [_event(item) for item in _list(parsed[2], _MOST_EVENTS)]
        ends = [(point.block, point.events) for point in history._points]
        if ends != sorted(ends) or (ends[-1][1] if ends else 0) != len(history._events):
            raise MalformedError("a history of members whose checkpoints do not fit its events")
        try:
            history._leaves = _Leaves.of(history._events)
        except PeerError as error:
            raise MalformedError(error.message) from None
        return history


class _Leaves:
    """The leaves as the events leave them: all there ever were, and which of them are out."""

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._removed: frozenset[int] = frozenset()

    @classmethod
    def of(cls, events: Sequence[MemberEvent]) -> _Leaves:
        return cls().followed_by(events)

    def followed_by(self, events: Sequence[MemberEvent]) -> _Leaves:
        """Return the leaves after more events; raises `PeerError` where they do not fit."""
        if not events:
            return self
        new: list[bytes] = []
        removed = set(self._removed)
        size = len(self._leaves)
        for event in events:
            if isinstance(event, LeafAdded):
                if event.index != size + len(new) or event.index >= _CAPACITY:
                    raise _misfit(event, "is not the next one")
                new.append(event.leaf)
                continue
            if event.index >= size + len(new):
                raise _misfit(event, "was never registered")
            known = self._leaves[event.index] if event.index < size else new[event.index - size]
            if event.leaf != known:
                raise _misfit(event, "was registered as another")
            if event.index in removed:
                raise _misfit(event, "was removed before")
            removed.add(event.index)
        after = _Leaves()
        after._leaves, after._removed = [*self._leaves, *new], frozenset(removed)
        return after


def _misfit(event: MemberEvent, why: str) -> PeerError:
    return PeerError(
        f"the members the ledger's node listed do not fit together: leaf {event.index} {why}",
        hint="ask another node",
    )


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError("a history of members has a part that is no list in its limits")
    return value


def _count(value: Any, most: int = _MOST_BLOCK) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedError("a history of members has a number out of its range")
    return value


def _bytes32(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise MalformedError("a history of members has a hash or a leaf that is not of 32 bytes")
    return value


def _point(value: Any) -> _Point:
    if not isinstance(value, list) or len(value) != 3:
        raise MalformedError("a history of members has a checkpoint of another form")
    return _Point(_count(value[0]), _bytes32(value[1]), _count(value[2], _MOST_EVENTS))


def _event(value: Any) -> MemberEvent:
    if not isinstance(value, list) or len(value) != 5:
        raise MalformedError("a history of members has an event of another form")
    kind, index, leaf, number, block = value
    index, leaf, block = _count(index, _CAPACITY - 1), _bytes32(leaf), _count(block)
    if _count(kind, 1) == 0:
        return LeafAdded(index, leaf, _count(number, 2**16 - 1), block)
    return LeafRemoved(index, leaf, bool(_count(number, 1)), block)
