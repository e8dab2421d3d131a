"""HPKE in base mode, with contexts: one encapsulation, then many messages in order.

A sender seals to a public key; only the holder of the private key opens. Base mode says nothing
about who the sender is. `cryptography` has HPKE as a one-shot only; Oblivious HTTP needs
contexts and exported secrets, so they are here, and are cross-checked against it.

Source: RFC 9180 §5, §6.1 and §7; KEM 0x647a from draft-connolly-cfrg-xwing-kem.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NoReturn

from cryptography.exceptions import InvalidTag

from privity.errors import InputError, MalformedError, OpenError, OversizeError, SealError
from privity.hazmat.aead import (
    AES_128_GCM,
    AES_256_GCM,
    CHACHA20_POLY1305,
    EXPORT_ONLY,
    Aead,
    Bytes,
    Cipher,
)
from privity.hazmat.kdf import HASH_SIZE, HKDF_SHA256, labeled_expand, labeled_extract
from privity.hazmat.kem import Kem, KemPrivateKey
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing

__all__ = [
    "DEFAULT",
    "KEMS",
    "SUITES",
    "RecipientContext",
    "SenderContext",
    "Suite",
    "setup_recipient",
    "setup_sender",
    "suite",
]

_MODE_BASE = b"\x00"
_NONCE_SIZE = 12  # of every cipher in the registry
_MAX_MESSAGE = 1 << 30  # OpenSSL counts in signed 32 bits; `cryptography` panics above
_LAST_NUMBER = (1 << 8 * _NONCE_SIZE) - 2  # RFC 9180 §5.2: the largest is never used


class _NoCipher:
    """The cipher of an export-only context: there is none."""

    def encrypt(self, nonce: bytes, data: Bytes, associated_data: Bytes | None) -> bytes:
        raise InputError("an export-only HPKE context does not seal")

    def decrypt(self, nonce: bytes, data: Bytes, associated_data: Bytes | None) -> bytes:
        raise InputError("an export-only HPKE context does not open")


_NO_CIPHER = _NoCipher()


@dataclass(frozen=True)
class Suite:
    """A KEM, a KDF and an AEAD that are used together; the KDF is always HKDF-SHA256.

    Attributes:
        kem: how the shared secret travels.
        aead: how messages are sealed under it.
        kdf_id: identifier of HKDF-SHA256 (RFC 9180 §7.2).
    """

    kem: Kem
    aead: Aead
    kdf_id: int = HKDF_SHA256

    def __post_init__(self) -> None:
        if self.kdf_id != HKDF_SHA256:
            raise InputError(f"KDF {self.kdf_id:#06x} is not supported; HKDF-SHA256 is 0x0001")

    @property
    def ids(self) -> tuple[int, int, int]:
        """The three identifiers, in the order KEM, KDF, AEAD."""
        return self.kem.id, self.kdf_id, self.aead.id

    @property
    def name(self) -> str:
        """The suite as people write it, such as ``X-Wing, HKDF-SHA256, AES-128-GCM``."""
        return f"{self.kem.name}, HKDF-SHA256, {self.aead.name}"

    @cached_property
    def suite_id(self) -> bytes:
        """The bytes that bind every derivation to this suite (RFC 9180 §5.1)."""
        return b"HPKE" + b"".join(number.to_bytes(2, "big") for number in self.ids)

    @cached_property
    def psk_id_hash(self) -> bytes:
        """The part of the key schedule that base mode leaves constant (an absent PSK)."""
        return labeled_extract(self.suite_id, b"", b"psk_id_hash", b"")


KEMS: Mapping[int, Kem] = MappingProxyType({kem.id: kem for kem in (DhkemX25519(), XWing())})
"""The supported KEMs by identifier."""

SUITES: Mapping[tuple[int, int, int], Suite] = MappingProxyType(
    {
        (kem.id, HKDF_SHA256, aead.id): Suite(kem, aead)
        for kem in KEMS.values()
        for aead in (AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305)
    }
)
"""The suites that may be negotiated, by ``(kem_id, kdf_id, aead_id)``. Export-only is not among
them: a peer must not be able to choose a suite that cannot seal."""

# AES-128-GCM rather than ChaCha20-Poly1305 as the default: every Oblivious HTTP peer has it, it is
# two to three times as fast (16 KiB, 1 MiB) where the processor has AES instructions, and a
# 128-bit key is the strength that X-Wing aims at. Without AES instructions, a peer offers 0x0003.
DEFAULT = SUITES[XWing.id, HKDF_SHA256, AES_128_GCM.id]


def suite(kem_id: int, kdf_id: int, aead_id: int) -> Suite:
    """Return the suite of three identifiers that a peer sent.

    Raises:
        MalformedError: privity does not speak that combination.
    """
    found = SUITES.get((kem_id, kdf_id, aead_id))
    if found is None:
        ids = f"KEM {kem_id:#06x}, KDF {kdf_id:#06x}, AEAD {aead_id:#06x}"
        raise MalformedError(f"the HPKE suite {ids} is not supported")
    return found


class _Context:
    """What both ends of an encapsulation share: a keyed cipher, a base nonce, an exporter.

    Python cannot overwrite the message key, base nonce and exporter secret, which pass through
    immutable objects; they go back to the allocator when the context does.
    """

    __slots__ = ("_cipher", "_exporter_secret", "_nonce", "suite")

    def __init__(self, chosen: Suite, shared_secret: bytes, info: bytes) -> None:
        """Run the key schedule of base mode (RFC 9180 §5.1)."""
        suite_id, aead = chosen.suite_id, chosen.aead
        info_hash = labeled_extract(suite_id, b"", b"info_hash", info)
        schedule = _MODE_BASE + chosen.psk_id_hash + info_hash
        secret = labeled_extract(suite_id, shared_secret, b"secret", b"")
        self.suite = chosen
        self._exporter_secret = labeled_expand(suite_id, secret, b"exp", schedule, HASH_SIZE)
        self._nonce = 0
        self._cipher: Cipher = _NO_CIPHER
        if aead != EXPORT_ONLY:
            key = labeled_expand(suite_id, secret, b"key", schedule, aead.key_size)
            nonce = labeled_expand(suite_id, secret, b"base_nonce", schedule, _NONCE_SIZE)
            self._cipher = aead.cipher(key)
            self._nonce = int.from_bytes(nonce, "big")

    def export(self, context: bytes, length: int) -> bytes:
        """Return ``length`` secret bytes that only the two ends know, bound to ``context``.

        Different contexts give independent secrets, whatever was sealed before. Source: RFC 9180
        §5.3.

        Raises:
            InputError: ``length`` is negative or above 8160 bytes.
        """
        return labeled_expand(self.suite.suite_id, self._exporter_secret, b"sec", context, length)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.suite.name}>"

    def __reduce__(self) -> NoReturn:
        # A context that lived twice would seal two messages under one nonce.
        raise TypeError("an HPKE context is neither copied nor pickled")


class SenderContext(_Context):
    """Seals messages, in order, for one recipient; made by `setup_sender`.

    Guarantees:
        No two messages are sealed under one nonce, not even when two threads seal at once:
        `test_threads_never_share_a_nonce`, `test_an_exhausted_context_seals_nothing`.
    """

    __slots__ = ("_encrypt", "_numbers")

    def __init__(self, chosen: Suite, shared_secret: bytes, info: bytes) -> None:
        super().__init__(chosen, shared_secret, info)
        self._encrypt = self._cipher.encrypt
        self._numbers = itertools.count()  # drawing the next is atomic, unlike += 1

    def seal(self, plaintext: Bytes, aad: Bytes = b"") -> bytes:
        """Return the next message, sealed; ``aad`` is authenticated and not sent.

        Raises:
            OversizeError: the plaintext is larger than 1 GiB.
            SealError: 2**96 - 1 messages were sealed.
            InputError: the suite is export-only.
        """
        if len(plaintext) > _MAX_MESSAGE:
            raise OversizeError("an HPKE message is at most 1 GiB; send it in parts")
        number = next(self._numbers)
        if number > _LAST_NUMBER:
            raise SealError("this HPKE context is exhausted", hint="set up a new one")
        return self._encrypt((self._nonce ^ number).to_bytes(_NONCE_SIZE, "big"), plaintext, aad)


class RecipientContext(_Context):
    """Opens messages in the order in which they were sealed; made by `setup_recipient`.

    For one thread at a time: messages have an order.

    Guarantees:
        A message that was altered, reordered, repeated, left out before, sealed to another key,
        with another ``info`` or ``aad``, is refused: `tests/property/test_hpke_properties.py`.
    """

    __slots__ = ("_decrypt", "_number")

    def __init__(self, chosen: Suite, shared_secret: bytes, info: bytes) -> None:
        super().__init__(chosen, shared_secret, info)
        self._decrypt = self._cipher.decrypt
        self._number = 0

    def open(self, ciphertext: Bytes, aad: Bytes = b"") -> bytes:
        """Return the next message's plaintext. A refused message is not counted as received.

        Raises:
            OpenError: it is not the next message of this sender; the error does not say why.
            OversizeError: the ciphertext is larger than any that `SenderContext.seal` makes.
            SealError: 2**96 - 1 messages were opened.
            InputError: the suite is export-only.
        """
        if len(ciphertext) > _MAX_MESSAGE + 16:
            raise OversizeError("a sealed HPKE message is at most 1 GiB and its tag")
        number = self._number
        if number > _LAST_NUMBER:
            raise SealError("this HPKE context is exhausted", hint="set up a new one")
        nonce = (self._nonce ^ number).to_bytes(_NONCE_SIZE, "big")
        try:
            plaintext = self._decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise OpenError("the sealed message cannot be opened with this key") from None
        self._number = number + 1
        return plaintext


def setup_sender(chosen: Suite, public_key: bytes, info: bytes) -> tuple[bytes, SenderContext]:
    """Return ``(enc, context)`` for sealing to ``public_key``. Run by the sender.

    Args:
        chosen: the suite.
        public_key: the recipient's, serialised.
        info: what both ends must agree on; it is authenticated and not sent.

    Raises:
        MalformedError: ``public_key`` is not a usable key of the suite's KEM.
    """
    shared_secret, enc = chosen.kem.encapsulate(public_key)
    return enc, SenderContext(chosen, shared_secret, info)


def setup_recipient(
    chosen: Suite, private_key: KemPrivateKey, enc: bytes, info: bytes
) -> RecipientContext:
    """Return the context that opens what was sealed with ``enc``. Run by the recipient.

    Raises:
        OpenError: ``enc`` cannot be one made for this key. Most wrong ``enc`` are not noticed
            here; the first message then does not open.
        InputError: ``private_key`` belongs to another KEM.
    """
    return RecipientContext(chosen, chosen.kem.decapsulate(private_key, enc), info)
