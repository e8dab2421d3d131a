"""Attacks of a peer on a node of the bus: on its memory, its connections, and what it relays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libp2p_mark import needs_libp2p
from privity.anon.messages import Bus, Channel, Settings, WakuMessage
from privity.anon.messages.framing import prefixed

pytestmark = [pytest.mark.anyio, needs_libp2p]

CHANNEL = Channel("/privity/1/test/sealed")
PUBSUB = "/waku/2/rs/1789/0"


async def until(holds: Any) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def attacked(settings: Settings | None = None) -> AsyncIterator[tuple[Bus, Bus]]:
    """Run a node and a peer that attacks it."""
    settings = settings or Settings()
    async with Bus(settings) as node, Bus(settings) as attacker:
        await attacker.connect(node.addresses[0])
        await attacker.settled(1)
        await node.settled(1)
        yield node, attacker


async def throw(attacker: Bus, node: Bus, *frames: Any) -> None:
    """Send frames of gossip as no honest node would."""
    from privity.anon.messages.gossip import RELAY_PROTOCOL

    peer = node._running().host.get_id()

    async def act() -> None:
        stream = await attacker._running().host.new_stream(peer, [RELAY_PROTOCOL])
        for frame in frames:
            await stream.write(prefixed(frame.SerializeToString()))

    await attacker._do(act)


async def heard(attacker: Bus, node: Bus) -> None:
    """Return when the node has read all that came before on the attacker's new stream."""
    data = WakuMessage(b"the last", CHANNEL.topic).to_bytes()
    from privity.anon.messages.stack import rpc_pb2

    before = node.counts
    frame = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=data, topicIDs=[PUBSUB])])
    await throw(attacker, node, frame)
    await until(lambda: node.counts.relayed + node.counts.repeated > before.relayed)


async def test_one_message_asked_for_a_thousand_times_is_sent_once() -> None:
    """A list of missed messages is short, and what it asks for may be long."""
    from privity.anon.messages.stack import rpc_pb2

    async with attacked() as (node, attacker):
        message = WakuMessage(b"x" * 100_000, CHANNEL.topic)
        data = message.to_bytes()
        pubsub, queued = node._running().pubsub, []
        await node.send(message)
        former = pubsub.router.send_rpc

        def counted(peer: Any, rpc: Any, priority: bool = False) -> None:
            queued.append(rpc.ByteSize())
            former(peer, rpc, priority)

        pubsub.router.send_rpc = counted
        from privity.anon.messages.gossip import gossip_id

        ask = rpc_pb2.RPC()
        asked = [gossip_id(rpc_pb2.Message(data=data))] * 1000
        ask.control.iwant.add(messageIDs=asked)
        await throw(attacker, node, ask)
        await until(lambda: any(size > len(data) for size in queued))
        assert max(queued) < 2 * len(data), "no frame holds it more than once"
        assert sum(queued) < 3 * len(data)


async def test_a_peer_cannot_have_a_node_connect_to_others() -> None:
    """A node connects to whom its operator named; a peer that lets it go may suggest others."""
    from libp2p.peer.envelope import seal_record
    from libp2p.peer.peer_record import PeerRecord

    from privity.anon.messages.stack import rpc_pb2

    async with attacked() as (node, attacker), Bus(Settings()) as stranger:
        host = stranger._running().host
        record = PeerRecord(host.get_id(), host.get_addrs(), 1)
        sealed = seal_record(record, host.get_private_key()).marshal_envelope()
        frame = rpc_pb2.RPC()
        peer = frame.control.prune.add(topicID=PUBSUB, backoff=1).peers.add()
        peer.peerID, peer.signedPeerRecord = host.get_id().to_bytes(), sealed
        await throw(attacker, node, frame, frame)
        await asyncio.sleep(0)
        await heard(attacker, node)
        connected = node._running().host.get_connected_peers
        assert host.get_id() not in connected()
        assert not host.get_connected_peers()


