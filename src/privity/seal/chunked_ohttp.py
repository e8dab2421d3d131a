"""Chunked Oblivious HTTP: sealed requests and responses that stream, without any I/O here.

Source: draft-ietf-ohai-chunked-ohttp-08. A message is a header (request) or a nonce (response),
then chunks. Each chunk is sealed with its number, so that none can be changed, moved, repeated or
left out, and the last one is sealed as the last, so that the end cannot be moved either.

A chunk carries its length in front; the last carries zero and extends to the end of the outer
message. So only `finish`, called when the outer message has ended, authenticates the end, and what
the last chunk holds comes from there. What `feed` returned before is authentic, and incomplete.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable

from privity.errors import (
    InputError,
    MalformedError,
    OpenError,
    OversizeError,
    PrivityError,
    TruncatedError,
)
from privity.hazmat.hpke import (
    RecipientContext,
    SenderContext,
    Suite,
    setup_recipient,
    setup_sender,
)
from privity.seal import varint
from privity.seal.encapsulation import (
    HEADER_SIZE,
    TAG_SIZE,
    Labels,
    Random,
    ResponseCipher,
    find_key,
    header,
)
from privity.seal.key_config import GatewayKey, GatewayKeys, KeyConfig

__all__ = [
    "MAX_CHUNK",
    "REQUEST_TYPE",
    "RESPONSE_TYPE",
    "RequestOpener",
    "RequestSealer",
    "ResponseOpener",
    "ResponseSealer",
]

REQUEST_TYPE = "message/ohttp-chunked-req"
RESPONSE_TYPE = "message/ohttp-chunked-res"

MAX_CHUNK = 16384
"""Bytes of plaintext in one chunk that every peer takes (draft §3)."""

_LABELS = Labels(b"message/bhttp chunked request", b"message/bhttp chunked response")
_FINAL = b"final"

_Transform = Callable[[bytes, bytes], bytes]


class _Sealer:
    """What sealing a request and a response share."""

    def __init__(self, seal: _Transform, preamble: bytes, max_chunk: int) -> None:
        self._seal = seal
        self._preamble = preamble  # goes out with the first output
        self._max_chunk = max_chunk
        self._ended = False

    def chunk(self, data: bytes) -> bytes:
        """Return ``data`` as one sealed chunk; nothing for no data.

        Raises:
            OversizeError: more than the largest chunk.
            InputError: the final chunk was made before.
        """
        size = len(data)
        if not 0 < size <= self._max_chunk or self._ended:
            return self._unusual(size)
        sealed = self._seal(data, b"")
        size = len(sealed)
        # Inlined `varint.encode`: this runs once for each token of an answer.
        prefix = (0x4000 | size).to_bytes(2, "big") if 64 <= size < 0x4000 else varint.encode(size)
        if self._preamble:
            prefix, self._preamble = self._preamble + prefix, b""
        return prefix + sealed

    def final(self, data: bytes = b"") -> bytes:
        """Return the last chunk; the outer message must end with it.

        Raises:
            OversizeError: more than the largest chunk.
            InputError: the final chunk was made before.
        """
        if self._ended or len(data) > self._max_chunk:
            return self._unusual(len(data))
        self._ended = True
        preamble, self._preamble = self._preamble, b""
        return preamble + b"\x00" + self._seal(data, _FINAL)

    def _unusual(self, size: int) -> bytes:
        if self._ended:
            raise InputError("the final chunk of this message was sealed before")
        if size > self._max_chunk:
            raise OversizeError(f"a chunk is larger than {self._max_chunk} bytes")
        return b""  # a chunk that is not the last must not be empty (draft §6)


class _Opener(ABC):
    """What opening a request and a response share: chunks out of bytes split anywhere.

    Holds at most one chunk, so memory stays flat whatever the length of the message.
    """

    def __init__(self, preamble: int, max_chunk: int) -> None:
        self._open: _Transform | None = None
        self._max_sealed = max_chunk + TAG_SIZE
        self._buffer = bytearray()
        self._need = preamble  # bytes in the buffer before anything more can be done
        self._last = False  # the length in front of the final chunk was read
        self._refused = False
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the end of the message was authenticated, which only `finish` does."""
        return self._closed

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the outer message; return the plaintext they completed.

        Raises:
            OpenError: altered, out of order, or sealed for someone else.
            OversizeError: a chunk is larger than this receiver takes.
            MalformedError: bytes follow the end, or the message was refused before.
        """
        try:
            if self._refused or self._closed:
                raise MalformedError("the sealed message has ended or was refused before")
            if self._last:
                return self._keep_last(data)
            if self._buffer or self._open is None:
                self._buffer += data
                if len(self._buffer) < self._need:
                    return []
                while self._open is None:
                    self._begin()
                    if len(self._buffer) < self._need:
                        return []
                data = bytes(self._buffer)
                self._buffer.clear()
            return self._chunks(data, self._open)
        except PrivityError:
            self._refused = True
            raise

    def finish(self) -> list[bytes]:
        """Say that the outer message has ended; return the plaintext of the final chunk, if any.

        Raises:
            TruncatedError: the message stops before its end.
            OpenError: the final chunk was altered, cut or extended.
            MalformedError: the message was refused before.
        """
        if self._closed:
            return []
        try:
            if self._refused:
                raise MalformedError("the sealed message was refused before")
            if self._open is None or not self._last or len(self._buffer) < TAG_SIZE:
                raise TruncatedError("the sealed message stops before its end")
            plaintext = self._open(bytes(self._buffer), _FINAL)
        except PrivityError:
            self._refused = True
            raise
        self._closed = True
        self._buffer.clear()
        return [plaintext] if plaintext else []

    @abstractmethod
    def _begin(self) -> None:
        """Read what precedes the chunks, as far as it is in the buffer."""

    def _chunks(self, data: bytes, open_chunk: _Transform) -> list[bytes]:
        opened: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            width = 1 << (data[position] >> 6)
            start = position + width
            if start > end:
                self._need = width
                break
            if width == 2:  # inlined `varint.decode`, as above
                size = (data[position] & 0x3F) << 8 | data[position + 1]
            else:
                size, _ = varint.decode(data, position)
            if not size:
                self._last = True
                self._keep_last(data[start:])
                return opened
            if size <= TAG_SIZE:  # no room for content, which draft §6 treats as unopenable
                raise OpenError("a chunk that is not the last has no content")
            if size > self._max_sealed:
                raise OversizeError(f"a sealed chunk is larger than {self._max_sealed} bytes")
            stop = start + size
            if stop > end:
                self._need = stop - position
                break
            opened.append(open_chunk(data[start:stop], b""))
            position = stop
        self._buffer += data[position:]
        return opened

    def _keep_last(self, data: bytes) -> list[bytes]:
        self._buffer += data
        if len(self._buffer) > self._max_sealed:
            raise OversizeError(f"a sealed chunk is larger than {self._max_sealed} bytes")
        return []


class RequestSealer(_Sealer):
    """Seals one request as it is made. Run by the Client.

    Args:
        config: the key to seal to, from a verified statement.
        suite: one the configuration offers; by default the gateway's favourite.
        max_chunk: largest plaintext of a chunk, in bytes.

    Attributes:
        header: what the outer message begins with, before the first chunk.

    Guarantees:
        Only the holder of the key opens it; an altered bit, a chunk moved, repeated, left out or
        added, and a moved end are refused (tests/adversary/test_chunked_tampering.py).
    """

    def __init__(
        self, config: KeyConfig, *, suite: Suite | None = None, max_chunk: int = MAX_CHUNK
    ) -> None:
        suite = suite or config.suite
        head = header(config, suite)
        self._enc, self._context = setup_sender(suite, config.public_key, _LABELS.info(head))
        self.header = head + self._enc
        super().__init__(self._context.seal, b"", max_chunk)

    def response_opener(self, *, max_chunk: int = MAX_CHUNK) -> ResponseOpener:
        """Return what opens the response to this request."""
        return ResponseOpener(self._context, self._enc, max_chunk)


class RequestOpener(_Opener):
    """Opens one request as it arrives. Run by the Gateway.

    The header is not authenticated before the first chunk, or the final one, has opened.

    Args:
        keys: the gateway's keys.
        max_chunk: largest plaintext of a chunk to take, in bytes.

    Raises:
        StaleKeyError: from `feed`: sealed to a key or suite this gateway does not have.
    """

    def __init__(self, keys: GatewayKeys, *, max_chunk: int = MAX_CHUNK) -> None:
        super().__init__(HEADER_SIZE, max_chunk)
        self._keys = keys
        self._named: tuple[GatewayKey, Suite] | None = None
        self._received: tuple[RecipientContext, bytes] | None = None

    @property
    def enc(self) -> bytes:
        """The encapsulated secret, which names the request for replay detection.

        Raises:
            TruncatedError: it has not arrived yet.
        """
        return self._context()[1]

    @property
    def key(self) -> GatewayKey:
        """The gateway's key that the request names.

        Raises:
            TruncatedError: the header has not arrived yet.
        """
        if self._named is None:
            raise TruncatedError("the header of the sealed request has not arrived")
        return self._named[0]

    def response_sealer(
        self, *, max_chunk: int = MAX_CHUNK, random: Random = os.urandom
    ) -> ResponseSealer:
        """Return what seals the response; call it once the header has arrived.

        Raises:
            TruncatedError: it has not arrived yet.
        """
        return ResponseSealer(*self._context(), max_chunk, random)

    def _context(self) -> tuple[RecipientContext, bytes]:
        if self._received is None:
            raise TruncatedError("the header of the sealed request has not arrived")
        return self._received

    def _begin(self) -> None:
        head = bytes(self._buffer[:HEADER_SIZE])
        if self._named is None:
            self._named = find_key(self._keys, head)
            self._need = HEADER_SIZE + self._named[1].kem.n_enc
            return
        key, suite = self._named
        enc = bytes(self._buffer[HEADER_SIZE : self._need])
        context = setup_recipient(suite, key.private, enc, _LABELS.info(head))
        del self._buffer[: self._need]
        self._need = 0
        self._received = context, enc
        self._open = context.open


class ResponseSealer(_Sealer):
    """Seals one response as it is made; from `RequestOpener.response_sealer`. Run by the Gateway.

    Guarantees:
        Only the client whose request it answers opens it; an altered bit, a chunk moved, repeated,
        left out or added, and a moved end are refused (tests/adversary/test_chunked_tampering.py).
    """

    def __init__(
        self, context: RecipientContext, enc: bytes, max_chunk: int, random: Random
    ) -> None:
        nonce = random(ResponseCipher.nonce_size(context.suite))
        cipher = ResponseCipher(context, context.suite, enc, nonce, _LABELS.response)
        super().__init__(cipher.seal, nonce, max_chunk)


class ResponseOpener(_Opener):
    """Opens one response as it arrives; from `RequestSealer.response_opener`. Run by the Client."""

    def __init__(self, context: SenderContext, enc: bytes, max_chunk: int) -> None:
        super().__init__(ResponseCipher.nonce_size(context.suite), max_chunk)
        self._context = context
        self._enc = enc

    def _begin(self) -> None:
        nonce = bytes(self._buffer[: self._need])
        del self._buffer[: self._need]
        self._need = 0
        context = self._context
        cipher = ResponseCipher(context, context.suite, self._enc, nonce, _LABELS.response)
        self._open = cipher.open
