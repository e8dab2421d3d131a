"""Floor 5: mixing in a relay: messages wait in a pool and leave in batches, in random order.

Whoever sees both sides of a relay matches what comes in with what goes out by its time. A pool mix
with threshold and timer (Serjantov and Danezis, 2002; Serjantov, Dingledine and Syverson, 2002)
breaks that match: a batch leaves when enough new messages wait, or at a tick; some, drawn at
random, are kept for a later one; the order is drawn at random too. What that is worth and costs is
measured by bench/mixing.py, and what it does not hide is said in spec/relays.md.

Ticks lie on a grid of their own. A message that was let go a fixed time after it came would be
known by that time.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from privity.errors import InputError
from privity.seal import problem
from privity.seal.problem import Refused

__all__ = ["Held", "MixSettings", "Mixer"]

_EARLY = 1e-3  # of a period, by which a timer may be early: that tick is not to come twice


@dataclass(frozen=True)
class MixSettings:
    """How a relay mixes.

    Attributes:
        threshold: messages that, new in the pool, make a batch leave at once.
        period_s: seconds between ticks, at each of which a batch leaves.
        keep: messages that each batch leaves behind, drawn at random.
        longest_s: seconds that a message waits at most, to within a period. Shorter than the grace
            a server gives at its end (3 s in `listen.serve_app`), so that all are delivered.
        waiting: messages at one time; more are refused.
        message_bytes: of one message: it is held as a whole.
        held_bytes: of all of them together; more are refused.
        answers: whether answers are held until they are whole, and mixed like requests.
    """

    threshold: int = 8
    period_s: float = 0.5
    keep: int = 4
    longest_s: float = 2.0
    waiting: int = 1024
    message_bytes: int = 1 << 20
    held_bytes: int = 64 << 20
    answers: bool = False

    def __post_init__(self) -> None:
        if self.threshold < 1 or self.keep < 0 or self.waiting < self.threshold + self.keep:
            raise InputError(
                "a mix needs a threshold of one or more, and room for it beside what it keeps"
            )
        if not 0 < self.period_s <= self.longest_s < math.inf:
            raise InputError("a mix's period is above 0 s, and no longer than its longest wait")
        if not 0 < self.message_bytes <= self.held_bytes:
            raise InputError("a mix holds at least one message of the largest size")


@dataclass(eq=False)
class _Waiting:
    """One message in the pool."""

    since: float
    go: asyncio.Event


class Mixer:
    """A pool of messages of one direction. Run by the relay, in one event loop.

    Args:
        settings: when batches leave.
        below: gives a uniform number from 0 up to its argument, exclusive.

    Guarantees:
        Which messages leave, and in which order, depends on the batch and ``below`` alone
        (tests/unit/test_mixing.py::test_each_order_is_as_likely). None waits longer than
        ``longest_s`` and a period (tests/property/test_mixing.py). Memory is bounded, and what a
        client that left had sent is forgotten (tests/unit/test_mixing.py).
    """

    def __init__(
        self, settings: MixSettings, *, below: Callable[[int], int] = secrets.randbelow
    ) -> None:
        self.settings = settings
        self._below = below
        self._pool: list[_Waiting] = []
        self._new = 0  # that came since the last batch
        self._held_bytes = 0
        self._tick: asyncio.TimerHandle | None = None
        self._draining = False

    def __len__(self) -> int:
        return len(self._pool)

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Give room for the bytes of one message; they are given back at the end."""
        room = Held(self)
        try:
            yield room
        finally:
            self._held_bytes -= room.bytes

    async def wait(self) -> None:
        """Return when the message that waits here is to leave.

        Raises:
            Refused: as many as are allowed wait already.
        """
        if self._draining:
            return
        if len(self._pool) >= self.settings.waiting:
            raise Refused(problem.BUSY)
        one = _Waiting(asyncio.get_running_loop().time(), asyncio.Event())
        self._pool.append(one)
        self._new += 1
        if self._new >= self.settings.threshold:
            # Not at once: whoever filled the batch would be the first to leave, always.
            asyncio.get_running_loop().call_soon(self._at_threshold)
        self._set_tick()
        try:
            await one.go.wait()
        finally:
            if one in self._pool:  # its client left
                self._pool.remove(one)

    def drain(self) -> None:
        """Let all go, in random order, and hold no other: the relay is about to end."""
        self._draining = True
        self._release(self._pool)
        self._pool = []
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def take(self, size: int) -> None:
        """Count bytes that are held; raises `Refused` where they are too many."""
        if self._held_bytes + size > self.settings.held_bytes:
            raise Refused(problem.BUSY)
        self._held_bytes += size

    def _set_tick(self) -> None:
        """See to it that there is a tick to come while anything waits."""
        if self._tick is None and self._pool:
            loop = asyncio.get_running_loop()
            period = self.settings.period_s
            past = math.floor(loop.time() / period + _EARLY)
            self._tick = loop.call_at((past + 1) * period, self._at_tick)

    def _at_threshold(self) -> None:
        if self._new >= self.settings.threshold and len(self._pool) > self.settings.keep:
            self._flush()

    def _at_tick(self) -> None:
        self._tick = None
        self._flush()
        self._set_tick()

    def _flush(self) -> None:
        """Let a batch go: all that waits but for those that are kept."""
        self._new = 0
        next_tick = asyncio.get_running_loop().time() + self.settings.period_s
        order = self._shuffled(self._pool)
        patient = [one for one in order if next_tick - one.since <= self.settings.longest_s]
        kept = set(map(id, patient[: self.settings.keep]))
        self._pool = [one for one in self._pool if id(one) in kept]
        self._release([one for one in order if id(one) not in kept])

    def _release(self, batch: list[_Waiting]) -> None:
        for one in self._shuffled(batch):  # whoever is woken first sends first
            one.go.set()

    def _shuffled(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Return them in an order drawn uniformly (Fisher and Yates)."""
        order = list(batch)
        for last in range(len(order) - 1, 0, -1):
            drawn = self._below(last + 1)
            order[last], order[drawn] = order[drawn], order[last]
        return order


class Held:
    """The bytes of one message while a relay holds it."""

    def __init__(self, mixer: Mixer) -> None:
        self._mixer = mixer
        self.bytes = 0

    def take(self, size: int) -> None:
        """Count more of the message.

        Raises:
            Refused: it is larger than a message may be, or the relay holds too much.
        """
        if self.bytes + size > self._mixer.settings.message_bytes:
            raise Refused(problem.OVERSIZE)
        self._mixer.take(size)
        self.bytes += size

    async def gather(self, pieces: AsyncIterator[bytes]) -> bytes:
        """Return all of a message, whose bytes are counted before they are kept."""
        whole = bytearray()
        async for piece in pieces:
            self.take(len(piece))
            whole += piece
        return bytes(whole)
