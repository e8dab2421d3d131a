"""Attacks of a client on a role that reads its whole request, and what no role answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from privity.errors import MalformedError, OversizeError
from privity.identity.keys import SigningKey
from privity.node.witness import witness_app
from privity.seal.asgi import Receive, answer_lifespan, read_body, refuse_websocket

pytestmark = pytest.mark.anyio


def _receive(messages: list[dict[str, Any]], pause_s: float = 0.0) -> Receive:
    async def receive() -> dict[str, Any]:
        await anyio.sleep(pause_s)
        return messages.pop(0)

    return receive


def _piece(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_of_exactly_the_limit_is_read_whole() -> None:
    pieces = [_piece(b"ab"), {"type": "http.request", "more_body": True}, _piece(b"cd", False)]
    assert await read_body(_receive(pieces), 4, 5.0) == b"abcd"


async def test_a_body_larger_than_the_limit_is_not_gathered() -> None:
    left = [_piece(b"x" * 100) for _ in range(1000)]
    with pytest.raises(OversizeError, match="larger than 250 bytes"):
        await read_body(_receive(left), 250, 5.0)
    assert len(left) == 997


async def test_a_body_one_byte_too_long_is_refused() -> None:
    with pytest.raises(OversizeError):
        await read_body(_receive([_piece(b"abcde", False)]), 4, 5.0)


async def test_a_body_that_drips_is_not_waited_for() -> None:
    left = [_piece(b"x")] * 1000
    with pytest.raises(MalformedError, match="in time"):
        await read_body(_receive(left, 0.01), 2000, 0.05)
    assert len(left) > 900


async def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    with pytest.raises(MalformedError, match="broke off"):
        await read_body(_receive([_piece(b"ab"), {"type": "http.disconnect"}]), 4, 5.0)


async def test_a_websocket_is_closed_before_it_opens() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await refuse_websocket(send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_what_is_done_at_the_end_is_done_before_the_end_is_told() -> None:
    told: list[str] = []

    async def send(message: Any) -> None:
        told.append(message["type"])

    async def at_end() -> None:
        told.append("ended")

    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    await answer_lifespan(_receive(messages), send, at_end)
    assert told == ["lifespan.startup.complete", "ended", "lifespan.shutdown.complete"]


async def test_a_witness_says_that_a_request_is_too_large(tmp_path: Path) -> None:
    with witness_app("w.example", SigningKey(b"\1" * 32), [], tmp_path) as app:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://w") as http:
            answer = await http.post("/add-checkpoint", content=b"x" * 100_000)
            assert answer.status_code == 413
