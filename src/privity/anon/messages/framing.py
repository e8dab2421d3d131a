"""Frames on a stream: bytes after their length, seven bits a byte, as everywhere in libp2p."""

from __future__ import annotations

__all__ = ["prefixed"]


def prefixed(data: bytes) -> bytes:
    """Return the bytes after their length."""
    length, out = len(data), bytearray()
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + data
