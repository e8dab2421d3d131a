"""The bus: publish to recipients, subscribe, and catch up with a store, from asyncio.

Run by whoever sends or receives. A bus is a node of the network as well: it relays for others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from privity.anon.messages.delivered import Delivered
from privity.anon.messages.rate_limit import RateGate
from privity.anon.messages.reading import CaughtUp, Reading
from privity.anon.messages.sealing import Channel, seal_payload
from privity.anon.messages.settings import Settings
from privity.anon.messages.store import MAX_PAGE, MessageStore, Page, Question
from privity.anon.messages.subscription import Subscription
from privity.anon.messages.waku import WakuMessage, message_hash
from privity.errors import InputError
from privity.hazmat.kem import KemPrivateKey

if TYPE_CHECKING:
    from privity.anon.messages.gossip import Counts
    from privity.anon.messages.node import Node

__all__ = ["Bus", "CaughtUp", "Stamp"]

_REMEMBERED = 1 << 18  # hashes of the own messages, for `Bus.unconfirmed`

T = TypeVar("T")


class Stamp(Protocol):
    """What puts a proof on the own messages: `rate_limit.RateStamp`."""

    def stamp(self, message: WakuMessage) -> WakuMessage:
        """Return the message with its proof. Slow."""


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

    async def catch_up(
        self,
        store: str,
        subscription: Subscription,
        cursor: bytes | None = None,
        *,
        patience_s: float = 600.0,
    ) -> CaughtUp:
        """Compare what came with what a store lists, and fetch what did not come.

        Args:
            store: its address.
            subscription: whose channel and key.
            cursor: where the comparison ended last time.
            patience_s: seconds after which it ends where it is, with what it has.

        Raises:
            PeerError: the store fails.
            MalformedError: it answered something else.
        """
        topic = self._settings.pubsub_topic(subscription.channel.topic)
        reading = Reading(partial(self.ask, store), subscription, topic, patience_s)
        return await reading.run(cursor)

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
