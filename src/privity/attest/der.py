"""As much of DER (X.690 §10) as certificates need beyond what `cryptography` shows of them."""

from __future__ import annotations

from dataclasses import dataclass

from privity.errors import MalformedError

__all__ = [
    "BIT_STRING",
    "IA5_STRING",
    "INTEGER",
    "OCTET_STRING",
    "SEQUENCE",
    "Element",
    "read_der",
    "write_der",
]

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
IA5_STRING = 0x16
SEQUENCE = 0x30


@dataclass(frozen=True)
class Element:
    """One element, with its place in what it was read from.

    Attributes:
        tag: the identifier octet.
        content: its contents octets.
        start: where its identifier octet is.
        end: where the next element begins.
    """

    tag: int
    content: bytes
    start: int
    end: int


def read_der(data: bytes, at: int = 0) -> Element:
    """Return the element at ``at``.

    Raises:
        MalformedError: none is there, or its tag or length is in a form DER does not allow or
            certificates do not need (tags above 30, more than 64 KiB).
    """
    head = data[at : at + 4]
    if len(head) < 2 or head[0] & 0x1F == 0x1F:
        raise MalformedError("DER: an element is cut short, or has a long tag")
    size, start = head[1], at + 2
    if size == 0x81 and len(head) > 2 and head[2] >= 0x80:
        size, start = head[2], at + 3
    elif size == 0x82 and len(head) > 3 and head[2] > 0:
        size, start = head[2] << 8 | head[3], at + 4
    elif size >= 0x80:
        raise MalformedError("DER: a length is not in its shortest form, or is above 64 KiB")
    content = data[start : start + size]
    if len(content) != size:
        raise MalformedError("DER: an element is cut short")
    return Element(head[0], content, at, start + size)


def write_der(tag: int, content: bytes) -> bytes:
    """Return an element of at most 64 KiB."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    return bytes((tag, 0x82)) + size.to_bytes(2, "big") + content
