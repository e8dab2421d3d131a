"""An `httpx` transport that seals each request to one gateway (RFC 9458, chunked draft).

Any httpx user speaks it without change: requests become Binary HTTP, padded and sealed; responses
stream back as they come. The URL of a request says only what the application behind the gateway
sees; where the sealed bytes go is fixed when the transport is made.

Errors are privity's own, whoever uses httpx above: truncation, tampering and refusals are raised
from the call or from reading the body, and never look like a clean end.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import chain
from typing import Protocol

import httpx

from privity.errors import InputError, PeerError, StaleKeyError, TruncatedError
from privity.seal import problem
from privity.seal.answer import CONNECTION_FIELDS
from privity.seal.binary_http import Decoder, RequestEncoder
from privity.seal.chunked_ohttp import REQUEST_TYPE, RESPONSE_TYPE, RequestSealer, ResponseOpener
from privity.seal.http_message import Content, RequestHead, ResponseHead, Trailers
from privity.seal.http_message import field as field_of
from privity.seal.key_config import KeyConfig, parse_configs, preferred
from privity.seal.padding import PAD_HEADER, PaddedBlocks
from privity.seal.records import RecordReader
from privity.seal.shaping import SHAPE_FIELDS, Shape, longest_tail
from privity.seal.sync_transport import SyncTransport
from privity.wording import failure_words

__all__ = ["FixedKeys", "KeySource", "SealedExchange", "SealedTransport", "Shape", "SyncTransport"]

# What httpx and clients above it add about themselves. An enclave needs none of it to answer, and
# together it tells one person's software from another's.
_IDENTIFYING = frozenset((b"user-agent", b"accept-encoding", b"host", b"date"))
_IDENTIFYING_PREFIX = b"x-stainless-"
_HIDDEN = SHAPE_FIELDS | CONNECTION_FIELDS | {PAD_HEADER}
_PROBLEM_BYTES = 16 * 1024
_SILENT = "the gateway sent nothing for longer than the time-out"


class KeySource(Protocol):
    """Where verified key configurations come from."""

    async def current(self) -> KeyConfig:
        """Return the configuration to seal to."""

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        """Return a newer one, verified afresh, after the gateway refused ``stale``."""


class FixedKeys:
    """The keys of one gateway and no others: what is refused for a stale key is not sent again.

    A relay or a gateway can say that a key is stale. Keys that are fetched for that would be of
    whoever answers, and what is sealed to them would go astray.

    Args:
        configs: the gateway's key configurations, verified.
        stale: what a person is told where the gateway no longer holds the key.
        hint: what they can do about it.

    Raises:
        MalformedError: the configurations are malformed.
        InputError: none of them can be used.
    """

    def __init__(self, configs: bytes, *, stale: str, hint: str = "") -> None:
        self._config = preferred(parse_configs(configs))
        self._stale = stale
        self._hint = hint

    async def current(self) -> KeyConfig:
        """Return the configuration to seal to."""
        return self._config

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        """Raise `StaleKeyError`."""
        raise StaleKeyError(self._stale, hint=self._hint)


@dataclass
class SealedExchange:
    """What is known of a sealed exchange; ``response.extensions["sealed"]``.

    Attributes:
        config: the key configuration that was sealed to.
        shape: the shape of the answer that the gateway confirmed; None before its head has come.
        ended: whether the answer has ended authentically.
        trailers: its trailer fields, by lower-case name; empty until it has ended.
    """

    config: KeyConfig = field(repr=False)
    shape: Shape | None = None
    ended: bool = False
    trailers: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def records(self) -> int | None:
        """Bytes of each record of the answer; None where the gateway did not confirm them."""
        return None if self.shape is None else self.shape.records


class SealedTransport(httpx.AsyncBaseTransport):
    """Seals every request to one gateway. Run by the Client.

    Args:
        keys: gives the key configuration, verified.
        gateway_url: the gateway's resource, or a relay's resource for it.
        inner: connections; by default a pool of its own, closed with this transport. One that is
            given stays open.
        shape: what of sizes and timing to hide.
        clock: seconds since the epoch, for the sealed date.

    Guarantees:
        A response that stops before its authenticated end raises `TruncatedError`, whatever
        closed the connection (`test_cut_connection_is_truncation`). No message is sealed twice:
        a retry is sealed afresh (`test_stale_key_is_refreshed_and_retried_once`).
    """

    def __init__(
        self,
        keys: KeySource,
        gateway_url: str,
        *,
        inner: httpx.AsyncBaseTransport | None = None,
        shape: Shape | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._url = httpx.URL(gateway_url)
        self._owned = None if inner is not None else default_pool()
        self._inner = inner or self._owned or default_pool()
        self._shape = shape or Shape()
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Seal ``request``, send it, and return the opened response, whose body streams.

        Raises:
            StaleKeyError: the gateway refused the key, the fresh one too, or the body cannot be
                sent twice.
            ReplayError, OversizeError, MalformedError, OpenError, TruncatedError: see each.
            PeerError: relay or gateway cannot be reached, or answered outside the protocol.
        """
        config = await self._keys.current()
        try:
            return await self._exchange(request, config)
        except StaleKeyError:
            if not isinstance(request.stream, httpx.ByteStream):
                raise  # its bytes are gone, and a sealed message must not be sent again
        return await self._exchange(request, await self._keys.refresh(config))

    async def aclose(self) -> None:
        """Close the connections, if this transport made them."""
        if self._owned is not None:
            await self._owned.aclose()

    async def _exchange(self, request: httpx.Request, config: KeyConfig) -> httpx.Response:
        sealer = RequestSealer(config)
        outer = httpx.Request(
            "POST",
            self._url,
            headers={"content-type": REQUEST_TYPE, "accept": RESPONSE_TYPE, "incremental": "?1"},
            content=await self._sealed(request, sealer),
            extensions={k: v for k, v in request.extensions.items() if k == "timeout"},
        )
        try:
            response = await self._inner.handle_async_request(outer)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _unreachable(error) from error
        patience = outer.extensions.get("timeout", {}).get("read")
        answer = _Answer(response, sealer.response_opener(), SealedExchange(config), patience)
        try:
            return await answer.opened()
        except BaseException:
            await answer.aclose()
            raise

    async def _sealed(
        self, request: httpx.Request, sealer: RequestSealer
    ) -> bytes | AsyncIterator[bytes]:
        """Return the sealed request: whole where its body is at hand, else as it comes."""
        encoder, blocks = RequestEncoder(), PaddedBlocks()
        padded = self._shape.pad_requests
        first = blocks.write(encoder.head(self._head(request)))
        if isinstance(request.stream, httpx.ByteStream):
            first += blocks.write(encoder.content(await request.aread()))
            *middle, last = *first, *blocks.write(encoder.end()), *blocks.end(padded=padded)
            chunks = [sealer.chunk(block) for block in middle]
            return b"".join([sealer.header, *chunks, sealer.final(last)])
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise InputError("an asynchronous transport needs an asynchronous request body")
        return _stream(request.stream, sealer, encoder, blocks, first, padded)

    def _head(self, request: httpx.Request) -> RequestHead:
        """Return what the application behind the gateway is asked."""
        url = request.url
        fields = [
            (name, value)
            for name, value in ((name.lower(), value) for name, value in request.headers.raw)
            if name not in _IDENTIFYING
            and name not in _HIDDEN
            and not name.startswith(_IDENTIFYING_PREFIX)
        ]
        # Compressed before it is sealed, an answer's length would say something of its content.
        fields.append((b"accept-encoding", b"identity"))
        fields.append((b"date", formatdate(self._clock(), usegmt=True).encode()))
        fields += self._shape.fields()
        target = url.raw_path.decode("ascii")
        return RequestHead(
            request.method, url.scheme, url.netloc.decode("ascii"), target, tuple(fields)
        )


