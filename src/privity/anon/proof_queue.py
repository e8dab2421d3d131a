"""Verifies proofs on a worker thread, many at a time, so that no source can starve the others.

A proof costs milliseconds, a false one in a batch more, and whoever sends false ones says who they
are only by where they come from (of relays, which relay). So each source has a lane:

- *proven* sources, whose proofs lately were nearly all true, share batches, in turns;
- all others, new ones among them, are *on probation*: one lane at a time, in small batches, for a
  bounded share of the worker's time while proven sources are being served;
- of these, *forgers*, whose proofs lately were for the most part false, for a smaller share yet,
  and in few places of their own, so that they stand in nobody's way.

A batch is whatever waits when the worker is free. An idle worker begins at once, with one proof.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from privity.anon.rln import Claimed, VerifiedProof, verify_proofs
from privity.errors import AdmissionError, InputError

__all__ = ["ProofQueue", "QueueLimits"]

Verdict = VerifiedProof | AdmissionError
Verify = Callable[[Sequence[Claimed]], Sequence[Verdict]]

_HALF_LIFE_S = 120.0  # after which a verdict weighs half
_MOST_BAD = 0.1  # share of false proofs up to which a source counts as proven
_LEAST_GOOD = 0.5  # weight of true proofs from which on it does
_FORGED = 4.0  # weight of false proofs from which on a source can count as a forger
_FORGER_WAITS = 4  # proofs of one forger that wait
_LONGEST_S = 5.0  # between two turns, however long the last one took
_QUIET_S = 2.0  # without a proven source, those on probation have the worker to themselves
_MOST_SOURCES = 4096  # whose record is kept


@dataclass(frozen=True)
class QueueLimits:
    """What waits at most, and who gets how much.

    Attributes:
        batch: proofs verified together at most.
        waiting: proofs of one source that wait.
        probation: proofs that wait of all sources on probation together, without forgers.
        forgers: proofs that wait of all forgers together; twice as many if there was room when the
            head of the request came.
        share: of the worker's time that those get while proven sources are served, 0 to 1.
        forged: the same, of those whose proofs are for the most part false.
    """

    batch: int = 32
    waiting: int = 64
    probation: int = 256
    forgers: int = 32
    share: float = 0.2
    forged: float = 0.05

    def __post_init__(self) -> None:
        if min(self.batch, self.waiting, self.probation, self.forgers) < 1:
            raise InputError("a queue's limits are 1 or more")
        if not (0 < self.share <= 1 and 0 < self.forged <= 1):
            raise InputError("a share of a queue is above 0 and up to 1")


@dataclass
class _Lane:
    """One source: what waits, and what its proofs were lately."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    good: float = 0.0
    bad: float = 0.0
    at: float = 0.0

    def note(self, good: bool, now: float) -> None:
        self._fade(now)
        if good:
            self.good += 1
        else:
            self.bad += 1

    def proven(self, now: float) -> bool:
        self._fade(now)
        return self.good >= _LEAST_GOOD and self.bad <= _MOST_BAD * (self.good + self.bad)

    def forges(self, now: float) -> bool:
        self._fade(now)
        return self.bad >= _FORGED and self.bad > self.good

    def standing(self, now: float) -> bool | None:
        """Return None of a proven source, else whether it is a forger."""
        return None if self.proven(now) else self.forges(now)

    def portion(self, most: int) -> int:
        """Return how many go together: few enough that half of such batches have none false."""
        share = (self.bad + 1) / (self.good + self.bad + 2)
        return max(1, min(most, int(0.5 / share)))

    def _fade(self, now: float) -> None:
        factor = 0.5 ** ((now - self.at) / _HALF_LIFE_S)
        self.good, self.bad, self.at = self.good * factor, self.bad * factor, now


@dataclass(eq=False)
class _Waiting:
    claim: Claimed
    lane: _Lane
    forged: bool | None  # see `_Lane.standing`
    done: asyncio.Future[VerifiedProof]


