"""Server-sent events: the same ones however the bytes were split, and no more work than bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import OversizeError
from privity.infer.shapes import events
from privity.infer.shapes.events import MAX_EVENT, Event, EventReader, encode_event

TEXT = st.text("ab \u20ac:\ufeff", max_size=6).map(str.encode)
LINES = st.one_of(
    st.just(b""),
    TEXT,
    TEXT.map(lambda value: b"data:" + value),
    TEXT.map(lambda value: b"data: " + value),
    TEXT.map(lambda value: b"event: " + value),
    TEXT.map(lambda value: b": " + value),
    st.sampled_from([b"data", b"event", b"id: 1", b"retry: 5", b"\xff\xfe"]),
)
ENDS = st.sampled_from([b"\r\n", b"\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS)).map(lambda found: b"".join(a + b for a, b in found))


def by_the_standard(body: bytes) -> list[Event]:
    """Read a whole stream as the standard words it, line by line; a second implementation."""
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found, name = [], b""
    data: list[bytes] = []
    for line in body.split(b"\n")[:-1]:
        field, colon, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if data:
                found.append(Event(b"\n".join(data), name))
            data, name = [], b""
        elif colon and not field:
            continue
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return found


def read(body: bytes, *cuts: int) -> list[Event]:
    reader, found, start = EventReader(), [], 0
    for cut in (*sorted(cuts), len(body)):
        found += reader.feed(body[start:cut])
        start = cut
    return found


@given(STREAMS, st.lists(st.integers(0, 200)))
def test_events_are_those_of_the_standard_however_they_are_split(
    body: bytes, cuts: list[int]
) -> None:
    expected = by_the_standard(body)
    assert read(body) == expected
    assert read(body, *(cut for cut in cuts if cut < len(body))) == expected
    assert read(body, *range(len(body))) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_stream_split_at_each_byte(end: bytes, mark: bytes) -> None:
    lines = [
        b"data: 0",
        b"",
        b": hi",
        b"event: a",
        b"data: 1",
        b"data: 2",
        b"",
        b"",
        b"data:3",
        b"",
        b"data: 4",
    ]
    body = mark + end.join(lines)
    for cut in range(len(body) + 1):
        assert read(body, cut) == [Event(b"0"), Event(b"1\n2", b"a"), Event(b"3")]


def test_an_empty_piece_between_the_halves_of_a_line_end_changes_nothing() -> None:
    reader = EventReader()
    pieces = [b"data: 1\r", b"", b"\n", b"", b"\n", b"data: 2\n\n"]
    assert [event.data for piece in pieces for event in reader.feed(piece)] == [b"1", b"2"]


@given(st.lists(st.binary(max_size=50)))
def test_whatever_the_bytes_they_are_read(chunks: list[bytes]) -> None:
    reader = EventReader()
    found = [event for chunk in chunks for event in reader.feed(chunk)]
    assert found == by_the_standard(b"".join(chunks))


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n")),
    st.sampled_from([b"", b"ping"]),
)
def test_what_is_written_is_read(data: str, name: bytes) -> None:
    assert read(encode_event(data.encode(), name)) == [Event(data.encode(), name)]


@pytest.mark.parametrize("line", [b"data: ", b": ", b"event: "])
def test_an_event_may_not_be_too_large(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT", 4096)
    assert read(b"data: " + b"x" * 4000 + b"\n\n") == [Event(b"x" * 4000)]
    reader = EventReader()
    with pytest.raises(OversizeError):
        for _ in range(5):
            reader.feed(line + b"x" * 4000)
    reader = EventReader()
    with pytest.raises(OversizeError):
        for _ in range(5):
            reader.feed(b"data: " + b"x" * 1000 + b"\n")


def test_the_work_grows_with_the_bytes_and_not_with_their_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = 0
    ends = events._END

    class Counting:
        def split(self, chunk: bytes) -> list[bytes]:
            nonlocal seen
            seen += len(chunk)
            return ends.split(chunk)

    monkeypatch.setattr(events, "_END", Counting())
    reader = EventReader()
    body = b"data: " + b"x" * 20_000 + b"\n\n"
    found = [event for at in range(len(body)) for event in reader.feed(body[at : at + 1])]
    assert [len(event.data) for event in found] == [20_000]
    assert seen == len(body)


def test_the_largest_event_is_read_in_small_pieces() -> None:
    reader = EventReader()
    piece = b"x" * 1024
    count = MAX_EVENT // 1024 - 1
    assert reader.feed(b"data: ") == []
    assert all(reader.feed(piece) == [] for _ in range(count))
    assert len(reader.feed(b"\n\n")[0].data) == 1024 * count