async def _stream(
    body: httpx.AsyncByteStream,
    sealer: RequestSealer,
    encoder: RequestEncoder,
    blocks: PaddedBlocks,
    first: list[bytes],
    padded: bool,
) -> AsyncIterator[bytes]:
    """Yield a sealed request while its body is read: a block at a time, nothing kept."""
    yield b"".join([sealer.header, *(sealer.chunk(block) for block in first)])
    async for piece in body:
        for part in _parts(piece):
            for block in blocks.write(encoder.content(part)):
                yield sealer.chunk(block)
    held = None  # the last block is only known when there is no other
    for block in chain(blocks.write(encoder.end()), blocks.end(padded=padded)):
        if held is not None:
            yield sealer.chunk(held)
        held = block
    yield sealer.final(held or b"")


def _parts(piece: bytes) -> Iterator[bytes]:
    """Yield a large piece in parts, so that it is not held a second time."""
    for at in range(0, len(piece), 64 * 1024):
        yield piece[at : at + 64 * 1024]


class _Answer(httpx.AsyncByteStream):
    """A sealed response: its head first, then its content as it comes, then its end."""

    def __init__(
        self,
        response: httpx.Response,
        opener: ResponseOpener,
        exchange: SealedExchange,
        patience: float | None,
    ) -> None:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise InputError("the inner transport of a sealed one must be asynchronous")
        self._response = response
        self._stream = response.stream
        self._pieces = aiter(response.stream)
        self._opener = opener
        self._exchange = exchange
        self._decoder = Decoder("response")
        self._head: ResponseHead | None = None
        self._records: RecordReader | None = None
        self._ready: list[bytes] = []  # content that arrived with the head
        self._patience = patience  # seconds without content, or None
        self._said_at = time.monotonic()

    async def opened(self) -> httpx.Response:
        """Read up to the head; return the response inside the seal."""
        media_type = self._response.headers.get("content-type", "")
        if self._response.status_code != 200 or media_type.partition(";")[0] != RESPONSE_TYPE:
            body = await self._first_bytes(_PROBLEM_BYTES)
            raise problem.refusal(self._response.status_code, media_type, body)
        while self._head is None:
            self._ready += await self._next()
        head = self._head
        if field_of(head.headers, problem.INSIDE_HEADER) is not None:
            raise await self._refusal(head)
        return httpx.Response(
            head.status,
            headers=[(name, value) for name, value in head.headers if name not in _HIDDEN],
            stream=self,
            extensions={"sealed": self._exchange, "http_version": b"HTTP/1.1"},
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        ready, self._ready = self._ready, []
        for content in ready:
            yield content
        while not self._exchange.ended:
            content = b"".join(await self._next())  # what came together goes on together
            if content:
                yield content
                self._said_at = time.monotonic()  # a reader that took its time is not silence
            elif not self._exchange.ended:
                self._refuse_silence()

    async def aclose(self) -> None:
        """Close the outer response; if it has not ended, the relay and gateway stop serving it."""
        await self._stream.aclose()

    def _refuse_silence(self) -> None:
        """Cover keeps the connections' own time-outs from firing, also before one that hangs."""
        if self._patience is None or self._exchange.shape is None:
            return
        if time.monotonic() - self._said_at > self._patience + longest_tail(self._exchange.shape):
            raise PeerError(_SILENT)

    async def _next(self) -> list[bytes]:
        """Return the content in the next bytes, having opened and authenticated them."""
        try:
            data = await anext(self._pieces, None)
        except (httpx.HTTPError, httpx.StreamError) as error:
            if isinstance(error, httpx.TimeoutException):
                raise PeerError(_SILENT) from error
            raise TruncatedError(
                "the connection broke before the authenticated end of the answer",
                hint="what came so far is not the whole; ask again",
            ) from error
        if data is not None:
            opened = self._opener.feed(data)
        else:
            opened = self._opener.finish()
        events = [event for piece in opened for event in self._decoder.feed(piece)]
        if data is None:
            events += self._decoder.finish()
        content: list[bytes] = []
        for event in events:
            if isinstance(event, Content):
                if self._records is not None:
                    content += self._records.feed(event.data)
                else:
                    content.append(event.data)
            elif isinstance(event, ResponseHead):
                self._begin(event)
            elif isinstance(event, Trailers):
                self._exchange.trailers.update(event.fields)
        if data is None:
            self._finish()
        return content

    def _begin(self, head: ResponseHead) -> None:
        self._head = head
        self._exchange.shape = Shape.read(head.headers)
        if self._exchange.records is not None:
            self._records = RecordReader(self._exchange.records)

    def _finish(self) -> None:
        if self._records is not None:
            self._records.finish()
        self._exchange.ended = True

    async def _refusal(self, head: ResponseHead) -> Exception:
        body = b"".join([content async for content in self])
        media_type = (field_of(head.headers, b"content-type") or b"").decode("latin-1")
        return problem.refusal(head.status, media_type, body)

    async def _first_bytes(self, most: int) -> bytes:
        body = b""
        try:
            async for piece in self._pieces:
                body += piece
                if len(body) >= most:
                    break
        except (httpx.HTTPError, httpx.StreamError):
            pass  # the status alone will have to say it
        return body[:most]


def default_pool() -> httpx.AsyncHTTPTransport:
    """Return connections that follow no proxy settings of the environment.

    Idle ones are dropped before the usual five seconds after which servers close them, so that a
    request is not sent into one that is just closing: a sealed one cannot be sent twice.
    """
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=None, keepalive_expiry=2.0), trust_env=False
    )


def _unreachable(error: Exception) -> PeerError:
    if isinstance(error, httpx.TimeoutException):
        return PeerError("the relay or gateway did not answer in time", hint="is it running?")
    return PeerError(
        f"the relay or gateway cannot be reached ({failure_words(error)})",
        hint="check its URL, and that it is running",
    )
