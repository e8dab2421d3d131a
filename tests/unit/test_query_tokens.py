"""The tokens of an exchange inside the seal, path by path."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from privity.anon.vocabulary import DESK_TOKENS, DESK_VOCABULARY
from privity.errors import InputError, MalformedError
from privity.infer.engines.query_tokens import (
    JOBS,
    MOST_BESIDE,
    DeskTokens,
    tokens_of_exchange,
)
from privity.infer.engines.tokens import RequestTokens
from tiny_tokens import tiny_tokens

pytestmark = pytest.mark.skipif(
    find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
)
CHAT = JOBS[0]


@pytest.fixture(scope="module")
def tokens() -> RequestTokens:
    return tiny_tokens()


def body(**members: Any) -> bytes:
    return json.dumps({"model": "m", **members}).encode()


def test_a_job_has_the_tokens_of_what_its_model_reads(tokens: RequestTokens) -> None:
    asked = body(messages=[{"role": "user", "content": "hi"}], seed=1)
    text = b'{"messages":[{"content":"hi","role":"user"}]}'
    assert len(tokens_of_exchange(tokens, "POST", CHAT, asked)) == len(text)


def test_requests_that_differ_in_what_is_read_have_different_tokens(tokens: RequestTokens) -> None:
    found = {
        tokens_of_exchange(tokens, "POST", path, body(**members))
        for path in JOBS
        for members in ({"prompt": "a"}, {"prompt": "b"}, {"input": "a"}, {"tools": ["a"]}, {})
    }
    assert len(found) == 5


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("GET", "/privity/payment", b""),
        ("GET", "/v1/models", b""),
        ("POST", "/privity/credits/issue", b'{"deposit": 1, "request": "messages"}'),
        ("POST", "/privity/credits/recover", b"not JSON"),
    ],
)
def test_what_no_model_reads_has_the_tokens_of_nothing(
    tokens: RequestTokens, method: str, path: str, data: bytes
) -> None:
    assert tokens_of_exchange(tokens, method, path, data) == tokens.of_text("{}")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/rerank", "/v1/chat/completions/", "/v1/x"])
def test_a_path_whose_members_are_not_all_proved_is_refused(
    tokens: RequestTokens, path: str
) -> None:
    with pytest.raises(InputError):
        tokens_of_exchange(tokens, "POST", path, body(system="long", messages=[]))


def test_what_no_proof_is_of_is_short(tokens: RequestTokens) -> None:
    tokens_of_exchange(tokens, "POST", CHAT, body(suffix="a" * (MOST_BESIDE - 100)))
    with pytest.raises(MalformedError):
        tokens_of_exchange(tokens, "POST", CHAT, body(suffix="a" * MOST_BESIDE))


@pytest.mark.parametrize("data", [b"", b"[]", b'"a"', b"{", b'{"prompt":NaN}', b"[" * 100_000])
def test_what_is_no_object_is_refused(tokens: RequestTokens, data: bytes) -> None:
    with pytest.raises(MalformedError):
        tokens_of_exchange(tokens, "POST", CHAT, data)


def test_what_no_model_reads_has_its_tokens_in_bytes_too() -> None:
    desk = DeskTokens()
    assert bytes(tokens_of_exchange(desk, "GET", "/privity/payment", b"anything")) == b"{}"
    assert max(DESK_TOKENS) < DESK_VOCABULARY.size == 256
    with pytest.raises(InputError):
        tokens_of_exchange(desk, "POST", CHAT, body(prompt="hi"))
