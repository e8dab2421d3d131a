"""Names that are keys: Ed25519 ``did:key`` (W3C CCG did:key method, Multikey of W3C CID 1.0).

A did:key is the public key itself in multibase; it needs no registry, and nobody can point it at
another key.
"""

from __future__ import annotations

from functools import lru_cache

from privity.errors import MalformedError
from privity.identity import multibase

__all__ = ["encode_did", "encode_secret", "parse_did", "parse_secret", "verification_method"]

_PREFIX = "did:key:"
_ED25519_PUB = b"\xed\x01"  # multicodec 0xed as a varint
_ED25519_PRIV = b"\x80\x26"  # multicodec 0x1300 as a varint
_MAX_CHARS = 64

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
# The y coordinates of the eight points of small order. With such a "key" one signature fits every
# message, so its holder could deny having signed any particular one.
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def encode_did(public_key: bytes) -> str:
    """Return the did:key of 32 Ed25519 public key bytes.

    Raises:
        MalformedError: not an Ed25519 public key.
    """
    _check_point(public_key)
    return _PREFIX + multibase.encode_z(_ED25519_PUB + public_key)


@lru_cache(maxsize=1024)  # the same few keys come back with every receipt
def parse_did(did: str) -> bytes:
    """Return the 32 public key bytes a did:key names.

    Raises:
        MalformedError: another method or key type, a second spelling, or no usable Ed25519 point.

    Guarantees:
        ``encode_did(parse_did(did)) == did``, and a key of small order is refused
        (tests/vectors/test_identity_vectors.py, tests/property/test_identity.py).
    """
    if not did.startswith(_PREFIX) or len(did) > _MAX_CHARS:
        raise MalformedError("not a did:key")
    data = multibase.decode(did[len(_PREFIX) :], allowed="z")
    if data[:2] != _ED25519_PUB or len(data) != 34:
        raise MalformedError("a did:key, but not of an Ed25519 key")
    _check_point(data[2:])
    return data[2:]


def verification_method(did: str) -> str:
    """Return the DID URL of the one key in the did:key's document: ``did:key:z…#z…``."""
    return f"{did}#{did.removeprefix(_PREFIX)}"


def encode_secret(seed: bytes) -> str:
    """Return a 32-byte Ed25519 seed as a Multikey secret, ``z3u2…``. It is the secret itself."""
    return multibase.encode_z(_ED25519_PRIV + seed)


def parse_secret(text: str) -> bytes:
    """Return the 32-byte seed in what `encode_secret` writes.

    Raises:
        MalformedError: it is something else.
    """
    data = multibase.decode(text, allowed="z")
    if data[:2] != _ED25519_PRIV or len(data) != 34:
        raise MalformedError("not an Ed25519 Multikey secret")
    return data[2:]


def _check_point(key: bytes) -> None:
    """Refuse all but the canonical encodings of points of large order (RFC 8032 §5.1.3)."""
    if len(key) != 32:
        raise MalformedError(f"an Ed25519 public key of {len(key)} bytes; it has 32")
    y = int.from_bytes(key, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER:
        raise MalformedError("an Ed25519 public key that nobody's signatures can be pinned to")
    # x² = (y² - 1) / (d y² + 1) must be a square; the denominator is never 0 as -1/d is no square.
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise MalformedError("an Ed25519 public key that is not a point of the curve")
