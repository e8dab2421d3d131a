"""X-Wing, KEM 0x647a: ML-KEM-768 and X25519 together, so that breaking one breaks nothing.

What is sealed today may be stored and opened by a quantum computer later; X25519 alone would
then fall. X-Wing stays secret while either half stands. It is the same KEM that
draft-ietf-hpke-pq calls MLKEM768-X25519.

Source: draft-connolly-cfrg-xwing-kem (§5 construction); FIPS 203; draft-ietf-hpke-pq for deriving
a key pair from key material, which it fixes with test vectors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from privity.errors import InputError, MalformedError, OpenError
from privity.hazmat.kdf import labeled_derive
from privity.hazmat.kem import Entropy, Kem, KemPrivateKey

__all__ = ["XWing", "XWingKey"]

_SUITE_ID = b"KEM\x64\x7a"
_LABEL = b"\\.//^\\"  # the X-Wing of the draft, drawn in six bytes
_MLKEM_CIPHERTEXT = 1088
_MLKEM_PUBLIC_KEY = 1184


class XWingKey(KemPrivateKey):
    """A private key of `XWing`: both halves, and the X25519 public key that the combiner hashes."""

    __slots__ = ("mlkem", "x25519", "x25519_public")
    kem_id = 0x647A

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self.mlkem = mlkem
        self.x25519 = x25519
        self.x25519_public = x25519.public_key().public_bytes_raw()
        self.public_bytes = mlkem.public_key().public_bytes_raw() + self.x25519_public


@dataclass(frozen=True)
class XWing(Kem):
    """The hybrid of ML-KEM-768 and X25519.

    Args:
        entropy: where key pairs and the X25519 half of an encapsulation come from. None: OpenSSL's
            generator, whose output never passes through Python's memory. The ML-KEM half of an
            encapsulation always draws from OpenSSL: `cryptography` offers no other way, so the
            draft's vectors check key derivation and decapsulation, not encapsulation.
    """

    entropy: Entropy | None = field(default=None, repr=False)

    id: ClassVar[int] = 0x647A
    name: ClassVar[str] = "X-Wing"
    n_secret: ClassVar[int] = 32
    n_enc: ClassVar[int] = _MLKEM_CIPHERTEXT + 32
    n_pk: ClassVar[int] = _MLKEM_PUBLIC_KEY + 32
    n_sk: ClassVar[int] = 32

    def generate(self) -> XWingKey:
        """Return a fresh key pair."""
        if self.entropy is None:
            # Two independent draws inside OpenSSL, instead of the draft's expansion of one seed:
            # nobody can tell the difference, and no seed lies in Python's memory.
            return XWingKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
        return self.load_private_key(self.entropy(self.n_sk))

    def derive_key_pair(self, ikm: bytes) -> XWingKey:
        """Return the key pair that ``ikm`` determines (draft-ietf-hpke-pq, DeriveKeyPair)."""
        if len(ikm) < self.n_sk:
            raise InputError(f"X-Wing key pairs derive from {self.n_sk} bytes or more")
        seed = labeled_derive(_SUITE_ID, ikm, b"DeriveKeyPair", b"", self.n_sk)
        return self.load_private_key(seed)

    def load_private_key(self, data: bytes) -> XWingKey:
        """Return the key pair of a 32-byte seed, the draft's decapsulation key (§5.2)."""
        if len(data) != self.n_sk:
            raise InputError(f"an X-Wing private key is {self.n_sk} bytes, not {len(data)}")
        expanded = hashlib.shake_256(data).digest(96)
        return XWingKey(
            MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            X25519PrivateKey.from_private_bytes(expanded[64:]),
        )

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return ``(shared_secret, enc)`` for the holder of ``public_key`` (§5.4).

        Guarantees:
            An ML-KEM key with coefficients out of range (FIPS 203 §7.2) or an X25519 key of low
            order is refused: `test_malformed_public_keys_are_refused`.
        """
        if len(public_key) != self.n_pk:
            raise MalformedError(
                f"an X-Wing public key is {self.n_pk} bytes, not {len(public_key)}"
            )
        x25519_public = public_key[_MLKEM_PUBLIC_KEY:]
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_PUBLIC_KEY])
            ephemeral = self._new_x25519()
            dh = ephemeral.exchange(X25519PublicKey.from_public_bytes(x25519_public))
        except ValueError:
            raise MalformedError("the bytes are not a usable X-Wing public key") from None
        mlkem_secret, mlkem_enc = mlkem.encapsulate()
        x25519_enc = ephemeral.public_key().public_bytes_raw()
        return _combine(mlkem_secret, dh, x25519_enc, x25519_public), mlkem_enc + x25519_enc

    def decapsulate(self, private_key: KemPrivateKey, enc: bytes) -> bytes:
        """Return the shared secret that ``enc`` carries (§5.5).

        An altered ML-KEM half is not noticed here: FIPS 203 then gives an unrelated secret, and
        opening the message fails. An X25519 half of low order is refused, which is stricter than
        the draft; no honest sender makes one.
        """
        if not isinstance(private_key, XWingKey):
            raise InputError("the private key is not an X-Wing one")
        x25519_enc = enc[_MLKEM_CIPHERTEXT:]
        try:
            dh = private_key.x25519.exchange(X25519PublicKey.from_public_bytes(x25519_enc))
            mlkem_secret = private_key.mlkem.decapsulate(enc[:_MLKEM_CIPHERTEXT])
        except ValueError:
            raise OpenError("the sealed message cannot be opened with this key") from None
        return _combine(mlkem_secret, dh, x25519_enc, private_key.x25519_public)

    def _new_x25519(self) -> X25519PrivateKey:
        """Draw the ephemeral X25519 key."""
        if self.entropy is None:
            return X25519PrivateKey.generate()
        return X25519PrivateKey.from_private_bytes(self.entropy(32))


def _combine(mlkem_secret: bytes, dh: bytes, x25519_enc: bytes, x25519_public: bytes) -> bytes:
    """Hash both secrets with the X25519 transcript (§5.3); ML-KEM binds its own ciphertext."""
    return hashlib.sha3_256(mlkem_secret + dh + x25519_enc + x25519_public + _LABEL).digest()
