"""Sealing of payloads: one content, several recipients, and nothing about how many or how long.

::

    0x01 | KEM KDF AEAD, 2 bytes each | slots, 1 byte | slots × (enc | sealed secret) | sealed body

Each slot is an HPKE encapsulation (base mode) of the same fresh 32-byte secret, under
``info = "privity/message/v1" | 0x00 | content topic``. The number of slots is the next power of
two; the slots beyond the recipients are sealed to keys that nobody has, and their order is random.
The body is the payload after its length in four bytes, padded with zeros to a power of two from
256 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from privity.anon.messages.topics import check_topic
from privity.errors import InputError, MalformedError, OpenError, OversizeError
from privity.hazmat.aead import Cipher
from privity.hazmat.hpke import DEFAULT, Suite, setup_recipient, setup_sender
from privity.hazmat.kdf import labeled_expand, labeled_extract
from privity.hazmat.kem import KemPrivateKey

__all__ = ["MAX_PAYLOAD", "MAX_RECIPIENTS", "Channel", "open_payload", "seal_payload"]

_VERSION = 1
_HEADER = 8
_SECRET = 32
_TAG = 16
_LENGTH = 4
_SMALLEST, _LARGEST = 256, 1 << 16
_INFO = b"privity/message/v1\0"

MAX_RECIPIENTS = 32
"""Slots of a sealed payload, and so recipients, at most."""
MAX_PAYLOAD = _LARGEST - _LENGTH
"""Bytes of a payload at most."""


@dataclass(frozen=True)
class Channel:
    """What messages are about, and how they are sealed.

    Attributes:
        topic: the content topic; every relay sees it.
        suite: of HPKE. X-Wing by default; X25519 is smaller, and opens to quantum computers.
    """

    topic: str
    suite: Suite = DEFAULT

    def __post_init__(self) -> None:
        check_topic(self.topic)

    @property
    def info(self) -> bytes:
        """What each encapsulation is bound to."""
        return _INFO + self.topic.encode()

    @property
    def header(self) -> bytes:
        """The first seven bytes of whatever is sealed for it."""
        return bytes([_VERSION]) + b"".join(number.to_bytes(2, "big") for number in self.suite.ids)

    @property
    def slot_size(self) -> int:
        """Bytes of one slot."""
        return self.suite.kem.n_enc + _SECRET + _TAG


def seal_payload(
    channel: Channel,
    payload: bytes,
    recipients: Sequence[bytes],
    *,
    entropy: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return ``payload`` sealed to the public keys of ``recipients``. Run by the sender.

    Guarantees:
        The length depends on the bucket of the payload's length and on the number of recipients
        rounded up to a power of two, and on nothing else: `test_lengths_tell_only_buckets`.

    Raises:
        InputError: there are no recipients, or more than `MAX_RECIPIENTS`.
        MalformedError: a key is none of the channel's KEM.
        OversizeError: the payload has more than `MAX_PAYLOAD` bytes.
    """
    if not 0 < len(recipients) <= MAX_RECIPIENTS:
        raise InputError(f"a message has 1 to {MAX_RECIPIENTS} recipients")
    if len(payload) > MAX_PAYLOAD:
        raise OversizeError(f"a payload has at most {MAX_PAYLOAD} bytes; send it in parts")
    suite = channel.suite
    count = 1 << (len(recipients) - 1).bit_length()
    start = channel.header + bytes([count])
    secret = entropy(_SECRET)
    keys = [*recipients]
    # Nobody keeps the private halves of these, so such a slot opens for nobody.
    keys += [suite.kem.generate().public_bytes for _ in range(count - len(keys))]
    slots = []
    for key in _shuffled(keys, entropy):
        enc, context = setup_sender(suite, key, channel.info)
        slots.append(enc + context.seal(secret, start))
    start += b"".join(slots)
    size = max(_SMALLEST, 1 << (len(payload) + _LENGTH - 1).bit_length())
    body = (len(payload).to_bytes(_LENGTH, "big") + payload).ljust(size, b"\0")
    return start + _cipher(channel, secret).encrypt(bytes(12), body, start)


def open_payload(channel: Channel, key: KemPrivateKey, sealed: bytes) -> bytes:
    """Return the payload that was sealed to ``key`` among others. Run by a recipient.

    Raises:
        MalformedError: it is no sealed payload, or of another suite than the channel's.
        OpenError: it was not sealed to this key or for this channel, or was altered.
    """
    start, slots, body = _parts(channel, sealed)
    for place in range(_HEADER, len(start), slots):
        secret = _slot(channel, key, start[place : place + slots], start[:_HEADER])
        if secret is not None:
            break
    else:
        raise OpenError("the message is sealed to others, or for another channel")
    try:
        # The secret is fresh for each message and seals once, so the nonce may be constant.
        opened = _cipher(channel, secret).decrypt(bytes(12), body, start)
    except InvalidTag:
        raise OpenError("the message was altered") from None
    length = int.from_bytes(opened[:_LENGTH], "big")
    if length > len(opened) - _LENGTH or any(opened[_LENGTH + length :]):
        raise MalformedError("the padding of the message is not what a sender makes")
    return opened[_LENGTH : _LENGTH + length]


def _parts(channel: Channel, sealed: bytes) -> tuple[bytes, int, bytes]:
    """Return what is authenticated in the open, the size of a slot, and the body."""
    if sealed[: _HEADER - 1] != channel.header or len(sealed) < _HEADER:
        raise MalformedError(f"not a payload sealed for {channel.suite.name}")
    count, size = sealed[_HEADER - 1], channel.slot_size
    if not 0 < count <= MAX_RECIPIENTS or count & (count - 1):
        raise MalformedError("a sealed payload has 1, 2, 4, 8, 16 or 32 slots")
    end = _HEADER + count * size
    length = len(sealed) - end - _TAG
    if not _SMALLEST <= length <= _LARGEST or length & (length - 1):
        raise MalformedError("a sealed payload's body has a power of two of bytes from 256")
    return sealed[:end], size, sealed[end:]


def _slot(channel: Channel, key: KemPrivateKey, slot: bytes, aad: bytes) -> bytes | None:
    """Return the secret of a slot, or nothing where it is another's."""
    enc = channel.suite.kem.n_enc
    try:
        return setup_recipient(channel.suite, key, slot[:enc], channel.info).open(slot[enc:], aad)
    except OpenError:
        return None


def _cipher(channel: Channel, secret: bytes) -> Cipher:
    suite = channel.suite
    strong = labeled_extract(suite.suite_id, b"", b"privity/message/v1", secret)
    key = labeled_expand(suite.suite_id, strong, b"body", channel.info, suite.aead.key_size)
    return suite.aead.cipher(key)


def _shuffled(keys: list[bytes], entropy: Callable[[int], bytes]) -> list[bytes]:
    """Return the keys in a random order."""
    return [key for _, key in sorted((entropy(8), key) for key in keys)]
