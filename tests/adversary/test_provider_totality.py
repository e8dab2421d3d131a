"""Whatever a caller or a provider sends, it passes or is one of privity's own errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import InputError, PrivityError
from privity.infer.providers.answer import Exchange, client_answer, client_failure
from privity.infer.providers.failure import Key, failure_of
from privity.infer.providers.guard import check, read_request
from privity.infer.providers.profile_file import parse_profile
from privity.infer.providers.replay import replay
from privity.infer.providers.shapes import GRAMMARS
from privity.policy import Feature
from providers.front import Unchanged

NAMES = sorted(
    {name for one in GRAMMARS.values() for name in one.fields}
    | {"type", "role", "content", "text", "url", "image_url", "source", "file_id", "cache_control"}
    | {"choices", "message", "delta", "output", "index", "error", "code", "param", "response"}
)
TEXTS = st.one_of(st.sampled_from(["text", "message", "function", "tool_result"]), st.text())
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), inner, max_size=5),
    ),
    max_leaves=25,
)
OBJECTS = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), VALUES, max_size=8)
FEATURES = st.frozensets(st.sampled_from(list(Feature)))


@given(st.one_of(st.binary(), OBJECTS.map(lambda one: json.dumps(one).encode())))
def test_a_request_is_read_or_refused(content: bytes) -> None:
    try:
        body = read_request(content)
    except InputError:
        return
    json.dumps(body, ensure_ascii=False).encode()


@given(st.sampled_from(sorted(GRAMMARS)), OBJECTS, FEATURES)
@settings(max_examples=400)
def test_a_request_passes_the_guard_or_is_refused(
    shape: str, body: dict[str, Any], allowed: frozenset[Feature]
) -> None:
    try:
        kept = check(shape, body, allowed=allowed)
    except InputError:
        return
    assert set(kept) <= set(GRAMMARS[shape].fields)
    # A stricter policy never lets more pass; nor does a field more.
    with pytest.raises(InputError):
        check(shape, {**body, "something_new": 1}, allowed=frozenset(Feature))


@given(VALUES, st.integers(0, 999), OBJECTS)
def test_every_error_is_told_in_a_line(told: Any, status: int, sent: dict[str, Any]) -> None:
    found = failure_of(told, status, title="P", sent=sent, key=Key("the key in K", "sk-1"))
    assert 0 < len(found.message) <= 300 and found.message.isprintable()
    assert 0 < len(found.kind) <= 64


@given(st.sampled_from(["chat", "messages", "responses", "completions"]), OBJECTS, st.booleans())
def test_a_whole_answer_is_replayed_or_an_error(
    shape: str, answer: dict[str, Any], usage: bool
) -> None:
    try:
        events = replay(shape, answer, usage=usage)
    except PrivityError:
        return
    assert events.endswith(b"\n\n")


EVENTS = st.lists(
    st.one_of(
        st.binary(max_size=60),
        OBJECTS.map(lambda one: b"data: " + json.dumps(one).encode() + b"\n\n"),
        st.sampled_from(
            [
                b"data: [DONE]\n\n",
                b'event: error\ndata: {"error": 1}\n\n',
                b'data: {"type": "message_stop"}\n\n',
                b'data: {"type": "response.failed", "response": {"error": {}}, "error": 1}\n\n',
                b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n',
            ]
        ),
    ),
    max_size=6,
)


@given(
    st.sampled_from(["chat", "messages", "responses"]),
    st.sampled_from(["chat", "messages"]),
    EVENTS,
    st.booleans(),
    st.integers(200, 599),
)
@settings(max_examples=300, deadline=None)
def test_every_answer_passes_or_is_an_error(
    shape: str, spoken: str, pieces: list[bytes], streamed: bool, status: int
) -> None:
    spoken = shape if shape == "responses" else spoken
    body: dict[str, Any] = {"model": "m", "stream": True}
    exchange = Exchange(shape, spoken, "P", body, streamed)

    async def run() -> None:
        kind = "text/event-stream" if streamed else "application/json"
        content = b"".join(pieces)
        response = httpx.Response(
            status, headers={"content-type": kind}, stream=httpx.ByteStream(content)
        )
        if status != 200:
            told, _ = await client_failure(response, exchange)
            assert json.loads(told)
            return
        _, stream = await client_answer(response, exchange, lambda _: Unchanged())
        async for _ in stream:
            pass

    try:
        asyncio.run(run())
    except PrivityError:
        return


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "replace"))))
def test_a_profile_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_profile(data, "the profile")