class ProofQueue:
    """Verifies proofs for one event loop, on one thread of its own.

    Args:
        limits: what waits at most.
        verify: checks many proofs at once; raises nothing for false ones.
        clock: seconds, monotonic.

    Guarantees:
        Proofs of a proven source wait for those of new ones at most ``share`` of the time, and for
        those of forgers at most ``forged``, however many those are
        (`test_a_flood_leaves_a_proven_source_its_worker`); once they are known for it, forgers take
        no place or turn of new ones (tests/adversary/test_forgers.py); and a full lane fills nobody
        else's (`test_a_flood_fills_its_own_lane_alone`).
    """

    def __init__(
        self,
        limits: QueueLimits | None = None,
        *,
        verify: Verify = verify_proofs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or QueueLimits()
        self._verify = verify
        self._clock = clock
        self._sources: OrderedDict[str, _Lane] = OrderedDict()
        self._active: deque[_Lane] = deque()  # lanes in which something waits, next one first
        self._on_probation = {False: 0, True: 0}  # proofs that wait, of new ones and of forgers
        self._turns = {False: 0.0, True: 0.0}  # when new ones, and forgers, have their next
        self._proven_seen = -_QUIET_S
        self._running: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="privity-proofs")

    def check_room(self, source: str) -> None:
        """Refuse a forger whose proof would not be taken now, before the body is read.

        Raises:
            AdmissionError: check ``busy``.
        """
        lane = self._sources.get(source)
        if lane is not None and lane.forges(self._clock()):
            self._find_room(lane, True, 1)

    async def verified(
        self, claim: Claimed, source: str, *, had_room: bool = False
    ) -> VerifiedProof:
        """Return the proof, verified.

        Args:
            claim: the proof, for whom it should be, and of which request.
            source: where it came from; kept in memory only, and only as a key.
            had_room: `check_room` passed it before its body came: a forger finds twice the places
                then, or an honest client behind the same relay would need luck twice.

        Raises:
            AdmissionError: check ``proof``: it does not hold; check ``busy``: too many wait.
        """
        now = self._clock()
        lane = self._lane(source)
        forged = lane.standing(now)
        if forged is None:
            self._proven_seen = now
        self._find_room(lane, forged, 2 if had_room and forged else 1)
        waiting = _Waiting(claim, lane, forged, asyncio.get_running_loop().create_future())
        if not lane.waiting:
            self._active.append(lane)
        lane.waiting.append(waiting)
        self._count(waiting, 1)
        self._start()
        return await waiting.done

    def close(self) -> None:
        """End the worker. Whoever still waits is told that it is busy."""
        if self._timer is not None:
            self._timer.cancel()
        for lane in self._active:
            for waiting in lane.waiting:
                _refuse(waiting, busy())
        self._active.clear()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _find_room(self, lane: _Lane, forged: bool | None, times: int) -> None:
        """Raise where as many wait as may, or that many times as many."""
        limits = self._limits
        each, together = limits.waiting, limits.forgers if forged else limits.probation
        if forged:
            each = min(_FORGER_WAITS, each)
        full = forged is not None and self._on_probation[forged] >= times * together
        if full or len(lane.waiting) >= times * each:
            raise busy()

    def _count(self, waiting: _Waiting, by: int) -> None:
        if waiting.forged is not None:
            self._on_probation[waiting.forged] += by

    def _lane(self, source: str) -> _Lane:
        lane = self._sources.get(source)
        if lane is None:
            lane = self._sources[source] = _Lane(at=self._clock())
            # A forgotten lane with something in it is still active, and served.
            while len(self._sources) > _MOST_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return lane

    def _start(self) -> None:
        """Give the worker its next batch, if it is free and there is one."""
        if self._running:
            return
        forged, batch = self._next()
        while batch == []:  # nobody waits any more for what that lane held
            forged, batch = self._next()
        if batch is None:
            return
        self._running = batch
        began = self._clock()
        claims = [waiting.claim for waiting in batch]
        job = asyncio.get_running_loop().run_in_executor(self._worker, self._verify, claims)
        job.add_done_callback(lambda job: self._ended(job, forged, began))

    def _next(self) -> tuple[bool | None, list[_Waiting] | None]:
        """Take the next batch, None where it is nobody's turn.

        With it: whether it is of a forger; None for proven sources, who have no turns.
        """
        now = self._clock()
        proven = [lane for lane in self._active if lane.proven(now)]
        others = [lane for lane in self._active if not lane.proven(now)]
        alone = now - self._proven_seen > _QUIET_S
        for lane in others:
            forged = lane.forges(now)
            if alone or now >= self._turns[forged]:
                return forged, self._take(lane, self._limits.batch)
        if proven:
            batch: list[_Waiting] = []
            for lane in proven:
                if len(batch) < self._limits.batch:
                    batch += self._take(lane, self._limits.batch - len(batch))
            return None, batch
        if others and self._timer is None:
            # Not sooner than the quiet is over: a proven source may be silent for longer.
            turn = min(self._turns[lane.forges(now)] for lane in others)
            wait = min(turn, self._proven_seen + _QUIET_S) - now
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(wait, 0.001), self._wake)
        return None, None

    def _wake(self) -> None:
        self._timer = None
        self._start()

    def _take(self, lane: _Lane, most: int) -> list[_Waiting]:
        """Take a lane's portion, and let the other lanes go first next time."""
        taken: list[_Waiting] = []
        portion = lane.portion(most)
        while lane.waiting and len(taken) < portion:
            waiting = lane.waiting.popleft()
            self._count(waiting, -1)
            if not waiting.done.done():  # nobody waits for one that was given up
                taken.append(waiting)
        self._active.remove(lane)
        if lane.waiting:
            self._active.append(lane)
        return taken

    def _ended(
        self, job: asyncio.Future[Sequence[Verdict]], forged: bool | None, began: float
    ) -> None:
        """Tell each its verdict, and go on."""
        now, batch = self._clock(), self._running
        self._running = []
        if forged is not None:
            share = self._limits.forged if forged else self._limits.share
            self._turns[forged] = now + min((now - began) * (1 / share - 1), _LONGEST_S)
        if job.cancelled():
            for waiting in batch:
                _refuse(waiting, busy())
        elif (error := job.exception()) is not None:
            for waiting in batch:
                _refuse(waiting, error)
        else:
            for waiting, verdict in zip(batch, job.result(), strict=True):
                waiting.lane.note(isinstance(verdict, VerifiedProof), now)
                if isinstance(verdict, AdmissionError):
                    _refuse(waiting, verdict)
                elif not waiting.done.done():
                    waiting.done.set_result(verdict)
        for lane in {id(waiting.lane): waiting.lane for waiting in batch}.values():
            if lane.waiting and lane.forges(now):
                self._demote(lane)
        if self._active:
            self._start()

    def _demote(self, lane: _Lane) -> None:
        """Give the places that a forger took before it was known for one to others."""
        for waiting in lane.waiting:
            self._count(waiting, -1)
            waiting.forged = True
            self._count(waiting, 1)
        while len(lane.waiting) > 2 * _FORGER_WAITS:
            dropped = lane.waiting.pop()
            self._count(dropped, -1)
            _refuse(dropped, busy())


def busy() -> AdmissionError:
    """Return the refusal of a gateway that has too much to do."""
    return AdmissionError(
        "the gateway has too many proofs to verify", check="busy", hint="try again in a moment"
    )


def _refuse(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
