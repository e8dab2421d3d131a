"""Translation between chat completions and messages: total, valid, and the same there and back."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from privity.errors import InputError, MalformedError, PrivityError
from privity.infer.shapes.answers import chat_answer_to_messages, messages_answer_to_chat
from privity.infer.shapes.events import Event
from privity.infer.shapes.requests import chat_to_messages, messages_to_chat
from privity.infer.shapes.streams import ChatStreamToMessages, MessagesStreamToChat
from sdk_types import chat_request, messages_request
from shapes_recorded import (
    CHAT_ANSWER,
    CHAT_CHUNKS,
    MESSAGES_ANSWER,
    MESSAGES_EVENTS,
    events_of,
)

WORDS = st.text(min_size=1, max_size=8)
NAMES = st.sampled_from(["look", "now", "f_1"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=4)
JSON = st.recursive(
    LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3)
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=3)


def optional(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


# --- chats, in the form in which they come back ------------------------------------------------

TEXT_PARTS = WORDS.map(lambda text: {"type": "text", "text": text})
IMAGES = st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}})
FILES = st.just(
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aA=="}}
)
TEXTS = WORDS | st.lists(TEXT_PARTS, min_size=2, max_size=3)
USERS = st.fixed_dictionaries(
    {
        "role": st.just("user"),
        "content": WORDS | st.lists(TEXT_PARTS | IMAGES | FILES, min_size=2, max_size=3),
    }
)


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


@st.composite
def rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw an assistant's turn and what follows it, up to the next question."""
    calls = draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=2))
    said: dict[str, Any] = {"role": "assistant"}
    if not calls or draw(st.booleans()):
        said["content"] = draw(TEXTS)
    results = []
    if calls:
        said["tool_calls"] = [
            {
                "id": f"call_{at}",
                "type": "function",
                "function": {"name": name, "arguments": compact(arguments)},
            }
            for at, (name, arguments) in enumerate(calls)
        ]
        results = [
            {"role": "tool", "content": draw(TEXTS | st.just("")), "tool_call_id": f"call_{at}"}
            for at in range(len(calls))
        ]
    question = draw(USERS)
    return [said, *results, *([question] if not calls or draw(st.booleans()) else [])]


SCHEMAS = OBJECTS.map(lambda extra: {"title": "x", **extra, "type": "object"})


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    system = draw(st.lists(st.fixed_dictionaries({"content": TEXTS}), max_size=1))
    messages = [{"role": "system", **one} for one in system] + [draw(USERS)]
    for turns in draw(st.lists(rounds(), max_size=2)):
        messages += turns
    body = {"model": draw(WORDS), "messages": messages}
    body |= {"max_completion_tokens": draw(st.integers(1, 9))}
    functions = st.fixed_dictionaries(
        {"name": NAMES, "parameters": SCHEMAS},
        optional={"description": WORDS, "strict": st.booleans()},
    )
    tools = draw(st.lists(functions.map(lambda f: {"type": "function", "function": f}), max_size=2))
    if tools:
        body["tools"] = tools
        choice = draw(
            st.sampled_from(["auto", "none", "required", "look", None]).map(
                lambda c: {"type": "function", "function": {"name": c}} if c == "look" else c
            )
        )
        if choice:
            body["tool_choice"] = choice
            if choice != "none" and draw(st.booleans()):
                body["parallel_tool_calls"] = False
    body |= draw(
        optional(
            stop=st.lists(WORDS.filter(str.strip), min_size=1, max_size=2),
            user=WORDS,
            service_tier=st.sampled_from(["auto", "default"]),
            reasoning_effort=st.sampled_from(["none", "low", "medium", "high", "xhigh", "max"]),
            response_format=SCHEMAS.map(
                lambda schema: {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": schema, "strict": True},
                }
            ),
            temperature=st.floats(0, 1),
            top_p=st.floats(0, 1),
        )
    )
    if draw(st.booleans()):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


@given(chats())
def test_a_chat_comes_back_as_it_was(chat: dict[str, Any]) -> None:
    before = copy.deepcopy(chat)
    chat_request().validate_python(chat)
    messages = chat_to_messages(chat, sampling=True)
    assert chat == before
    sampled = {name: messages.pop(name) for name in ("temperature", "top_p") if name in messages}
    messages_request().validate_python(messages)
    back = messages_to_chat({**messages, **sampled})
    chat_request().validate_python(back)
    assert back == chat
    assert chat_to_messages(back, sampling=True) == {**messages, **sampled}


