"""Shapes: what is asked for is read back, batches only double, lengths become buckets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InputError, MalformedError
from privity.seal.records import CADENCE_HEADER, RECORDS_HEADER, RecordReader, RecordWriter
from privity.seal.shaping import (
    DELAY_HEADER,
    PACE_HEADER,
    Batches,
    Pace,
    Shape,
    length_bucket,
    longest_tail,
    random_delay,
)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    pace = draw(st.sampled_from(Pace))
    delayed = pace is Pace.BATCH and draw(st.booleans())
    return Shape(
        draw(st.integers(16, 16380)),
        draw(st.integers(1, 60_000)),
        pace=pace,
        delay_ms=draw(st.integers(1, 10_000)) if delayed else None,
    )


@given(shapes())
def test_a_shape_is_read_back_as_it_was_asked_for(shape: Shape) -> None:
    read = Shape.read(tuple(shape.fields()))
    assert (read.records, read.acts, read.delay_ms) == (shape.records, shape.acts, shape.delay_ms)
    assert shape.acts is Pace.WHOLE or read.cadence_ms == shape.cadence_ms


VALUES = st.binary(max_size=8) | st.sampled_from([b"bucket", b"whole", b"64", b"50", b"even"])


@given(st.dictionaries(st.sampled_from([CADENCE_HEADER, PACE_HEADER, DELAY_HEADER]), VALUES))
def test_reading_a_shape_is_total(fields: dict[bytes, bytes]) -> None:
    assert Shape.read(tuple(fields.items())).records is None, "nothing is shaped without records"
    try:
        shape = Shape.read(((RECORDS_HEADER, b"64"), *fields.items()))
    except MalformedError:
        return
    assert shape.records == 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"records": None},
        {"records": None, "cadence_ms": None, "delay_ms": 5},
        {"records": None, "cadence_ms": None, "pace": Pace.WHOLE},
        {"pace": Pace.EVEN, "delay_ms": 5},
        {"pace": Pace.WHOLE, "delay_ms": 5},
    ],
)
def test_what_does_not_go_together_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Shape(**wrong)  # type: ignore[arg-type]


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20))
def test_lengths_become_few(count: int, other: int) -> None:
    bucket = length_bucket(count)
    assert bucket >= max(count, 1)
    assert length_bucket(bucket) == bucket
    assert bucket < 2 * max(count, 1)
    assert bucket - count < 64
    if count > 16:
        assert bucket - count < count / 4
    if count <= other:
        assert bucket <= length_bucket(other)


def test_a_tail_is_no_longer_than_is_said() -> None:
    longest = max(length_bucket(count) - count for count in range(1, 5000))
    assert longest * 0.05 <= longest_tail(Shape(cadence_ms=50)) == 3.2
    assert longest_tail(Shape(cadence_ms=50, pace=Pace.EVEN)) == 0


@given(
    st.integers(14, 16378),
    st.lists(st.integers(0, 1 << 18), min_size=1, max_size=50),
)
def test_batches_only_double(room: int, waiting: list[int]) -> None:
    batches = Batches(room, 1 << 16)
    sizes = [batches.next(held) for held in waiting]
    changes = {two / one for one, two in itertools.pairwise(sizes)}
    largest = max((1 << 16) // room, 1)
    assert all(1 <= change for change in changes)
    assert len(set(sizes)) <= largest.bit_length() + 1
    assert sizes[-1] <= largest and batches.full == largest * room
    assert sizes[0] >= min(-(-waiting[0] // room), largest), "what came whole leaves whole"


@given(st.integers(1, 10_000), st.binary(min_size=7, max_size=7))
def test_a_random_delay_is_within_its_bound(most: int, drawn: bytes) -> None:
    assert 0 <= random_delay(most, lambda count: drawn[:count]) < most / 1000


def test_random_delays_are_even() -> None:
    drawn = [random_delay(1000) for _ in range(4000)]
    tenths = [sum(at / 10 <= one < (at + 1) / 10 for one in drawn) for at in range(10)]
    assert all(250 < count < 560 for count in tenths)  # eight standard deviations
    assert len(set(drawn)) > 3990


@given(st.integers(16, 600), st.integers(1, 9), st.data())
def test_a_batch_has_exactly_its_records(size: int, count: int, data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=count * (size - 2)))
    batch = RecordWriter(size).batch(content, count)
    assert [len(record) for record in batch] == [size] * count
    assert b"".join(RecordReader(size).feed(b"".join(batch))) == content
