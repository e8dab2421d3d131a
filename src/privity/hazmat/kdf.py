"""HKDF-SHA256 and the labelled forms in which HPKE uses it.

Every HPKE derivation names its protocol, its suite and its purpose, so that two of them never
share an input. Source: RFC 5869; RFC 9180 §4; for `labeled_derive`, draft-ietf-hpke-hpke §4.

The standard library's one-shot HMAC is used rather than `cryptography`'s HKDF: the inputs are a
few dozen bytes, and building an HKDF object costs more than the hash.
"""

from __future__ import annotations

import hashlib
import hmac

from privity.errors import InputError

__all__ = [
    "HASH_SIZE",
    "HKDF_SHA256",
    "expand",
    "extract",
    "labeled_derive",
    "labeled_expand",
    "labeled_extract",
]

HKDF_SHA256 = 0x0001
"""The HPKE identifier of this KDF (RFC 9180 §7.2)."""

HASH_SIZE = 32
"""Bytes of one SHA-256 output, Nh in RFC 9180."""

_VERSION = b"HPKE-v1"
_BLOCKS = tuple(bytes([counter]) for counter in range(1, 256))


def extract(salt: bytes, input_key: bytes) -> bytes:
    """Concentrate ``input_key`` into one pseudorandom key of 32 bytes (RFC 5869 §2.2)."""
    return hmac.digest(salt, input_key, "sha256")


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """Stretch a pseudorandom key to ``length`` bytes bound to ``info`` (RFC 5869 §2.3).

    Raises:
        InputError: ``length`` is negative or above 255 × 32 bytes, which HKDF cannot give.
    """
    if not 0 <= length <= 255 * HASH_SIZE:
        raise InputError(f"HKDF-SHA256 gives 0 to {255 * HASH_SIZE} bytes, not {length}")
    block = b""
    output = b""
    for counter in _BLOCKS[: -(-length // HASH_SIZE)]:
        block = hmac.digest(key, block + info + counter, "sha256")
        output += block
    return output[:length]


def labeled_extract(suite_id: bytes, salt: bytes, label: bytes, input_key: bytes) -> bytes:
    """`extract` bound to HPKE version 1, a suite and a purpose (RFC 9180 §4)."""
    return extract(salt, _VERSION + suite_id + label + input_key)


def labeled_expand(suite_id: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """`expand` bound to HPKE version 1, a suite, a purpose and the length (RFC 9180 §4).

    Raises:
        InputError: ``length`` is out of range, see `expand`.
    """
    if not 0 <= length <= 255 * HASH_SIZE:  # before it is put into two bytes
        raise InputError(f"HKDF-SHA256 gives 0 to {255 * HASH_SIZE} bytes, not {length}")
    return expand(key, length.to_bytes(2, "big") + _VERSION + suite_id + label + info, length)


def labeled_derive(
    suite_id: bytes, input_key: bytes, label: bytes, context: bytes, length: int
) -> bytes:
    """SHAKE256 bound to HPKE version 1, a suite, a purpose and the length (draft-ietf-hpke-hpke).

    This is the one-step derivation of the post-quantum KEMs; their key pairs come from it.
    """
    message = input_key + _VERSION + suite_id + len(label).to_bytes(2, "big") + label
    message += length.to_bytes(2, "big") + context
    return hashlib.shake_256(message).digest(length)
