"""Salted digests of request and answer bodies.

A plain digest of a short prompt can be guessed. These carry 32 random bytes that only the device
and the enclave know; without them a digest says nothing, and whoever holds the body and the salt
can show that it is the one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Literal

from privity.errors import MalformedError
from privity.identity.digests import digest
from privity.identity.multibase import decode_base64url, encode_base64url

__all__ = [
    "SALT_BYTES",
    "SALT_HEADER",
    "BodyDigest",
    "decode_salt",
    "encode_salt",
    "new_salt",
    "salt_commitment",
]

SALT_BYTES = 32

SALT_HEADER = "privity-salt"
"""The sealed request header in which the device tells the enclave the salt."""


def new_salt(*, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return a fresh salt. One salt serves one request and its answer, never two."""
    return entropy(SALT_BYTES)


def encode_salt(salt: bytes) -> str:
    """Return the salt as `SALT_HEADER` carries it."""
    return encode_base64url(_checked(salt))


def decode_salt(text: str) -> bytes:
    """Read what `encode_salt` writes.

    Raises:
        MalformedError: anything else.
    """
    if len(text) > 64:
        raise MalformedError(f"a receipt salt has {SALT_BYTES} bytes")
    return _checked(decode_base64url(text))


def salt_commitment(salt: bytes) -> str:
    """Return the digest by which a record fixes its salt without telling it."""
    return digest(b"privity/receipt/salt/v1\0" + _checked(salt))


class BodyDigest:
    """The salted digest of one body, fed as the body passes.

    SHA-256 of the label ``privity/receipt/<request|answer|sent>/v1``, a zero byte, the salt, the
    body.

    Args:
        kind: whether it is the request's or the answer's body, or what was sent to a provider.
        salt: the job's 32-byte salt.

    Raises:
        MalformedError: a salt of another length.

    Guarantees:
        Independent of how the body is cut into pieces, and no byte can move between label, salt
        and body: one ends at its zero byte, the other has a fixed length
        (tests/property/test_receipt.py).
    """

    def __init__(self, kind: Literal["request", "answer", "sent"], salt: bytes) -> None:
        self._hash = hashlib.sha256(f"privity/receipt/{kind}/v1\0".encode() + _checked(salt))

    def update(self, data: bytes) -> BodyDigest:
        """Add the next bytes of the body, and return itself."""
        self._hash.update(data)
        return self

    def digest(self) -> str:
        """Return ``sha256:<hex>`` of all bytes so far."""
        return "sha256:" + self._hash.hexdigest()


def _checked(salt: bytes) -> bytes:
    if len(salt) != SALT_BYTES:
        raise MalformedError(f"a receipt salt has {SALT_BYTES} bytes")
    return salt