REQUESTS = st.sampled_from(
    [
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
        {"model": "m", "messages": [{"role": "assistant", "tool_calls": [{}]}], "tools": [{}]},
        {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "x"}]}]},
        {
            "model": "m",
            "max_tokens": 3,
            "system": [{"type": "text", "text": "s"}],
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]},
                {"role": "user", "content": [{"type": "tool_result", "content": []}]},
                {"role": "assistant", "content": [{"type": "tool_use", "input": {}}]},
            ],
            "tools": [{"name": "x", "input_schema": {}}],
            "tool_choice": {"type": "tool"},
            "output_config": {"format": {}},
            "thinking": {"type": "enabled"},
        },
    ]
)
MEMBERS = st.sampled_from(
    [
        *("model", "messages", "content", "role", "type", "text", "tool_calls", "tools", "stream"),
        *("tool_choice", "response_format", "stop", "system", "thinking", "source", "image_url"),
        *("file", "function", "arguments", "id", "name", "input", "choices", "message", "delta"),
        *("usage", "index", "finish_reason", "stop_reason", "content_block", "error", "parameters"),
    ]
)
TYPES = st.sampled_from(
    [
        *("text", "image", "image_url", "file", "document", "tool_use", "tool_result", "thinking"),
        *("user", "assistant", "system", "tool", "function", "auto", "json_schema", "base64"),
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "text_delta", "input_json_delta", "stop", "end_turn"),
    ]
)
WILD = st.recursive(
    LEAVES | TYPES | st.integers() | st.floats() | st.text(st.characters(), max_size=3),
    lambda x: (
        st.lists(x, max_size=4) | st.dictionaries(MEMBERS | st.text(max_size=3), x, max_size=5)
    ),
    max_leaves=20,
)


@st.composite
def altered(draw: st.DrawFn, base: Any) -> Any:
    """Draw a value in which one place holds something else."""
    value = copy.deepcopy(base)
    holder, key, place = None, None, value
    for _ in range(draw(st.integers(0, 8))):
        if isinstance(place, dict) and place:
            keys = sorted(place)
        elif isinstance(place, list) and place:
            keys = list(range(len(place)))
        else:
            break
        holder, key = place, draw(st.sampled_from(keys))
        place = place[key]
    if holder is None:
        return value
    if draw(st.booleans()):
        holder[key] = draw(WILD)
    else:
        del holder[key]
    return value


@given(st.one_of(WILD, REQUESTS.flatmap(altered)))
def test_whatever_a_request_is_it_is_translated_or_refused(body: Any) -> None:
    with suppress(InputError):
        messages_request().validate_python(chat_to_messages(body))
    with suppress(InputError):
        chat_request().validate_python(messages_to_chat(body))


READ_MESSAGE, READ_CHAT = TypeAdapter(Message), TypeAdapter(ChatCompletion)
READ_EVENT, READ_CHUNK = TypeAdapter(RawMessageStreamEvent), TypeAdapter(ChatCompletionChunk)


@given(
    st.one_of(WILD, st.dictionaries(MEMBERS, WILD), altered(MESSAGES_ANSWER), altered(CHAT_ANSWER))
)
def test_whatever_a_provider_answers_it_is_translated_or_malformed(body: Any) -> None:
    with suppress(MalformedError):
        READ_CHAT.validate_python(messages_answer_to_chat(body, model="m"), strict=True)
    with suppress(MalformedError):
        READ_MESSAGE.validate_python(chat_answer_to_messages(body, model="m"), strict=True)


def read_all(said: bytes, shape: TypeAdapter[Any]) -> None:
    for event in events_of(said):
        if event.data != b"[DONE]" and event.name != b"error":
            fields = json.loads(event.data)
            assert "error" in fields or shape.validate_python(fields, strict=True)


def follow(translator: Any, body: list[Any], shape: TypeAdapter[Any]) -> None:
    with suppress(PrivityError):
        for event in body:
            data = event if isinstance(event, bytes) else json.dumps(event).encode()
            read_all(translator.feed(Event(data)), shape)
        read_all(translator.end(), shape)


@given(
    st.one_of(
        st.lists(WILD | st.binary(max_size=20) | st.just(b"[DONE]"), max_size=5),
        altered(MESSAGES_EVENTS),
        altered([*CHAT_CHUNKS, b"[DONE]"]),
        st.permutations(MESSAGES_EVENTS),
        st.permutations(CHAT_CHUNKS),
        st.lists(st.sampled_from(MESSAGES_EVENTS), max_size=30),
        st.lists(st.sampled_from([*CHAT_CHUNKS, b"[DONE]"]), max_size=30),
    )
)
def test_whatever_a_provider_streams_it_is_translated_or_malformed(body: Any) -> None:
    body = body if isinstance(body, list) else [body]
    follow(MessagesStreamToChat(model="m", usage=True), body, READ_CHUNK)
    follow(ChatStreamToMessages(model="m"), body, READ_EVENT)


NOT_JSON = [
    *(b"NaN", b'{"a":1e999}', b"[" * 100_000, b'{"error":' * 100_000),
    b'{"a":' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("data", NOT_JSON, ids=range(len(NOT_JSON)))
def test_json_that_is_none_or_too_deep_is_malformed(data: bytes) -> None:
    for translator in (MessagesStreamToChat(model="m"), ChatStreamToMessages(model="m")):
        with pytest.raises(MalformedError):
            translator.feed(Event(data))


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("wrong", [nested(100_000), {"a": float("inf")}], ids=["deep", "endless"])
def test_deep_or_endless_values_are_refused(wrong: Any) -> None:
    use = {"type": "tool_use", "id": "t", "name": "n", "input": wrong}
    turns = [{"role": "assistant", "content": [use]}, {"role": "user", "content": "x"}]
    with pytest.raises(InputError):
        messages_to_chat({"model": "m", "max_tokens": 1, "messages": turns})
    with pytest.raises(MalformedError):
        messages_answer_to_chat({**MESSAGES_ANSWER, "content": [use]}, model="m")
