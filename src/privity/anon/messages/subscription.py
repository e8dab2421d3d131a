"""What comes on one channel for one key, opened once and queued for its reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from privity.anon.messages.delivered import Delivered
from privity.anon.messages.sealing import Channel, open_payload
from privity.anon.messages.waku import WakuMessage, content_digest, message_hash
from privity.errors import PeerError, SealError
from privity.hazmat.kem import KemPrivateKey

__all__ = ["Delivery", "Subscription"]

_UNREAD = 65_536  # messages that wait for one subscriber


@dataclass(frozen=True)
class Delivery:
    """A message that was opened.

    Attributes:
        payload: what the sender sealed. Anyone who has the public key can be the sender.
        hash: the message's name.
        topic: of the channel.
    """

    payload: bytes = field(repr=False)
    hash: bytes
    topic: str


class Subscription:
    """What comes on one channel for one key: an asynchronous iterator of `Delivery`.

    Attributes:
        channel: what it listens to.
        unread: messages that were dropped because nobody read; `Bus.catch_up` brings them again.
    """

    def __init__(self, channel: Channel, key: KemPrivateKey, seen: Delivered) -> None:
        self.channel, self._key, self._seen = channel, key, seen
        self.unread = 0
        self._queue: asyncio.Queue[Delivery | None] = asyncio.Queue()

    def came(self, digest: bytes) -> bool:
        """Return whether a message of this hash came, for this key or another."""
        return self._seen.has(self._place(digest))

    def offer(self, pubsub_topic: str, message: WakuMessage) -> Delivery | None:
        """Open a message that is new and for this key, and return it."""
        if message.content_topic != self.channel.topic:
            return None
        digest = message_hash(pubsub_topic, message)
        self._seen.add(self._place(digest))
        if not self._seen.add(self._mark(message)):
            return None
        try:
            payload = open_payload(self.channel, self._key, message.payload)
        except SealError:
            return None  # for others, or nothing that was sealed; it stays known as seen
        return Delivery(payload, digest, message.content_topic)

    def put(self, delivery: Delivery | None, message: WakuMessage | None = None) -> None:
        """Queue a delivery for the reader; where there is no room, forget that it came."""
        if delivery is None or message is None or self._queue.qsize() < _UNREAD:
            self._queue.put_nowait(delivery)
            return
        self.unread += 1
        self.forget(delivery, message)

    def forget(self, delivery: Delivery, message: WakuMessage) -> None:
        """Let a message come again: nobody was handed it."""
        self._seen.discard(self._place(delivery.hash))
        self._seen.discard(self._mark(message))

    def _mark(self, message: WakuMessage) -> bytes:
        """Return what a message is delivered once by, for this key."""
        return b"content" + content_digest(message) + self._key.public_bytes[:16]

    def _place(self, digest: bytes) -> bytes:
        """Return what it is remembered by that a message came, for this key."""
        return b"hash" + digest + self._key.public_bytes[:16]

    async def get(self) -> Delivery:
        """Return the next message; wait for it.

        Raises:
            PeerError: the bus is closed, and nothing is left.
        """
        found = await self._queue.get()
        if found is None:
            self._queue.put_nowait(None)
            raise PeerError("the bus is closed")
        return found

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while True:
            try:
                yield await self.get()
            except PeerError:
                return
