"""Attacks on the zero-retention route by what providers answer: broken streams, and quotes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from privity.errors import TruncatedError
from providers.standin import KEY
from zero_retention import (
    CANARY,
    CHAT,
    MESSAGES,
    MODELS,
    RESPONSES,
    Drip,
    Wire,
    chat,
    dripping,
    messages,
    responses,
    route,
    send,
    set_keys,
    whole,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(monkeypatch)


def told(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
STREAMS: dict[tuple[str, str], list[bytes]] = {
    ("openai", CHAT): [
        *(
            f"data: {json.dumps({**CHUNK, 'choices': [{'index': 0, **choice}]})}\n\n".encode()
            for choice in (
                {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
                {"delta": {"content": "ja [DONE]"}, "finish_reason": None},
                {"delta": {}, "finish_reason": "stop"},
            )
        ),
        b"data: [DONE]\n\n",
    ],
    ("openai", RESPONSES): [
        told("response.created", response={"status": "in_progress"}),
        told("response.output_text.delta", delta="response.completed", item_id="a"),
        told("response.completed", response={"status": "completed"}),
    ],
    ("anthropic", MESSAGES): [
        told("message_start", message={"id": "m", "usage": {"input_tokens": 1}}),
        told("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        told("content_block_delta", index=0, delta={"type": "text_delta", "text": "message_stop"}),
        told("content_block_stop", index=0),
        told("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1}),
        told("message_stop"),
    ],
}
STREAMS["openai", MESSAGES] = STREAMS["openai", CHAT]
STREAMS["anthropic", CHAT] = STREAMS["anthropic", MESSAGES]


def asking(provider: str, path: str, text: str = "x") -> dict[str, Any]:
    body = {CHAT: chat, MESSAGES: messages, RESPONSES: responses}[path](text, stream=True)
    return body | {"model": MODELS[provider]}


@pytest.mark.parametrize(("provider", "path"), STREAMS)
async def test_a_stream_that_breaks_off_is_an_error_wherever_it_does(
    provider: str, path: str
) -> None:
    events = STREAMS[provider, path]
    body = asking(provider, path)
    for cut in range(len(events)):
        content = b"".join(events[:cut])
        wire = Wire(whole(content, kind="text/event-stream"))
        response = await send(wire, path, body, route(provider))
        got = b""
        with pytest.raises(TruncatedError):
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                got += chunk
        for mark in (b"data: [DONE]", b"event: message_stop", b"event: response.completed"):
            assert mark not in got
    wire = Wire(whole(b"".join(events), kind="text/event-stream; charset=utf-8"))
    response = await send(wire, path, body, route(provider))
    await response.aread()


@pytest.mark.parametrize(("provider", "path"), STREAMS)
@pytest.mark.parametrize("error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout])
async def test_a_connection_that_breaks_is_an_error(
    provider: str, path: str, error: type[httpx.HTTPError]
) -> None:
    async def broken() -> None:
        raise error(f"{KEY} {CANARY}")

    drip = Drip(STREAMS[provider, path][:2], broken)
    wire = Wire(dripping(drip, "text/event-stream"))
    response = await send(wire, path, asking(provider, path), route(provider))
    with pytest.raises(TruncatedError) as caught:
        await response.aread()
    await response.aclose()
    assert drip.closed
    assert KEY not in caught.value.message and CANARY not in caught.value.message


QUOTES = [
    f"Invalid prompt: '{CANARY}'",
    CANARY,
    CANARY.upper(),
    f"messages[0].content: {CANARY} is not allowed",
    f"x{'y' * 5000}",
    f"line\nbreak {CANARY}",
    f"\x1b[2J{CANARY}",
    "\u202egnirts",
    None,
    {"text": CANARY},
    [CANARY],
    7,
]


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("place", ["message", "type", "code", "param", "error", "detail"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_an_error_never_quotes_the_prompt(provider: str, place: str, quote: Any) -> None:
    body: Any = {"error": {"type": "invalid_request_error", "message": "no", place: quote}}
    if place in ("error", "detail"):
        body = {place: quote, "message": quote}
    wire = Wire(whole(body, 400))
    path = CHAT if provider == "openai" else MESSAGES
    asked = asking(provider, path, f"my secret word is {CANARY}")
    response = await send(wire, path, asked, route(provider))
    content = (await response.aread()).decode()
    assert CANARY not in content.lower()
    assert len(content) < 600 and "\\n" not in content and "\\u001b" not in content
    assert response.status_code == 400
    assert "refused the request" in json.loads(content)["error"]["message"]


@pytest.mark.parametrize(("provider", "path"), STREAMS)
async def test_an_error_within_a_stream_quotes_nothing_and_ends_it(
    provider: str, path: str
) -> None:
    failed = told("error", error={"type": "overloaded_error", "message": CANARY}, message=CANARY)
    if path == RESPONSES:
        failed = told("error", code="x", message=CANARY, param=CANARY)
    events = [*STREAMS[provider, path][:2], failed, *STREAMS[provider, path][2:]]
    wire = Wire(whole(b"".join(events), kind="text/event-stream"))
    asked = asking(provider, path, f"it is {CANARY}")
    response = await send(wire, path, asked, route(provider))
    got = b""
    with pytest.raises(TruncatedError) as caught:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            got += chunk
    assert b"OpenAI failed" in got or b"Anthropic failed" in got
    assert CANARY.encode() not in got and CANARY not in caught.value.message


async def test_a_failed_response_quotes_nothing() -> None:
    error = {"code": "server_error", "message": f"could not say {CANARY}"}
    events = [
        STREAMS["openai", RESPONSES][0],
        told("response.failed", response={"status": "failed", "error": error}),
    ]
    wire = Wire(whole(b"".join(events), kind="text/event-stream"))
    response = await send(wire, RESPONSES, asking("openai", RESPONSES, CANARY))
    content = await response.aread()
    assert CANARY.encode() not in content and b"event: response.failed" in content


async def test_useful_words_of_an_error_pass() -> None:
    said = "This model's maximum context length is 128000 tokens"
    error = {"type": "invalid_request_error", "code": "context_length_exceeded", "message": said}
    wire = Wire(whole({"error": {**error, "param": "messages[3].content"}}, 400))
    response = await send(wire, CHAT, chat("zebra"))
    message = json.loads(await response.aread())["error"]["message"]
    assert said in message and "context_length_exceeded" in message
    assert "field messages[3].content" in message
