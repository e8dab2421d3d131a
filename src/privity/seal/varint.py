"""Variable-length integers, as Binary HTTP and chunked Oblivious HTTP use them.

Source: RFC 9000 §16. The two high bits of the first byte say how many bytes there are (1, 2, 4 or
8); the rest is the value in network byte order. Longer forms than needed are valid.
"""

from __future__ import annotations

from privity.errors import OversizeError, TruncatedError

__all__ = ["MAXIMUM", "decode", "encode"]

MAXIMUM = (1 << 62) - 1


def encode(value: int) -> bytes:
    """Return the shortest form of ``value``.

    Raises:
        OversizeError: ``value`` is negative or above 2^62 - 1.
    """
    if 0 <= value < 0x40:
        return value.to_bytes(1, "big")
    if 0 <= value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if 0 <= value < 0x40000000:
        return (value | 0x80000000).to_bytes(4, "big")
    if 0 <= value <= MAXIMUM:
        return (value | 0xC000000000000000).to_bytes(8, "big")
    raise OversizeError("a length does not fit a variable-length integer (0 to 2^62 - 1)")


def decode(data: bytes | bytearray, offset: int = 0) -> tuple[int, int]:
    """Read one integer at ``offset``; return it and the offset after it.

    Raises:
        TruncatedError: ``data`` ends before the integer does.
    """
    if offset >= len(data):
        raise TruncatedError("the data ends where a variable-length integer should begin")
    first = data[offset]
    end = offset + (1 << (first >> 6))
    if end > len(data):
        raise TruncatedError("the data ends inside a variable-length integer")
    width = end - offset
    value = int.from_bytes(data[offset:end], "big") & ((1 << (8 * width - 2)) - 1)
    return value, end
