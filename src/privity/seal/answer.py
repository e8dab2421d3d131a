"""An application's response on its way into the seal.

A writer seals whatever the application has sent so far, all of it each time it wakes, so that a
burst costs one wake-up and one send. The beginning of an answer and a lone token leave at once;
tokens that follow each other quickly are gathered for `GATHER_S`. With a cadence the writer wakes
by the clock instead, and for a whole answer at its end (shaping.py). The application waits while
the client is slow to read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import replace
from typing import Any, Protocol

from privity.seal import problem
from privity.seal.asgi import Message
from privity.seal.binary_http import ResponseEncoder, encode_response
from privity.seal.chunked_ohttp import MAX_CHUNK
from privity.seal.http_message import Fields, ResponseHead
from privity.seal.padding import PAD_HEADER, pad, pad_head
from privity.seal.problem import Problem
from privity.seal.records import RecordWriter
from privity.seal.shaping import (
    SHAPE_FIELDS,
    Batches,
    Pace,
    Shape,
    length_bucket,
    random_delay,
)

__all__ = [
    "CONNECTION_FIELDS",
    "GATEWAY_FIELDS",
    "GATHER_S",
    "MARK",
    "WHOLE_MOST",
    "Answer",
    "Sink",
    "encode_problem",
]

MARK = 64 * 1024
"""Bytes in one direction beyond which the faster side waits."""

GATHER_S = 0.025
"""Seconds after a send during which more is gathered. A reader does not see them; every hop has a
third of the work at a hundred tokens a second; and the rhythm of single tokens does not show."""

WHOLE_MOST = 4 << 20
"""Bytes of a whole answer that are held; of a longer one as much leaves each time."""

_SILENCE_S = 15.0  # after which a held answer shows that it is alive; hops wait two minutes
_BODY_S = 0.01  # that a head waits for content, which mostly comes with it

_EAGER = 4  # sends that never wait: the head and the beginning of the answer
_ENOUGH = 4096  # bytes that are worth a send at once

_LARGEST_CONTENT = MAX_CHUNK - 4  # with its Binary HTTP length, one chunk

CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)
"""Fields that mean a connection, which a sealed message does not have (RFC 9292 §6)."""

GATEWAY_FIELDS = SHAPE_FIELDS | {PAD_HEADER, problem.INSIDE_HEADER}
"""Fields by which gateway and client speak to each other; an application's are left out."""


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


