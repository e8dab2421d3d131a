"""HTTP messages as bytes: what is sealed is always one of these.

Source: RFC 9292. A message is a framing indicator, control data, a header section, content, a
trailer section and any number of zero bytes. Both framings are written and read: *known-length*
(`encode_request`, `encode_response`) and *indeterminate-length* (`RequestEncoder`,
`ResponseEncoder`), which streams.

The `Decoder` holds at most one field section and one partial integer, whatever the size of the
content, so a body of any length passes through in flat memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from privity.errors import MalformedError, OversizeError, PrivityError, TruncatedError
from privity.seal import varint
from privity.seal.http_message import (
    Content,
    Event,
    Fields,
    Head,
    Informational,
    Kind,
    RequestHead,
    ResponseHead,
    Trailers,
    field,
)

__all__ = [
    "Content",
    "Decoder",
    "Event",
    "Fields",
    "Head",
    "Informational",
    "Kind",
    "Limits",
    "RequestEncoder",
    "RequestHead",
    "ResponseEncoder",
    "ResponseHead",
    "Trailers",
    "encode_request",
    "encode_response",
    "field",
]


def encode_request(
    head: RequestHead, content: bytes = b"", trailers: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """Return a whole request in the known-length framing. Run by the Client."""
    return b"\x00" + _request_control(head) + _known(head.headers, content, Trailers((*trailers,)))


def encode_response(
    head: ResponseHead, content: bytes = b"", trailers: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """Return a whole response in the known-length framing. Run by the Gateway."""
    return (
        b"\x01" + varint.encode(head.status) + _known(head.headers, content, Trailers((*trailers,)))
    )


class _Encoder:
    """What both directions of the indeterminate-length framing share."""

    def content(self, data: bytes) -> bytes:
        """Return ``data`` as one content chunk; nothing for no data."""
        if not data:  # a chunk of length zero would be the terminator
            return b""
        return varint.encode(len(data)) + data

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return the end of the content and the trailer section; zero padding may follow."""
        return b"\x00" + _lines(Trailers((*trailers,)).fields) + b"\x00"


class RequestEncoder(_Encoder):
    """Writes one request piece by piece, in the order head, content…, end. Run by the Client.

    Source: RFC 9292 §3.2.
    """

    def head(self, head: RequestHead) -> bytes:
        """Return the framing indicator, control data and header section."""
        return b"\x02" + _request_control(head) + _lines(head.headers) + b"\x00"


class ResponseEncoder(_Encoder):
    """Writes one response piece by piece: informational…, head, content…, end. Run by the Gateway.

    Source: RFC 9292 §3.2.
    """

    def __init__(self) -> None:
        self._begun = False

    def informational(self, interim: Informational) -> bytes:
        """Return an interim response, which can only come before the head."""
        return self._begin() + varint.encode(interim.status) + _lines(interim.headers) + b"\x00"

    def head(self, head: ResponseHead) -> bytes:
        """Return the final status and header section."""
        return self._begin() + varint.encode(head.status) + _lines(head.headers) + b"\x00"

    def _begin(self) -> bytes:
        begun, self._begun = self._begun, True
        return b"" if begun else b"\x03"


def _prefixed(data: bytes) -> bytes:
    return varint.encode(len(data)) + data


def _lines(fields: Fields) -> bytes:
    return b"".join(_prefixed(part) for line in fields for part in line)


def _request_control(head: RequestHead) -> bytes:
    return b"".join(_prefixed(part) for part in head.control())


def _known(headers: Fields, content: bytes, trailers: Trailers) -> bytes:
    return _prefixed(_lines(headers)) + _prefixed(content) + _prefixed(_lines(trailers.fields))


@dataclass(frozen=True)
class Limits:
    """What a `Decoder` accepts; more is an `OversizeError` before it is held in memory.

    Attributes:
        section: bytes of one header or trailer section, and of each part of the request line.
        fields: field lines in one section.
        informational: interim responses before the final one.
        content: bytes of content; None where the caller counts them itself.
    """

    section: int = 64 * 1024
    fields: int = 256
    informational: int = 16
    content: int | None = None


