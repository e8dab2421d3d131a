"""A ledger of members that stands still, for the tests of who proves of which list."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from privity.anon.field import field, field_from_int
from privity.anon.membership import MemberTree
from privity.errors import PeerError
from privity.infer.anonymous.device_members import DeviceMembers
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent, MemberPage
from privity.ledger.wire import Block, Hash

__all__ = ["PERIOD_S", "START", "Chain", "Clock", "device", "root_of"]

PERIOD_S = 60
START = 60_000.0


class Clock:
    """A device's clock; it stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Chain:
    """A ledger of members: one block a registration, with the time it was mined."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._fork = itertools.count()
        self.blocks: list[tuple[int, float, MemberEvent]] = []
        self.asked: list[int] = []

    @property
    def events(self) -> list[MemberEvent]:
        return [event for *_, event in self.blocks]

    def now(self) -> float:
        return self.clock.now

    def join(self, leaf: int = 0, *, at: float | None = None) -> int:
        added = [one for one in self.events if isinstance(one, LeafAdded)]
        index = len(added)
        one = LeafAdded(index, field_from_int(leaf or 1000 + index), 5, len(self.blocks))
        self._mine(one, at)
        return index

    def remove(self, index: int) -> None:
        leaf = next(e.leaf for e in self.events if isinstance(e, LeafAdded) and e.index == index)
        self._mine(LeafRemoved(index, leaf, True, len(self.blocks)), None)

    def _mine(self, event: MemberEvent, at: float | None) -> None:
        self.blocks.append((next(self._fork), self.clock.now if at is None else at, event))

    async def page(self, since: int | None = None) -> MemberPage | None:
        first, last = since or 0, await self.block(len(self.blocks) - 1)
        if last is None or last.number < first:
            return None
        return MemberPage(first, last, tuple(self.events[first:]))

    async def block(self, number: int) -> Block | None:
        self.asked.append(number)
        if not 0 <= number < len(self.blocks):
            return None
        fork, at, _ = self.blocks[number]
        return Block(number, Hash(f"{number}/{fork}".encode().ljust(32, b".")), int(at), 0)

    async def confirming(self, number: int) -> Block | None:
        return await self.block(number)

    async def check_root(self, root: bytes, block: Block) -> None:
        if root != root_of(self.events[: block.number + 1]):
            raise PeerError("another root")


def root_of(events: list[MemberEvent]) -> bytes:
    tree = MemberTree()
    for one in events:
        if isinstance(one, LeafAdded):
            tree.append(field(one.leaf))
        else:
            tree.remove(one.index)
    return bytes(tree.root)


def device(chain: Chain, clock: Clock, path: Path | None = None) -> DeviceMembers:
    members: Any = chain
    return DeviceMembers(members, path, settle_s=PERIOD_S, clock=clock)
