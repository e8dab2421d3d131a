"""Attacks on the bus, one for each promise of spec/messages.md but those of rates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from libp2p_mark import needs_libp2p
from messages_network import Member, Members, one_of
from privity.anon.messages import (
    Bus,
    Channel,
    Delivered,
    MessageStore,
    RateGate,
    Settings,
    WakuMessage,
    open_payload,
    seal_payload,
)
from privity.anon.messages.framing import prefixed as _prefixed
from privity.anon.messages.rate_limit import Engine
from privity.anon.messages.store import Page, Question, Stored
from privity.anon.messages.store_wire import decode_page, encode_page
from privity.anon.messages.subscription import Subscription
from privity.anon.messages.waku import message_hash
from privity.errors import MalformedError, OpenError, PeerError
from privity.hazmat.hpke import DEFAULT, SUITES
from rate_engines import ENGINES

X25519 = SUITES[0x0020, 0x0001, 0x0001]
CHANNEL = Channel("/privity/1/test/sealed")
PUBSUB = "/waku/2/rs/1789/0"
# What is sealed.


@pytest.mark.parametrize("suite", [DEFAULT, X25519], ids=["x-wing", "x25519"])
def test_a_stranger_reads_nothing(suite: object) -> None:
    channel = Channel(CHANNEL.topic, suite)  # type: ignore[arg-type]
    ours, stranger = channel.suite.kem.generate(), channel.suite.kem.generate()
    sealed = seal_payload(channel, b"between us", [ours.public_bytes])
    assert open_payload(channel, ours, sealed) == b"between us"
    assert b"between us" not in sealed
    with pytest.raises(OpenError):
        open_payload(channel, stranger, sealed)
    with pytest.raises(OpenError):  # sealed for one channel, put on another
        open_payload(Channel("/privity/1/other/sealed", channel.suite), ours, sealed)


def test_a_recipient_is_not_named_and_two_messages_do_not_link() -> None:
    key = X25519.kem.generate()
    channel = Channel(CHANNEL.topic, X25519)
    first, second = (seal_payload(channel, b"same", [key.public_bytes]) for _ in range(2))
    assert key.public_bytes not in first + second
    shared = {first[at : at + 8] for at in range(8, len(first) - 8)}
    assert not shared & {second[at : at + 8] for at in range(8, len(second) - 8)}


def test_lengths_tell_only_buckets() -> None:
    channel = Channel(CHANNEL.topic, X25519)
    keys = [channel.suite.kem.generate().public_bytes for _ in range(5)]
    sizes = [(0, 1), (252, 1), (253, 2), (508, 2), (60, 3), (200, 4), (0, 5)]
    lengths = [len(seal_payload(channel, b"x" * size, keys[:many])) for size, many in sizes]
    base, slot = 8 + 256 + 16, channel.slot_size
    assert lengths[:2] == [base + slot] * 2
    assert lengths[2:4] == [base + 256 + 2 * slot] * 2
    assert lengths[4:6] == [base + 4 * slot] * 2
    assert lengths[6] == base + 8 * slot


def test_altered_bytes_open_for_nobody() -> None:
    channel = Channel(CHANNEL.topic, X25519)
    keys = [channel.suite.kem.generate() for _ in range(2)]
    sealed = seal_payload(channel, b"said", [key.public_bytes for key in keys])
    for place in range(0, len(sealed), 7):
        altered = bytearray(sealed)
        altered[place] ^= 1
        for key in keys:
            with pytest.raises((OpenError, MalformedError)):
                open_payload(channel, key, bytes(altered))


# Delivery.


def test_a_replayed_message_is_not_delivered_twice() -> None:
    key, seen = CHANNEL.suite.kem.generate(), Delivered(most=10_000)
    subscription = Subscription(CHANNEL, key, seen)
    sealed = seal_payload(CHANNEL, b"once", [key.public_bytes])
    message = WakuMessage(sealed, CHANNEL.topic, timestamp=1)
    first = subscription.offer(PUBSUB, message)
    assert first is not None and first.payload == b"once"
    for again in (message, replace(message, timestamp=2), replace(message, meta=b"x")):
        assert subscription.offer(PUBSUB, again) is None
        assert Subscription(CHANNEL, key, seen).offer(PUBSUB, again) is None
    seen.close()


@asynccontextmanager
async def network(count: int, gates: list[RateGate | None]) -> AsyncIterator[list[Bus]]:
    """Run a line of nodes; each keeps a store."""
    async with AsyncExitStack() as stack:
        nodes: list[Bus] = []
        for place in range(count):
            store = MessageStore()
            stack.callback(store.close)
            bus = Bus(Settings(), gate=gates[place], store=store)
            nodes.append(await stack.enter_async_context(bus))
            if place:
                await nodes[-1].connect(nodes[-2].addresses[0])
        for node in nodes:
            await node.settled(1)
        yield nodes


@needs_libp2p
def test_a_message_names_nobody() -> None:
    """Neither the bytes of a gossiped message nor the frame around it hold a node's name."""

    async def run() -> None:
        frames: list[bytes] = []
        async with network(2, [None, None]) as (sender, receiver):
            node = receiver._running()
            former = node.pubsub._read

            async def tapped(peer: object, rpc: object) -> None:
                frames.append(rpc.SerializeToString())  # type: ignore[attr-defined]
                await former(peer, rpc)

            node.pubsub._read = tapped
            key = CHANNEL.suite.kem.generate()
            got = receiver.subscribe(CHANNEL, key)
            await sender.publish(CHANNEL, b"who am I", [key.public_bytes])
            assert (await got.get()).payload == b"who am I"
            name = sender._running().host.get_id().to_bytes()
            public = sender._running().host.get_public_key().serialize()[-32:]
        assert any(len(frame) > 1000 for frame in frames)
        for frame in frames:
            assert name not in frame and public not in frame and b"\x7f\0\0\1" not in frame

    asyncio.run(run())


