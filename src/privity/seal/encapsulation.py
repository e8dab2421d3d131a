"""What plain and chunked Oblivious HTTP share: the request's header and the response's keys.

Source: RFC 9458 §4.3 and §4.4; draft-ietf-ohai-chunked-ohttp-08 §6, which differs in labels only.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from privity.errors import InputError, OpenError, StaleKeyError
from privity.hazmat import kdf
from privity.hazmat.hpke import SUITES, RecipientContext, SenderContext, Suite
from privity.seal.key_config import GatewayKey, GatewayKeys, KeyConfig

__all__ = ["HEADER_SIZE", "TAG_SIZE", "Labels", "Random", "ResponseCipher", "find_key", "header"]

_HEADER = struct.Struct(">BHHH")

HEADER_SIZE = _HEADER.size
"""Bytes of key, KEM, KDF and AEAD identifier; the encapsulated secret follows."""

TAG_SIZE = 16
"""Bytes by which every AEAD of the suites lengthens a message."""

Random = Callable[[int], bytes]


@dataclass(frozen=True)
class Labels:
    """The strings that separate one use of the encapsulation from another (RFC 9458 §4.6)."""

    request: bytes
    response: bytes

    def info(self, head: bytes) -> bytes:
        """Return the HPKE ``info`` of a request with the header ``head``."""
        return self.request + b"\x00" + head


def header(config: KeyConfig, suite: Suite) -> bytes:
    """Return the first seven bytes of a request sealed to ``config`` with ``suite``.

    Raises:
        InputError: the configuration does not offer the suite.
    """
    kem_id, *pair = suite.ids
    if kem_id != config.kem_id or tuple(pair) not in config.symmetric:
        raise InputError("the key configuration does not offer this HPKE suite")
    return _HEADER.pack(config.key_id, *suite.ids)


def find_key(keys: GatewayKeys, head: bytes) -> tuple[GatewayKey, Suite]:
    """Return the key and suite that a request's first seven bytes name. Run by the gateway.

    Raises:
        StaleKeyError: the gateway has no such key, or does not use it with that suite.
    """
    key_id, kem_id, kdf_id, aead_id = _HEADER.unpack(head)
    key = keys.find(key_id)
    suite = SUITES.get((kem_id, kdf_id, aead_id))
    offered = kem_id == key.config.kem_id and (kdf_id, aead_id) in key.config.symmetric
    if suite is None or not offered:
        raise StaleKeyError(
            "the gateway does not use that key with the suite of the request",
            hint="fetch and verify its statement again",
        )
    return key, suite


class ResponseCipher:
    """Seals or opens the messages of one response, in order. Both ends derive the same one.

    Args:
        context: the HPKE context of the request; only who sealed or opened that has it.
        suite: its suite.
        enc: the encapsulated secret of the request.
        nonce: random, chosen by the gateway; `nonce_size` bytes.
        label: the exporter context.
    """

    # A counter of 96 bits cannot be exhausted, so draft §6.2's limit on it needs no check.
    __slots__ = ("_base", "_decrypt", "_encrypt", "_numbers")

    def __init__(
        self,
        context: SenderContext | RecipientContext,
        suite: Suite,
        enc: bytes,
        nonce: bytes,
        label: bytes,
    ) -> None:
        prk = kdf.extract(enc + nonce, context.export(label, len(nonce)))
        cipher = suite.aead.cipher(kdf.expand(prk, b"key", suite.aead.key_size))
        self._encrypt, self._decrypt = cipher.encrypt, cipher.decrypt
        self._base = int.from_bytes(kdf.expand(prk, b"nonce", suite.aead.nonce_size), "big")
        self._numbers = itertools.count()  # drawing the next is atomic, unlike += 1

    @staticmethod
    def nonce_size(suite: Suite) -> int:
        """Return the size in bytes of a response nonce, max(Nn, Nk)."""
        return max(suite.aead.nonce_size, suite.aead.key_size)

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """Return the next message, sealed."""
        nonce = (self._base ^ next(self._numbers)).to_bytes(12, "big")
        return self._encrypt(nonce, plaintext, aad)

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """Return the next message's plaintext. After an error this cipher opens nothing more.

        Raises:
            OpenError: it is not the next message of this response.
        """
        nonce = (self._base ^ next(self._numbers)).to_bytes(12, "big")
        try:
            return self._decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise OpenError("the sealed response does not open: altered, or not ours") from None
