"""The outer side of one exchange: where its ciphertext comes from and where it goes.

Two forms: chunked, which streams, and plain, which is held as a whole. What is refused here is
refused outside the seal, for reasons that depend on ciphertext alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from privity.errors import OversizeError, SealError, StaleKeyError
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.answer import Sink
from privity.seal.asgi import Message, Receive, Send
from privity.seal.exchange import ClientGone
from privity.seal.key_config import GatewayKey, GatewayKeys
from privity.seal.problem import Problem, Refused

__all__ = ["ChunkedSource", "Outer", "Reserve", "WholeSource"]

_FIRST_BYTES = 2048  # of a plain request, nothing of which can be opened before its end

Reserve = Callable[[bytes, GatewayKey], None]
"""Remembers a request that has authenticated, by its encapsulation and key, or refuses it."""


class Outer:
    """The ciphertext of one request, counted and timed.

    Args:
        receive: of the outer request.
        most: bytes at most.
        idle_s: seconds without a byte, at most.
        first_s: seconds until `begun` is called, at most.
    """

    def __init__(self, receive: Receive, most: int, idle_s: float, first_s: float) -> None:
        self._receive = receive
        self._idle_s = idle_s
        self._first_by: float | None = asyncio.get_running_loop().time() + first_s
        self._total = 0
        self.most = most

    async def read(self) -> tuple[bytes, bool]:
        """Return the next bytes, and whether the outer message has ended with them."""
        deadline = asyncio.get_running_loop().time() + self._idle_s
        if self._first_by is not None:
            deadline = min(deadline, self._first_by)
        try:
            async with asyncio.timeout_at(deadline):
                message: Message = await self._receive()
        except TimeoutError as error:
            raise Refused(problem.SLOW) from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        data: bytes = message.get("body", b"")
        self._total += len(data)
        if self._total > self.most:
            raise Refused(problem.OVERSIZE)
        return data, not message.get("more_body", False)

    def begun(self) -> None:
        """Say that the request has shown that it is one: from now on only silence ends it."""
        self._first_by = None

    async def gone(self) -> None:
        """Wait for the end of the connection, or of the answer."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class ChunkedSource:
    """A chunked sealed request."""

    def __init__(self, outer: Outer, opener: chunked_ohttp.RequestOpener, reserve: Reserve) -> None:
        self._outer = outer
        self._opener = opener
        self._reserve = reserve
        self.reserved = False

    @property
    def enc(self) -> bytes:
        """Names the request for replay detection."""
        return self._opener.enc

    async def gone(self) -> None:
        """Wait until the client has left, or its answer has been sent."""
        await self._outer.gone()

    async def read(self) -> tuple[list[bytes], bool]:
        """Return the next plaintext, and whether that was authentically all."""
        pieces: list[bytes] = []
        ended = False
        while not pieces and not ended:
            data, ended = await self._outer.read()
            try:
                pieces = self._opener.feed(data)
                if ended:
                    pieces += self._opener.finish()
            except SealError as error:
                raise Refused(_outside(error)) from error
        if not self.reserved:  # only now: before, the encapsulation was not authenticated
            self._outer.begun()
            self._reserve(self._opener.enc, self._opener.key)
            self.reserved = True
        return pieces, ended

    def sink(self, send: Send) -> Sink:
        """Return where the response goes."""
        return _ChunkedSink(send, self._opener.response_sealer())


class _ChunkedSink:
    """A chunked sealed response."""

    streams = True

    def __init__(self, send: Send, sealer: chunked_ohttp.ResponseSealer) -> None:
        self._send = send
        self.chunk = sealer.chunk
        self.final = sealer.final
        self.started = False

    async def send(self, sealed: bytes, *, last: bool) -> None:
        """Send what was sealed; wait while the client is slow to take it."""
        if not self.started:
            self.started = True
            await self._send(_start(chunked_ohttp.RESPONSE_TYPE, (b"incremental", b"?1")))
        await self._send({"type": "http.response.body", "body": sealed, "more_body": not last})


class WholeSource:
    """A plain sealed request: opened as a whole."""

    def __init__(self, outer: Outer, keys: GatewayKeys, reserve: Reserve) -> None:
        self._outer = outer
        self._keys = keys
        self._reserve = reserve
        self._sealer: ohttp.ResponseSealer | None = None
        self.reserved = False

    @property
    def enc(self) -> bytes:
        """Names the request for replay detection."""
        return self._opened().enc

    async def gone(self) -> None:
        """Wait until the client has left, or its answer has been sent."""
        await self._outer.gone()

    async def read(self) -> tuple[list[bytes], bool]:
        """Return the whole plaintext."""
        sealed = bytearray()
        ended = False
        while not ended:
            data, ended = await self._outer.read()
            sealed += data
            if len(sealed) >= _FIRST_BYTES:
                self._outer.begun()
        try:
            plaintext, self._sealer = ohttp.open_request(self._keys, bytes(sealed))
        except SealError as error:
            raise Refused(_outside(error)) from error
        self._reserve(self._sealer.enc, self._sealer.key)
        self.reserved = True
        return [plaintext], True

    def sink(self, send: Send) -> Sink:
        """Return where the response goes."""
        return _WholeSink(send, self._opened(), self._outer.most)

    def _opened(self) -> ohttp.ResponseSealer:
        if self._sealer is None:
            raise RuntimeError("the request has not been read")
        return self._sealer


class _WholeSink:
    """A plain sealed response: gathered, then sealed and sent as a whole."""

    streams = False

    def __init__(self, send: Send, sealer: ohttp.ResponseSealer, most: int) -> None:
        self._send = send
        self._sealer = sealer
        self._most = most
        self._plaintext = bytearray()
        self.started = False

    def chunk(self, data: bytes) -> bytes:
        """Keep a part of the response for later."""
        self._plaintext += data
        if len(self._plaintext) > self._most:
            self._plaintext.clear()
            raise OversizeError("the response is too large to be sealed as a whole")
        return b""

    def final(self, data: bytes) -> bytes:
        """Return the whole response, sealed."""
        return self._sealer.seal(bytes(self._plaintext) + data)

    async def send(self, sealed: bytes, *, last: bool) -> None:
        """Send the whole response."""
        if not last:
            return
        self.started = True
        length = (b"content-length", b"%d" % len(sealed))
        await self._send(_start(ohttp.RESPONSE_TYPE, length))
        await self._send({"type": "http.response.body", "body": sealed})


def _outside(error: SealError) -> Problem:
    """Return what to say about ciphertext that does not open; never about its plaintext."""
    if isinstance(error, StaleKeyError):
        return problem.STALE_KEY
    return problem.OVERSIZE if isinstance(error, OversizeError) else problem.UNOPENABLE


def _start(media_type: str, *more: tuple[bytes, bytes]) -> Message:
    headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store"), *more]
    return {"type": "http.response.start", "status": 200, "headers": headers}
