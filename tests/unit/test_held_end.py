from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.infer.held_end import HeldEnd

CHAT = (
    b'data: {"choices": [{"delta": {"content": "one"}}]}\n\n'
    b'data: {"choices": [{"delta": {"content": "data: [DONE]"}}]}\n\n'
    b'data: {"usage": {"total_tokens": 3}}\n\n'
)
RESPONSES = b'event: response.output_text.delta\ndata: {"delta": "x"}\n\n'


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(points)]


@pytest.mark.parametrize(
    ("shown", "end"),
    [
        (CHAT, b"data: [DONE]\n\n"),
        (CHAT, b"data: [DONE]"),
        (RESPONSES, b'event: response.completed\ndata: {"x": 1}\n\n'),
        (RESPONSES, b'event:response.completed\ndata: {"x": 1}\n\n'),
        (RESPONSES, b"event: response.incomplete\ndata: {}\n\n"),
        (RESPONSES, b"event: response.failed\ndata: {}\n\n"),
        (RESPONSES, b'data: {"type":"response.completed","response":{}}\n\n'),
        (RESPONSES, b'data:{"type": "response.failed"}\n\n'),
        (RESPONSES, b'data: {"type": "response.incomplete"}\n\n'),
        (RESPONSES, b'event: message_stop\ndata: {"type": "message_stop"}\n\n'),
        (RESPONSES, b'data: {"type":"message_stop"}\n\n'),
        (b"data: {}\r\r", b"data: [DONE]\r\r"),
        (b"", b"data: [DONE]\n\n"),
    ],
)
@given(cuts=st.lists(st.integers(0, 260), max_size=8))
def test_the_end_mark_waits_however_the_stream_is_cut(
    shown: bytes, end: bytes, cuts: list[int]
) -> None:
    held = HeldEnd(events=True)
    out = b"".join(held.feed(chunk) for chunk in split(shown + end, cuts))
    assert out == shown
    assert held.end() == end
    assert held.end() == b""


def test_whole_events_pass_at_once() -> None:
    held = HeldEnd(events=True)
    for event in CHAT.split(b"\n\n")[:-1]:
        assert held.feed(event + b"\n\n") == event + b"\n\n"
    assert held.end() == b""


def test_the_mark_inside_a_line_holds_nothing() -> None:
    held = HeldEnd(events=True)
    text = b'data: {"content": "data: [DONE]"}\n\n'
    assert held.feed(text) == text
    assert held.feed(b"x data: [DONE]") == b"x data: [DONE]"
    assert held.feed(b"\n\n") == b"\n\n"


@given(chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=10))
def test_other_answers_lack_their_last_chunk_until_the_end(chunks: list[bytes]) -> None:
    held = HeldEnd(events=False)
    out = [held.feed(chunk) for chunk in chunks]
    assert b"".join(out) == b"".join(chunks[:-1])
    assert b"".join(out) + held.end() == b"".join(chunks)


@given(data=st.binary(max_size=80), cuts=st.lists(st.integers(0, 80), max_size=6))
def test_no_byte_is_lost_or_reordered(data: bytes, cuts: list[int]) -> None:
    data = data.replace(b"d", b"\ndata: [DO")
    held = HeldEnd(events=True)
    out = b"".join(held.feed(chunk) for chunk in split(data, cuts))
    assert out + held.end() == data
