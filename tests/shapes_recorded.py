"""Answers as the providers' APIs document them, for tests; written after their documentation.

None was recorded from a provider: no key is at hand, and nothing here reaches the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from privity.infer.shapes.events import Event, EventReader, encode_event


def stream_of(events: Iterable[dict[str, Any]], *, named: bool) -> bytes:
    """Return events as a provider sends them; messages name each, chats end in a mark."""
    body = b"".join(
        encode_event(json.dumps(e).encode(), e["type"].encode() if named else b"") for e in events
    )
    return body if named else body + b"data: [DONE]\n\n"


def events_of(body: bytes) -> list[Event]:
    return EventReader().feed(body)


MESSAGES_USAGE = {
    "input_tokens": 20,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 7,
    "output_tokens": 25,
    "output_tokens_details": {"thinking_tokens": 5},
    "service_tier": "standard",
}
MESSAGES_ANSWER: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-at-home",
    "content": [
        {"type": "thinking", "thinking": "Where? Paris.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "I look it up — gleich."},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "weather",
            "input": {"city": 'Pa"ris', "n": 1},
        },
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": MESSAGES_USAGE,
}


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _json(*parts: str) -> list[dict[str, Any]]:
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


MESSAGES_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            **MESSAGES_ANSWER,
            "content": [],
            "stop_reason": None,
            "usage": {**MESSAGES_USAGE, "output_tokens": 1, "output_tokens_details": None},
        },
    },
    {"type": "ping"},
    *_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Where? "},
        {"type": "thinking_delta", "thinking": "Paris."},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *_block(1, {"type": "redacted_thinking", "data": "b3BhcXVl"}),
    *_block(
        2,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "I look it up"},
        {"type": "text_delta", "text": " — gleich."},
    ),
    *_block(
        3,
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        *_json("", '{"city": "Pa\\', '"ris", "n"', ": 1}"),
    ),
    *_block(4, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}, *_json("")),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 25, "output_tokens_details": {"thinking_tokens": 5}},
    },
    {"type": "message_stop"},
]
MESSAGES_STREAM = stream_of(MESSAGES_EVENTS, named=True)

CHAT_USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 25,
    "total_tokens": 55,
    "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}
_CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
    {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
]
_ARGUMENTS = ('{"city": "Pa\\"ris", "n": 1}', "{}")
CHAT_ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "gpt-at-home",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "I look it up — gleich.",
                "refusal": None,
                "annotations": [],
                "tool_calls": [
                    {**call, "function": {**call["function"], "arguments": arguments}}
                    for call, arguments in zip(_CALLS, _ARGUMENTS, strict=True)
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": CHAT_USAGE,
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_760_000_000}
    return {**head, "model": "gpt-at-home", "choices": choices, "usage": None, **more}


def call_piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
    name = head.pop("name", None)
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"tool_calls": [{"index": index, **head, "function": function}]}


CHAT_CHUNKS: list[dict[str, Any]] = [
    # Azure's first word: what its filter said of the prompt.
    {**chunk(None), "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]},
    chunk({"role": "assistant", "content": "", "refusal": None}, obfuscation="x"),
    chunk({"content": "I look it up"}),
    chunk({"content": " — gleich."}),
    chunk(call_piece(0, "", id="call_1", type="function", name="weather")),
    chunk(call_piece(0, '{"city": "Pa\\')),
    chunk(call_piece(1, "", id="call_2", type="function", name="now")),
    chunk(call_piece(0, '"ris", "n"')),  # calls may alternate
    chunk(call_piece(1, "{}")),
    chunk(call_piece(0, ": 1}")),
    chunk({}, "tool_calls"),
    chunk(None, usage=CHAT_USAGE),
]
CHAT_STREAM = stream_of(CHAT_CHUNKS, named=False)