async def test_addresses_that_a_peer_gives_are_not_connected_to() -> None:
    """py-libp2p looks for connections itself among the addresses that peers gave it."""
    async with attacked() as (node, _), Bus(Settings()) as stranger:
        there = stranger._running().host

        async def act() -> None:
            host = node._running().host
            host.get_peerstore().add_addrs(there.get_id(), there.get_addrs(), 100)
            await host.get_network().auto_connector.maybe_connect()

        await node._do(act)
        assert there.get_id() not in node._running().host.get_connected_peers()


async def test_names_of_topics_that_a_peer_invents_are_not_kept() -> None:
    from privity.anon.messages.stack import rpc_pb2

    def frame(number: int) -> Any:
        made = rpc_pb2.RPC()
        topic = f"/invented/{number}/" + "x" * 1000
        made.control.prune.add(topicID=topic)
        made.control.graft.add(topicID=topic)
        made.control.ihave.add(topicID=topic, messageIDs=[b"\1" * 32])
        made.subscriptions.add(subscribe=True, topicid=topic)
        return made

    async with attacked() as (node, attacker):
        await throw(attacker, node, *(frame(number) for number in range(50)))
        await heard(attacker, node)
        pubsub = node._running().pubsub
        router, name = pubsub.router, attacker._running().host.get_id()
        for kept in (
            pubsub.peer_topics,
            router.back_off,
            router.graft_flood_tracking.get(name, {}),
            router.ihave_message_limits.get(name, {}),
        ):
            assert set(kept) <= {PUBSUB}


async def test_a_wrapper_no_honest_peer_makes_keeps_no_message_out() -> None:
    """A message is named by its data alone, and what stands around it is the relaying peer's."""
    from privity.anon.messages.stack import rpc_pb2

    key = CHANNEL.suite.kem.generate()
    async with attacked() as (node, attacker), Bus(Settings()) as honest:
        await honest.connect(node.addresses[0])
        await honest.settled(1)
        got = node.subscribe(CHANNEL, key)
        from privity.anon.messages import seal_payload

        message = WakuMessage(seal_payload(CHANNEL, b"said", [key.public_bytes]), CHANNEL.topic)
        data = message.to_bytes()
        ways = ({"from_id": b"x", "topicIDs": [PUBSUB]}, {"topicIDs": [PUBSUB, PUBSUB]})
        for way in ways:
            frame = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=data, **way)])
            await throw(attacker, node, frame)
        await until(lambda: node.counts.refused + node.counts.repeated == 2)
        await honest.send(message)
        async with asyncio.timeout(60):
            assert (await got.get()).payload == b"said"


async def test_a_message_on_the_shard_of_another_topic_is_refused() -> None:
    from privity.anon.messages.stack import rpc_pb2

    settings = Settings(shards=8)
    true = settings.pubsub_topic(CHANNEL.topic)
    other = next(topic for topic in settings.pubsub_topics if topic != true)
    async with attacked(settings) as (node, attacker):
        message = WakuMessage(b"sealed", CHANNEL.topic)
        data = message.to_bytes()
        frame = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=data, topicIDs=[other])])
        await throw(attacker, node, frame)
        await until(lambda: node.counts.refused + node.counts.relayed == 1)
        assert node.counts.relayed == 0
        await attacker.send(message)
        await until(lambda: node.counts.relayed == 1)


async def test_a_peer_that_never_reads_does_not_keep_a_node_from_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from privity.anon.messages import gossip

    monkeypatch.setattr(gossip, "_STALLED_S", 0.2)
    async with attacked() as (node, _):

        async def full(stream: Any, frame: Any) -> bool:
            from privity.anon.messages.stack import trio

            await trio.sleep_forever()
            return False

        node._running().pubsub.write_msg = full  # the line takes nothing, as nobody reads
        async with asyncio.timeout(60):
            for number in range(gossip._HIGH_WATER + 100):
                await node.send(WakuMessage(b"%d" % number, CHANNEL.topic))
