"""Oblivious HTTP: one sealed request, one sealed response, each as a whole.

Source: RFC 9458 §4. For messages that stream, see `chunked_ohttp`.
"""

from __future__ import annotations

import os

from privity.errors import TruncatedError
from privity.hazmat.hpke import (
    RecipientContext,
    SenderContext,
    Suite,
    setup_recipient,
    setup_sender,
)
from privity.seal.encapsulation import (
    HEADER_SIZE,
    TAG_SIZE,
    Labels,
    Random,
    ResponseCipher,
    find_key,
    header,
)
from privity.seal.key_config import GatewayKey, GatewayKeys, KeyConfig

__all__ = [
    "REQUEST_TYPE",
    "RESPONSE_TYPE",
    "ResponseOpener",
    "ResponseSealer",
    "encapsulate_request",
    "open_request",
]

REQUEST_TYPE = "message/ohttp-req"
RESPONSE_TYPE = "message/ohttp-res"

_LABELS = Labels(b"message/bhttp request", b"message/bhttp response")


def encapsulate_request(
    config: KeyConfig, plaintext: bytes, *, suite: Suite | None = None
) -> tuple[bytes, ResponseOpener]:
    """Seal a Binary HTTP request. Run by the Client.

    Args:
        config: the key to seal to, from a verified statement.
        plaintext: the message, padded if its size matters.
        suite: one the configuration offers; by default the gateway's favourite.

    Returns:
        The encapsulated request, and what opens its response.

    Guarantees:
        Only the holder of the key opens it, and any altered bit is refused
        (tests/adversary/test_ohttp_tampering.py).
    """
    suite = suite or config.suite
    head = header(config, suite)
    enc, context = setup_sender(suite, config.public_key, _LABELS.info(head))
    return head + enc + context.seal(plaintext), ResponseOpener(context, enc)


def open_request(
    keys: GatewayKeys, data: bytes, *, random: Random = os.urandom
) -> tuple[bytes, ResponseSealer]:
    """Open an encapsulated request. Run by the Gateway.

    Returns:
        The Binary HTTP request, and what seals its response.

    Raises:
        StaleKeyError: sealed to a key or suite this gateway does not have.
        TruncatedError: too short to hold a sealed message at all.
        OpenError: altered, or sealed to another key.
    """
    if len(data) < HEADER_SIZE:
        raise TruncatedError("the sealed request stops inside its header")
    head = data[:HEADER_SIZE]
    key, suite = find_key(keys, head)
    end = HEADER_SIZE + suite.kem.n_enc
    if len(data) < end + TAG_SIZE:
        raise TruncatedError("the sealed request stops before its end")
    enc = data[HEADER_SIZE:end]
    context = setup_recipient(suite, key.private, enc, _LABELS.info(head))
    plaintext = context.open(memoryview(data)[end:])
    return plaintext, ResponseSealer(context, enc, key, random)


class ResponseSealer:
    """Seals the response to one request. Run by the Gateway.

    Attributes:
        enc: the encapsulated secret of the request, which names it for replay detection.
        key: the gateway's key that opened it.
    """

    def __init__(
        self, context: RecipientContext, enc: bytes, key: GatewayKey, random: Random
    ) -> None:
        self._context = context
        self._random = random
        self.enc = enc
        self.key = key

    def seal(self, plaintext: bytes) -> bytes:
        """Return the encapsulated response of a Binary HTTP response."""
        suite = self._context.suite
        nonce = self._random(ResponseCipher.nonce_size(suite))
        cipher = ResponseCipher(self._context, suite, self.enc, nonce, _LABELS.response)
        return nonce + cipher.seal(plaintext)


class ResponseOpener:
    """Opens the response to one request. Run by the Client."""

    def __init__(self, context: SenderContext, enc: bytes) -> None:
        self._context = context
        self._enc = enc

    def open(self, data: bytes) -> bytes:
        """Return the Binary HTTP response in an encapsulated one.

        Raises:
            TruncatedError: too short to hold a sealed message at all.
            OpenError: altered, or the response to another request.
        """
        suite = self._context.suite
        size = ResponseCipher.nonce_size(suite)
        if len(data) < size + TAG_SIZE:
            raise TruncatedError("the sealed response stops before its end")
        cipher = ResponseCipher(self._context, suite, self._enc, data[:size], _LABELS.response)
        return cipher.open(data[size:])
