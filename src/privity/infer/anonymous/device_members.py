"""The members as a device knows them: read on a rhythm, kept on disk, proved of when settled."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from privity.anon.membership import Place
from privity.errors import MalformedError, PeerError
from privity.home import write_private
from privity.infer.anonymous.members import LedgerSource, MemberView
from privity.infer.anonymous.settled import KnownMembers, SettledMembers
from privity.ledger.addresses import SETTLE_S
from privity.ledger.history import MemberHistory
from privity.ledger.members import Members

__all__ = ["DeviceMembers"]

logger = logging.getLogger("privity.anonymous")

_EVERY_S = 10.0


class DeviceMembers:
    """The members, read on a rhythm or when what is known is old; kept on disk. Run by the device.

    Args:
        members: the ledger's contract of members.
        path: where what was read is kept, so that a start reads only what is new; None for nowhere.
        settle_s: seconds of the network's period, see `SettledMembers`.
        clock: seconds since 1970.
        chance: draws how long a newcomer waits.

    Attributes:
        every_s: seconds between two readings, where a rhythm is kept: 10, or less of a short
            period, since a reading serves for one.

    Guarantees:
        While readings succeed on the rhythm, a question neither causes one nor waits for one
        (tests/adversary/test_ledger_timing.py).
    """

    def __init__(
        self,
        members: Members,
        path: Path | None = None,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._members = members
        self._path = path
        self._settle_s = settle_s
        self._clock = clock
        self._chance = chance or random.SystemRandom()
        self.every_s = min(_EVERY_S, settle_s / 4)
        self._known: KnownMembers | None = None
        self._sought: set[int] = set()  # leaves that a reading was made for
        self._settled = SettledMembers(settle_s, clock=clock)
        self._begun = 0
        self._begin(_restored(path))
        self._reading, self._proving = anyio.Lock(), anyio.Lock()

    @property
    def roots(self) -> frozenset[bytes]:
        """The last roots; none before the first `refresh`."""
        return frozenset() if self._known is None else self._known.roots

    async def crowd(self, index: int | None = None) -> int:
        """Return how many members are on the list that the next question is proved of.

        Args:
            index: the leaf of who asks, if they have one: they wait until they are on it.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
        """
        await self.refresh()
        known = self._known
        if index is not None and not (known and known.has(index)) and index not in self._sought:
            # They joined since; once, as the rhythm brings what the ledger does not have yet.
            self._sought.add(index)
            await self.refresh(now=True)
        return 0 if self._known is None else self._settled.crowd(self._known, index)

    async def place(self, index: int, limit: int) -> Place:
        """Return what a member proves with: of the settled list, or, not in it yet, of the newest.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
            InputError: there is no such leaf.
        """
        await self.refresh()
        settled = await self._settled_place(index, limit)
        if settled is not None:
            return settled
        if not await self._has(index):  # who joined since the last reading
            await self.refresh(now=True)
        async with self._reading:
            return self._view.tree.place(index, limit)

    async def wait_until_settled(self, index: int) -> None:
        """Wait where a leaf is not on the list that everyone proves of: three periods at most.

        One to two until it is, and then up to one more: at the moment when the list grew there
        would be nobody but newcomers.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
            InputError: there is no such leaf.
        """
        waited = False
        await self.refresh()
        while await self._settled_place(index, 1) is None:
            if not await self._has(index):
                await self.refresh(now=True)
                async with self._reading:
                    self._view.tree.leaf(index)
            if not waited:
                most = self._settled.until_next_s + 2 * self._settle_s
                # A warning, so that whoever waits sees why.
                logger.warning("new here, a question would stand out: waiting up to %.0f s", most)
                waited = True
            await anyio.sleep(self._settled.until_next_s)
            await self.refresh()
        if waited:
            await anyio.sleep(self._chance.uniform(0, self._settle_s))

    async def refresh(self, *, now: bool = False) -> None:
        """Read what is new, unless what is known serves for this period; raises `PeerError`.

        Where reading fails, what was known before stays until it is too old.
        """
        if not now and self._is_fresh():
            return
        async with self._reading:
            if now or not self._is_fresh():
                await self._read()

    def _is_fresh(self) -> bool:
        """Tell whether all is known that has settled."""
        return self._known is not None and 0 <= self._clock() - self._known.at < self._settle_s

    async def _read(self) -> None:
        before = len(self._source.events)
        at = self._clock()
        try:
            await self._view.update()
            events, chain = self._source.events, (self._begun, self._source.rewinds)
            known = self._known
            times = known.times if known is not None and known.chain == chain else {}
            times = await self._settled.times(events, self._members.confirming, times)
        except PeerError:
            # From the start next time: what was kept may be what is wrong.
            self._begin(MemberHistory())
            raise
        self._known = KnownMembers(events, times, chain, at, self._view.roots)
        if self._path is not None and len(events) != before:
            with suppress(OSError):  # it only saves time
                write_private(self._path, self._source.history.dump())

    async def _settled_place(self, index: int, limit: int) -> Place | None:
        """Return the place on the settled list; None where it is not there."""
        known = self._known
        if known is None:
            return None

        def find() -> Place | None:
            tree = self._settled.tree(known)
            return tree.place(index, limit) if index < len(tree) else None

        async with self._proving:
            return await asyncio.to_thread(find)

    async def _has(self, index: int) -> bool:
        async with self._reading:
            return index < len(self._view.tree)

    def _begin(self, history: MemberHistory) -> None:
        self._begun += 1
        self._source = LedgerSource(self._members, history)
        self._view = MemberView(self._source)


def _restored(path: Path | None) -> MemberHistory:
    """Return what was kept; what is damaged is read anew from the ledger."""
    if path is not None:
        with suppress(OSError, MalformedError):
            return MemberHistory.restore(path.read_bytes())
    return MemberHistory()
