"""Translation between the providers' APIs: nothing is left out unseen, and no end is made up."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from privity.errors import InputError, MalformedError, PrivityError, TruncatedError
from privity.infer.shapes.answers import chat_answer_to_messages, messages_answer_to_chat
from privity.infer.shapes.events import EventReader
from privity.infer.shapes.requests import chat_to_messages, messages_to_chat
from privity.infer.shapes.streams import ChatStreamToMessages, MessagesStreamToChat
from sdk_types import chat_request, messages_request
from shapes_recorded import (
    CHAT_ANSWER,
    CHAT_CHUNKS,
    CHAT_STREAM,
    MESSAGES_ANSWER,
    MESSAGES_EVENTS,
    MESSAGES_STREAM,
    chunk,
    events_of,
    stream_of,
)

SCHEMA = {"type": "object", "properties": {}}
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}},
            ],
        },
        {
            "role": "assistant",
            "content": "a",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    "stream": True,
    "stream_options": {"include_usage": True},
}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "s"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                },
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                },
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c",
                    "content": [{"type": "text", "text": "r"}],
                }
            ],
        },
    ],
    "tools": [{"name": "f", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "f"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "thinking": {"type": "adaptive"},
    "metadata": {"user_id": "u"},
}
SHAPES = {"chat": (chat_to_messages, CHAT), "messages": (messages_to_chat, MESSAGES)}
OPAQUE = ("properties", "schema", "parameters", "input_schema", "input")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each object whose members mean something to the API."""
    if isinstance(value, dict):
        if path and path[-1] in OPAQUE:
            return
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


PLACES = [(shape, path) for shape, (_, body) in SHAPES.items() for path in places(body)]


@pytest.mark.parametrize(("shape", "path"), PLACES)
def test_no_member_of_a_request_is_left_out_unseen(shape: str, path: tuple[Any, ...]) -> None:
    translate, body = SHAPES[shape]
    translate(body)
    asked = copy.deepcopy(body)
    place = asked
    for key in path:
        place = place[key]
    place["thrift"] = False
    with pytest.raises(InputError, match="thrift"):
        translate(asked)


def members_of(reader: Any) -> set[str]:
    """Return each member that the SDK's own type of a request has."""
    schema = reader().json_schema()
    alternatives = [schema["$defs"][one["$ref"].split("/")[-1]] for one in schema["anyOf"]]
    return {name for one in alternatives for name in one["properties"]}


# What changes no answer. Everything else is asked of the provider, or refused.
HINTS_OF_CHAT = {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
HINTS_OF_MESSAGES = {"cache_control"}
BARE_CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
BARE_MESSAGES = {**BARE_CHAT, "max_tokens": 5}
WITH_TOOLS = {"tools": CHAT["tools"]}
ASKED: dict[str, Any] = {
    "parallel_tool_calls": (False, {**BARE_CHAT, **WITH_TOOLS}),
    "tool_choice": ("required", {**BARE_CHAT, **WITH_TOOLS}),
}


@pytest.mark.parametrize("name", sorted(members_of(chat_request)))
def test_each_member_the_chat_api_has_is_asked_or_refused(name: str) -> None:
    value, bare = ASKED.get(name, ("thrift", BARE_CHAT))
    plain = chat_to_messages(bare)
    if name in HINTS_OF_CHAT:
        assert chat_to_messages({**bare, name: {"mode": "explicit"}}) == plain
        return
    try:
        made = chat_to_messages({**bare, name: value})
    except InputError as error:
        assert name in error.message or "stream" in error.message
    else:
        assert made != plain


@pytest.mark.parametrize("name", sorted(members_of(messages_request)))
def test_each_member_the_messages_api_has_is_asked_or_refused(name: str) -> None:
    plain = messages_to_chat(BARE_MESSAGES)
    if name in HINTS_OF_MESSAGES:
        assert messages_to_chat({**BARE_MESSAGES, name: {"type": "ephemeral"}}) == plain
        return
    try:
        made = messages_to_chat({**BARE_MESSAGES, name: "thrift"})
    except InputError as error:
        assert name in error.message
    else:
        assert made != plain


REFUSED_CHATS: list[tuple[str, dict[str, Any]]] = [
    *((name, {name: value}) for name, value in [("n", 2), ("logprobs", True), ("seed", 1)]),
    *((name, {name: value}) for name, value in [("top_logprobs", 1), ("logit_bias", {"1": 5})]),
    *((name, {name: 0.5}) for name in ("presence_penalty", "frequency_penalty", "temperature")),
    ("store", {"store": True}),
    ("n", {"n": True}),  # which is not 1
    ("metadata", {"metadata": {"a": "b"}}),
    ("reasoning_effort", {"reasoning_effort": "minimal"}),
    ("service_tier", {"service_tier": "priority"}),
    ("prediction", {"prediction": {"type": "content", "content": "x"}}),
    ("web_search_options", {"web_search_options": {}}),
    ("modalities", {"modalities": ["text", "audio"]}),
    ("audio", {"audio": {"format": "wav", "voice": "ash"}}),
    ("functions", {"functions": [{"name": "f"}]}),
    ("response_format.type", {"response_format": {"type": "json_object"}}),
    ("tools\\[0\\].type", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}),
    ("tool_choice", {"tool_choice": "required"}),
    ("tool_choice.type", {"tools": CHAT["tools"], "tool_choice": {"type": "allowed_tools"}}),
    ("stop", {"stop": [" "]}),
    ("max_tokens", {"max_tokens": 1, "max_completion_tokens": 2}),
    ("include_obfuscation", {"stream": True, "stream_options": {"include_obfuscation": True}}),
    ("user", {"user": "a", "safety_identifier": "b"}),
]


