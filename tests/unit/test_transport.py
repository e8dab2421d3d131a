"""The httpx transport, through a real relay to a real gateway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from privity.errors import (
    InputError,
    OpenError,
    OversizeError,
    PeerError,
    ReplayError,
    SealError,
    StaleKeyError,
)
from privity.node.relay import relay_app
from privity.seal import problem
from privity.seal.gateway import GATEWAY_PATH, Gateway, GatewayLimits
from privity.seal.key_config import GatewayKeys, KeyConfig, preferred
from privity.seal.shaping import Pace
from privity.seal.transport import SealedTransport, Shape, SyncTransport

Serve = Callable[[Any], str]
ENCLAVE = "https://enclave.test"

pytestmark = pytest.mark.anyio


class Keys:
    """A key source that gives one gateway's keys after another's."""

    def __init__(self, *gateways: GatewayKeys) -> None:
        self._configs = [preferred(keys.configs) for keys in gateways]
        self.refreshed = 0

    async def current(self) -> KeyConfig:
        return self._configs[0]

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        assert stale is self._configs[self.refreshed]
        self.refreshed += 1
        return self._configs[self.refreshed]


async def describe(request: Request) -> Response:
    body = await request.body()
    asked = [request.method, str(request.url), len(body)]
    fields = [[name.decode(), value.decode()] for name, value in request.headers.raw]
    return JSONResponse({"asked": asked, "fields": fields})


async def count_to_ten(request: Request) -> Response:
    async def numbers() -> AsyncIterator[bytes]:
        for number in range(10):
            yield b"%d " % number
            await asyncio.sleep(0.005)

    return StreamingResponse(numbers(), media_type="text/event-stream")


def inner() -> Starlette:
    return Starlette(
        routes=[
            Route("/describe", describe, methods=["GET", "POST", "PUT"]),
            Route("/count", count_to_ten),
        ]
    )


@pytest.fixture
def keys() -> GatewayKeys:
    return GatewayKeys.generate()


@pytest.fixture
def relay(serve: Serve, keys: GatewayKeys) -> str:
    return serve(relay_app({"one": serve(Gateway(inner(), keys))})) + "/one"


async def test_request_and_answer_pass_unchanged(relay: str, keys: GatewayKeys) -> None:
    async with httpx.AsyncClient(transport=SealedTransport(Keys(keys), relay)) as client:
        answer = await client.put(f"{ENCLAVE}:8443/describe?q=%20a", content=b"x" * 1000)
        missing = await client.get(f"{ENCLAVE}/missing")
    assert answer.status_code == 200
    assert answer.json()["asked"] == ["PUT", f"{ENCLAVE}:8443/describe?q=%20a", 1000]
    assert answer.headers["content-type"] == "application/json"
    assert missing.status_code == 404
    assert answer.extensions["sealed"].ended
    assert answer.extensions["sealed"].shape == Shape()
    assert not [name for name in answer.headers if name.startswith("privity-")]


async def test_what_identifies_a_clients_software_is_left_out(
    relay: str, keys: GatewayKeys
) -> None:
    headers = {"x-stainless-os": "Linux", "x-stainless-arch": "x64", "x-kept": "1"}
    transport = SealedTransport(Keys(keys), relay, clock=lambda: time.time() - 60)
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.post(f"{ENCLAVE}/describe", json={}, headers=headers)
    fields = dict(answer.json()["fields"])
    date = fields.pop("date")
    assert date.endswith("GMT")
    assert fields == {
        "host": "enclave.test",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": "2",
        "accept-encoding": "identity",
        "x-kept": "1",
    }


async def test_answer_streams(relay: str, keys: GatewayKeys) -> None:
    async with (
        httpx.AsyncClient(
            transport=SealedTransport(Keys(keys), relay, shape=Shape(cadence_ms=5))
        ) as client,
        client.stream("GET", f"{ENCLAVE}/count") as answer,
    ):
        sealed = answer.extensions["sealed"]
        assert not sealed.ended
        pieces = [piece async for piece in answer.aiter_raw()]
    assert len(pieces) > 3
    assert b"".join(pieces) == b"0 1 2 3 4 5 6 7 8 9 "
    assert sealed.ended


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        Shape(None, None),
        Shape(64, None),
        Shape(64, None, delay_ms=3),
        Shape(16, 2, pace=Pace.EVEN),
        Shape(512, 2, pace=Pace.BUCKET),
        Shape(512, 2, pace=Pace.BATCH),
        Shape(512, 2, pace=Pace.BATCH, delay_ms=3),
        Shape(16, None, pace=Pace.WHOLE),
        Shape(16380, 2, pace=Pace.WHOLE),
        Shape(),
    ],
    ids=str,
)
async def test_every_shape_carries_the_same(
    relay: str, keys: GatewayKeys, shape: Shape, padded: bool
) -> None:
    transport = SealedTransport(Keys(keys), relay, shape=replace(shape, pad_requests=padded))
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.get(f"{ENCLAVE}/count")
    assert answer.content == b"0 1 2 3 4 5 6 7 8 9 "
    confirmed = answer.extensions["sealed"].shape
    assert (confirmed.records, confirmed.acts) == (shape.records, shape.acts)
    assert confirmed.delay_ms == shape.delay_ms


async def test_upload_streams(relay: str, keys: GatewayKeys) -> None:
    async def body() -> AsyncIterator[bytes]:
        for size in (1, 0, 100_000, 5):
            yield b"x" * size

    async with httpx.AsyncClient(transport=SealedTransport(Keys(keys), relay)) as client:
        answer = await client.post(f"{ENCLAVE}/describe", content=body())
    assert answer.json()["asked"][2] == 100_006


async def test_stale_key_is_refreshed_and_retried_once(relay: str, keys: GatewayKeys) -> None:
    source = Keys(GatewayKeys.generate(), keys)
    async with httpx.AsyncClient(transport=SealedTransport(source, relay)) as client:
        answer = await client.post(f"{ENCLAVE}/describe", content=b"again")
    assert answer.json()["asked"][2] == 5
    assert source.refreshed == 1


async def test_a_second_stale_key_is_an_error(relay: str) -> None:
    source = Keys(GatewayKeys.generate(), GatewayKeys.generate(), GatewayKeys.generate())
    async with httpx.AsyncClient(transport=SealedTransport(source, relay)) as client:
        with pytest.raises(StaleKeyError, match="no longer holds"):
            await client.post(f"{ENCLAVE}/describe", content=b"again")
    assert source.refreshed == 1


async def test_a_streamed_body_is_not_retried(relay: str, keys: GatewayKeys) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    source = Keys(GatewayKeys.generate(), keys)
    async with httpx.AsyncClient(transport=SealedTransport(source, relay)) as client:
        with pytest.raises(StaleKeyError):
            await client.post(f"{ENCLAVE}/describe", content=body())
    assert source.refreshed == 0


async def test_client_that_closes_cancels_the_application(serve: Serve, keys: GatewayKeys) -> None:
    cancelled = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    relay = serve(relay_app({"one": serve(Gateway(app, keys))})) + "/one"
    async with httpx.AsyncClient(transport=SealedTransport(Keys(keys), relay)) as client:
        async with client.stream("GET", ENCLAVE) as answer:
            assert await anext(answer.aiter_raw()) == b"tick"
            assert not cancelled.is_set()
        assert await asyncio.to_thread(cancelled.wait, 5)


async def test_memory_stays_flat_both_ways(serve: Serve, keys: GatewayKeys) -> None:
    """A slow reader holds the writer up, whichever side it is on, over all hops together."""
    total, in_flight = 96 << 20, 48 << 20  # the bound is mostly the sockets' own buffers
    sent = {"up": 0, "down": 0}
    go = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not go.is_set():
            await asyncio.sleep(0.01)
        received = 0
        more = True
        while more:
            message = await receive()
            received += len(message["body"])
            more = message["more_body"]
        assert received == total
        await send({"type": "http.response.start", "status": 200})
        while sent["down"] < total:
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
            sent["down"] += 1 << 16
        await send({"type": "http.response.body", "body": b""})

    async def body() -> AsyncIterator[bytes]:
        while sent["up"] < total:
            sent["up"] += 1 << 16
            yield bytes(1 << 16)

    async def settled(way: str) -> int:
        last = -1
        while sent[way] != last:
            last = sent[way]
            await asyncio.sleep(0.5)
        return last

    relay = serve(relay_app({"one": serve(Gateway(app, keys))})) + "/one"
    transport = SealedTransport(Keys(keys), relay, shape=Shape(records=16000))
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        request = client.build_request("POST", ENCLAVE, content=body())
        posting = asyncio.create_task(client.send(request, stream=True))
        try:
            assert await settled("up") < in_flight
        finally:
            go.set()
        answer = await posting
        pieces = answer.aiter_raw()
        received = len(await anext(pieces))
        assert await settled("down") < in_flight
        async for piece in pieces:
            received += len(piece)
    assert received == sent["down"] == sent["up"] == total


async def test_unreachable_relay_is_a_peer_error(keys: GatewayKeys) -> None:
    transport = SealedTransport(Keys(keys), "http://127.0.0.1:9/one")
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(PeerError, match="cannot be reached") as caught:
            await client.get(ENCLAVE)
    assert caught.value.hint


async def test_unreachable_gateway_is_a_peer_error(serve: Serve, keys: GatewayKeys) -> None:
    relay = serve(relay_app({"one": "http://127.0.0.1:9"}))
    for name, words in (("one", "could not reach"), ("two", "does not forward")):
        transport = SealedTransport(Keys(keys), f"{relay}/{name}")
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(PeerError, match=words):
                await client.get(ENCLAVE)


async def test_silent_gateway_is_a_peer_error(serve: Serve, keys: GatewayKeys) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(60)

    url = serve(Gateway(app, keys)) + GATEWAY_PATH
    # Cover is nothing said: with a cadence the time-out counts from the last content.
    for shape in (Shape(cadence_ms=None), Shape(cadence_ms=5), Shape(cadence_ms=5, pace=Pace.EVEN)):
        transport = SealedTransport(Keys(keys), url, shape=shape)
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(PeerError, match="time-out"):
                await client.get(ENCLAVE, timeout=0.2)


async def test_oversize_is_said_so(serve: Serve, keys: GatewayKeys) -> None:
    url = serve(Gateway(inner(), keys, limits=GatewayLimits(request_bytes=5000))) + GATEWAY_PATH
    async with httpx.AsyncClient(transport=SealedTransport(Keys(keys), url)) as client:
        with pytest.raises(OversizeError, match="larger than"):
            await client.post(ENCLAVE, content=bytes(9000))


@pytest.mark.parametrize("skew", [-400.0, 400.0])
async def test_wrong_clock_is_said_so(relay: str, keys: GatewayKeys, skew: float) -> None:
    transport = SealedTransport(Keys(keys), relay, clock=lambda: time.time() + skew)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(PeerError, match="clock") as caught:
            await client.get(f"{ENCLAVE}/count")
    assert "clock" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (problem.STALE_KEY, StaleKeyError),
        (problem.UNOPENABLE, OpenError),
        (problem.REPLAYED, ReplayError),
        (problem.OVERSIZE, OversizeError),
        (problem.BUSY, PeerError),
        (problem.SLOW, PeerError),
        (problem.NOT_FOUND, PeerError),
        (problem.NOT_SEALED, PeerError),
    ],
)
def test_every_refusal_has_its_error(
    answer: problem.Problem, expected: type[SealError] | type[PeerError]
) -> None:
    error = problem.refusal(answer.status, "application/problem+json; charset=utf-8", answer.body)
    assert type(error) is expected


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (200, "text/html", b"<p>canary</p>"),
        (500, "application/problem+json", b"canary"),
        (500, "application/problem+json", b"[" * 100_000),
        (400, "application/problem+json", b'{"type": ["canary"]}'),
        (400, "application/problem+json", b'{"type": "urn:canary"}'),
        (302, "", b"\xff"),
    ],
)
def test_strangers_words_are_not_repeated(status: int, media_type: str, body: bytes) -> None:
    error = problem.refusal(status, media_type, body)
    assert type(error) is PeerError
    assert str(status) in error.message
    assert "canary" not in error.message + error.hint


def sync_client(relay: str, keys: GatewayKeys) -> httpx.Client:
    return httpx.Client(transport=SyncTransport(SealedTransport(Keys(keys), relay)))


def test_blocking_client_works_alike(relay: str, keys: GatewayKeys) -> None:
    def body() -> Iterator[bytes]:
        yield b"a" * 70_000
        yield b"b"

    with sync_client(relay, keys) as client:
        assert client.post(f"{ENCLAVE}/describe", content=b"x").json()["asked"][2] == 1
        assert client.post(f"{ENCLAVE}/describe", content=body()).json()["asked"][2] == 70_001
        with client.stream("GET", f"{ENCLAVE}/count") as answer:
            assert b"".join(answer.iter_raw()) == b"0 1 2 3 4 5 6 7 8 9 "
    with pytest.raises(InputError, match="closed"):
        client._transport.handle_request(httpx.Request("GET", ENCLAVE))


def test_blocking_client_is_shared_by_threads(relay: str, keys: GatewayKeys) -> None:
    with sync_client(relay, keys) as client, ThreadPoolExecutor(8) as pool:

        def ask(size: int) -> int:
            answer = client.post(f"{ENCLAVE}/describe", content=bytes(size))
            return int(answer.json()["asked"][2])

        assert list(pool.map(ask, range(40))) == list(range(40))
    names = [thread.name for thread in threading.enumerate()]
    assert "privity-transport" not in names


def test_blocking_errors_are_privitys_own(keys: GatewayKeys) -> None:
    with sync_client("http://127.0.0.1:9/one", keys) as client, pytest.raises(PeerError):
        client.get(ENCLAVE)


def test_a_program_that_forgets_to_close_its_client_ends(relay: str, keys: GatewayKeys) -> None:
    program = f"""
import httpx
from privity.seal.key_config import parse_configs, preferred
from privity.seal.transport import SealedTransport, SyncTransport
class Keys:
    async def current(self):
        return preferred(parse_configs(bytes.fromhex({keys.configs_bytes.hex()!r})))
client = httpx.Client(transport=SyncTransport(SealedTransport(Keys(), {relay!r})))
print(client.get("{ENCLAVE}/count").text)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=20, check=True
    )
    assert done.stdout.split() == b"0 1 2 3 4 5 6 7 8 9".split()
