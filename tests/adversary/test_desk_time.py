"""Who lets an answer of a desk drip, and how long a device waits for the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from adversary.test_recovery import World
from native import needs_kernel
from privity.anon.payment_terms import RECOVER_PATH, TERMS_PATH
from privity.errors import PeerError
from privity.infer.anonymous.job import asked
from privity.seal.asgi import Receive, Scope, Send, answer
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys
from privity.seal.transport import FixedKeys, SealedTransport

pytestmark = pytest.mark.anyio

STEP_S = 50.0  # less than any limit to one read
MOST_S = 300.0


class Ahead:
    """A loop's clock that can be put on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self.seconds = 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self.seconds)

    async def drip(self, body: bytes) -> AsyncIterator[bytes]:
        for at in range(len(body)):
            self.seconds += STEP_S
            await anyio.sleep(0)
            yield body[at : at + 1]


@needs_kernel("Act")
async def test_an_answer_that_drips_does_not_hold_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no other spend is asked for, and nothing that never left is taken back meanwhile."""
    ahead, world = Ahead(monkeypatch), World(tmp_path / "wallet")
    world.spend()
    world.now += 3600

    async def held(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=ahead.drip(b" " * 1000))

    world._serve = held  # type: ignore[method-assign]
    with pytest.raises(PeerError, match="within"):
        await world.recovery.look()
    assert ahead.seconds < MOST_S


class Dripping(httpx.AsyncBaseTransport):
    """Passes a sealed answer on byte by byte."""

    def __init__(self, inner: httpx.AsyncBaseTransport, ahead: Ahead) -> None:
        self._inner, self._ahead = inner, ahead

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        found = await self._inner.handle_async_request(request)
        body = self._ahead.drip(await found.aread())
        return httpx.Response(found.status_code, headers=found.headers, content=body)


@pytest.mark.parametrize("method, path", [("GET", TERMS_PATH), ("POST", RECOVER_PATH)])
async def test_a_gateway_that_lets_a_sealed_answer_drip_does_not_hold_a_question(
    method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def desk(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 409, [(b"content-type", b"application/json")], b'{"error":{}}')

    ahead, keys = Ahead(monkeypatch), GatewayKeys.generate()
    sealed = SealedTransport(
        FixedKeys(keys.configs_bytes, stale="it was started again"),
        f"http://gateway.test{GATEWAY_PATH}",
        inner=Dripping(httpx.ASGITransport(app=Gateway(desk, keys)), ahead),
    )
    with pytest.raises(PeerError, match="within"):
        await asked(sealed, method, path)
    assert ahead.seconds < MOST_S
