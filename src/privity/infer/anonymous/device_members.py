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

from privity.anon.membership import MemberTree, Place
from privity.errors import MalformedError, PeerError
from privity.home import write_private
from privity.infer.anonymous.members import LedgerSource, MemberView
from privity.infer.anonymous.settled import SettledMembers
from privity.ledger.addresses import SETTLE_S
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, Members

__all__ = ["DeviceMembers"]

logger = logging.getLogger("privity.anonymous")

_FRESH_S = 20.0
_SPREAD = 0.05


class DeviceMembers:
    """A view that is read when it is needed, and kept on disk in between. Run by the device.

    Args:
        members: the ledger's contract of members.
        path: where what was read is kept, so that a start reads only what is new; None for nowhere.
        settle_s: seconds of the network's period, see `SettledMembers`.
        clock: seconds since 1970.

    Attributes:
        fresh_s: seconds after which the ledger is asked again: 20, or half a shorter period.
    """

    def __init__(
        self,
        members: Members,
        path: Path | None = None,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._members = members
        self._path = path
        self._settle_s = settle_s
        self._clock = clock
        self.fresh_s = min(_FRESH_S, settle_s / 2)
        self._read_at: float | None = None
        self._begin(_restored(path))
        self._lock = anyio.Lock()

    @property
    def roots(self) -> frozenset[bytes]:
        """The last roots; none before the first `refresh`."""
        return self._view.roots

    async def place(self, index: int, limit: int) -> Place:
        """Return what a member proves with: of the settled list, or, not in it yet, of the newest.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
            InputError: there is no such leaf.
        """
        settled = await self._settled_tree()
        tree = settled if index < len(settled) else self._view.tree
        return tree.place(index, limit)

    async def wait_until_settled(self, index: int) -> None:
        """Wait until a leaf is on the list that everyone proves of: two periods at most.

        Raises:
            PeerError: the ledger cannot be read, or does not agree with itself.
            InputError: there is no such leaf.
        """
        said = False
        while index >= len(await self._settled_tree()):
            self._view.tree.leaf(index)
            wait = self._settled.until_next_s
            if not said:
                most = wait + self._settle_s
                # A warning, so that whoever waits sees why.
                logger.warning("new here, a question would stand out: waiting up to %.0f s", most)
                said = True
            # Not for keys or secrets: so that those who waited do not all ask at one moment.
            await anyio.sleep(wait + random.uniform(0, _SPREAD * self._settle_s))  # noqa: S311

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
            age = None if self._read_at is None else time.monotonic() - self._read_at
            if age is not None and age < self.fresh_s and not now:
                return
            known = len(self._source.events)
            try:
                await self._view.update()
                await self._settled.read_times(self._source.events, self._members.block)
            except PeerError:
                # From the start next time: what was kept may be what is wrong.
                self._begin(MemberHistory())
                raise
            self._read_at = time.monotonic()
            if self._path is not None and len(self._source.events) != known:
                with suppress(OSError):  # it only saves time
                    write_private(self._path, self._source.history.dump())

    async def _settled_tree(self) -> MemberTree:
        await self.refresh()
        async with self._lock:
            source = self._source
            return await asyncio.to_thread(self._settled.tree, source.events, source.rewinds)

    def _begin(self, history: MemberHistory) -> None:
        self._source = LedgerSource(self._members, history)
        self._view = MemberView(self._source)
        self._settled = SettledMembers(self._settle_s, clock=self._clock)
        self._read_at = None


def _restored(path: Path | None) -> MemberHistory:
    """Return what was kept; what is damaged is read anew from the ledger."""
    if path is not None:
        with suppress(OSError, MalformedError):
            return MemberHistory.restore(path.read_bytes())
    return MemberHistory()
