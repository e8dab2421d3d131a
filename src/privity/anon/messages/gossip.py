"""Gossip as Waku's relays do it (11/WAKU2-RELAY), on py-libp2p's gossipsub.

What is changed in py-libp2p 0.8.1, and why:

- It writes the sender's peer id and a counter into each message even where signing is off. Here a
  message has data and topic, nothing else, and one that has more is refused (StrictNoSign).
- It names messages in its cache by peer id and counter, which are absent here, so all would be
  one, and its check for equivocation would refuse all but the first. Here the name is SHA-256 of
  the data.
- It sends the node's signed addresses with each message. Here it never does.
- It starts a task for each message and reads on. Here a message is taken before the next is read,
  so a node that cannot keep up slows its peers down instead of growing.
- It sends a missed message as often as one request names it, all in one frame; keeps a note of
  each topic that a peer names; and connects to whom a peer suggests that lets it go. Here a message
  is sent once a request, of other topics nothing is heard, and a node connects to nobody on its
  own.
- Its queue to a peer holds 32 messages, its subscriptions 32, it takes 10 messages a second from a
  peer and topic, 10 requests for missed messages a second, and drops the rest silently. Here queues
  are bounded by bytes, what does not fit is counted, and rate limits rest on proofs.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any

from privity.anon.messages.stack import (
    GossipSub,
    MessageCache,
    PriorityQueue,
    Pubsub,
    ended,
    read_frame,
    read_id,
    rpc_pb2,
    trio,
)
from privity.anon.messages.waku import MAX_MESSAGE

__all__ = ["RELAY_PROTOCOL", "Counts", "WakuPubsub", "WakuRouter", "gossip_id"]

RELAY_PROTOCOL = "/vac/waku/relay/2.0.0"

_AS = "/meshsub/1.1.0"  # the version of gossipsub that Waku's relay is
_QUEUE_MESSAGES, _QUEUE_BYTES = 16_384, 64 << 20  # to one peer
_HIGH_WATER = 1024  # messages waiting for one peer at which the own publishing pauses
_STALLED_S = 5.0  # without a message taken from its queue: nobody waits for such a peer
_TOGETHER = 128 * 1024  # bytes of messages written as one frame
_MAX_FRAME = 1 << 20
_ASKED_A_SECOND = 100.0  # control messages of one kind that a peer may send a second
_STRIKES = 16  # messages that no honest peer relays, before a peer is cut off
_REMEMBERED = 4096  # peers whose strikes are counted


@dataclass
class Counts:
    """What a node did since it began, in messages.

    Attributes:
        relayed: taken, and given to the mesh.
        repeated: came again from another peer.
        refused: dropped by the gate or for their form.
        dropped: not sent to a peer because its queue was full.
        unread: not handed to a subscriber because it did not read.
        cut_off: peers that were cut off.
        unkept: relayed, and not kept, because the store's file cannot be used.
    """

    relayed: int = 0
    repeated: int = 0
    refused: int = 0
    dropped: int = 0
    unread: int = 0
    cut_off: int = 0
    unkept: int = 0

    def copy(self) -> Counts:
        """Return the numbers as they are now."""
        return Counts(**{one.name: getattr(self, one.name) for one in fields(self)})


def gossip_id(message: Any) -> bytes:
    """Return the name of a gossiped message: SHA-256 of its data, as in other Waku nodes."""
    return hashlib.sha256(message.data).digest()


class _Cache(MessageCache):  # type: ignore[misc]
    """Recent messages by `gossip_id`."""

    def put(self, msg: Any) -> None:
        mid = gossip_id(msg)
        if mid not in self.msgs:
            self.msgs[mid] = msg
            self.history[0].append(_Entry(mid, tuple(msg.topicIDs)))


@dataclass(frozen=True)
class _Entry:
    mid: bytes
    topics: tuple[str, ...]


class _Queue(PriorityQueue):  # type: ignore[misc]
    """What waits for one peer, bounded in number and bytes."""

    def __init__(self) -> None:
        super().__init__(_QUEUE_MESSAGES)
        self.size = 0
        self._moved = trio.current_time()

    @property
    def is_full(self) -> bool:
        """Whether to wait for it: it is long, and its peer reads."""
        return len(self) > _HIGH_WATER and trio.current_time() - self._moved < _STALLED_S

    def push(self, rpc: Any, priority: bool = False) -> bool:
        size = rpc.ByteSize()
        if self.size + size > _QUEUE_BYTES or not super().push(rpc, priority):
            return False
        self.size += size
        return True

    def pop(self) -> Any:
        rpc = super().pop()
        if rpc is not None:
            self.size -= rpc.ByteSize()
        self._moved = trio.current_time()
        return rpc


class _Queues(dict[Any, Any]):
    """The queues to peers: each is made wider as it is registered."""

    def __setitem__(self, peer: Any, queue: Any) -> None:
        queue._queue = _Queue()
        super().__setitem__(peer, queue)


class WakuRouter(GossipSub):  # type: ignore[misc]
    """Gossipsub under Waku's protocol name, with message ids from content."""

    def __init__(self, counts: Counts, *, degree: int, low: int, high: int, beat_s: float) -> None:
        super().__init__(
            [RELAY_PROTOCOL],
            degree,
            low,
            high,
            gossip_window=6,
            gossip_history=12,
            heartbeat_interval=beat_s,
            prune_back_off=10,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
        )
        self.counts = counts
        self.mcache = _Cache(6, 12)
        self.scorer = None  # peers are judged by proofs, in `WakuPubsub.strike`
        self.max_iwant_requests_per_second = _ASKED_A_SECOND
        self.max_ihave_messages_per_second = _ASKED_A_SECOND

    def add_peer(self, peer_id: Any, protocol_id: str | None) -> None:
        """Count a peer among those that speak gossipsub, under the name that the base knows."""
        super().add_peer(peer_id, _AS)

    async def publish(self, msg_forwarder: Any, pubsub_msg: Any) -> None:
        """Give a message to the mesh, but for the peer it came from."""
        self.mcache.put(pubsub_msg)
        peers = self._get_peers_to_send(pubsub_msg.topicIDs, msg_forwarder, msg_forwarder)
        rpc = rpc_pb2.RPC(publish=[pubsub_msg])
        for peer in peers:
            self.send_rpc(peer, rpc)

    def send_rpc(self, peer_id: Any, rpc: Any, priority: bool = False) -> None:
        """Queue what goes to a peer, or count it as dropped."""
        queue = self.pubsub.peer_queues.get(peer_id)
        if queue is None:
            return
        rpc.ClearField("senderRecord")
        if rpc.publish and not rpc.HasField("control") and peer_id not in self._pending_control:
            if not queue.push(rpc):  # shared by all peers it goes to: queues do not alter it
                self.counts.dropped += len(rpc.publish)
            return
        super().send_rpc(peer_id, rpc, priority)

    def _handle_dropped_rpc(self, peer_id: Any, rpc: Any, reason: str) -> None:
        self.counts.dropped += len(rpc.publish)
        super()._handle_dropped_rpc(peer_id, rpc, reason)

    async def handle_iwant(self, iwant_msg: Any, sender_peer_id: Any) -> None:
        """Give a peer what it missed, each message once, however often it is named."""
        if self._check_iwant_rate_limit(sender_peer_id):
            for mid in {read_id(name) for name in iwant_msg.messageIDs}:
                message = self.mcache.get(mid)
                if message is not None:
                    self.send_rpc(sender_peer_id, rpc_pb2.RPC(publish=[message]))

    async def _do_px(self, px_peers: Any) -> None:
        """Do nothing: a node connects to whom it was told to."""

    async def send_recent_messages(self, peer_id: Any, topic: str) -> None:
        """Do nothing: a peer that comes gets what it missed by asking, or from a store."""


