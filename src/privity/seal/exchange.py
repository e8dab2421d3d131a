"""One opened request, carried to the application inside the seal, and its answer carried back.

The application sees an ordinary HTTP request without a client address. Three things run at once:
the application; the writer of its answer; and this side's reader, which hands on the request, no
faster than the application takes it, and notices when the client leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

import anyio

from privity.errors import OversizeError, SealError
from privity.seal import problem
from privity.seal.answer import (
    CONNECTION_FIELDS,
    GATEWAY_FIELDS,
    MARK,
    Answer,
    Sink,
    encode_problem,
)
from privity.seal.asgi import ASGIApp, Message, Scope
from privity.seal.binary_http import Decoder, Limits
from privity.seal.http_message import Content, Event, RequestHead, field
from privity.seal.problem import Problem, Refused
from privity.seal.shaping import Shape

__all__ = ["ClientGone", "Exchange", "Source"]

logger = logging.getLogger("privity.seal")


class ClientGone(Exception):
    """The client went away before its answer was complete."""


class Source(Protocol):
    """Where the plaintext of one request comes from."""

    async def read(self) -> tuple[list[bytes], bool]:
        """Return the next plaintext, and whether that was authentically all.

        Raises:
            Refused: it is not authentic, or too large.
            ClientGone: the client left.
        """

    async def gone(self) -> None:
        """Wait until the client has left, or its answer has been sent."""


class Exchange:
    """Runs one request through the application. Run by the gateway.

    Args:
        app: the application inside the seal.
        source: the request.
        sink: the response.
        outer: the ASGI scope of the outer request, whose lifespan state the application shares.
        settle: takes the head's sealed date into account (`ReplayWindow.settle`).
        limits: of the header section.
        now: the gateway's time as an HTTP date.
    """

    def __init__(
        self,
        app: ASGIApp,
        source: Source,
        sink: Callable[[], Sink],
        outer: Scope,
        *,
        settle: Callable[[bytes | None], None],
        limits: Limits,
        now: Callable[[], bytes],
    ) -> None:
        self._app = app
        self._source = source
        self._make_sink = sink
        self._outer = outer
        self._settle = settle
        self._now = now
        self._decoder = Decoder("request", limits)
        self._head: RequestHead | None = None
        self._inbox = bytearray()
        self._complete = False  # the request has authentically ended
        self._delivered = False  # the application has been told so
        self._arrived = asyncio.Event()
        self._inbox_room = asyncio.Event()
        self._answer: Answer | None = None
        self._watching = anyio.CancelScope()

    async def run(self) -> None:
        """Serve the request; return when the answer is sent, or broken off.

        Raises:
            Refused: nothing was sent; the gateway says so outside the seal.
        """
        try:
            while self._head is None:
                await self._take()
            scope, answer = self._opened(self._head, self._make_sink())
        except SealError as error:
            await self._refuse(self._make_sink(), _inside(error))
            return
        try:
            self._settle(field(self._head.headers, b"date"))
        except SealError as error:
            busy = isinstance(error, OversizeError)
            await self._refuse(answer.sink, problem.BUSY if busy else problem.DATE)
            return
        self._answer = answer
        refused = await self._serve(scope, answer)
        if refused is None or answer.sink.started:
            return  # if it has not ended, its missing end tells the client so
        if isinstance(refused, Refused):
            raise refused
        await self._refuse(answer.sink, refused)

    async def _serve(self, scope: Scope, answer: Answer) -> Refused | Problem | None:
        """Run application, writer and reader; return why the request cannot be answered."""
        refused: Refused | Problem | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._run_app, scope, answer, group.cancel_scope)
            group.start_soon(self._run_writer, answer, group.cancel_scope)
            with self._watching:
                try:
                    await self._pump(answer)
                except Refused as error:
                    refused = error
                    group.cancel_scope.cancel()
                except SealError as error:
                    refused = _inside(error)
                    group.cancel_scope.cancel()
                except ClientGone:
                    group.cancel_scope.cancel()
        return refused

    # The request

    async def _pump(self, answer: Answer) -> None:
        while not self._complete:
            while len(self._inbox) > MARK:
                self._inbox_room.clear()
                await self._inbox_room.wait()
            await self._take()
        await self._source.gone()
        if not answer.over.is_set():
            raise ClientGone

    async def _take(self) -> None:
        pieces, ended = await self._source.read()
        for piece in pieces:
            self._accept(self._decoder.feed(piece))
        if ended:
            self._accept(self._decoder.finish())
            self._complete = True
        self._arrived.set()

    def _accept(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Content):
                self._inbox += event.data
            elif isinstance(event, RequestHead):
                self._head = event

    async def _receive(self) -> Message:
        """Hand the application the next part of its request: its ASGI ``receive``."""
        if self._delivered:
            if self._answer is not None:
                await self._answer.over.wait()
            return {"type": "http.disconnect"}
        while not self._inbox and not self._complete:
            self._arrived.clear()
            await self._arrived.wait()
        body = bytes(self._inbox)
        self._inbox.clear()
        self._inbox_room.set()
        self._delivered = self._complete
        return {"type": "http.request", "body": body, "more_body": not self._complete}

    def _opened(self, head: RequestHead, sink: Sink) -> tuple[Scope, Answer]:
        """Return the application's ASGI scope, and the answer in the form the head asks for."""
        path, _, query = head.path.partition("?")
        fields = [
            (name, value)
            for name, value in head.headers
            if name not in CONNECTION_FIELDS
            and name not in GATEWAY_FIELDS
            and not (name == b"host" and head.authority)
        ]
        if head.authority:  # it says where a request goes, whatever a host field says
            fields.insert(0, (b"host", head.authority.encode()))
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": head.method,
            "scheme": head.scheme,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": fields,
            "client": None,
            "server": None,
            "extensions": {"http.response.trailers": {}},
        }
        if "state" in self._outer:
            scope["state"] = self._outer["state"]
        # A plain response has one size and one time: it is gathered and sealed as a whole.
        return scope, Answer(sink, Shape.read(head.headers if sink.streams else ()))

    # The response

    async def _run_app(self, scope: Scope, answer: Answer, group: anyio.CancelScope) -> None:
        try:
            await self._app(scope, self._receive, answer.take)
        except Exception as error:
            # Its type at most: a message or a traceback could hold what the person asked.
            logger.error("the application inside the seal failed: %s", type(error).__name__)
        if answer.ended:
            return
        if answer.begun:
            group.cancel()  # what was sent stays without an authentic end
        else:
            answer.replace_by(encode_problem(problem.FAILED, self._now()))

    async def _run_writer(self, answer: Answer, group: anyio.CancelScope) -> None:
        try:
            await answer.write()
        except OversizeError:  # only where the response is gathered, so nothing was sent
            await self._refuse(answer.sink, problem.UNSTREAMED)
            group.cancel()
        except OSError:  # how ASGI servers may say that the client has left
            group.cancel()
        self._watching.cancel()

    async def _refuse(self, sink: Sink, answer: Problem) -> None:
        sealed = sink.final(encode_problem(answer, self._now(), own=True))
        await sink.send(sealed, last=True)


def _inside(error: SealError) -> Problem:
    """Return what to say inside the seal about the plaintext of a request."""
    return problem.FIELDS if isinstance(error, OversizeError) else problem.MALFORMED
