"""Whether a rung can be had now: a circuit breaker, and how soon its answers begin.

After some failures in a row a rung is left alone for a while, then tried by one request at a time.
The kept libraries were looked at (pybreaker 1.4, circuitbreaker 2.1, purgatory 0.7, aiobreaker
1.2): each waits a fixed time without jitter and takes no clock, three of the four by the wall
clock, and only pybreaker lets a single probe through, by a lock held during the call.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import httpx

from privity.errors import EngineError, PeerError, TruncatedError

__all__ = ["Breaker", "BreakerSettings", "Trial", "is_failure"]

_WEIGHT = 0.3
_LONGEST_MS = 600_000.0
_MOST_TRIPS = 32
_uniform = random.SystemRandom().uniform


@dataclass(frozen=True)
class BreakerSettings:
    """When a circuit opens, and for how long.

    Attributes:
        failures: in a row, to open it.
        first_s: the first cool-down, in seconds; each further one is twice as long.
        longest_s: the longest cool-down, and how long without opening until they start over.
        jitter: the share of a cool-down that is drawn at random, so that many devices that lost
            the same enclave do not all come back at once.
    """

    failures: int = 3
    first_s: float = 2.0
    longest_s: float = 300.0
    jitter: float = 0.5


def is_failure(error: BaseException) -> bool:
    """Tell whether an error says that a rung cannot be reached or does not work.

    A refusal by the policy, by evidence or by the rung's own rules is none: asking elsewhere, or
    later, is not what it calls for.
    """
    failures = (PeerError, EngineError, TruncatedError, httpx.TransportError, TimeoutError, OSError)
    return isinstance(error, failures)


class Breaker:
    """The circuit of one rung: closed, open, or half open while one request tries it.

    Args:
        settings: when it opens, and for how long.
        clock: seconds, monotonic.
        uniform: draws between two numbers.

    Guarantees:
        While the circuit is open nobody is let through, and after the cool-down one at a time
        (tests/unit/test_breaker.py::test_after_the_cool_down_one_request_at_a_time_tries).
        A cool-down is never longer than the longest, and a rung that keeps coming back for a
        moment waits longer each time (tests/adversary/test_router.py::test_a_flapping_peer).
    """

    def __init__(
        self,
        settings: BreakerSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._uniform = uniform
        self._lock = threading.Lock()
        self._failed = 0  # in a row
        self._trips = 0  # cool-downs in a row, for the next one's length
        self._opened_at = -math.inf
        self._open_until: float | None = None  # None: closed
        self._probe: Trial | None = None
        self._first_token_ms: float | None = None

    @property
    def broken(self) -> str:
        """Why no request is let through now; empty where one is."""
        with self._lock:
            return self._broken()

    @property
    def first_token_ms(self) -> float | None:
        """How soon its answers began lately, in milliseconds; None where none has."""
        return self._first_token_ms

    def attempt(self) -> Trial | None:
        """Return leave for one request, or None where none is let through; use it as a context.

        A request that ends without a word on how it went, such as a cancelled one, counts as
        neither, and lets the next one try.
        """
        with self._lock:
            if self._broken():
                return None
            trial = Trial(self, self._clock())
            if self._open_until is not None:
                self._probe = trial
            return trial

    def _broken(self) -> str:
        if self._open_until is None:
            return ""
        left = self._open_until - self._clock()
        if left > 0:
            return f"it failed {self._failed} times in a row; tried again in {math.ceil(left)} s"
        if self._probe is not None:
            return f"it failed {self._failed} times in a row; one request is trying it now"
        return ""

    def _answered(self, trial: Trial, ms: float | None) -> None:
        with self._lock:
            if ms is not None and math.isfinite(ms) and ms >= 0:
                ms, known = min(ms, _LONGEST_MS), self._first_token_ms
                self._first_token_ms = ms if known is None else known + _WEIGHT * (ms - known)
            if self._open_until is not None and self._probe is not trial:
                return  # it began before the circuit opened, and says nothing about now
            trial.before = self._failed
            self._failed, self._open_until, self._probe = 0, None, None

    def _failed_once(self, trial: Trial) -> None:
        with self._lock:
            now = self._clock()
            if self._open_until is not None and self._probe is not trial:
                return  # one of many that failed at the same time: no reason to wait longer
            self._failed = max(self._failed, trial.before) + 1
            if self._probe is trial or self._failed >= self._settings.failures:
                self._open(now)

    def _open(self, now: float) -> None:
        settings, self._probe = self._settings, None
        calm = now - self._opened_at
        # Longer than a cool-down can be, so that a flapping rung never starts over by waiting.
        self._trips = 0 if calm > 2 * settings.longest_s else min(self._trips + 1, _MOST_TRIPS)
        whole = min(settings.longest_s, settings.first_s * 2.0**self._trips)
        self._opened_at = now
        self._open_until = now + whole - self._uniform(0.0, settings.jitter * whole)

    def _left(self, trial: Trial) -> None:
        with self._lock:
            if self._probe is trial:
                self._probe = None


class Trial:
    """Leave for one request on a rung; says how it went.

    Args:
        breaker: whose.
        began: when, by its clock.

    Guarantees:
        An answer that began and broke off counts as a failure after the ones before it
        (tests/adversary/test_router.py::test_a_peer_that_breaks_off_every_answer).
    """

    def __init__(self, breaker: Breaker, began: float) -> None:
        self._breaker = breaker
        self._began = began
        self._answered = self._over = False
        self.before = 0

    def answered(self, status: int = 200) -> None:
        """Say that an answer began; a status from 500 on is a failure, all others are not."""
        if self._answered or self._over:
            return
        if status >= 500:
            self._over = True
            self._breaker._failed_once(self)
            return
        self._answered = True
        ms = (self._breaker._clock() - self._began) * 1000 if status < 400 else None
        self._breaker._answered(self, ms)

    def failed(self, error: BaseException) -> None:
        """Say how it ended, before its answer or in it; only what `is_failure` knows counts."""
        if self._over:
            return
        self._over = True
        if is_failure(error):
            self._breaker._failed_once(self)
        else:
            self._breaker._left(self)

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.failed(error)
        self._over = True
        self._breaker._left(self)
