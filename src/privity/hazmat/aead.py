"""The authenticated ciphers of HPKE: AES-GCM and ChaCha20-Poly1305.

An `Aead` is a description; `Aead.cipher` makes the keyed object once, and a context keeps it for
all its messages, because the key schedule costs as much as sealing half a kilobyte.

Source: RFC 9180 §7.3; NIST SP 800-38D; RFC 8439.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from privity.errors import InputError

__all__ = [
    "AES_128_GCM",
    "AES_256_GCM",
    "CHACHA20_POLY1305",
    "EXPORT_ONLY",
    "Aead",
    "Bytes",
    "Cipher",
]

Bytes = bytes | bytearray | memoryview
"""What can be sealed or opened without a copy."""


class Cipher(Protocol):
    """A cipher with its key in place; the nonce is the caller's to keep unique."""

    def encrypt(self, nonce: bytes, data: Bytes, associated_data: Bytes | None) -> bytes:
        """Return the ciphertext followed by its 16-byte tag."""

    def decrypt(self, nonce: bytes, data: Bytes, associated_data: Bytes | None) -> bytes:
        """Return the plaintext, or raise `cryptography.exceptions.InvalidTag`."""


@dataclass(frozen=True)
class Aead:
    """One authenticated cipher of the HPKE registry.

    Attributes:
        id: its identifier (RFC 9180 §7.3).
        name: as people and specifications write it.
        key_size: bytes of a key, Nk.
        nonce_size: bytes of a nonce, Nn.
        tag_size: bytes by which a ciphertext is longer than its plaintext, Nt.
    """

    id: int
    name: str
    key_size: int
    nonce_size: int
    tag_size: int
    _make: Callable[[bytes], Cipher] | None = field(repr=False, compare=False)

    def cipher(self, key: bytes) -> Cipher:
        """Return the cipher keyed with ``key``.

        Raises:
            InputError: the key has the wrong size, or this is the export-only identifier.
        """
        if self._make is None:
            raise InputError(f"{self.name} has no cipher: a context of it can only export")
        if len(key) != self.key_size:
            raise InputError(f"{self.name} takes a key of {self.key_size} bytes, not {len(key)}")
        return self._make(key)


AES_128_GCM = Aead(0x0001, "AES-128-GCM", 16, 12, 16, AESGCM)
AES_256_GCM = Aead(0x0002, "AES-256-GCM", 32, 12, 16, AESGCM)
CHACHA20_POLY1305 = Aead(0x0003, "ChaCha20-Poly1305", 32, 12, 16, ChaCha20Poly1305)
EXPORT_ONLY = Aead(0xFFFF, "export-only", 0, 0, 0, None)
"""No cipher at all: a context that only derives secrets (RFC 9180 §5.3)."""
