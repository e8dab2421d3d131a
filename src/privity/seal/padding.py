"""Sizes that say little: messages are lengthened to one of few sizes before they are sealed.

A sealed message shows its size. Binary HTTP allows any number of zero bytes after it
(RFC 9292 §3.8), so messages are lengthened to a *bucket*: a power of two from 1 KiB to 16 KiB,
then eight even steps from each power of two to the next. Above 1 KiB, padding adds less than 100 %
up to 16 KiB and less than 12.5 % beyond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from privity.errors import InputError
from privity.seal import varint
from privity.seal.binary_http import ResponseEncoder
from privity.seal.http_message import ResponseHead

__all__ = ["PAD_HEADER", "PaddedBlocks", "bucket", "pad", "pad_head"]

PAD_HEADER = b"privity-pad"
"""Header field that lengthens a response's header section to a bucket. Its value means nothing."""

_SMALLEST = 1024
_COARSE = 16384
_STEPS = 8


def bucket(size: int) -> int:
    """Return the smallest bucket that holds ``size`` bytes."""
    if size <= _SMALLEST:
        return _SMALLEST
    power = 1 << (size - 1).bit_length()
    if power <= _COARSE:
        return power
    step = (power >> 1) // _STEPS
    return -(-size // step) * step


def pad(message: bytes) -> bytes:
    """Return a Binary HTTP message, or the last part of one, with zero bytes up to its bucket.

    Guarantees:
        Messages of one bucket have one size, sealed too (tests/property/test_sizes.py).
    """
    return message + bytes(bucket(len(message)) - len(message))


def pad_head(head: ResponseHead) -> ResponseHead:
    """Return ``head`` with a `PAD_HEADER` field that brings its encoding to a bucket.

    The encoding meant is that of `ResponseEncoder.head` as the first output.
    """
    bare = len(ResponseEncoder().head(_with_pad(head, 0)))
    target = bucket(bare)
    if target - bare == 64:
        # A value of 63 bytes takes 64 with its length, one of 64 takes 66: nothing takes 65.
        target = bucket(target + 1)
    missing = target - bare + 1  # for the value and its length, of which an empty one takes 1
    return _with_pad(head, missing - len(varint.encode(missing - 1)))


def _with_pad(head: ResponseHead, size: int) -> ResponseHead:
    return replace(head, headers=(*head.headers, (PAD_HEADER, b"0" * size)))


class PaddedBlocks:
    """Cuts a streamed message into blocks whose number and sizes depend on its bucket only.

    Give each of the returned blocks to `RequestSealer.chunk`, and what `end` returns last to
    `RequestSealer.final`. How the message was written does not show.

    Args:
        size: bytes of a block, at most the largest chunk of the sealer.
    """

    def __init__(self, size: int = 16384) -> None:
        if size < 1:
            raise InputError("a block has at least one byte")
        self._size = size
        self._buffer = bytearray()
        self._total = 0

    def write(self, data: bytes) -> list[bytes]:
        """Take some of the message; return the blocks that are certainly not the last."""
        self._total += len(data)
        self._buffer += data
        return self._full()

    def end(self, *, padded: bool = True) -> Iterator[bytes]:
        """Yield the remaining blocks, at least one, the last for the final chunk.

        Made one by one: the padding of a large message is larger than memory should hold.
        """
        missing = bucket(self._total) - self._total if padded else 0
        while missing > self._size:
            self._buffer += bytes(self._size)
            missing -= self._size
            yield from self._full()
        self._buffer += bytes(missing)
        yield from self._full()
        yield bytes(self._buffer)
        self._buffer.clear()

    def _full(self) -> list[bytes]:
        # One byte stays behind, so that the final chunk is never an afterthought of its own.
        count = max(len(self._buffer) - 1, 0) // self._size
        blocks = [
            bytes(self._buffer[index * self._size : (index + 1) * self._size])
            for index in range(count)
        ]
        del self._buffer[: count * self._size]
        return blocks
