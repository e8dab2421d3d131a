"""Ed25519 keys (RFC 8032) whose public half is a did:key."""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from privity.errors import MalformedError, OpenError
from privity.identity.did_key import encode_did, parse_did

__all__ = ["SigningKey", "VerifyKey"]


class VerifyKey:
    """The public half: checks signatures of the holder of one did:key.

    Attributes:
        did: the did:key.
        public_bytes: its 32 bytes.
    """

    __slots__ = ("_key", "did", "public_bytes")

    def __init__(self, did: str) -> None:
        self.public_bytes = parse_did(did)
        self.did = did
        self._key = Ed25519PublicKey.from_public_bytes(self.public_bytes)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if ``signature`` is this key's over ``message``.

        Raises:
            OpenError: the signature is of another key or another message, or was altered.

        Guarantees:
            Strong unforgeability: no second signature on the same message can be made from a
            first one (tests/unit/test_keys.py).
        """
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise OpenError("the signature is not of this key over these bytes") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyKey) and other.did == self.did

    def __hash__(self) -> int:
        return hash(self.did)

    def __repr__(self) -> str:
        return f"VerifyKey({self.did!r})"


class SigningKey:
    """The private half. It shows its did:key and nothing else.

    Args:
        seed: the 32-byte secret; `generate` makes a new one.
    """

    __slots__ = ("_key", "verify_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise MalformedError("an Ed25519 seed has 32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verify_key = VerifyKey(encode_did(self._key.public_key().public_bytes_raw()))

    @classmethod
    def generate(cls, *, entropy: Callable[[int], bytes] = os.urandom) -> SigningKey:
        """Return a new key from ``entropy``, by default the operating system's."""
        return cls(entropy(32))

    @property
    def did(self) -> str:
        """The did:key of the public half."""
        return self.verify_key.did

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over ``message``; deterministic (RFC 8032)."""
        return self._key.sign(message)

    def unsafe_seed(self) -> bytes:
        """Return the secret itself. Only a keystore has a use for it."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey(did={self.did!r})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not serialised; a keystore holds it")
