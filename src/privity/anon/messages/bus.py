"""The bus: publish to recipients, subscribe, and catch up with a store, from asyncio.

Run by whoever sends or receives. A bus is a node of the network as well: it relays for others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from privity.anon.messages.delivered import Delivered
from privity.anon.messages.rate_limit import RateGate
from privity.anon.messages.sealing import Channel, seal_payload
from privity.anon.messages.settings import Settings
from privity.anon.messages.store import MAX_PAGE, MessageStore, Page, Question, Stored
from privity.anon.messages.subscription import Delivery, Subscription
from privity.anon.messages.waku import WakuMessage, message_hash
from privity.errors import InputError
from privity.hazmat.kem import KemPrivateKey

if TYPE_CHECKING:
    from privity.anon.messages.gossip import Counts
    from privity.anon.messages.node import Node

__all__ = ["Bus", "CaughtUp", "Stamp"]

_FETCHED = 50  # messages asked for by hash at once
_REMEMBERED = 1 << 18  # hashes of the own messages, for `Bus.unconfirmed`

T = TypeVar("T")


class Stamp(Protocol):
    """What puts a proof on the own messages: `rate_limit.RateStamp`."""

    def stamp(self, message: WakuMessage) -> WakuMessage:
        """Return the message with its proof. Slow."""


@dataclass(frozen=True)
class CaughtUp:
    """What a store had that had not come by gossip.

    Attributes:
        listed: messages of the channel that the store listed.
        delivered: those that had been missed, could be opened, and are handed over now.
        missing: hashes that the store listed and did not, or no longer, hand out.
        cursor: the last message that was listed; the place to go on from next time.
    """

    listed: int
    delivered: tuple[Delivery, ...]
    missing: tuple[bytes, ...]
    cursor: bytes | None


class Bus:
    """A node, used from asyncio: ``async with Bus(Settings()) as bus``.

    Args:
        settings: of the node.
        gate: what is relayed and delivered; without one, anybody may send any number.
        stamp: puts the proofs on the own messages; needed where peers have a gate.
        store: makes this a store node.
        seen: what was delivered before; in memory by default, so that a restart forgets.
        clock: Unix seconds.

    Guarantees:
        A message names no sender and no node: `test_a_message_names_nobody`.
        What is delivered once is not delivered again:
        `test_a_replayed_message_is_not_delivered_twice`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        gate: RateGate | None = None,
        stamp: Stamp | None = None,
        store: MessageStore | None = None,
        seen: Delivered | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._gate, self._stamp, self._store = settings, gate, stamp, store
        self._clock = clock
        self._seen = seen or Delivered()
        self._own_seen = seen is None
        self._subscriptions: list[Subscription] = []
        self._sent: dict[bytes, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._node: Node | None = None
        self._call: Callable[[Callable[[], Awaitable[Any]], Future[Any]], None] | None = None
        self._end: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> Self:
        """Start the node in a thread of its own.

        Raises:
            MissingDependency: py-libp2p is not installed.
            PeerError: it cannot listen.
        """
        from privity.anon.messages.thread import run_node

        self._loop = asyncio.get_running_loop()
        ready: Future[Any] = Future()
        options = (self._settings, self._deliver, self._gate, self._store, ready)
        self._thread = threading.Thread(target=run_node, args=options, name="privity-messages")
        self._thread.start()
        try:
            self._node, self._call, self._end = await asyncio.wrap_future(ready)
        except BaseException:
            self._thread.join()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the node, and wait for its thread."""
        self._end()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        for subscription in self._subscriptions:
            subscription.put(None)
        if self._own_seen:
            self._seen.close()

    @property
    def running(self) -> bool:
        """Whether the node runs: it could have ended by an error of its own."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where peers reach this node. They name the node, not the person."""
        return self._running().addresses

    @property
    def counts(self) -> Counts:
        """What the node did so far."""
        counts = self._running().counts.copy()
        counts.unread = sum(one.unread for one in self._subscriptions)
        return counts

    async def connect(self, address: str) -> None:
        """Connect to a peer.

        Raises:
            PeerError: it cannot be reached, or is no Waku relay.
        """
        await self._do(lambda: self._running().connect(address))

    async def settled(self, peers: int = 1) -> None:
        """Wait until so many peers gossip with this node on each of its topics.

        Raises:
            PeerError: they did not come in 20 s.
        """
        await self._do(lambda: self._running().settled(peers))

    def subscribe(self, channel: Channel, key: KemPrivateKey) -> Subscription:
        """Return what comes on a channel for a key, from now on."""
        subscription = Subscription(channel, key, self._seen)
        self._subscriptions.append(subscription)
        return subscription

    async def publish(self, channel: Channel, payload: bytes, recipients: Sequence[bytes]) -> bytes:
        """Seal a payload to recipients' public keys, gossip it, and return the message's hash.

        It returns when the message is queued for the mesh, and waits while the queues are full.
        That it arrived, `unconfirmed` says.

        Raises:
            InputError: there are no recipients, too many, or the rate limit is reached.
            OversizeError: the payload is too long.
            PeerError: peers would not relay it.
        """
        sealed = seal_payload(channel, payload, recipients)
        message = WakuMessage(sealed, channel.topic)
        if self._stamp is not None:
            message = await asyncio.to_thread(self._stamp.stamp, message)
        else:
            message = WakuMessage(sealed, channel.topic).timed(self._clock())
        return await self.send(message)

    async def send(self, message: WakuMessage) -> bytes:
        """Gossip a message that is ready, and return its hash.

        Raises:
            PeerError: peers would not relay it.
        """
        topic = self._settings.pubsub_topic(message.content_topic)
        await self._do(lambda: self._running().publish(topic, message))
        digest = message_hash(topic, message)
        self._sent[digest] = None
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return digest

    async def ask(self, store: str, question: Question) -> Page:
        """Ask a store node, which learns the topics that this node asks about.

        Raises:
            PeerError: it cannot be reached, refused, or does not answer.
            MalformedError: it answered something else.
        """
        page: Page = await self._do(lambda: self._running().ask(store, question))
        return page

    async def history(
        self, store: str, topics: Sequence[str], *, data: bool = True, cursor: bytes | None = None
    ) -> AsyncIterator[Stored]:
        """Yield what a store keeps of some content topics, oldest first, after ``cursor``.

        Raises:
            PeerError: the store fails.
            MalformedError: it answered something else, or forgot the cursor.
        """
        while True:
            page = await self.ask(
                store,
                Question(content_topics=tuple(topics), cursor=cursor, limit=MAX_PAGE, data=data),
            )
            for stored in page.messages:
                yield stored
            if page.cursor is None or page.cursor == cursor:
                return
            cursor = page.cursor

    async def catch_up(
        self, store: str, subscription: Subscription, cursor: bytes | None = None
    ) -> CaughtUp:
        """Compare what came with what a store lists, and fetch what did not come.

        Args:
            store: its address.
            subscription: whose channel and key.
            cursor: where the comparison ended last time.

        Raises:
            PeerError: the store fails.
            MalformedError: it answered something else.
        """
        topics = [subscription.channel.topic]
        history = self.history(store, topics, data=False, cursor=cursor)
        listed = [stored.hash async for stored in history]
        wanted = [digest for digest in listed if not subscription.came(digest)]
        delivered: list[Delivery] = []
        missing: list[bytes] = []
        async for digest, stored in self._fetch(store, wanted):
            if stored is None:
                missing.append(digest)
                continue
            opened = subscription.offer(*stored)
            delivered += [opened] if opened else []
        end = listed[-1] if listed else cursor
        return CaughtUp(len(listed), tuple(delivered), tuple(missing), end)

    async def _fetch(
        self, store: str, wanted: list[bytes]
    ) -> AsyncIterator[tuple[bytes, tuple[str, WakuMessage] | None]]:
        """Yield each message that is wanted, or nothing in its place."""
        while wanted:
            asked = wanted[:_FETCHED]
            page = await self.ask(store, Question(hashes=tuple(asked), limit=MAX_PAGE))
            got = {
                stored.hash: (stored.pubsub_topic, stored.message)
                for stored in page.messages
                if stored.message is not None and stored.pubsub_topic is not None
            }
            places = [place for place, digest in enumerate(asked) if digest in got]
            if places:  # an answer is bounded in bytes: what did not fit is asked for again
                asked = asked[: places[-1] + 1]
            for digest in asked:
                yield digest, got.get(digest)
            wanted = wanted[len(asked) :]

    async def unconfirmed(self, store: str) -> tuple[bytes, ...]:
        """Return the hashes of own messages that a store does not have; those it has are forgotten.

        Raises:
            PeerError: the store fails.
            MalformedError: it answered something else.
        """
        sent = list(self._sent)
        for start in range(0, len(sent), MAX_PAGE):
            asked = tuple(sent[start : start + MAX_PAGE])
            page = await self.ask(store, Question(hashes=asked, limit=MAX_PAGE, data=False))
            for stored in page.messages:
                self._sent.pop(stored.hash, None)
        return tuple(self._sent)

    async def has(self, store: str, digest: bytes) -> bool:
        """Return whether a store lists a message, by its hash.

        Raises:
            PeerError: the store fails.
            MalformedError: it answered something else.
        """
        page = await self.ask(store, Question(hashes=(digest,), data=False))
        return any(stored.hash == digest for stored in page.messages)

    def _deliver(self, pubsub_topic: str, message: WakuMessage) -> None:
        """Open a message in the node's thread, and hand it over to asyncio."""
        for subscription in self._subscriptions:
            delivery = subscription.offer(pubsub_topic, message)
            if delivery is not None and self._loop is not None:
                try:
                    self._loop.call_soon_threadsafe(subscription.put, delivery, message)
                except RuntimeError:  # the caller's loop ended before the node
                    return

    async def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something in the node's loop, and return what it returns."""
        if self._call is None:
            raise InputError("the bus is not running; use it in an `async with`")
        done: Future[T] = Future()
        self._call(work, done)
        return await asyncio.wrap_future(done)

    def _running(self) -> Node:
        if self._node is None:
            raise InputError("the bus is not running; use it in an `async with`")
        return self._node