async def _reset(stream: Any) -> None:
    """End a stream, if it has not ended yet."""
    with contextlib.suppress(*ended):
        await stream.reset()


Take = Callable[[Any, Any, bytes], Awaitable[None]]
"""What becomes of a message: from which peer, the message, its id."""


class WakuPubsub(Pubsub):  # type: ignore[misc]
    """Reads what peers send, and writes what is queued for them.

    Args:
        host: of py-libp2p.
        router: the gossip.
        take: is awaited with each message that is new and has the right form.
        counts: are kept here.
    """

    def __init__(self, host: Any, router: WakuRouter, take: Take, counts: Counts) -> None:
        super().__init__(
            host,
            router,
            strict_signing=False,
            msg_id_constructor=gossip_id,
            max_inbound_rpc_size=_MAX_FRAME,
        )
        self.peer_queues = _Queues()
        self._take, self.counts = take, counts
        self._strikes: dict[Any, int] = {}
        self._pending: set[bytes] = set()

    def get_hello_packet(self) -> Any:
        """Return what a new peer is told: the topics, and no addresses."""
        packet = rpc_pb2.RPC()
        for topic in self.topic_ids:
            packet.subscriptions.add(subscribe=True, topicid=topic)
        return packet

    async def continuously_read_stream(self, stream: Any) -> None:
        """Read what a peer sends, one frame after the other, until it goes or is cut off."""
        peer = stream.muxed_conn.peer_id
        try:
            while self.manager.is_running and not self.is_peer_blacklisted(peer):
                frame = await read_frame(stream, _MAX_FRAME)
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(frame)
                await self._read(peer, rpc)
        except Exception:  # whatever a peer's bytes do to py-libp2p ends the peer, not the node
            self._handle_dead_peer(peer)
            await _reset(stream)

    async def _read(self, peer: Any, rpc: Any) -> None:
        for message in rpc.publish:
            if self._is_subscribed_to_msg(message):
                await self.push_msg(peer, message)
        for subscription in rpc.subscriptions[: self.max_subscriptions_per_rpc]:
            if subscription.topicid in self.topic_ids:
                self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            rpc.ClearField("senderRecord")
            for said in (rpc.control.ihave, rpc.control.graft, rpc.control.prune):
                ours = [one for one in said if one.topicID in self.topic_ids]
                del said[:]
                said.extend(ours)
            await self.router.handle_rpc(rpc, peer)

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """Take a message that a peer relayed."""
        mid = gossip_id(msg)
        if mid in self._pending or self.seen_messages.has(mid):
            self.counts.repeated += 1
            return
        signed = any(msg.HasField(name) for name in ("from_id", "seqno", "signature", "key"))
        if signed or len(msg.topicIDs) != 1 or len(msg.data) > MAX_MESSAGE:
            self.refuse_wrapper(msg_forwarder, mid)
            return
        self._pending.add(mid)
        await self._take(msg_forwarder, msg, mid)

    async def accept(self, peer: Any, message: Any, mid: bytes) -> None:
        """Relay a message that was found good."""
        self.seen_messages.add(mid)
        self._pending.discard(mid)
        self.counts.relayed += 1
        await self.router.publish(peer, message)

    def refuse(self, peer: Any, mid: bytes, *, strike: bool) -> None:
        """Relay a message no further, and hold it against the peer where ``strike`` says so."""
        self.seen_messages.add(mid)
        self._pending.discard(mid)
        self.counts.refused += 1
        if strike:
            self._strike(peer)

    def refuse_wrapper(self, peer: Any, mid: bytes) -> None:
        """Refuse what a peer put round a message; others may bring the message as it should be."""
        self._pending.discard(mid)
        self.counts.refused += 1
        self._strike(peer)

    def _strike(self, peer: Any) -> None:
        if peer == self.my_id:
            return
        self._strikes[peer] = self._strikes.get(peer, 0) + 1
        if len(self._strikes) > _REMEMBERED:
            del self._strikes[next(iter(self._strikes))]
        if self._strikes[peer] == _STRIKES:
            self.counts.cut_off += 1
            self._handle_dead_peer(peer)
            self.add_to_blacklist(peer)
            self.manager.run_task(self.host.disconnect, peer)

    async def send(self, topic: str, data: bytes) -> None:
        """Publish, when the queues to peers that read have room."""
        while any(queue._queue.is_full for queue in self.peer_queues.values()):
            await trio.sleep(0.005)
        message = rpc_pb2.Message(data=data, topicIDs=[topic])
        mid = gossip_id(message)
        if not self.seen_messages.has(mid):
            await self.accept(self.my_id, message, mid)

    async def handle_sending_messages(self, peer_id: Any, stream: Any, queue: Any) -> None:
        """Write what is queued for a peer, many messages in one frame."""
        try:
            while (first := await queue.pop()) is not None:
                frame = rpc_pb2.RPC()
                frame.CopyFrom(first)
                size = frame.ByteSize()
                while size < _TOGETHER and (more := queue._queue.pop()) is not None:
                    frame.MergeFrom(more)
                    size += more.ByteSize()
                if not await self.write_msg(stream, frame):
                    return
        except ended:
            self._handle_dead_peer(peer_id)

    async def write_msg(self, stream: Any, rpc_msg: Any) -> bool:
        """Write a frame, without the node's addresses."""
        rpc_msg.ClearField("senderRecord")
        return bool(await super().write_msg(stream, rpc_msg))
