"""Token counts are read from answers as engines send them."""

from __future__ import annotations

import json

import pytest

from privity.infer.engines.usage import UsageReader

CHAT = (
    b'{"choices":[{"message":{"content":"hi"}}],"usage":{"completion_tokens":8,"prompt_tokens":39,'
    b'"total_tokens":47,"prompt_tokens_details":{"cached_tokens":0}},"id":"x"}'
)
STREAM = (
    b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
    b'data: {"choices":[{"finish_reason":"stop","delta":{}}],"timings":{"cache_n":2,"prompt_n":30,'
    b'"prompt_ms":1.5,"predicted_n":7,"predicted_ms":2.0}}\n\ndata: [DONE]\n\n'
)
RESPONSES = b'{"output":[],"usage":{"input_tokens":31,"output_tokens":5,"total_tokens":36}}'
EMBEDDINGS = b'{"usage":{"prompt_tokens":4,"total_tokens":4},"data":[' + b"0.125," * 5000 + b"0]}"


def read(body: bytes, size: int) -> tuple[int | None, int | None]:
    reader = UsageReader()
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    reader.done()
    return reader.prompt_tokens, reader.completion_tokens


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize(
    ("body", "counts"),
    [
        (CHAT, (39, 8)),
        (STREAM, (32, 7)),
        (RESPONSES, (31, 5)),
        (EMBEDDINGS, (4, None)),
        (b"x" * 9000 + CHAT, (39, 8)),
        (b"", (None, None)),
        (b'{"error":{"message":"no"}}', (None, None)),
        (b'{"usage":{"prompt_tokens":-1,"completion_tokens":true}}', (None, None)),
        (b'{"usage":{"prompt_tokens":1e3,"completion_tokens":"9"}}', (None, None)),
        (b'{"usage":{broken}}', (None, None)),
    ],
)
def test_counts(body: bytes, counts: tuple[int | None, int | None], size: int) -> None:
    assert read(body, size) == counts


def test_what_the_model_writes_is_not_taken_for_a_count() -> None:
    lie = '"usage":{"prompt_tokens":1,"completion_tokens":1}'
    body = json.dumps({"choices": [{"message": {"content": lie}}]}).encode()
    assert read(body, 10) == (None, None)
    # A backslash before the lie escapes the backslash, and not the quotation mark's escape.
    tricky = json.dumps({"content": "\\" + lie}).encode()
    assert read(tricky, 10) == (None, None)


def test_memory_is_bounded() -> None:
    reader = UsageReader()
    for _ in range(1000):
        reader.feed(b"x" * 10_000)
    held = sum(len(value) for value in vars(reader).values() if isinstance(value, bytes))
    assert held <= 8192
    reader.done()
    assert b"x" not in b"".join(v for v in vars(reader).values() if isinstance(v, bytes))