@needs_libp2p
@pytest.mark.parametrize("engine", ENGINES)
def test_a_spammer_s_messages_stop_at_the_first_relay(engine: type[Engine]) -> None:
    async def run() -> None:
        members = Members(engine())
        member, honest = one_of(members, limit=2), one_of(members, name=b"honest")
        async with network(3, [None, members.gate(), members.gate()]) as (spammer, relay, end):
            key = CHANNEL.suite.kem.generate()
            got = end.subscribe(CHANNEL, key)
            for place in range(6):
                if place % 2 == 0:
                    member.used.clear()
                sealed = seal_payload(CHANNEL, b"%d" % place, [key.public_bytes])
                await spammer.send(await asyncio.to_thread(member.message, sealed))
            await until(lambda: relay.counts.refused == 4)
            sealed = seal_payload(CHANNEL, b"honest", [key.public_bytes])
            await spammer.send(await asyncio.to_thread(honest.message, sealed))
            heard = [(await got.get()).payload for _ in range(3)]
            assert heard[-1] == b"honest" and len(set(heard)) == 3
            assert end.counts.refused == 0
            assert [spam.secret for spam in members.found] == [member.secret]
            assert relay.counts.cut_off == 0  # whoever relayed it may have been honest

    asyncio.run(run())


@needs_libp2p
def test_a_peer_that_sends_what_nobody_honest_relays_is_cut_off() -> None:
    async def run() -> None:
        members = Members()
        async with network(3, [None, members.gate(), members.gate()]) as (attacker, relay, end):
            pubsub = attacker._running().pubsub
            for place in range(20):
                data = b"\xff\xff hostile %d" % place if place % 2 else b""
                data = data or WakuMessage(b"%d" % place, CHANNEL.topic).to_bytes()
                await attacker._do(lambda data=data: pubsub.send(PUBSUB, data))  # type: ignore[misc]
            await until(lambda: relay.counts.cut_off == 1)
            assert relay.counts.relayed == 0 and end.counts.relayed == 0
            member: Member = one_of(members)
            key = CHANNEL.suite.kem.generate()
            got = end.subscribe(CHANNEL, key)
            sealed = seal_payload(CHANNEL, b"still here", [key.public_bytes])
            await relay.send(member.message(sealed))
            assert (await got.get()).payload == b"still here"

    asyncio.run(run())


@needs_libp2p
def test_a_relay_refuses_messages_that_name_their_sender() -> None:
    from privity.anon.messages.stack import rpc_pb2

    async def run() -> None:
        async with network(2, [None, None]) as (attacker, relay):
            node = attacker._running()
            for name in ("from_id", "seqno", "signature", "key"):
                data = WakuMessage(name.encode(), CHANNEL.topic).to_bytes()
                message = rpc_pb2.Message(data=data, topicIDs=[PUBSUB], **{name: b"x"})
                await attacker._do(
                    lambda message=message: node.pubsub.accept(  # type: ignore[misc]
                        node.pubsub.my_id, message, message.data[:32]
                    )
                )
            await until(lambda: relay.counts.refused == 4)
            assert relay.counts.relayed == 0

    asyncio.run(run())


