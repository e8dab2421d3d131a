"""DHKEM(X25519, HKDF-SHA256), KEM 0x0020: the mechanism every Oblivious HTTP peer has.

Source: RFC 9180 §4.1, §7.1; RFC 7748.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from privity.errors import InputError, MalformedError, OpenError
from privity.hazmat.kdf import labeled_expand, labeled_extract
from privity.hazmat.kem import Entropy, Kem, KemPrivateKey

__all__ = ["DhkemX25519", "DhkemX25519Key"]

_SUITE_ID = b"KEM\x00\x20"


class DhkemX25519Key(KemPrivateKey):
    """A private key of `DhkemX25519`."""

    __slots__ = ("x25519",)
    kem_id = 0x0020

    def __init__(self, x25519: X25519PrivateKey) -> None:
        self.x25519 = x25519
        self.public_bytes = x25519.public_key().public_bytes_raw()


@dataclass(frozen=True)
class DhkemX25519(Kem):
    """Diffie-Hellman over Curve25519 with HKDF-SHA256; not safe against a quantum computer.

    Args:
        entropy: where keys come from. None: OpenSSL's generator, whose output never passes
            through Python's memory.
    """

    entropy: Entropy | None = field(default=None, repr=False)

    id: ClassVar[int] = 0x0020
    name: ClassVar[str] = "X25519"
    n_secret: ClassVar[int] = 32
    n_enc: ClassVar[int] = 32
    n_pk: ClassVar[int] = 32
    n_sk: ClassVar[int] = 32

    def generate(self) -> DhkemX25519Key:
        """Return a fresh key pair."""
        return DhkemX25519Key(self._new_secret())

    def derive_key_pair(self, ikm: bytes) -> DhkemX25519Key:
        """Return the key pair that ``ikm`` determines (RFC 9180 §7.1.3)."""
        if len(ikm) < self.n_sk:
            raise InputError(f"X25519 key pairs derive from {self.n_sk} bytes or more")
        prk = labeled_extract(_SUITE_ID, b"", b"dkp_prk", ikm)
        return self.load_private_key(labeled_expand(_SUITE_ID, prk, b"sk", b"", self.n_sk))

    def load_private_key(self, data: bytes) -> DhkemX25519Key:
        """Return the key pair of a 32-byte private key; X25519 itself clamps it."""
        if len(data) != self.n_sk:
            raise InputError(f"an X25519 private key is {self.n_sk} bytes, not {len(data)}")
        return DhkemX25519Key(X25519PrivateKey.from_private_bytes(data))

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return ``(shared_secret, enc)`` for the holder of ``public_key``.

        Guarantees:
            A public key of low order, for which the secret would be known to all, is refused
            (RFC 9180 §7.1.4): `test_low_order_public_key_is_refused`.
        """
        ephemeral = self._new_secret()
        enc = ephemeral.public_key().public_bytes_raw()
        try:
            dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
        except ValueError:
            raise MalformedError("the bytes are not a usable X25519 public key") from None
        return _shared_secret(dh, enc, public_key), enc

    def decapsulate(self, private_key: KemPrivateKey, enc: bytes) -> bytes:
        """Return the shared secret that ``enc`` carries.

        Guarantees:
            An ``enc`` of low order is refused (RFC 9180 §7.1.4): `test_low_order_enc_is_refused`.
        """
        if not isinstance(private_key, DhkemX25519Key):
            raise InputError("the private key is not an X25519 one")
        try:
            # OpenSSL refuses an all-zero result, in constant time; it comes out as ValueError.
            dh = private_key.x25519.exchange(X25519PublicKey.from_public_bytes(enc))
        except ValueError:
            raise OpenError("the sealed message cannot be opened with this key") from None
        return _shared_secret(dh, enc, private_key.public_bytes)

    def _new_secret(self) -> X25519PrivateKey:
        """Draw a private key."""
        if self.entropy is None:
            return X25519PrivateKey.generate()
        return X25519PrivateKey.from_private_bytes(self.entropy(self.n_sk))


def _shared_secret(dh: bytes, enc: bytes, public_key: bytes) -> bytes:
    """Bind the Diffie-Hellman result to both public values (ExtractAndExpand, §4.1)."""
    prk = labeled_extract(_SUITE_ID, b"", b"eae_prk", dh)
    return labeled_expand(_SUITE_ID, prk, b"shared_secret", enc + public_key, 32)