@pytest.mark.parametrize(("name", "more"), REFUSED_CHATS)
def test_what_messages_have_no_way_to_ask_is_refused_by_name(
    name: str, more: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=name):
        chat_to_messages({**BARE_CHAT, **more})


REFUSED_MESSAGES: list[tuple[str, dict[str, Any]]] = [
    ("top_k", {"top_k": 5}),
    ("container", {"container": "c"}),
    ("context_management", {"context_management": {"edits": []}}),
    ("mcp_servers", {"mcp_servers": []}),
    ("inference_geo", {"inference_geo": "eu"}),
    ("speed", {"speed": "fast"}),
    ("max_tokens", {"max_tokens": 0}),
    ("tools\\[0\\].type", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("input_examples", {"tools": [{**MESSAGES["tools"][0], "input_examples": [{}]}]}),
    ("thinking.type", {"thinking": {"type": "between_tools"}}),
    ("output_config", {"output_config": {"task_budget": {}}}),
]


@pytest.mark.parametrize(("name", "more"), REFUSED_MESSAGES)
def test_what_a_chat_has_no_way_to_ask_is_refused_by_name(name: str, more: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=name):
        messages_to_chat({**BARE_MESSAGES, **more})


HTTP = "https://a.test/x.png"
OUTSIDE = [
    ("chat", {"type": "image_url", "image_url": {"url": HTTP}}),
    ("chat", {"type": "image_url", "image_url": {"url": "HTTPS://a.test/data:image/png;base64,"}}),
    ("chat", {"type": "file", "file": {"file_data": HTTP}}),
    ("chat", {"type": "file", "file": {"file_id": "file-1"}}),
    ("messages", {"type": "image", "source": {"type": "url", "url": HTTP}}),
    ("messages", {"type": "image", "source": {"type": "file", "file_id": "f"}}),
    ("messages", {"type": "document", "source": {"type": "url", "url": HTTP}}),
    ("messages", {"type": "document", "source": {"type": "file", "file_id": "f"}}),
]


@pytest.mark.parametrize(("shape", "part"), OUTSIDE)
def test_what_lies_elsewhere_is_not_asked_for(shape: str, part: dict[str, Any]) -> None:
    bare = {**BARE_MESSAGES, "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(InputError):
        SHAPES[shape][0](bare if shape == "messages" else {**bare, "max_tokens": None})


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_is_not_begun_in_the_assistants_name(shape: str) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    with pytest.raises(InputError, match="last of messages is the assistant's"):
        SHAPES[shape][0]({**BARE_MESSAGES, "messages": turns})


SECRET = "canary-7f3a with spaces, and\nlines"


def with_secret(body: Any) -> Iterator[Any]:
    """Yield the body with the secret in place of each value, and as each name."""
    if isinstance(body, dict):
        yield {**body, SECRET: 1}
        for key in body:
            for inner in with_secret(body[key]):
                yield {**body, key: inner}
    elif isinstance(body, list):
        for at, one in enumerate(body):
            for inner in with_secret(one):
                yield [*body[:at], inner, *body[at + 1 :]]
    yield SECRET
    yield [SECRET]
    yield {SECRET: SECRET}


def error_of(call: Any) -> str:
    try:
        call()
    except PrivityError as error:
        return f"{error!r} {error} {error.hint} {error.__cause__!r}"
    return ""


def test_no_error_repeats_a_request_or_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for translate, body in SHAPES.values():
        said += [error_of(lambda t=translate, b=b: t(b)) for b in with_secret(body)]
    for body in with_secret(MESSAGES_ANSWER):
        said.append(error_of(lambda b=body: messages_answer_to_chat(b, model="m")))
    for body in with_secret(CHAT_ANSWER):
        said.append(error_of(lambda b=body: chat_answer_to_messages(b, model="m")))
    for events, kind in (
        (MESSAGES_EVENTS, MessagesStreamToChat),
        (CHAT_CHUNKS, ChatStreamToMessages),
    ):
        for one in with_secret(events):
            if isinstance(one, list) and all(isinstance(event, dict) for event in one):
                body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in one)
                said.append(error_of(lambda b=body, k=kind: run(k(model="m"), b)))
    assert len([error for error in said if error]) > 200
    assert not [error for error in said if "canary" in error]
    assert "canary" not in caplog.text


def run(translator: Any, body: bytes) -> bytes:
    return b"".join(translator.feed(event) for event in events_of(body)) + translator.end()


STREAMS = {
    "messages": (MessagesStreamToChat, MESSAGES_STREAM, b"data: [DONE]"),
    "chat": (ChatStreamToMessages, CHAT_STREAM, b"message_stop"),
}


@pytest.mark.parametrize("shape", STREAMS)
def test_an_answer_cut_off_anywhere_gets_no_end_mark(shape: str) -> None:
    kind, body, mark = STREAMS[shape]
    assert mark in run(kind(model="m"), body)
    # All of the stream is there once its last event has ended, an empty line after its end mark.
    for cut in range(len(body)):
        reader, translator = EventReader(), kind(model="m")
        said = b"".join(translator.feed(event) for event in reader.feed(body[:cut]))
        if cut < len(body) - 1:
            assert mark not in said
        with pytest.raises(TruncatedError):
            translator.end()


@pytest.mark.parametrize("shape", STREAMS)
def test_nothing_follows_the_end_mark(shape: str) -> None:
    kind, body, _ = STREAMS[shape]
    translator = kind(model="m")
    run(translator, body)
    with pytest.raises(MalformedError, match="after its end"):
        run(translator, body)


def test_an_end_without_a_reason_is_no_end() -> None:
    with pytest.raises(MalformedError, match="without saying why"):
        run(ChatStreamToMessages(model="m"), b"data: [DONE]\n\n")
    body = stream_of([chunk({"content": "a"})], named=False)
    with pytest.raises(MalformedError, match="without saying why"):
        run(ChatStreamToMessages(model="m"), body)
    events = [e for e in MESSAGES_EVENTS if e["type"] != "message_delta"]
    with pytest.raises(MalformedError, match="without saying why"):
        run(MessagesStreamToChat(model="m"), stream_of(events, named=True))


def test_a_block_that_never_ended_does_not_end_with_the_answer() -> None:
    at = next(i for i, e in enumerate(MESSAGES_EVENTS) if e["type"] == "content_block_stop")
    events = MESSAGES_EVENTS[:at] + MESSAGES_EVENTS[at + 1 :]
    with pytest.raises(MalformedError, match="with a block open"):
        run(MessagesStreamToChat(model="m"), stream_of(events, named=True))


@pytest.mark.parametrize("kind", ["server_tool_use", "web_search_tool_result", "later", None])
def test_a_block_nobody_asked_for_is_not_passed_over(kind: str | None) -> None:
    block = {"type": kind, "id": "x", "name": "y", "input": {}}
    with pytest.raises(MalformedError, match="not known"):
        messages_answer_to_chat({**MESSAGES_ANSWER, "content": [block]}, model="m")
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    with pytest.raises(MalformedError, match="not known"):
        run(MessagesStreamToChat(model="m"), stream_of([MESSAGES_EVENTS[0], start], named=True))


def test_a_second_answer_is_not_passed_over() -> None:
    choices = CHAT_ANSWER["choices"] * 2
    with pytest.raises(MalformedError):
        chat_answer_to_messages({**CHAT_ANSWER, "choices": choices}, model="m")
    second = chunk({"content": "x"})
    second["choices"][0]["index"] = 1
    with pytest.raises(MalformedError):
        run(ChatStreamToMessages(model="m"), stream_of([second], named=False))


def test_an_answer_of_endless_parts_is_refused() -> None:
    chunks = [chunk({"content": "a", "reasoning_content": "b"})] * 3000
    with pytest.raises(MalformedError, match="more than 4096 parts"):
        run(ChatStreamToMessages(model="m"), stream_of(chunks, named=False))
    start = {"type": "content_block_start", "index": 0}
    start["content_block"] = {"type": "tool_use", "id": "x", "name": "y", "input": {}}
    stop = {"type": "content_block_stop", "index": 0}
    with pytest.raises(MalformedError):
        run(
            MessagesStreamToChat(model="m"),
            stream_of([MESSAGES_EVENTS[0], *[start, stop] * 5000], named=True),
        )
