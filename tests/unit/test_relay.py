"""How the relay carries: both ways at once, bounded, and honest about what broke."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from privity.node.relay import RelayLimits, relay_app
from privity.seal import problem

SEALED = {"content-type": "message/ohttp-chunked-req"}
PIECE = bytes(64 * 1024)
TOTAL = 96 << 20
IN_FLIGHT = 48 << 20  # what two hops' socket buffers hold on loopback, generously

pytestmark = pytest.mark.anyio


def respond(status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": []}


def part(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def settled(value: Callable[[], int]) -> int:
    """Wait until a growing number stops growing."""
    last = -1
    while value() != last:
        last = value()
        await asyncio.sleep(0.3)
    return last


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def test_upload_waits_for_a_slow_gateway(serve: Callable[[Any], str]) -> None:
    go = threading.Event()
    received = 0

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        while not go.is_set():
            await asyncio.sleep(0.01)
        more = True
        while more:
            message = await receive()
            received += len(message["body"])
            more = message["more_body"]
        await send(respond())
        await send(part(b"done", more=False))

    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < TOTAL:
            sent += len(PIECE)
            yield PIECE

    relay = serve(relay_app({"one": serve(gateway)}))
    async with httpx.AsyncClient(timeout=30) as client:
        posting = asyncio.create_task(client.post(f"{relay}/one", content=body(), headers=SEALED))
        try:
            assert await settled(lambda: sent) < IN_FLIGHT
        finally:
            go.set()
        assert (await posting).content == b"done"
    assert received == sent == TOTAL


async def test_download_waits_for_a_slow_client(serve: Callable[[Any], str]) -> None:
    sent = 0

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(respond())
        while sent < TOTAL:
            await send(part(PIECE))
            sent += len(PIECE)
        await send(part(b"", more=False))

    relay = serve(relay_app({"one": serve(gateway)}))
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{relay}/one", content=b"x", headers=SEALED) as answer,
    ):
        pieces = answer.aiter_raw()
        received = len(await anext(pieces))
        assert await settled(lambda: sent) < IN_FLIGHT
        async for piece in pieces:
            received += len(piece)
    assert received == sent == TOTAL


async def test_pieces_pass_as_they_come(serve: Callable[[Any], str]) -> None:
    go = threading.Event()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        await send(respond())
        await send(part(b"first"))
        while not go.is_set():
            await asyncio.sleep(0.005)
        await send(part(b"second", more=False))

    relay = serve(relay_app({"one": serve(gateway)}))
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{relay}/one", content=b"x", headers=SEALED) as answer,
    ):
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"first"
        go.set()
        assert await anext(pieces) == b"second"


async def test_client_that_leaves_ends_the_upstream_request(serve: Callable[[Any], str]) -> None:
    left = threading.Event()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send(respond())
        await send(part(b"first"))
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    relay = serve(relay_app({"one": serve(gateway)}))
    async with httpx.AsyncClient() as client:
        async with client.stream("POST", f"{relay}/one", content=b"x", headers=SEALED) as answer:
            assert await anext(answer.aiter_raw()) == b"first"
            assert not left.is_set()
        await eventually(left.is_set)


async def test_client_that_leaves_before_the_answer_ends_the_upstream_request(
    serve: Callable[[Any], str],
) -> None:
    waiting, left = threading.Event(), threading.Event()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        waiting.set()
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    relay = serve(relay_app({"one": serve(gateway)}))
    async with httpx.AsyncClient() as client:
        posting = asyncio.create_task(client.post(f"{relay}/one", content=b"x", headers=SEALED))
        await eventually(waiting.is_set)
        posting.cancel()
        await eventually(left.is_set)


async def test_client_that_leaves_during_its_upload_ends_the_upstream_request(
    serve: Callable[[Any], str],
) -> None:
    begun, left = threading.Event(), threading.Event()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        begun.set()
        while message["type"] == "http.request":
            message = await receive()
        left.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        await asyncio.sleep(60)

    relay = serve(relay_app({"one": serve(gateway)}))
    async with httpx.AsyncClient() as client:
        posting = asyncio.create_task(client.post(f"{relay}/one", content=body(), headers=SEALED))
        await eventually(begun.is_set)
        posting.cancel()
        await eventually(left.is_set)


async def test_gateway_that_breaks_off_is_no_clean_end(serve: Callable[[Any], str]) -> None:
    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        await send(respond())
        await send(part(b"first"))  # and then returns without an end

    relay = serve(relay_app({"one": serve(gateway)}))
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{relay}/one", content=b"x", headers=SEALED)


async def test_what_breaks_after_the_start_is_not_answered_a_second_time() -> None:
    """The only honest thing left is to return without an end, upon which servers hang up."""

    class Breaking(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"first"
            raise httpx.ReadError("broken")

    class Upstream(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            assert [piece async for piece in request.stream] == [b"x"]
            return httpx.Response(200, stream=Breaking())

    sent: list[Any] = []
    arriving = [{"type": "http.request", "body": b"x", "more_body": False}]

    async def receive() -> Any:
        if not arriving:
            await asyncio.sleep(60)
        return arriving.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    relay = relay_app({"one": "http://127.0.0.1:9"}, transport=Upstream())
    scope = {"type": "http", "method": "POST", "path": "/one", "query_string": b""}
    fields = [(b"content-type", b"message/ohttp-chunked-req")]
    await relay({**scope, "headers": fields}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]


async def test_gateway_that_is_away_is_said_so(serve: Callable[[Any], str]) -> None:
    relay = serve(relay_app({"one": "http://127.0.0.1:9"}))
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{relay}/one", content=b"x", headers=SEALED)
    assert (answer.status_code, answer.content) == (502, problem.UNREACHABLE.body)


@pytest.mark.parametrize("chunked", [True, False])
async def test_oversize_requests_are_refused(serve: Callable[[Any], str], chunked: bool) -> None:
    received = 0

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        message = await receive()
        while message["type"] == "http.request":
            received += len(message["body"])
            message = await receive()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(1000)

    relay = serve(relay_app({"one": serve(gateway)}, RelayLimits(request_bytes=5000)))
    content: Any = body() if chunked else bytes(100_000)
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{relay}/one", content=content, headers=SEALED)
    assert (answer.status_code, answer.content) == (413, problem.OVERSIZE.body)
    assert received <= 5000


async def test_exchanges_at_one_time_are_limited(serve: Callable[[Any], str]) -> None:
    go, waiting = threading.Event(), threading.Event()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        waiting.set()
        while not go.is_set():
            await asyncio.sleep(0.005)
        await send(respond())
        await send(part(b"late", more=False))

    relay = serve(relay_app({"one": serve(gateway)}, RelayLimits(concurrency=1)))
    async with httpx.AsyncClient() as client:
        first = asyncio.create_task(client.post(f"{relay}/one", content=b"x", headers=SEALED))
        await eventually(waiting.is_set)
        second = await client.post(f"{relay}/one", content=b"x", headers=SEALED)
        go.set()
        assert (second.status_code, second.content) == (503, problem.BUSY.body)
        assert (await first).content == b"late"
        third = second
        deadline = time.monotonic() + 60
        while third.status_code == 503 and time.monotonic() < deadline:
            third = await client.post(f"{relay}/one", content=b"x", headers=SEALED)
        assert third.content == b"late"  # the place is free again, once the first has ended


async def test_a_silent_gateway_is_not_waited_for(serve: Callable[[Any], str]) -> None:
    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass

    relay = serve(relay_app({"one": serve(gateway)}, RelayLimits(idle_s=0.2)))
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{relay}/one", content=b"x", headers=SEALED)
    assert (answer.status_code, answer.content) == (504, problem.SLOW.body)


async def test_a_silent_client_does_not_hold_the_gateway(serve: Callable[[Any], str]) -> None:
    released = threading.Event()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass
        released.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        await asyncio.sleep(60)

    relay = serve(relay_app({"one": serve(gateway)}, RelayLimits(idle_s=0.2)))
    async with httpx.AsyncClient() as client:
        posting = asyncio.create_task(client.post(f"{relay}/one", content=body(), headers=SEALED))
        await eventually(released.is_set)  # while the client is still there
        assert not posting.done()
        posting.cancel()


async def test_websockets_are_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await relay_app({})({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_client_that_drips_from_the_first_byte_is_refused(
    serve: Callable[[Any], str],
) -> None:
    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] != "http.disconnect":
            await send(respond())
            await send(part(b"done", more=False))

    async def drip(first: bytes) -> AsyncIterator[bytes]:
        yield first
        for _ in range(40):
            await asyncio.sleep(0.02)
            yield b"x"

    relay = serve(relay_app({"one": serve(gateway)}, RelayLimits(first_s=0.2)))
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{relay}/one", content=drip(b"x"), headers=SEALED)
        assert (answer.status_code, answer.content) == (problem.SLOW.status, problem.SLOW.body)
        # one that has sent its first 2 KiB in time may take longer
        answer = await client.post(f"{relay}/one", content=drip(bytes(2048)), headers=SEALED)
        assert answer.content == b"done"
