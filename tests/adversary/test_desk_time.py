"""Who lets an answer of a desk drip, and how long a device waits for the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import anyio
import httpx
import pytest

import virtual_time
from privity.anon.payment_terms import RECOVER_PATH, TERMS_PATH
from privity.errors import PeerError
from privity.infer.anonymous.desk import said
from privity.infer.anonymous.job import asked
from privity.seal.asgi import Receive, Scope, Send, answer
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys
from privity.seal.transport import FixedKeys, SealedTransport

MOST_S = 300.0


async def drip(body: bytes) -> AsyncIterator[bytes]:
    """Send a byte at a time, each before any read times out."""
    for at in range(len(body)):
        await anyio.sleep(50)
        yield body[at : at + 1]


def waited(question: Coroutine[Any, Any, Any]) -> float:
    """Return how long a question took to be given up, in seconds."""

    async def run() -> float:
        with pytest.raises(PeerError, match="within"):
            await question
        return asyncio.get_running_loop().time()

    return virtual_time.run(run())


def test_an_answer_that_drips_does_not_hold_a_recovery() -> None:
    """Else no other spend is asked for, and nothing that never left is taken back meanwhile."""

    async def held(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=drip(b" " * 1000))

    async def desk() -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(held)

    assert waited(said(desk, RECOVER_PATH, {"spend": "AA"})) < MOST_S


class Dripping(httpx.AsyncBaseTransport):
    """Passes a sealed answer on byte by byte."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        found = await self._inner.handle_async_request(request)
        body = drip(await found.aread())
        return httpx.Response(found.status_code, headers=found.headers, content=body)


@pytest.mark.parametrize("method, path", [("GET", TERMS_PATH), ("POST", RECOVER_PATH)])
def test_a_gateway_that_lets_a_sealed_answer_drip_does_not_hold_a_question(
    method: str, path: str
) -> None:
    async def desk(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 409, [(b"content-type", b"application/json")], b'{"error":{}}')

    keys = GatewayKeys.generate()
    sealed = SealedTransport(
        FixedKeys(keys.configs_bytes, stale="it was started again"),
        f"http://gateway.test{GATEWAY_PATH}",
        inner=Dripping(httpx.ASGITransport(app=Gateway(desk, keys))),
    )
    assert waited(asked(sealed, method, path)) < MOST_S
