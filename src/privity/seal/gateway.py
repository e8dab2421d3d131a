"""ASGI middleware that opens sealed requests for an ordinary application (RFC 9458, RFC 9540).

``POST /.well-known/ohttp-gateway`` takes plain and chunked Oblivious HTTP; ``GET`` gives the key
configurations. The application inside never sees who asked, and the host outside never sees what:
errors outside the seal are constants that depend on ciphertext alone, and everything the gateway
learns after opening a request it says inside the seal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from privity.errors import OversizeError, ReplayError, SealError, StaleKeyError
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.binary_http import Limits
from privity.seal.exchange import (
    ASGIApp,
    ClientGone,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    Sink,
)
from privity.seal.key_config import KEYS_TYPE, GatewayKey, GatewayKeys
from privity.seal.problem import Problem, Refused
from privity.seal.replay import ReplayWindow

__all__ = ["GATEWAY_PATH", "Gateway", "GatewayLimits"]

GATEWAY_PATH = "/.well-known/ohttp-gateway"
"""Where a gateway is found (RFC 9540 §4)."""


@dataclass(frozen=True)
class GatewayLimits:
    """What a gateway accepts at most.

    Attributes:
        request_bytes: of one chunked sealed request, which is never held as a whole.
        whole_bytes: of one plain sealed request, and of its response; both are held as a whole.
        concurrency: requests at one time.
        idle_s: seconds without a byte while a request is uploaded, after which it is refused.
        window_s: how far a sealed date may be from the gateway's clock.
        remembered: requests remembered so that none is served twice.
        head: of the header section inside the seal.
    """

    request_bytes: int = 4 << 30
    whole_bytes: int = 32 << 20
    concurrency: int = 4096
    idle_s: float = 120.0
    window_s: float = 300.0
    remembered: int = 1 << 18
    head: Limits = field(default_factory=Limits)


class Gateway:
    """Serves ``app`` to sealed requests, and ``outer`` to all others. Run by the enclave.

    Lifespan events go to ``app``, whose lifespan state sealed requests share.

    Args:
        app: the application inside the seal; sees ordinary requests, ``client`` None.
        keys: the private keys.
        outer: what answers everything that is not sealed; a 404 by default.
        limits: what to accept.
        clock: seconds since the epoch.

    Guarantees:
        No request is served twice while its key lives (`test_replayed_request_is_refused`). What
        the host can read does not depend on what was sealed (`test_host_readable_errors_are_the_
        same_for_different_plaintexts`). A response that breaks off has no authentic end
        (`test_cut_connection_is_truncation`). Memory is flat whatever the body
        (`test_memory_stays_flat`). All in tests/adversary/test_sealed_path.py and
        tests/unit/test_gateway.py.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: GatewayKeys,
        *,
        outer: ASGIApp | None = None,
        limits: GatewayLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._keys = keys
        self._outer = outer
        self._limits = limits or GatewayLimits()
        self._clock = clock
        self._window = ReplayWindow(
            window_s=self._limits.window_s, capacity=self._limits.remembered, clock=clock
        )
        self._known_keys = keys.live
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == GATEWAY_PATH:
            await self._gateway(scope, receive, send)
        elif self._outer is not None:
            await self._outer(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, problem.NOT_FOUND)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _gateway(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await self._publish(send)
        elif scope["method"] != "POST":
            await _answer(send, problem.NO_METHOD)
        elif self._running >= self._limits.concurrency:
            await _answer(send, problem.BUSY)
        else:
            self._running += 1
            try:
                await self._serve(scope, receive, send)
            except Refused as refused:
                await _answer(send, refused.problem)
            except ClientGone:
                pass  # there is nobody to tell
            finally:
                self._running -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = self._source(scope, receive)
        exchange = Exchange(
            self._app,
            source,
            lambda: source.sink(send),
            scope,
            settle=lambda date: self._window.settle(source.enc, date),
            limits=self._limits.head,
            now=lambda: formatdate(self._clock(), usegmt=True).encode(),
        )
        await exchange.run()

    def _source(self, scope: Scope, receive: Receive) -> _ChunkedSource | _WholeSource:
        """Return the request in the form its content type names."""
        fields = dict(scope["headers"])
        kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        length = fields.get(b"content-length", b"")
        if kind == chunked_ohttp.REQUEST_TYPE:
            outer = _Outer(receive, self._limits.request_bytes, self._limits.idle_s)
            source: _ChunkedSource | _WholeSource = _ChunkedSource(
                outer, chunked_ohttp.RequestOpener(self._keys), self._reserve
            )
        elif kind == ohttp.REQUEST_TYPE:
            outer = _Outer(receive, self._limits.whole_bytes, self._limits.idle_s)
            source = _WholeSource(outer, self._keys, self._reserve)
        else:
            raise Refused(problem.NOT_SEALED)
        if length.isdigit() and int(length) > outer.most:
            raise Refused(problem.OVERSIZE)
        return source

    def _reserve(self, enc: bytes, key: GatewayKey) -> None:
        """Remember a request that has authenticated, or refuse it."""
        live = self._keys.live
        if live != self._known_keys:
            self._window.retain(live)
            self._known_keys = live
        try:
            self._window.reserve(enc, key)
        except ReplayError as error:
            raise Refused(problem.REPLAYED) from error
        except OversizeError as error:
            raise Refused(problem.BUSY) from error

    async def _publish(self, send: Send) -> None:
        body = self._keys.configs_bytes
        headers = [
            (b"content-type", KEYS_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-cache"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_Reserve = Callable[[bytes, GatewayKey], None]


class _Outer:
    """The ciphertext of one request, counted and timed."""

    def __init__(self, receive: Receive, most: int, idle_s: float) -> None:
        self._receive = receive
        self._idle_s = idle_s
        self._total = 0
        self.most = most

    async def read(self) -> tuple[bytes, bool]:
        """Return the next bytes, and whether the outer message has ended with them."""
        try:
            async with asyncio.timeout(self._idle_s):
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

    async def gone(self) -> None:
        """Wait for the end of the connection, or of the answer."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _ChunkedSource:
    """A chunked sealed request."""

    def __init__(
        self, outer: _Outer, opener: chunked_ohttp.RequestOpener, reserve: _Reserve
    ) -> None:
        self._outer = outer
        self._opener = opener
        self._reserve: _Reserve | None = reserve

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
        if self._reserve is not None:  # only now: before, the encapsulation was not authenticated
            self._reserve(self._opener.enc, self._opener.key)
            self._reserve = None
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


class _WholeSource:
    """A plain sealed request: opened as a whole."""

    def __init__(self, outer: _Outer, keys: GatewayKeys, reserve: _Reserve) -> None:
        self._outer = outer
        self._keys = keys
        self._reserve = reserve
        self._sealer: ohttp.ResponseSealer | None = None

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
        try:
            plaintext, self._sealer = ohttp.open_request(self._keys, bytes(sealed))
        except SealError as error:
            raise Refused(_outside(error)) from error
        self._reserve(self._sealer.enc, self._sealer.key)
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


async def _answer(send: Send, refused: Problem) -> None:
    await send(
        {"type": "http.response.start", "status": refused.status, "headers": refused.headers}
    )
    await send({"type": "http.response.body", "body": refused.body})
