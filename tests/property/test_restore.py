"""Restoration, however the text or the bytes are split, and whatever they are."""

from __future__ import annotations

import json
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import PrivityError
from privity.infer.pseudonyms.answers import AnswerRestorer
from privity.infer.pseudonyms.links import Fence
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.pair import Fit, Pair
from privity.infer.pseudonyms.restore import FencedText
from privity.infer.pseudonyms.restore_json import FencedJson
from privity.infer.pseudonyms.table import Entry, Table
from privity.infer.shapes.events import encode_event
from privity.policy.sensitive import Kind

PAIRS = (
    ("Lovrin", "Anna", Fit.WORD),
    ("Brackmannsen", "Schmidt", Fit.WORD),
    ("L. Brackmannsen", "A. Schmidt", Fit.WORD),
    ("lovrin.brackmannsen@merrow.example", "anna.schmidt@firma.de", Fit.EXACT),
    ("merrow.example", "firma.de", Fit.EXACT),
    ("DE02 0001 2345 6789 0123 45", "DE44 5001 0517 5407 3249 31", Fit.COMPACT),
    ("ztoken12", 'p"w\\d\n', Fit.CASED),
)
TABLE = Table(Entry(*pair) for pair in PAIRS)
OWN = frozenset({"merrow.example"})
LONGEST = max(len(source) for source, _, _ in PAIRS)
MOST_HELD = 2 * LONGEST + 320  # an address waits for its host

PIECES = st.sampled_from(
    [
        *(source for source, _, _ in PAIRS),
        "Lov", "rin", "LOVRIN", "lovrin", "s", "'s", " ", "\n", "**", ".", "-", "_", "apolis", "@",
        "https://", "//", "merrow.example", "/?q=", "](", ")", "<", '"', "'", "\\", "src=", "www.",
        "DE02", "0001", "x", "é", "\u00a0", "{", "}", "[", "]", ":", "\\u004c", "😀", "\ud83d",
        "http", "t", "p", "s:", "//evil.example/", "1", "http://merrow.example@evil/", "#", "w",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join)


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    ends = [0, *places, len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 400), max_size=12))
def test_a_text_comes_out_the_same_however_it_is_split(text: str, cuts: list[int]) -> None:
    whole = FencedText(TABLE, Fence(OWN))
    expected = whole.feed(text) + whole.end()
    parts = FencedText(TABLE, Fence(OWN))
    assert "".join([*(parts.feed(one) for one in split(text, cuts)), parts.end()]) == expected
    one_by_one = FencedText(TABLE, Fence(OWN))
    assert "".join([*map(one_by_one.feed, text), one_by_one.end()]) == expected


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 400), max_size=12))
def test_json_comes_out_the_same_however_it_is_split(text: str, cuts: list[int]) -> None:
    for arguments in (text, json.dumps({"a": text}), json.dumps([json.dumps({"b": [text]})])):
        whole = FencedJson(TABLE, OWN)
        expected = whole.feed(arguments) + whole.end()
        parts = FencedJson(TABLE, OWN)
        assert "".join([*map(parts.feed, split(arguments, cuts)), parts.end()]) == expected
        one_by_one = FencedJson(TABLE, OWN)
        assert "".join([*map(one_by_one.feed, arguments), one_by_one.end()]) == expected


@settings(max_examples=100, deadline=None)
@given(TEXTS.filter(bool))
def test_what_waits_of_a_long_text_is_bounded(text: str) -> None:
    # Of a string of JSON tabs and line ends wait besides, 32 for each character at most.
    plain = re.sub(r"[\\\t\r\n]", "", text) or "x"
    for begun, said, restorer in (
        ("", text, FencedText(TABLE, Fence(OWN))),
        ("", plain, FencedJson(TABLE, OWN)),
        ('{"a":"', plain, FencedJson(TABLE, OWN)),
        ('{"a":"{\\"b\\":\\"', plain, FencedJson(TABLE, OWN)),
    ):
        for char in begun + said * (1 + 3 * MOST_HELD // len(said)):
            restorer.feed(char)
            assert restorer.held <= MOST_HELD


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_what_is_put_into_json_leaves_it_json_of_the_same_form(text: str) -> None:
    data = {"a": text, "b": [text, 1, None], "c": json.dumps({"d": text})}
    restorer = FencedJson(TABLE, OWN)
    made = json.loads(restorer.feed(json.dumps(data)) + restorer.end())
    plain = FencedText(TABLE, Fence(OWN, string=True), before='"')
    if not text.startswith(("{", "[")):
        assert made["a"] == plain.feed(text) + plain.end()
        assert made["b"][1:] == [1, None]
        assert set(json.loads(made["c"])) == {"d"}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_a_text_without_stand_ins_comes_out_as_it_is(text: str) -> None:
    restorer = FencedText(TABLE, Fence(OWN))
    if "lovrin" not in text.lower():
        assert restorer.feed(text) + restorer.end() == text


def place() -> ConversationMap:
    made = ConversationMap()
    for stand_in, original, fit in PAIRS:
        made.add(Pair(original, stand_in, Kind.OWN, fit))
    return made


PATHS = st.sampled_from(
    ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions"]
)
DELTAS = st.sampled_from(
    [
        lambda t: {"choices": [{"index": 0, "delta": {"content": t}}]},
        lambda t: {"choices": [{"index": 0, "text": t}]},
        lambda t: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": t}}]}}]},
        lambda t: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        lambda t: {"type": "content_block_delta", "index": 0, "delta": {"text": t}},
        lambda t: {"type": "content_block_delta", "index": 1, "delta": {"partial_json": t}},
        lambda t: {"type": "content_block_stop", "index": 0},
        lambda t: {"type": "message_stop"},
        lambda t: {"type": "response.output_text.delta", "delta": t, "sequence_number": 1},
        lambda t: {"type": "response.output_text.done", "text": t, "sequence_number": 2},
        lambda t: {"type": "response.completed", "response": {"output": [{"text": t}]}},
        lambda t: [t],
        lambda t: {"error": {"message": t}},
    ]
)


@settings(max_examples=300, deadline=None)
@given(PATHS, st.lists(st.tuples(DELTAS, TEXTS), max_size=8), st.lists(st.integers(0, 3000)))
def test_a_stream_comes_out_the_same_however_its_bytes_are_split(path, events, cuts) -> None:
    data = b"".join(encode_event(json.dumps(make(text)).encode()) for make, text in events)
    whole = AnswerRestorer(path, "text/event-stream", place(), OWN)
    expected = whole.feed(data) + whole.end()
    parts = AnswerRestorer(path, "text/event-stream", place(), OWN)
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    ends = [0, *places, len(data)]
    out = [parts.feed(data[a:b]) for a, b in pairwise(ends)]
    assert b"".join([*out, parts.end()]) == expected


@settings(max_examples=300, deadline=None)
@given(
    PATHS, st.sampled_from(["application/json", "text/event-stream", "text/plain", ""]), st.binary()
)
def test_any_bytes_of_a_provider_raise_nothing_but_privitys_errors(path, kind, data) -> None:
    for body in (data, b"data: " + data + b"\n\n", b'{"choices":[' + data + b"]}"):
        restorer = AnswerRestorer(path, kind, place(), OWN)
        try:
            restorer.feed(body)
            restorer.end()
        except PrivityError:
            pass
