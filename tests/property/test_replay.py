"""The replay window against a plain model: nothing is ever served twice while it could be."""

from __future__ import annotations

import contextlib
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError, OversizeError, PrivityError, ReplayError
from privity.seal.replay import ReplayWindow

WINDOW = 300
JUNK = -1.0  # in place of a date: the request had no head


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def served(window: ReplayWindow, enc: bytes, key: str, date: float | None) -> bool:
    text = None if date is None else formatdate(date, usegmt=True).encode()
    try:
        window.reserve(enc, key)
        if date == JUNK:
            window.abandon(enc)
            return False
        window.settle(enc, text)
    except (ReplayError, OversizeError):
        return False
    return True


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 5),  # which request; its date is a function of it, as it is sealed
            st.integers(-400, 400),  # how the clock moves before it arrives
        ),
        max_size=40,
    ),
    offsets=st.lists(st.one_of(st.none(), st.integers(-700, 700)), min_size=6, max_size=6),
)
def test_no_request_is_served_twice_whatever_the_clock_does(
    steps: list[tuple[int, int]], offsets: list[int | None]
) -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, capacity=64, clock=clock)
    start = clock.now
    seen: set[int] = set()
    for which, move in steps:
        clock.now += move
        offset = offsets[which]
        date = None if offset is None else start + offset
        if served(window, bytes([which]), "key", date):
            assert which not in seen
            seen.add(which)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["dated", "undated", "junk"])), max_size=60
    )
)
def test_memory_is_bounded_and_full_means_refused(requests: list[tuple[int, str]]) -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, capacity=10, clock=clock)
    dates = {"dated": clock.now, "undated": None, "junk": JUNK}
    accepted = []
    dated = 0
    for which, what in requests:
        if served(window, bytes([which]), "key", dates[what]):
            accepted.append(which)
            dated += what == "dated"
        assert len(window) <= 10
        assert len(window) - dated <= 5  # the others, junk among them, never fill more than half
    assert len(accepted) == len(set(accepted))
    for which in accepted:
        with pytest.raises(ReplayError):
            window.reserve(bytes([which]), "key")


@given(st.binary(max_size=40))
def test_dates_parse_totally(date: bytes) -> None:
    window = ReplayWindow(clock=Clock())
    window.reserve(b"enc", "key")
    try:
        window.settle(b"enc", date)
    except PrivityError as error:
        assert isinstance(error, MalformedError | ReplayError)


def test_dated_requests_are_forgotten_only_when_their_date_is_too_old() -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, clock=clock)
    date = clock.now
    assert served(window, b"a", "key", date)
    clock.now += WINDOW
    assert not served(window, b"a", "key", date)
    clock.now += 1
    assert not served(window, b"a", "key", date)  # forgotten, and its date refused
    clock.now += WINDOW
    served(window, b"b", "key", None)
    assert len(window) == 1


def test_a_clock_that_is_set_back_brings_nothing_back() -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, clock=clock)
    date = clock.now
    assert served(window, b"a", "key", date)
    clock.now += 2 * WINDOW
    assert served(window, b"b", "key", clock.now)  # by now the first is forgotten
    clock.now = date
    assert not served(window, b"a", "key", date)


@pytest.mark.parametrize("offset", [-WINDOW - 1, WINDOW + 1, 10 * 365 * 86400])
def test_refused_dates_take_no_memory(offset: float) -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, clock=clock)
    assert not served(window, b"a", "key", clock.now + offset)
    assert len(window) == 0


def test_undated_requests_leave_room_for_dated_ones() -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, capacity=8, clock=clock)
    assert [served(window, bytes([n]), "key", None) for n in range(8)] == [True] * 4 + [False] * 4
    assert all(served(window, bytes([n]), "key", clock.now) for n in range(20, 24))


def test_requests_without_a_head_leave_room_for_dated_ones() -> None:
    clock = Clock()
    window = ReplayWindow(window_s=WINDOW, capacity=8, clock=clock)
    for n in range(20):
        served(window, bytes([n]), "key", JUNK)
    assert len(window) == 4
    assert all(served(window, bytes([n]), "key", clock.now) for n in range(20, 24))


@pytest.mark.parametrize("date", [None, 0.0, 1_000_000.0, JUNK])
def test_a_key_retired_while_its_request_arrives_leaves_nothing(date: float | None) -> None:
    window = ReplayWindow(capacity=8, clock=Clock())
    window.reserve(b"a", "old")
    window.retain({"new"})
    if date == JUNK:
        window.abandon(b"a")
    else:
        with contextlib.suppress(ReplayError):
            window.settle(b"a", None if date is None else formatdate(date, usegmt=True).encode())
    assert len(window) == 0
    assert [served(window, bytes([n]), "new", None) for n in range(8)] == [True] * 4 + [False] * 4


def test_what_a_retired_key_opened_is_forgotten_with_it() -> None:
    window = ReplayWindow(clock=Clock())
    served(window, b"a", "old", None)
    served(window, b"b", "new", None)
    window.retain({"new"})
    assert len(window) == 1
    with pytest.raises(ReplayError):
        window.reserve(b"b", "new")
