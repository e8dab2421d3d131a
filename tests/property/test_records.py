"""Records: round trips, constant size, and a reader that is total."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError, PrivityError, TruncatedError
from privity.seal.records import RecordReader, RecordWriter, parse_cadence, parse_size

SIZES = st.sampled_from([16, 17, 64, 512, 16380])
CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(SIZES, st.lists(st.binary(max_size=1500), max_size=6), CUTS)
def test_content_round_trips_in_records_of_one_size(
    size: int, content: list[bytes], cuts: list[int]
) -> None:
    writer, reader = RecordWriter(size), RecordReader(size)
    records = [record for data in content for record in (*writer.write(data), writer.cover())]
    assert {len(record) for record in records} <= {size}
    wire = b"".join(records)
    read = [data for piece in pieces(wire, cuts) for data in reader.feed(piece)]
    reader.finish()
    assert all(read)
    assert b"".join(read) == b"".join(content)


@given(st.binary(max_size=100), CUTS)
def test_the_reader_is_total(data: bytes, cuts: list[int]) -> None:
    def outcome(cuts: list[int]) -> object:
        reader = RecordReader(16)
        try:
            read = [content for piece in pieces(data, cuts) for content in reader.feed(piece)]
            reader.finish()
        except PrivityError as error:
            return type(error)
        return b"".join(read)

    assert outcome(cuts) == outcome([])


@given(st.integers(15, 0xFFFF))
def test_a_record_that_claims_more_than_it_holds_is_refused(used: int) -> None:
    with pytest.raises(MalformedError):
        RecordReader(16).feed(used.to_bytes(2, "big") + bytes(14))


@given(st.integers(0, 13), st.data())
def test_fill_that_is_not_zero_is_refused(used: int, data: st.DataObject) -> None:
    record = bytearray(RecordWriter(16).write(b"x" * used)[0] if used else RecordWriter(16).cover())
    record[data.draw(st.integers(2 + used, 15))] = data.draw(st.integers(1, 255))
    with pytest.raises(MalformedError):
        RecordReader(16).feed(bytes(record))


def test_content_that_stops_inside_a_record_is_refused() -> None:
    reader = RecordReader(16)
    reader.feed(RecordWriter(16).write(b"x" * 20)[0] + b"\x00")
    with pytest.raises(TruncatedError):
        reader.finish()


@given(st.binary(max_size=8) | st.integers(-1, 70_000).map(lambda n: b"%d" % n))
def test_reading_the_fields_that_ask_for_records_is_total(value: bytes) -> None:
    for read, highest in ((parse_size, 16380), (parse_cadence, 60_000)):
        try:
            number = read(value)
        except MalformedError:
            continue
        assert int(value) == number <= highest
