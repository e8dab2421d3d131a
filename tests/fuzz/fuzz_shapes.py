"""Answers of providers, whole and streamed, and requests of clients, each as the other shape."""

from __future__ import annotations

import json

from fuzz.harness import Made, attempt, join, split
from privity.errors import MalformedError, OversizeError
from privity.infer.shapes.answers import chat_answer_to_messages, messages_answer_to_chat
from privity.infer.shapes.events import EventReader
from privity.infer.shapes.members import read_json
from privity.infer.shapes.requests import chat_to_messages, messages_to_chat
from privity.infer.shapes.streams import ChatStreamToMessages, MessagesStreamToChat
from shapes_recorded import (
    CHAT_ANSWER,
    CHAT_STREAM,
    MESSAGES_ANSWER,
    MESSAGES_STREAM,
    events_of,
    stream_of,
)

MARKS = {MessagesStreamToChat: b"data: [DONE]", ChatStreamToMessages: b"event: message_stop"}
QUESTION = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
ROUND = {
    **QUESTION,
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "stop": ["x"],
    "reasoning_effort": "low",
}


def one(data: bytes) -> None:
    """Give a stream in pieces to both readers; give its pieces to what reads whole bodies."""
    pieces = split(data, 16)
    for kind in (MessagesStreamToChat, ChatStreamToMessages):
        follow(kind, pieces)
    for piece in pieces:
        value = attempt(read_json, piece)
        attempt(messages_answer_to_chat, value, model="m")
        attempt(chat_answer_to_messages, value, model="m")
        attempt(chat_to_messages, value)
        attempt(messages_to_chat, value)


def follow(
    kind: type[MessagesStreamToChat] | type[ChatStreamToMessages], pieces: list[bytes]
) -> None:
    """Hold that an answer has its end mark once, where it ended, and is events throughout."""
    reader, translator, said = EventReader(), kind(model="m"), b""
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                said += translator.feed(event)
    except (MalformedError, OversizeError):
        return
    ended = attempt(translator.end) is not None
    marks = sum(line == MARKS[kind] for line in said.split(b"\n"))
    assert marks == (1 if ended and not translator.failed else 0)
    assert said == b"" or said.endswith(b"\n\n")
    assert len(events_of(said)) == said.count(b"\n\n")


def seeds() -> Made:
    half = len(MESSAGES_STREAM) // 2
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    return Made(
        [
            join(MESSAGES_STREAM[:half], MESSAGES_STREAM[half:]),
            join(CHAT_STREAM),
            join(stream_of([error], named=True)),
            join(json.dumps(MESSAGES_ANSWER).encode(), json.dumps(CHAT_ANSWER).encode()),
            join(json.dumps(QUESTION).encode(), json.dumps(ROUND).encode()),
        ]
    )
