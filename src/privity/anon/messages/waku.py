"""A Waku message: what travels in the ``data`` of a gossiped message (14/WAKU2-MESSAGE).

Bytes from a peer become a `WakuMessage` or an error. The hash is over the fields and not over the
encoding, because protobuf has many encodings of one message.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from privity.anon.messages import schema
from privity.anon.messages.topics import check_topic
from privity.errors import MalformedError, OversizeError

__all__ = ["MAX_MESSAGE", "RateLimitProof", "WakuMessage", "content_digest", "message_hash"]

MAX_MESSAGE = 150 * 1024
"""Bytes of an encoded message that the network relays at most (64/WAKU2-NETWORK)."""
_MAX_META = 64
_MAX_PROOF = 256  # an uncompressed Groth16 proof; ours has 128
_FIELD = 32  # bytes of a field element, and of an epoch and an RLN identifier


@dataclass(frozen=True)
class RateLimitProof:
    """The proof that a message is within its sender's rate (17/WAKU2-RLN-RELAY).

    Attributes:
        proof: Groth16, 128 bytes compressed.
        merkle_root: of the members' tree, 32 bytes little-endian, as the next five.
        epoch: number of the epoch.
        share_x: the signal, hashed to the field.
        share_y: the line's value there; two of them under one nullifier reveal the secret.
        nullifier: the same for two messages of one member, message id and epoch.
        rln_identifier: which network the proof is for.
    """

    proof: bytes
    merkle_root: bytes
    epoch: bytes
    share_x: bytes
    share_y: bytes
    nullifier: bytes
    rln_identifier: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.proof) <= _MAX_PROOF:
            raise MalformedError("a rate-limit proof has between 1 and 256 bytes")
        rest = (self.merkle_root, self.epoch, self.share_x, self.share_y, self.nullifier)
        if any(len(part) != _FIELD for part in (*rest, self.rln_identifier)):
            raise MalformedError("each part of a rate-limit proof but the proof has 32 bytes")


@dataclass(frozen=True)
class WakuMessage:
    """A payload and what relays may see of it.

    Attributes:
        payload: the content, sealed or not.
        content_topic: what receivers filter by (23/WAKU2-TOPICS).
        version: how the payload is encrypted; absent or 0: not Waku's business.
        timestamp: when it was sent, in nanoseconds since 1970.
        meta: at most 64 bytes of the application.
        ephemeral: asks stores not to keep it.
        rate_limit_proof: that the sender keeps to the rate.
    """

    payload: bytes
    content_topic: str
    version: int | None = None
    timestamp: int | None = None
    meta: bytes | None = None
    ephemeral: bool | None = None
    rate_limit_proof: RateLimitProof | None = None

    def __post_init__(self) -> None:
        check_topic(self.content_topic)
        if self.meta is not None and len(self.meta) > _MAX_META:
            raise MalformedError(f"a message's meta has at most {_MAX_META} bytes")
        if self.version is not None and not 0 <= self.version < 1 << 32:
            raise MalformedError("a message's version is 32 bits")
        if self.timestamp is not None and not -(1 << 63) <= self.timestamp < 1 << 63:
            raise MalformedError("a message's timestamp is 64 bits")

    def timed(self, now: float) -> WakuMessage:
        """Return it with the minute that ``now`` is in: no more than stores need to sort.

        Args:
            now: in seconds since 1970.
        """
        return replace(self, timestamp=int(now // 60) * 60 * 1_000_000_000)

    def to_bytes(self) -> bytes:
        """Return the encoding: fields in the order of their numbers, absent ones left out."""
        encoded: bytes = self.to_record().SerializeToString(deterministic=True)
        if len(encoded) > MAX_MESSAGE:
            raise OversizeError(f"a message has at most {MAX_MESSAGE} bytes, this {len(encoded)}")
        return encoded

    def to_record(self) -> Any:
        """Return the protobuf message, for those that hold one."""
        values = {name: getattr(self, name) for name in _OPTIONAL}
        present = {name: value for name, value in values.items() if value is not None}
        proof = self.rate_limit_proof
        if proof is not None:
            present["rate_limit_proof"] = schema.record("RateLimitProof", **vars(proof))
        return schema.record(
            "WakuMessage", payload=self.payload, content_topic=self.content_topic, **present
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> WakuMessage:
        """Read a message that a peer sent.

        Raises:
            OversizeError: it has more than `MAX_MESSAGE` bytes.
            MalformedError: it is no message, or a part of it is outside its limits.
        """
        if len(data) > MAX_MESSAGE:
            raise OversizeError(f"a message has at most {MAX_MESSAGE} bytes, this {len(data)}")
        return cls.from_record(schema.parse("WakuMessage", data))

    @classmethod
    def from_record(cls, found: Any) -> WakuMessage:
        """Read the protobuf message.

        Raises:
            MalformedError: a part of it is outside its limits.
        """
        present = {name: getattr(found, name) for name in _OPTIONAL if found.HasField(name)}
        proof = None
        if found.HasField("rate_limit_proof"):
            names = RateLimitProof.__dataclass_fields__
            proof = RateLimitProof(**{n: getattr(found.rate_limit_proof, n) for n in names})
        return cls(found.payload, found.content_topic, **present, rate_limit_proof=proof)


_OPTIONAL = ("version", "timestamp", "meta", "ephemeral")


def message_hash(pubsub_topic: str, message: WakuMessage) -> bytes:
    """Return the 32 bytes that name a message everywhere (14, *deterministic message hashing*)."""
    digest = hashlib.sha256(pubsub_topic.encode() + message.payload)
    digest.update(message.content_topic.encode() + (message.meta or b""))
    if message.timestamp:
        digest.update(message.timestamp.to_bytes(8, "big", signed=True))
    return digest.digest()


def content_digest(message: WakuMessage) -> bytes:
    """Return 32 bytes that stay the same when a relay alters what no proof covers.

    The hash covers timestamp and meta, which anyone on the way can change; what is delivered once
    is counted by payload and content topic.
    """
    topic = message.content_topic.encode()
    return hashlib.sha256(len(topic).to_bytes(2, "big") + topic + message.payload).digest()
