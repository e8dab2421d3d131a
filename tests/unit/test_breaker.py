"""The circuit of a rung: when it opens, how long, who may try, and how fast it answers."""

from __future__ import annotations

import httpx
import pytest

from privity.errors import EngineError, EvidenceError, InputError, PeerError, PolicyRefusal
from privity.infer.breaker import Breaker, BreakerSettings, Trial, is_failure

GONE = PeerError("gone")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, jitter: float = 0.0, drawn: float = 0.0) -> Breaker:
    settings = BreakerSettings(failures=3, first_s=2.0, longest_s=60.0, jitter=jitter)
    return Breaker(settings, clock=clock, uniform=lambda low, high: low + drawn * (high - low))


def trial(breaker: Breaker) -> Trial:
    found = breaker.attempt()
    assert found is not None
    return found


def fail(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        trial(breaker).failed(GONE)


def test_it_opens_after_failures_in_a_row_alone(clock: Clock) -> None:
    breaker = made(clock)
    fail(breaker, 2)
    trial(breaker).answered(200)
    fail(breaker, 2)
    assert breaker.broken == ""
    fail(breaker, 1)
    assert breaker.broken == "it failed 3 times in a row; tried again in 2 s"
    assert breaker.attempt() is None


def test_after_the_cool_down_one_request_at_a_time_tries(clock: Clock) -> None:
    breaker = made(clock)
    fail(breaker)
    clock.now += 1.99
    assert breaker.attempt() is None
    clock.now += 0.01
    assert breaker.broken == ""
    probe = trial(breaker)
    assert breaker.attempt() is None
    assert "one request is trying it" in breaker.broken
    probe.answered(200)
    assert breaker.broken == ""
    assert breaker.attempt() is not None and breaker.attempt() is not None


def test_each_failed_probe_doubles_the_cool_down_up_to_the_longest(clock: Clock) -> None:
    breaker = made(clock)
    fail(breaker)
    for wait in (2, 4, 8, 16, 32, 60, 60):
        assert breaker.broken.endswith(f"tried again in {wait} s")
        clock.now += wait
        trial(breaker).failed(GONE)


def test_the_cool_down_starts_over_after_a_long_calm(clock: Clock) -> None:
    breaker = made(clock)
    fail(breaker)
    clock.now += 2
    trial(breaker).answered(200)
    clock.now += 200
    fail(breaker)
    assert breaker.broken.endswith("tried again in 2 s")


def test_jitter_shortens_a_cool_down_by_its_share_at_most(clock: Clock) -> None:
    breaker = made(clock, jitter=0.5, drawn=1.0)
    fail(breaker)
    assert breaker.broken.endswith("tried again in 1 s")
    for _ in range(50):  # drawn from the operating system
        real = Breaker(BreakerSettings(failures=1, first_s=8.0, jitter=0.5), clock=clock)
        trial(real).failed(GONE)
        assert int(real.broken.split()[-2]) in range(4, 9)


def test_a_cancelled_probe_lets_the_next_one_try(clock: Clock) -> None:
    breaker = made(clock)
    fail(breaker)
    clock.now += 2
    with pytest.raises(KeyboardInterrupt), trial(breaker):
        raise KeyboardInterrupt
    with trial(breaker):
        pass  # ended without a word
    trial(breaker).answered(200)
    assert breaker.broken == ""


def test_what_began_before_the_circuit_opened_says_nothing_after(clock: Clock) -> None:
    breaker = made(clock)
    early, late = trial(breaker), trial(breaker)
    fail(breaker)
    early.answered(200)
    assert breaker.broken
    clock.now += 2
    late.failed(GONE)  # many that fail at once do not lengthen the cool-down
    assert breaker.broken == ""
    probe = trial(breaker)
    probe.answered(200)
    assert breaker.broken == ""


def test_a_trial_says_once_how_it_went(clock: Clock) -> None:
    breaker = made(clock)
    one = trial(breaker)
    for _ in range(5):
        one.failed(GONE)
    assert breaker.broken == ""
    two = trial(breaker)
    two.answered(200)
    two.answered(500)
    assert breaker.broken == ""


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (PeerError("x"), True),
        (EngineError("x"), True),
        (httpx.ConnectError("x"), True),
        (TimeoutError(), True),
        (PolicyRefusal("x", report={}), False),
        (EvidenceError("x", check="y"), False),
        (InputError("x"), False),
        (KeyError("x"), False),
    ],
)
def test_which_errors_count(error: BaseException, counts: bool) -> None:
    assert is_failure(error) is counts


@pytest.mark.parametrize(("status", "counts"), [(200, False), (404, False), (429, False), (503, 1)])
def test_which_statuses_count(clock: Clock, status: int, counts: bool) -> None:
    breaker = made(clock)
    for _ in range(3):
        trial(breaker).answered(status)
    assert bool(breaker.broken) is bool(counts)


def test_the_time_to_the_first_byte_is_a_moving_average(clock: Clock) -> None:
    breaker = made(clock)
    assert breaker.first_token_ms is None
    for ms in (100, 200):
        one = trial(breaker)
        clock.now += ms / 1000
        one.answered(200)
    assert breaker.first_token_ms == pytest.approx(130.0)
    one = trial(breaker)
    clock.now += 10**9
    one.answered(200)
    assert breaker.first_token_ms is not None and breaker.first_token_ms < 600_000
