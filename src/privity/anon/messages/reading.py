"""What a store has that did not come by gossip: compared, fetched, opened. Run by a reader.

A store is a stranger: it may list without end, hand out what it made itself, answer slowly, or stop
in the middle. So one reading has an end in number, bytes and time, and can be gone on with; and one
that failed leaves nothing behind that would count as delivered.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from privity.anon.messages.store import MAX_PAGE, Page, Question, Stored
from privity.anon.messages.subscription import Delivery, Subscription
from privity.anon.messages.waku import WakuMessage
from privity.errors import MalformedError

__all__ = ["CaughtUp", "Reading"]

_FETCHED = 50  # messages asked for by hash at once
_LISTED = 1 << 17  # messages of one reading; the rest come with the next
_TAKEN = 64 << 20  # bytes of payloads of one reading, or a page more

Ask = Callable[[Question], Awaitable[Page]]


@dataclass(frozen=True)
class CaughtUp:
    """What a store had that had not come by gossip.

    Attributes:
        listed: messages of the channel that the store listed.
        delivered: those that had been missed, could be opened, and are handed over now.
        missing: hashes that the store listed and did not, or no longer, hand out.
        cursor: the last message that was listed; the place to go on from next time.
        more: whether the reading ended before the store's list did.
    """

    listed: int
    delivered: tuple[Delivery, ...]
    missing: tuple[bytes, ...]
    cursor: bytes | None
    more: bool = False


class Reading:
    """One comparison with one store.

    Args:
        ask: puts a question to the store.
        subscription: whose channel and key.
        pubsub_topic: what the channel is gossiped on.
        patience_s: seconds after which it ends where it is.

    Guarantees:
        Whatever the store answers, it ends, holds a bounded part of it, and tells of each message
        that was listed and not handed out (tests/adversary/test_message_stores.py).
    """

    def __init__(
        self, ask: Ask, subscription: Subscription, pubsub_topic: str, patience_s: float
    ) -> None:
        self._ask, self._subscription, self._pubsub_topic = ask, subscription, pubsub_topic
        self._end = time.monotonic() + patience_s
        self._listed: set[bytes] = set()
        self._delivered: list[tuple[Delivery, WakuMessage]] = []
        self._missing: list[bytes] = []
        self._size = 0

    async def run(self, cursor: bytes | None) -> CaughtUp:
        """Return what is new after ``cursor``; where it fails, nothing counts as delivered.

        Raises:
            PeerError: the store fails.
            MalformedError: it answered something else, or lists the same again and again.
        """
        try:
            return await self._run(cursor)
        except BaseException:  # cancelled, too: nobody was handed what is here
            for delivery, message in self._delivered:
                self._subscription.forget(delivery, message)
            raise

    async def _run(self, cursor: bytes | None) -> CaughtUp:
        done, more = cursor, True
        while more and not self._is_enough():
            page = await self._ask(
                Question(
                    content_topics=(self._subscription.channel.topic,),
                    cursor=cursor,
                    limit=MAX_PAGE,
                    data=False,
                )
            )
            listed = [stored.hash for stored in page.messages]
            if page.cursor is not None and self._listed.issuperset(listed):
                raise MalformedError("the store lists the same again and again")
            if not await self._take(listed):
                break
            self._listed.update(listed)
            done, cursor = listed[-1] if listed else done, page.cursor
            more = cursor is not None
        delivered = tuple(delivery for delivery, _ in self._delivered)
        return CaughtUp(len(self._listed), delivered, tuple(self._missing), done, more)

    def _is_enough(self) -> bool:
        late = time.monotonic() >= self._end
        return late or len(self._listed) >= _LISTED or self._size >= _TAKEN

    async def _take(self, listed: list[bytes]) -> bool:
        """Fetch what did not come; return whether there was time for it."""
        wanted = [digest for digest in listed if not self._subscription.came(digest)]
        while wanted:
            if time.monotonic() >= self._end:
                return False
            asked = wanted[:_FETCHED]
            page = await self._ask(Question(hashes=tuple(asked), limit=MAX_PAGE))
            got = {one.hash: one.message for one in page.messages if self._is_of_channel(one)}
            places = [place for place, digest in enumerate(asked) if digest in got]
            if places:  # an answer is bounded in bytes: what did not fit is asked for again
                asked = asked[: places[-1] + 1]
            for digest in asked:
                self._open(digest, got.get(digest))
            wanted = wanted[len(asked) :]
        return True

    def _is_of_channel(self, stored: Stored) -> bool:
        """Tell whether it is what was asked for: a hash is over parts that nothing separates."""
        return (
            stored.message is not None
            and stored.pubsub_topic == self._pubsub_topic
            and stored.message.content_topic == self._subscription.channel.topic
        )

    def _open(self, digest: bytes, message: WakuMessage | None) -> None:
        if message is None:
            self._missing.append(digest)
            return
        delivery = self._subscription.offer(self._pubsub_topic, message)
        if delivery is not None:
            self._delivered.append((delivery, message))
            self._size += len(delivery.payload)
