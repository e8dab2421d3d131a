"""The types of an ASGI application, and how one reads and answers with a whole body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import anyio

from privity.errors import MalformedError, OversizeError, PrivityError
from privity.seal.problem import Problem

__all__ = [
    "ASGIApp",
    "Message",
    "Opened",
    "Receive",
    "Scope",
    "Send",
    "answer",
    "answer_lifespan",
    "answer_problem",
    "open_with_server",
    "read_body",
    "refuse_websocket",
    "replay",
]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


async def answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer with ``body`` as a whole; its length is added to ``headers``."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_problem(send: Send, problem: Problem) -> None:
    """Answer a request outside the seal with ``problem``."""
    headers = problem.headers
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem.body})


async def read_body(receive: Receive, most: int, within_s: float) -> bytes:
    """Return a request's whole body.

    Args:
        receive: the request's.
        most: the largest it may be, in bytes.
        within_s: seconds after which it must have arrived.

    Raises:
        OversizeError: it is larger.
        MalformedError: it broke off, or did not arrive in time.

    Guarantees:
        No client holds a connection for longer, or more memory (tests/adversary/test_asgi.py).
    """
    body, more = bytearray(), True
    with anyio.move_on_after(within_s):
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise MalformedError("the request broke off")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > most:
                raise OversizeError(f"the request is larger than {most} bytes")
    if more:
        raise MalformedError("the request did not arrive in time")
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body once more that was read already."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def answer_lifespan(
    receive: Receive, send: Send, at_end: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Start with nothing to do, and end with ``at_end``."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    if at_end is not None:
        await at_end()
    await send({"type": "lifespan.shutdown.complete"})


class Opened(Protocol):
    """An app that has something to open when its server starts.

    Attributes:
        failure: why it did not start, if it did not.
    """

    failure: PrivityError | None

    async def open(self) -> None:
        """Get ready; raises `PrivityError` where it cannot."""

    async def aclose(self) -> None:
        """Close what is open, also where not all was opened."""


async def open_with_server(app: Opened, receive: Receive, send: Send) -> None:
    """Open an app when its server starts, and close it when that ends; a failure is kept in it."""
    await receive()
    try:
        await app.open()
    except PrivityError as error:
        app.failure = error
        await app.aclose()
        await send({"type": "lifespan.startup.failed", "message": error.message})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await app.aclose()
    await send({"type": "lifespan.shutdown.complete"})


async def refuse_websocket(send: Send) -> None:
    """Close a WebSocket before it opens: nothing of privity's speaks it."""
    await send({"type": "websocket.close", "code": 1008})