@needs_libp2p
def test_no_bytes_of_a_peer_end_a_node() -> None:
    from privity.anon.messages.gossip import RELAY_PROTOCOL
    from privity.anon.messages.stack import rpc_pb2
    from privity.anon.messages.store_wire import STORE_PROTOCOL

    odd = rpc_pb2.RPC()
    odd.control.graft.add(topicID="\0" * 9999)
    odd.control.prune.add(topicID=PUBSUB, backoff=2**63).peers.add(peerID=b"x" * 99)
    odd.control.ihave.add(topicID="x", messageIDs=[b"", b"\xff", b"0", b"zz" * 400])
    odd.control.iwant.add(messageIDs=[b"", b"\xff" * 99])
    odd.control.idontwant.add(messageIDs=[b"x"] * 99)
    odd.subscriptions.add(subscribe=True, topicid="x" * 9999)
    odd.subscriptions.add()
    odd.publish.add()
    whole = odd.SerializeToString()
    frames = [b"\x05hello", b"\xff" * 20, b"\0", _prefixed(whole), _prefixed(whole[:-7])]
    frames += [_prefixed(odd.SerializeToString()[at : at + 200]) for at in range(0, 2000, 97)]

    async def run() -> None:
        async with network(2, [None, None]) as (sender, node), Bus(Settings()) as attacker:
            peer = node._running().host.get_id()
            await attacker.connect(node.addresses[0])

            async def throw(protocol: str, frame: bytes) -> None:
                stream = await attacker._running().host.new_stream(peer, [protocol])
                await stream.write(frame)

            for frame in frames:
                for protocol in (RELAY_PROTOCOL, STORE_PROTOCOL):
                    await attacker._do(lambda p=protocol, f=frame: throw(p, f))  # type: ignore[misc]
            key = CHANNEL.suite.kem.generate()
            got = node.subscribe(CHANNEL, key)
            await sender.publish(CHANNEL, b"still here", [key.public_bytes])
            async with asyncio.timeout(30):
                assert (await got.get()).payload == b"still here"
                found = await sender.ask(node.addresses[0], Question())
            assert len(found.messages) == 1

    asyncio.run(run())


@needs_libp2p
def test_nobody_on_the_line_can_choose_a_connection_in_the_open() -> None:
    offers = ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0", "/noise"]

    async def run() -> None:
        async with Bus(Settings()) as bus:
            port = int(bus.addresses[0].split("/")[4])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_prefixed(b"/multistream/1.0.0\n"))
            answers = []
            for offer in offers:
                writer.write(_prefixed(offer.encode() + b"\n"))
            async with asyncio.timeout(10):
                for _ in range(1 + len(offers)):
                    size = await reader.readexactly(1)
                    answers.append((await reader.readexactly(size[0])).decode().strip())
            assert answers == ["/multistream/1.0.0", "na", "na", "na", "/noise"]
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


# Stores.


def test_a_store_cannot_pass_one_message_off_as_another() -> None:
    true, other = (WakuMessage(name, CHANNEL.topic) for name in (b"true", b"other"))
    page = Page((Stored(message_hash(PUBSUB, true), PUBSUB, other),), None)
    with pytest.raises(MalformedError):
        decode_page(encode_page(page, "1"), "1")
    with pytest.raises(MalformedError):
        decode_page(encode_page(Page((), None), "1"), "2")


@needs_libp2p
def test_what_a_store_lists_and_withholds_is_reported() -> None:
    class Withholding(MessageStore):
        def answer(self, question: Question) -> Page:
            page = super().answer(question)
            kept = [one for one in page.messages if not question.data or one.hash[0] % 2]
            return Page(tuple(kept), page.cursor)

    async def run() -> None:
        store = Withholding()
        key = CHANNEL.suite.kem.generate()
        async with Bus(Settings(), store=store) as keeper, Bus(Settings()) as late:
            hashes = [await keeper.publish(CHANNEL, b"x", [key.public_bytes]) for _ in range(8)]
            found = await late.catch_up(keeper.addresses[0], late.subscribe(CHANNEL, key))
            assert set(found.missing) == {digest for digest in hashes if digest[0] % 2 == 0}
            assert {one.hash for one in found.delivered} == set(hashes) - set(found.missing)
            assert found.listed == 8
        store.close()

    asyncio.run(run())


@needs_libp2p
def test_a_sender_is_told_what_the_store_does_not_have() -> None:
    async def run() -> None:
        key = CHANNEL.suite.kem.generate()
        small = MessageStore(max_bytes=4000)
        async with Bus(Settings(), store=small) as keeper:
            hashes = [await keeper.publish(CHANNEL, b"x", [key.public_bytes]) for _ in range(6)]
            async with Bus(Settings()) as sender:
                sender._sent = dict.fromkeys(hashes)
                lost = await sender.unconfirmed(keeper.addresses[0])
                assert lost == tuple(hashes[: len(hashes) - len(small)]) and lost
        small.close()

    asyncio.run(run())


@needs_libp2p
def test_a_peer_that_is_no_store_is_an_error_of_the_peer() -> None:
    async def run() -> None:
        async with Bus(Settings()) as plain, Bus(Settings()) as asker:
            with pytest.raises(PeerError):
                await asker.ask(plain.addresses[0], Question())
            with pytest.raises(PeerError):
                await asker.connect("/ip4/127.0.0.1/tcp/1")
            with pytest.raises(PeerError):
                await asker.connect("not an address")

    asyncio.run(run())


async def until(holds: object) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(30):
        while not holds():  # type: ignore[operator]
            await asyncio.sleep(0.02)
