"""What a key encapsulation mechanism is to HPKE: the interface each `kem_*.py` implements.

A sender encapsulates to a public key and gets a fresh shared secret and ``enc``, the bytes that
carry it; the recipient decapsulates ``enc`` with the private key and gets the same secret.
Source: RFC 9180 §4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NoReturn

__all__ = ["Entropy", "Kem", "KemPrivateKey"]

Entropy = Callable[[int], bytes]
"""A source of that many uniformly random bytes. Given only by tests and test vectors."""


class KemPrivateKey(ABC):
    """A recipient's private key, held by the cryptographic library and never shown.

    There is no way to export it: privity's sealing keys live and die in one process. OpenSSL
    overwrites the key when the last reference goes.

    Attributes:
        kem_id: identifier of the KEM that it belongs to.
        public_bytes: the serialised public key.
    """

    __slots__ = ("public_bytes",)
    kem_id: ClassVar[int]
    public_bytes: bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of public key {self.public_bytes[:4].hex()}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")


class Kem(ABC):
    """A key encapsulation mechanism of the HPKE registry.

    Attributes:
        id: its identifier (RFC 9180 §7.1).
        name: as people and specifications write it.
        n_secret: bytes of a shared secret, Nsecret.
        n_enc: bytes of an encapsulated secret, Nenc.
        n_pk: bytes of a public key, Npk.
        n_sk: bytes of a serialised private key, Nsk.
    """

    id: ClassVar[int]
    name: ClassVar[str]
    n_secret: ClassVar[int]
    n_enc: ClassVar[int]
    n_pk: ClassVar[int]
    n_sk: ClassVar[int]

    @abstractmethod
    def generate(self) -> KemPrivateKey:
        """Return a fresh key pair. Run by the recipient."""

    @abstractmethod
    def derive_key_pair(self, ikm: bytes) -> KemPrivateKey:
        """Return the key pair that ``ikm``, at least `n_sk` secret bytes, determines.

        Raises:
            InputError: ``ikm`` is shorter than `n_sk` bytes.
        """

    @abstractmethod
    def load_private_key(self, data: bytes) -> KemPrivateKey:
        """Return the key pair of a serialised private key.

        Raises:
            InputError: ``data`` is not `n_sk` bytes.
        """

    @abstractmethod
    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return ``(shared_secret, enc)`` for the holder of ``public_key``. Run by the sender.

        Raises:
            MalformedError: ``public_key`` is not a public key of this KEM, or is a weak one.
        """

    @abstractmethod
    def decapsulate(self, private_key: KemPrivateKey, enc: bytes) -> bytes:
        """Return the shared secret that ``enc`` carries. Run by the recipient.

        Raises:
            OpenError: ``enc`` cannot be one made for this key; it does not say why.
            InputError: ``private_key`` belongs to another KEM.
        """