class Answer:
    """The application's response on its way into the seal.

    Args:
        sink: where it goes.
        shape: what the client asked for.
    """

    def __init__(self, sink: Sink, shape: Shape) -> None:
        self.sink = sink
        self.begun = False
        self.ended = False
        self.over = asyncio.Event()
        self._shape = shape
        self._records = None if shape.records is None else RecordWriter(shape.records)
        self._most = WHOLE_MOST if shape.acts is Pace.WHOLE else MARK
        self._encoder = ResponseEncoder()
        self._front = b""  # the encoded head, until it is sealed
        self._parts: deque[bytes] = deque()  # what the application sent, message by message
        self._held = 0  # bytes in them
        self._end: bytes | None = None  # the encoded end, once the application has ended
        self._expect_trailers = False
        self._trailers: list[tuple[bytes, bytes]] = []
        self._pending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._eager = _EAGER
        self._enough = _ENOUGH  # bytes for which the writer is woken before its time
        self._sent_at = 0.0
        self._room = asyncio.Event()

    async def take(self, message: Message) -> None:
        """Take one event from the application: its ASGI ``send``."""
        kind = message["type"]
        if kind == "http.response.body" and self.begun and not self.ended:
            self._keep(message.get("body", b""))
            if not message.get("more_body", False) and not self._expect_trailers:
                self._finish()
            if self._held >= self._enough:
                self._hurry.set()
            self._pending.set()
            while self._held > self._most:
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
        self._hurry.set()
        self._pending.set()

    async def write(self) -> None:
        """Seal and send until the end: as soon as there is something, at each tick, or at once."""
        acts = self._shape.acts
        await self._pending.wait()
        if not self.begun:  # replaced: a head is in what there is, so nothing may come before it
            await self._send([], last=True)
        elif acts is Pace.WHOLE and self._records is not None:
            await self._write_whole(self._records)
        elif acts is not None and self._records is not None and self._shape.cadence_ms is not None:
            await self._write_paced(self._records, acts, self._shape.cadence_ms / 1000)
        else:
            await self._write_freely()

    async def _write_freely(self) -> None:
        while not self.over.is_set():
            await self._pending.wait()
            await self._gather()
            await self._delay()
            self._pending.clear()
            parts = self._drawn(MARK)
            last = self._end is not None and not self._parts
            if self._parts:
                self._pending.set()
            await self._send(self._cut(parts), last=last)
            self._sent_at = asyncio.get_running_loop().time()

    async def _gather(self) -> None:
        """Wait for more if the last send was a moment ago, unless there is enough, or the end."""
        if self._eager:
            self._eager -= 1
        elif self._end is None and self._held < _ENOUGH:
            await self._hurried(self._sent_at + GATHER_S)

    async def _delay(self) -> None:
        if self._shape.delay_ms is not None:
            await asyncio.sleep(random_delay(self._shape.delay_ms))

    async def _hurried(self, until: float) -> None:
        """Wait until then, or until the writer is woken: there is enough, or the end."""
        self._hurry.clear()
        if self._held < self._enough and self._end is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._hurry.wait()

    async def _write_paced(self, records: RecordWriter, pace: Pace, period: float) -> None:
        """Send a batch at each tick, the head with the first and the end with the last."""
        batches = Batches(records.room, MARK)
        self._enough = batches.full
        loop = asyncio.get_running_loop()
        if self._end is None and not self._held:
            self._pending.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BODY_S):
                    await self._pending.wait()
        due, bulk = loop.time(), False
        while not self.over.is_set():
            await self._tick(due)
            if pace is Pace.BATCH and not self._front:
                await self._something()
                await self._delay()
                due = max(due, loop.time())
            now = loop.time()
            bulk = bulk or now < due
            due = max(min(due, now) + period, now)  # behind a slow client no burst makes up for it
            count = batches.next(self._held)
            pieces = records.batch(b"".join(self._drawn(count * records.room)), count)
            last = self._end is not None and not self._parts
            if pace is Pace.BUCKET and not bulk:  # whose length shows all the same
                last = last and batches.ticks == length_bucket(batches.ticks)
            await self._send(pieces, last=last)

    async def _tick(self, due: float) -> None:
        """Wait for the tick, whatever happens before it, but for a full batch: that is no token."""
        loop = asyncio.get_running_loop()
        while self._held < self._enough and loop.time() < due:
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._hurry.wait()

    async def _something(self) -> None:
        while not self._held and self._end is None:
            self._pending.clear()
            await self._pending.wait()

    async def _write_whole(self, records: RecordWriter) -> None:
        """Send the head at once, and all else when the answer has ended."""
        self._enough = WHOLE_MOST
        loop = asyncio.get_running_loop()
        await self._send([], last=False)
        while not self.over.is_set():
            while self._end is None and self._held < WHOLE_MOST:
                waited = loop.time() + _SILENCE_S
                await self._hurried(waited)
                if loop.time() >= waited:
                    await self._send([records.cover()], last=False)
            left = length_bucket(-(-min(self._held, WHOLE_MOST) // records.room))
            while left:
                count = min(left, max(MARK // records.room, 1))
                left -= count
                pieces = records.batch(b"".join(self._drawn(count * records.room)), count)
                last = not left and self._end is not None and not self._parts
                await self._send(pieces, last=last)

    def _keep(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._held += len(data)

    def _drawn(self, most: int) -> list[bytes]:
        """Take up to ``most`` bytes off the front, a message at a time."""
        drawn: list[bytes] = []
        while self._parts and most:
            part = self._parts.popleft()
            if len(part) > most:
                self._parts.appendleft(part[most:])
                part = part[:most]
            drawn.append(part)
            most -= len(part)
            self._held -= len(part)
        self._room.set()
        return drawn

    def _cut(self, parts: list[bytes]) -> list[bytes]:
        """Return the contents to seal. With records, each message of the application begins one.

        So the number of records tells the number of messages, and a token's length only where it
        is longer than a record.
        """
        if self._records is None:
            return _blocks(b"".join(parts), _LARGEST_CONTENT)
        return [record for part in parts for record in self._records.write(part)]

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
            head = pad_head(replace(head, headers=(*head.headers, *self._shape.fields())))
        self._front = self._encoder.head(head)
        self.begun = True
        self._pending.set()

    def _finish(self) -> None:
        end = self._encoder.end(self._trailers)
        self._end = end if self._records is None else pad(end)
        self.ended = True
        self._hurry.set()
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
        if name not in CONNECTION_FIELDS and name not in GATEWAY_FIELDS
    )


def _blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
