"""One opened request, carried to the application inside the seal, and its answer carried back.

The application sees an ordinary HTTP request without a client address. Three things run at once:
the application; a writer that seals whatever the application has sent so far, all of it each time
it wakes, so that a burst costs one wake-up and few records; and this side's reader, which hands on
the request and notices when the client leaves.

Memory is flat: the application waits while the client is slow to read, and the client's upload
waits while the application is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import unquote

import anyio

from privity.errors import OversizeError, SealError
from privity.seal import problem
from privity.seal.binary_http import Decoder, Limits, ResponseEncoder, encode_response
from privity.seal.chunked_ohttp import MAX_CHUNK
from privity.seal.http_message import Content, Event, Fields, RequestHead, ResponseHead, field
from privity.seal.padding import PAD_HEADER, pad, pad_head
from privity.seal.problem import Problem, Refused
from privity.seal.records import (
    CADENCE_HEADER,
    RECORDS_HEADER,
    RecordWriter,
    parse_cadence,
    parse_size,
)

__all__ = ["CONNECTION_FIELDS", "ASGIApp", "ClientGone", "Exchange", "Sink", "Source"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("privity.seal")

MARK = 64 * 1024
"""Bytes in one direction beyond which the faster side waits."""

_LARGEST_CONTENT = MAX_CHUNK - 4  # with its Binary HTTP length, one chunk

CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)
"""Fields that mean a connection, which a sealed message does not have (RFC 9292 §6)."""

_GATEWAY_FIELDS = frozenset((RECORDS_HEADER, CADENCE_HEADER, PAD_HEADER, problem.INSIDE_HEADER))


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


class Sink(Protocol):
    """Where the plaintext of one response goes; `chunk` and `final` only seal."""

    streams: bool
    """Whether chunks leave one by one, or all together at the end."""
    started: bool
    """Whether anything was sent, so that only breaking off can say that it failed."""

    def chunk(self, data: bytes) -> bytes:
        """Return the next part of the response, sealed, or nothing yet."""

    def final(self, data: bytes) -> bytes:
        """Return its last part, sealed."""

    async def send(self, sealed: bytes, *, last: bool) -> None:
        """Send what was sealed; wait while the client is slow to take it."""


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
        self._answer: _Answer | None = None
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

    async def _serve(self, scope: Scope, answer: _Answer) -> Refused | Problem | None:
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

    async def _pump(self, answer: _Answer) -> None:
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

    def _opened(self, head: RequestHead, sink: Sink) -> tuple[Scope, _Answer]:
        """Return the application's ASGI scope, and the answer in the form the head asks for."""
        path, _, query = head.path.partition("?")
        fields = [
            (name, value)
            for name, value in head.headers
            if name not in CONNECTION_FIELDS
            and name not in _GATEWAY_FIELDS
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
        size = field(head.headers, RECORDS_HEADER) if sink.streams else None
        cadence = field(head.headers, CADENCE_HEADER) if size is not None else None
        return scope, _Answer(
            sink,
            records=None if size is None else parse_size(size),
            cadence_ms=None if cadence is None else parse_cadence(cadence),
        )

    # The response

    async def _run_app(self, scope: Scope, answer: _Answer, group: anyio.CancelScope) -> None:
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

    async def _run_writer(self, answer: _Answer, group: anyio.CancelScope) -> None:
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


class _Answer:
    """The application's response on its way into the seal."""

    def __init__(self, sink: Sink, *, records: int | None, cadence_ms: int | None) -> None:
        self.sink = sink
        self.begun = False
        self.ended = False
        self.over = asyncio.Event()
        self._confirmed: list[tuple[bytes, bytes]] = []
        self._records = None if records is None else RecordWriter(records)
        self._room_per_tick = 0 if records is None else records - 2
        self._cadence_s = None if cadence_ms is None else cadence_ms / 1000
        if records is not None:
            self._confirmed.append((RECORDS_HEADER, b"%d" % records))
        if cadence_ms is not None:
            self._confirmed.append((CADENCE_HEADER, b"%d" % cadence_ms))
        self._encoder = ResponseEncoder()
        self._front = b""  # the encoded head, until it is sealed
        self._buffer = bytearray()
        self._end: bytes | None = None  # the encoded end, once the application has ended
        self._expect_trailers = False
        self._trailers: list[tuple[bytes, bytes]] = []
        self._pending = asyncio.Event()
        self._room = asyncio.Event()

    async def take(self, message: Message) -> None:
        """Take one event from the application: its ASGI ``send``."""
        kind = message["type"]
        if kind == "http.response.body" and self.begun and not self.ended:
            self._buffer += message.get("body", b"")
            if not message.get("more_body", False) and not self._expect_trailers:
                self._finish()
            self._pending.set()
            while len(self._buffer) > MARK:
                self._room.clear()
                await self._room.wait()
        elif kind == "http.response.start" and not self.begun:
            self._begin(message)
        elif kind == "http.response.trailers" and self._expect_trailers and not self.ended:
            self._trailers += _kept(message.get("headers", ()))
            if not message.get("more_trailers", False):
                self._finish()
        else:
            raise RuntimeError(f"the application sent {kind!r} out of order")

    def replace_by(self, whole: bytes) -> None:
        """Answer with ``whole``, an encoded response, where the application gave none."""
        self._end = whole
        self.ended = True
        self._pending.set()

    async def write(self) -> None:
        """Seal and send until the end: as soon as there is something, or at each tick."""
        if self._cadence_s is not None:
            await self._write_paced(self._cadence_s)
        while not self.over.is_set():
            await self._pending.wait()
            self._pending.clear()
            data = self._drawn(MARK)
            last = self._end is not None and not self._buffer
            if self._buffer:
                self._pending.set()
            await self._send(self._cut(data), last=last)

    async def _write_paced(self, period: float) -> None:
        await self._pending.wait()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.over.is_set():
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + period, loop.time())  # behind a slow client no burst makes up for it
            if self._front:  # the head has a tick of its own
                await self._send([], last=False)
                continue
            data = self._drawn(self._room_per_tick)
            last = self._end is not None and not data
            await self._send([] if last else self._cut(data, cover=True), last=last)

    def _drawn(self, most: int) -> bytes:
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._room.set()
        return data

    def _cut(self, data: bytes, *, cover: bool = False) -> list[bytes]:
        if self._records is not None:
            return self._records.write(data) or ([self._records.cover()] if cover else [])
        return _blocks(data, _LARGEST_CONTENT)

    async def _send(self, pieces: list[bytes], *, last: bool) -> None:
        chunk, content = self.sink.chunk, self._encoder.content
        sealed = []
        if self._front:
            sealed += [chunk(block) for block in _blocks(self._front, MAX_CHUNK)]
            self._front = b""
        sealed += [chunk(content(piece)) for piece in pieces]
        if last and self._end is not None:
            *blocks, final = _blocks(self._end, MAX_CHUNK)
            sealed += [chunk(block) for block in blocks]
            sealed.append(self.sink.final(final))
            self.over.set()
        if sealed:
            await self.sink.send(b"".join(sealed), last=last)

    def _begin(self, message: Message) -> None:
        self._expect_trailers = bool(message.get("trailers", False))
        head = ResponseHead(message["status"], _kept(message.get("headers", ())))
        if self._records is not None:
            head = pad_head(replace(head, headers=(*head.headers, *self._confirmed)))
        self._front = self._encoder.head(head)
        self.begun = True
        self._pending.set()

    def _finish(self) -> None:
        end = self._encoder.end(self._trailers)
        self._end = end if self._records is None else pad(end)
        self.ended = True
        self._pending.set()


def encode_problem(answer: Problem, now: bytes, *, own: bool = False) -> bytes:
    """Return a whole sealed answer in place of the application's, padded to one size.

    Args:
        answer: what to say.
        now: the gateway's time, by which a client can correct its clock.
        own: whether the gateway refused the request, rather than the application failed.
    """
    fields = [*answer.headers, (b"date", now)]
    if own:
        fields.append((problem.INSIDE_HEADER, b"1"))
    return pad(encode_response(ResponseHead(answer.status, tuple(fields)), answer.body))


def _kept(fields: Any) -> Fields:
    """Return what may travel of an application's fields, with names in lower case."""
    lowered = ((name.lower(), value) for name, value in fields)
    return tuple(
        (name, value)
        for name, value in lowered
        if name not in CONNECTION_FIELDS and name not in _GATEWAY_FIELDS
    )


def _inside(error: SealError) -> Problem:
    """Return what to say inside the seal about the plaintext of a request."""
    return problem.FIELDS if isinstance(error, OversizeError) else problem.MALFORMED


def _blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
