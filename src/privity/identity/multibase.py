"""Bytes as text: hex, base64, base64url, and multibase of prefix ``z`` (base58btc) or ``u``.

Each reader takes one spelling of each byte string: ours is base64url; the others are of formats
that others made.

Source: RFC 4648 §4, §5 (base64url, no padding) and §8, draft-multiformats-multibase, W3C CID
1.0 §2.4.
"""

from __future__ import annotations

import base64
import binascii

import base58

from privity.errors import MalformedError

__all__ = [
    "MAX_BASE58_CHARS",
    "decode",
    "decode_base64",
    "decode_base64url",
    "decode_hex",
    "encode_base64",
    "encode_base64url",
    "encode_z",
]

MAX_BASE58_CHARS = 256
"""Base58 decodes in quadratic time, so only keys and signatures travel in it, never bodies."""


def encode_base64url(data: bytes) -> str:
    """Return ``data`` as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """Read what `encode_base64url` writes, and nothing else.

    Raises:
        MalformedError: a character outside the alphabet, padding, or unused bits that are not zero.

    Guarantees:
        One spelling for each byte string (tests/property/test_identity.py).
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64url: a wrong character or length") from None
    # The decoder ignores the unused low bits of the last character, and takes + and / as well.
    if encode_base64url(data) != text:
        raise MalformedError("not base64url in its one canonical spelling")
    return data


def encode_base64(data: bytes) -> str:
    """Return ``data`` as base64 of the standard alphabet, padded."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Read what `encode_base64` writes, and nothing else.

    Raises:
        MalformedError: a character outside the alphabet, padding that is missing or too much, or
            unused bits that are not zero.

    Guarantees:
        One spelling for each byte string (tests/property/test_identity.py).
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64: a wrong character or length") from None
    if encode_base64(data) != text:
        raise MalformedError("not base64 in its one canonical spelling")
    return data


def decode_hex(text: str) -> bytes:
    """Read hexadecimal in lower case, and nothing else.

    Raises:
        MalformedError: another character, white space among them, or an odd number of them.

    Guarantees:
        One spelling for each byte string (tests/property/test_identity.py).
    """
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise MalformedError("not hexadecimal: a wrong character or length") from None
    # The decoder skips white space, and takes capitals.
    if data.hex() != text:
        raise MalformedError("not hexadecimal in its one spelling, lower-case without spaces")
    return data


def encode_z(data: bytes) -> str:
    """Return ``data`` as multibase base58btc: ``z…``."""
    return "z" + base58.b58encode(data).decode("ascii")


def decode(text: str, *, allowed: str = "zu") -> bytes:
    """Read a multibase string whose prefix is one of ``allowed``.

    Raises:
        MalformedError: another prefix, a wrong character, a second spelling, or a base58 text of
            more than `MAX_BASE58_CHARS`.
    """
    prefix, body = text[:1], text[1:]
    if not prefix or prefix not in allowed:
        raise MalformedError(f"not multibase: it must begin with one of {', '.join(allowed)}")
    if prefix == "u":
        return decode_base64url(body)
    if prefix != "z":
        raise MalformedError("not multibase of a kind privity reads")
    return _decode_base58(body)


def _decode_base58(text: str) -> bytes:
    if len(text) > MAX_BASE58_CHARS:
        raise MalformedError(f"base58 text longer than {MAX_BASE58_CHARS} characters")
    try:
        data = base58.b58decode(text)
    except ValueError:
        raise MalformedError("not base58btc: a wrong character") from None
    # The library forgives trailing white space; a second spelling would survive a flipped bit.
    if base58.b58encode(data).decode("ascii") != text:
        raise MalformedError("not base58btc in its one canonical spelling")
    return data
