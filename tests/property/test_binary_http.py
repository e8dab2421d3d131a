"""Binary HTTP: round trips however bytes are split, and a decoder that is total."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError, OversizeError, PrivityError
from privity.seal import binary_http as bhttp
from privity.seal import varint

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz", min_size=1, max_size=12)
VALUE = st.binary(max_size=40).map(lambda raw: bytes(b for b in raw if b not in b"\0\r\n").strip())
FIELDS = st.lists(
    st.tuples(TOKEN.map(str.encode), VALUE.map(lambda v: v.strip(b" \t"))), max_size=5
)
REQUESTS = st.builds(
    bhttp.RequestHead,
    TOKEN.filter(lambda method: method != "CONNECT"),
    st.sampled_from(["https", "http", "coap+tcp"]),
    st.sampled_from(["", "a.example", "a.example:8443", "[::1]:80"]),
    st.sampled_from(["/", "*", "/v1/chat/completions?x=%20&y=@:"]),
    FIELDS.map(tuple),
)
RESPONSES = st.builds(bhttp.ResponseHead, st.integers(200, 599), FIELDS.map(tuple))
INTERIMS = st.builds(bhttp.Informational, st.integers(100, 199), FIELDS.map(tuple))


def lower(fields: Any) -> bhttp.Fields:
    return tuple((name.lower(), value) for name, value in fields)


def run(kind: bhttp.Kind, data: bytes, cuts: list[int], **limits: int) -> list[bhttp.Event]:
    """Decode ``data`` cut at ``cuts``; neighbouring pieces of content come out as one."""
    decoder = bhttp.Decoder(kind, bhttp.Limits(**limits))
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    events = [e for a, b in itertools.pairwise(places) for e in decoder.feed(data[a:b])]
    out: list[bhttp.Event] = []
    for event in events + decoder.finish():
        if out and isinstance(event, bhttp.Content) and isinstance(out[-1], bhttp.Content):
            event = bhttp.Content(out.pop().data + event.data)  # type: ignore[union-attr]
        out.append(event)
    return out


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@given(REQUESTS, st.binary(max_size=600), FIELDS, st.integers(0, 20), CUTS)
def test_known_length_requests_round_trip(
    head: bhttp.RequestHead, content: bytes, trailers: Any, padding: int, cuts: list[int]
) -> None:
    data = bhttp.encode_request(head, content, trailers) + bytes(padding)
    body = [bhttp.Content(content)] if content else []
    assert run("request", data, cuts) == [head, *body, bhttp.Trailers(lower(trailers))]


@given(RESPONSES, st.binary(max_size=600), FIELDS, CUTS)
def test_known_length_responses_round_trip(
    head: bhttp.ResponseHead, content: bytes, trailers: Any, cuts: list[int]
) -> None:
    data = bhttp.encode_response(head, content, trailers)
    body = [bhttp.Content(content)] if content else []
    assert run("response", data, cuts) == [head, *body, bhttp.Trailers(lower(trailers))]


@given(
    st.lists(INTERIMS, max_size=3),
    RESPONSES,
    st.lists(st.binary(max_size=300), max_size=6),
    FIELDS,
    st.integers(0, 20),
    CUTS,
)
def test_streamed_responses_round_trip(
    interims: list[bhttp.Informational],
    head: bhttp.ResponseHead,
    pieces: list[bytes],
    trailers: Any,
    padding: int,
    cuts: list[int],
) -> None:
    encoder = bhttp.ResponseEncoder()
    data = b"".join(map(encoder.informational, interims)) + encoder.head(head)
    data += b"".join(map(encoder.content, pieces)) + encoder.end(trailers) + bytes(padding)
    body = [bhttp.Content(b"".join(pieces))] if any(pieces) else []
    events = run("response", data, cuts)
    assert events == [*interims, head, *body, bhttp.Trailers(lower(trailers))]


@given(REQUESTS, st.lists(st.binary(max_size=300), max_size=6), FIELDS, CUTS)
def test_streamed_requests_round_trip(
    head: bhttp.RequestHead, pieces: list[bytes], trailers: Any, cuts: list[int]
) -> None:
    encoder = bhttp.RequestEncoder()
    data = encoder.head(head) + b"".join(map(encoder.content, pieces)) + encoder.end(trailers)
    body = [bhttp.Content(b"".join(pieces))] if any(pieces) else []
    assert run("request", data, cuts) == [head, *body, bhttp.Trailers(lower(trailers))]


# Beginnings that get arbitrary bytes past the first checks.
STARTS = [
    b"",
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x03",
    b"\x00\x03GET\x05https\x00\x01/",
    b"\x02\x03GET\x05https\x00\x01/",
    b"\x02\x03GET\x05https\x00\x01/\x00",
    b"\x01\x40\xc8\x00",
    b"\x03\x40\xc8\x00",
    b"\x03\x40\x66",
]


@given(
    st.sampled_from(STARTS), st.binary(max_size=200), CUTS, st.sampled_from(["request", "response"])
)
def test_the_decoder_is_total_and_does_not_depend_on_splits(
    start: bytes, rest: bytes, cuts: list[int], kind: bhttp.Kind
) -> None:
    def outcome(cuts: list[int]) -> object:
        try:
            return run(kind, start + rest, cuts, section=64, fields=4, content=100)
        except PrivityError as error:
            return type(error), error.message

    assert outcome(cuts) == outcome([]) == outcome(list(range(len(start + rest))))


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_a_refused_message_stays_refused(rest: bytes, more: bytes) -> None:
    decoder = bhttp.Decoder("request")
    with pytest.raises(MalformedError):
        decoder.feed(b"\x01" + rest)
    with pytest.raises(MalformedError):
        decoder.feed(more)
    with pytest.raises(MalformedError):
        decoder.finish()


@given(st.integers(0, varint.MAXIMUM), st.binary(max_size=4))
def test_integers_round_trip(value: int, rest: bytes) -> None:
    encoded = varint.encode(value)
    assert varint.decode(b"x" + encoded + rest, 1) == (value, 1 + len(encoded))


@given(st.integers(min_value=varint.MAXIMUM + 1) | st.integers(max_value=-1))
def test_integers_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(OversizeError):
        varint.encode(value)


@given(st.binary(max_size=12), st.integers(0, 14))
def test_reading_integers_is_total(data: bytes, offset: int) -> None:
    try:
        value, end = varint.decode(data, offset)
    except PrivityError:
        return
    assert 0 <= value <= varint.MAXIMUM
    assert offset < end <= len(data)