_Parser = Generator[None, None, None]
_DEFAULT_LIMITS = Limits()


class Decoder:
    """Reads one message as its bytes arrive, however they are split.

    Events come in the order informational…, head, `Content`…, `Trailers`; the trailers come
    exactly once, at the latest from `finish`. A message is whole only when `finish` has returned
    *and* the seal around it has authenticated its end.

    Args:
        kind: ``request`` at the Gateway, ``response`` at the Client; the other is refused.
        limits: what to accept.

    Guarantees:
        Only `PrivityError` escapes, whatever the bytes, and the events do not depend on how they
        were split (tests/property/test_binary_http.py).
    """

    def __init__(self, kind: Kind, limits: Limits = _DEFAULT_LIMITS) -> None:
        self._kind = kind
        self._limits = limits
        self._buffer = bytearray()
        self._position = 0
        self._events: list[Event] = []
        self._finished = False
        self._refused = False
        self._at_chunk = False  # suspended where a content chunk's length should begin
        self._content = 0
        self._max_content = float("inf") if limits.content is None else limits.content
        self._parser = self._message()

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return what they completed.

        Raises:
            MalformedError: not a message of this kind.
            OversizeError: more than the limits allow.
        """
        # The hot path: one whole content chunk with a two-byte length, which is what a streamed
        # answer consists of. Everything else goes through the parser below.
        length = len(data) - 2
        if self._at_chunk and not self._buffer and 0 < length < 0x4000:
            if data[0] == 0x40 | length >> 8 and data[1] == length & 0xFF:
                self._count(length)
                return [Content(data[2:])]
        if self._finished:
            raise MalformedError("bytes follow the end of the message")
        self._buffer += data
        return self._advance()

    def finish(self) -> list[Event]:
        """Say that no more bytes come; return the events that only the end makes certain.

        Raises:
            TruncatedError: the message stops where RFC 9292 §3.8 does not allow it to.
            MalformedError: the message was refused before.
        """
        self._finished = True
        return self._advance()

    def _advance(self) -> list[Event]:
        if self._refused:
            raise MalformedError("the message was refused before")
        try:
            next(self._parser, None)
        except PrivityError:
            self._refused, self._at_chunk = True, False
            raise
        del self._buffer[: self._position]
        self._position = 0
        events, self._events = self._events, []
        return events

    # The parser is one generator that reads top to bottom like the format and is suspended
    # wherever bytes are missing, so nothing is ever parsed twice.

    def _message(self) -> _Parser:
        framing = yield from self._integer()
        if framing not in ((0, 2) if self._kind == "request" else (1, 3)):
            raise MalformedError(f"this is not a Binary HTTP {self._kind}")
        known = framing < 2
        head: Head
        if self._kind == "request":
            head = yield from self._request_head(known)
        else:
            head = yield from self._response_head(known)
        self._events.append(head)
        yield from self._known_content() if known else self._chunked_content()
        trailers = yield from self._fields(known)
        self._events.append(Trailers(trailers))
        yield from self._padding()

    def _request_head(self, known: bool) -> Generator[None, None, RequestHead]:
        control = []
        for _ in range(4):
            size = yield from self._integer()
            control.append((yield from self._part(size)))
        try:
            method, scheme, authority, path = (part.decode("ascii") for part in control)
        except UnicodeDecodeError:
            raise MalformedError("the request line has bytes outside ASCII") from None
        return RequestHead(method, scheme, authority, path, (yield from self._fields(known)))

    def _response_head(self, known: bool) -> Generator[None, None, ResponseHead]:
        for _ in range(self._limits.informational + 1):
            status = yield from self._integer()
            fields = yield from self._fields(known)
            if not 100 <= status <= 199:
                return ResponseHead(status, fields)
            self._events.append(Informational(status, fields))
        raise OversizeError(f"more than {self._limits.informational} interim responses")

    def _fields(self, known: bool) -> Generator[None, None, Fields]:
        if (yield from self._at_end()):
            return ()  # an empty section may be left out at the end (RFC 9292 §3.8)
        return (yield from self._known_fields() if known else self._terminated_fields())

    def _known_fields(self) -> Generator[None, None, Fields]:
        size = yield from self._integer()
        section = yield from self._part(size)
        parts: list[bytes] = []
        offset = 0
        try:
            while offset < size:
                length, offset = varint.decode(section, offset)
                parts.append(section[offset : offset + length])
                offset += length
                self._check_count(len(parts) // 2)
        except TruncatedError:
            offset = -1
        if offset != size or len(parts) % 2:
            raise MalformedError("a field line runs past its section")
        return tuple(zip(parts[::2], parts[1::2], strict=True))

    def _terminated_fields(self) -> Generator[None, None, Fields]:
        lines: list[tuple[bytes, bytes]] = []
        total = 0
        while name_size := (yield from self._integer()):
            name = yield from self._part(name_size)
            value_size = yield from self._integer()
            value = yield from self._part(value_size)
            lines.append((name, value))
            total += name_size + value_size
            if total > self._limits.section:
                raise OversizeError(f"a field section is larger than {self._limits.section} bytes")
            self._check_count(len(lines))
        return tuple(lines)

    def _known_content(self) -> _Parser:
        if not (yield from self._at_end()):
            yield from self._pass_on((yield from self._integer()))

    def _chunked_content(self) -> _Parser:
        while True:
            self._at_chunk = True
            ended = yield from self._at_end()
            self._at_chunk = False
            if ended and not self._content:
                return  # empty content may be left out at the end (RFC 9292 §3.8)
            size = yield from self._integer()
            if not size:
                return
            yield from self._pass_on(size)

    def _pass_on(self, size: int) -> _Parser:
        self._count(size)
        while size:
            yield from self._need(1)
            end = min(self._position + size, len(self._buffer))
            size -= end - self._position
            self._events.append(Content(bytes(self._buffer[self._position : end])))
            self._position = end

    def _padding(self) -> _Parser:
        while True:
            if self._buffer.count(0, self._position) != len(self._buffer) - self._position:
                raise MalformedError("something other than zero padding follows the message")
            self._position = len(self._buffer)
            if self._finished:
                return
            yield

    def _at_end(self) -> Generator[None, None, bool]:
        """Wait until there is a byte, or certainty that there is none."""
        while self._position == len(self._buffer):
            if self._finished:
                return True
            yield
        return False

    def _need(self, size: int) -> _Parser:
        while len(self._buffer) - self._position < size:
            if self._finished:
                raise TruncatedError("the message stops before its end")
            yield

    def _integer(self) -> Generator[None, None, int]:
        yield from self._need(1)
        start = self._position
        width = 1 << (self._buffer[start] >> 6)
        yield from self._need(width)
        start = self._position  # the buffer may have been compacted while suspended
        self._position = start + width
        value = int.from_bytes(self._buffer[start : self._position], "big")
        return value & ((1 << (8 * width - 2)) - 1)

    def _part(self, size: int) -> Generator[None, None, bytes]:
        if size > self._limits.section:
            raise OversizeError(
                f"a part of the message is larger than {self._limits.section} bytes"
            )
        yield from self._need(size)
        start = self._position
        self._position = start + size
        return bytes(self._buffer[start : self._position])

    def _count(self, size: int) -> None:
        self._content += size
        if self._content > self._max_content:
            self._refused, self._at_chunk = True, False
            raise OversizeError(f"the content is larger than {self._max_content} bytes")

    def _check_count(self, lines: int) -> None:
        if lines > self._limits.fields:
            raise OversizeError(f"more than {self._limits.fields} fields in a section")
