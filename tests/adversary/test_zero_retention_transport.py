"""Attacks on the zero-retention route by providers: redirects, other kinds, no end, and secrets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from privity.errors import InputError, OversizeError, PeerError
from privity.infer.providers import answer as answer_module
from providers.standin import KEY
from zero_retention import (
    CANARY,
    CHAT,
    COMPLETION,
    Drip,
    Wire,
    chat,
    dripping,
    route,
    send,
    set_keys,
    whole,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(monkeypatch)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
async def test_no_redirect_is_followed(status: int) -> None:
    wire = Wire(whole(b"", status, location="https://evil.example/"))
    with pytest.raises(PeerError, match="redirect"):
        await send(wire, CHAT, chat())
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("reply", "streamed"),
    [
        (whole(COMPLETION, kind="text/html"), False),
        (whole(COMPLETION, kind=""), False),
        (whole(COMPLETION, kind="text/event-stream"), False),
        (whole(COMPLETION), True),
        (whole(b"{", kind="application/json"), False),
        (whole(b"[]"), False),
        (whole(b'"' + CANARY.encode() + b'"'), False),
        (whole(b"[" * 100_000), False),
        (whole(b"\xff"), False),
        (whole(COMPLETION, **{"content-encoding": "gzip"}), False),
        (whole(b"", 204), False),
        (whole(COMPLETION, 202), False),
        (whole(COMPLETION, 999), False),
    ],
)
async def test_an_answer_of_another_kind_is_an_error(reply: Any, streamed: bool) -> None:
    with pytest.raises(PeerError) as caught:
        await send(Wire(reply), CHAT, chat(stream=streamed))
    assert CANARY not in caught.value.message


async def at_once() -> None:
    await asyncio.sleep(0)


async def never() -> None:
    await asyncio.sleep(3600)


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "MAX_WHOLE", 4 << 20)
    monkeypatch.setattr(answer_module, "MAX_STREAM", 4 << 20)
    drip = Drip([b"{"], at_once)
    with pytest.raises(OversizeError):
        await send(Wire(dripping(drip, "application/json")), CHAT, chat())
    assert drip.closed and drip.given < 8 << 20
    # Comments without end, each line short enough.
    events = Drip([b": x\n\n" * 100_000] * 12, None)
    with pytest.raises(OversizeError):
        response = await send(Wire(dripping(events, "text/event-stream")), CHAT, chat(stream=True))
        await response.aread()
    # One event without end.
    events = Drip([b"data: "], at_once)
    with pytest.raises(OversizeError):
        response = await send(Wire(dripping(events, "text/event-stream")), CHAT, chat(stream=True))
        await response.aread()


async def test_an_answer_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "_WHOLE_S", 0.05)
    monkeypatch.setattr(answer_module, "_FAILURE_S", 0.05)
    drip = Drip([b"{"], never)
    with pytest.raises(PeerError, match="did not send its answer within"):
        await send(Wire(dripping(drip, "application/json")), CHAT, chat())
    assert drip.closed
    drip = Drip([b'{"error": '], never)
    response = await send(Wire(dripping(drip, "application/json", 500)), CHAT, chat())
    assert response.status_code == 500 and drip.closed
    assert "OpenAI failed" in json.loads(await response.aread())["error"]["message"]


async def test_a_stream_that_goes_on_after_its_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_module, "_REST_S", 0.05)
    events = [b'data: {"choices": []}\n\ndata: [DONE]\n\ndata: {"late": 1}\n\n']
    for then in (never, at_once):
        drip = Drip(events, then)
        response = await send(Wire(dripping(drip, "text/event-stream")), CHAT, chat(stream=True))
        assert (await response.aread()).endswith(b"data: [DONE]\n\n")
        await response.aclose()
        assert drip.closed


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve raw bytes on a free port of loopback, one connection at a time."""
    problems: list[BaseException] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                await serve(reader, writer)
        except BaseException as error:
            problems.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("where", ["head", "line"])
async def test_a_head_of_a_hundred_megabytes_is_not_read(where: str) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 " if where == "line" else b"HTTP/1.1 200 OK\r\nx-a: ")
        for _ in range(100):
            writer.write(b"a" * (1 << 20))
            await writer.drain()
            sent += 1 << 20

    async with listening(flood) as url, httpx.AsyncHTTPTransport() as inner:
        transport = route(url=url).transport(None, inner)  # type: ignore[arg-type]
        asked = httpx.Request("POST", f"http://x{CHAT}", content=json.dumps(chat()))
        with pytest.raises(PeerError, match="could not be reached"):
            await transport.handle_async_request(asked)
    assert sent < 50 << 20


async def test_a_key_that_is_missing_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load() -> Any:
        raise AssertionError("what recognises personal data was loaded")

    monkeypatch.delenv("OPENAI_API_KEY")
    to = replace(route(), _pseudonyms=load)
    with pytest.raises(InputError, match="no API key"):
        await send(Wire(), CHAT, chat(), to)


async def test_no_secret_is_ever_shown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def refused(request: httpx.Request) -> httpx.Response:
        text = f"Incorrect API key provided: {request.headers['authorization']}"
        return whole({"error": {"message": text, "type": "x", "code": KEY}}, 401)(request)  # type: ignore[no-any-return]

    to = route()
    shown += [repr(to), str(to), repr(to._credentials), repr(to._desk)]
    for status in (400, 401, 403, 500):
        wire = Wire(
            lambda request, status=status: httpx.Response(  # type: ignore[misc]
                status, stream=refused(request).stream
            )
        )
        response = await send(wire, CHAT, chat(), to)
        shown.append((await response.aread()).decode())

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route for {request.headers['authorization']}")

    with pytest.raises(PeerError) as caught:
        await send(Wire(broken), CHAT, chat(), to)
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), str(error), getattr(error, "hint", "")]
        error = error.__cause__
    for bad in ("", " ", f"{KEY}\r\nx-a: b", f"{KEY} {KEY}", "\u00e9" + KEY):
        monkeypatch.setenv("OPENAI_API_KEY", bad)
        with pytest.raises(InputError) as wrong:
            await send(Wire(), CHAT, chat(), to)
        shown += [repr(wrong.value), wrong.value.message, wrong.value.hint]
        assert "OPENAI_API_KEY" in wrong.value.message + wrong.value.hint
    assert "the key in OPENAI_API_KEY (401)" in " ".join(shown)
    for text in [*shown, caplog.text]:
        assert KEY not in text
