"""Messages, topics, stores and what was delivered: what each does, without a network."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from libp2p_mark import needs_libp2p
from messages_network import Members, one_of
from privity.anon.messages import (
    Bus,
    Channel,
    Delivered,
    MessageStore,
    Rules,
    Settings,
    WakuMessage,
    content_topic,
    message_hash,
    open_payload,
    seal_payload,
)
from privity.anon.messages.sealing import MAX_PAYLOAD, MAX_RECIPIENTS
from privity.anon.messages.store import MAX_PAGE, Question
from privity.anon.messages.subscription import Subscription
from privity.anon.messages.topics import shard_topic
from privity.anon.messages.waku import MAX_MESSAGE, RateLimitProof
from privity.errors import InputError, MalformedError, MissingDependency, OversizeError
from privity.hazmat.hpke import SUITES

PUBSUB = "/waku/2/rs/1789/0"
CHANNEL = Channel("/privity/1/test/sealed", SUITES[0x0020, 0x0001, 0x0001])


def message(number: int, topic: str = CHANNEL.topic, size: int = 1) -> WakuMessage:
    return WakuMessage(number.to_bytes(4, "big") * size, topic, timestamp=number + 1)


# Topics and settings.


def test_topics_have_four_parts() -> None:
    assert content_topic("privity", 1, "round-7") == "/privity/1/round-7/sealed"
    for wrong in (("", 1, "x"), ("a/b", 1, "x"), ("a", -1, "x"), ("a", 1, "x y"), ("ä", 1, "x")):
        with pytest.raises(InputError):
            content_topic(*wrong)


def test_a_topic_s_shard_depends_on_application_and_version_alone() -> None:
    def shard(topic: str) -> str:
        return shard_topic(topic, cluster=1, shards=8)

    # As @waku/utils has it; tests/interop/test_waku.py compares more of them.
    assert shard("/toychat/2/huilong/proto") == "/waku/2/rs/1/3"
    assert shard("/toychat/2/other/sealed") == shard("/toychat/2/huilong/proto")
    for wrong in ("x", "/a/b/c", "a/b/c/d/e", "/a//c/d"):
        with pytest.raises(InputError):
            shard(wrong)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError):
        Settings(degree=2, degree_low=3)
    with pytest.raises(InputError):
        Settings(heartbeat_s=0)
    with pytest.raises(InputError):
        Rules(epoch_s=0)
    assert Settings(shards=2).pubsub_topics == ("/waku/2/rs/1789/0", "/waku/2/rs/1789/1")
    assert Settings(only=("/a",)).pubsub_topic("/x/1/y/z") == "/a"


# Messages.


def test_a_message_outside_its_limits_is_refused() -> None:
    with pytest.raises(MalformedError):
        WakuMessage(b"", "")
    with pytest.raises(MalformedError):
        WakuMessage(b"", "/a/1/b/\n")
    with pytest.raises(MalformedError):
        WakuMessage(b"", "/a/1/b/c", meta=b"x" * 65)
    with pytest.raises(MalformedError):
        WakuMessage(b"", "/a/1/b/c", timestamp=1 << 63)
    with pytest.raises(MalformedError):
        RateLimitProof(b"", *[b"\0" * 32] * 6)
    with pytest.raises(MalformedError):
        RateLimitProof(b"x", *[b"\0" * 31] * 6)
    with pytest.raises(OversizeError):
        WakuMessage(b"x" * MAX_MESSAGE, "/a/1/b/c").to_bytes()
    with pytest.raises(OversizeError):
        WakuMessage.from_bytes(b"x" * (MAX_MESSAGE + 1))


def test_the_largest_sealed_payload_fits_a_message() -> None:
    channel = Channel("/a/1/b/c")
    keys = [channel.suite.kem.generate() for _ in range(2)]
    publics = [key.public_bytes for key in keys] * (MAX_RECIPIENTS // 2)
    sealed = seal_payload(channel, b"x" * MAX_PAYLOAD, publics)
    assert WakuMessage.from_bytes(WakuMessage(sealed, channel.topic).to_bytes()).payload == sealed
    assert open_payload(channel, keys[1], sealed) == b"x" * MAX_PAYLOAD
    with pytest.raises(OversizeError):
        seal_payload(channel, b"x" * (MAX_PAYLOAD + 1), publics)
    for wrong in ([], [*publics, keys[0].public_bytes]):
        with pytest.raises(InputError):
            seal_payload(channel, b"x", wrong)


def test_a_channel_opens_its_own_suite_alone() -> None:
    key = CHANNEL.suite.kem.generate()
    sealed = seal_payload(CHANNEL, b"x", [key.public_bytes])
    with pytest.raises(MalformedError):
        open_payload(Channel(CHANNEL.topic), key, sealed)


def test_a_sender_s_limit_is_upheld_before_anything_is_sent() -> None:
    member = one_of(Members(), limit=2)
    for _ in range(2):
        member.message(b"x")
    with pytest.raises(InputError):
        member.message(b"x")


# Stores.


def pages(store: MessageStore, question: Question) -> list[bytes]:
    """Return all hashes, page after page."""
    found: list[bytes] = []
    while True:
        page = store.answer(question)
        here = [one.hash for one in page.messages]
        found = found + here if question.forward else here + found
        if page.cursor is None:
            return found
        fields = {**vars(question), "cursor": page.cursor}
        question = Question(**fields)


@pytest.mark.parametrize("forward", [True, False])
def test_a_store_answers_in_pages_in_the_order_of_arrival(forward: bool) -> None:
    store = MessageStore()
    kept = [message(number) for number in (5, 1, 4, 2, 3, 9, 7)]
    assert all(store.add(PUBSUB, each) for each in kept)
    assert not store.add(PUBSUB, kept[0])
    store.add(PUBSUB, message(8, "/other/1/x/y"))
    question = Question(content_topics=(CHANNEL.topic,), limit=3, forward=forward)
    assert pages(store, question) == [message_hash(PUBSUB, each) for each in kept]
    bare = store.answer(Question(content_topics=(CHANNEL.topic,), data=False))
    assert all(one.message is None for one in bare.messages)
    timed = store.answer(Question(start=3, end=5))
    assert [one.message for one in timed.messages] == [kept[3], kept[4]]
    assert store.answer(Question(pubsub_topic="/elsewhere")).messages == ()
    store.close()


def test_a_store_answers_by_hash_and_nothing_else_then() -> None:
    store = MessageStore()
    for number in range(3):
        store.add(PUBSUB, message(number))
    wanted = message_hash(PUBSUB, message(1))
    page = store.answer(Question(hashes=(b"\0" * 32, wanted)))
    assert [one.message for one in page.messages] == [message(1)]
    with pytest.raises(InputError):
        store.answer(Question(hashes=(wanted,), content_topics=("/a/1/b/c",)))
    with pytest.raises(MalformedError):
        store.answer(Question(cursor=b"\0" * 32))
    store.close()


def test_a_store_is_bounded_in_size_and_age() -> None:
    now = [1000.0]
    store = MessageStore(max_bytes=20_000, max_age_s=60, clock=lambda: now[0])
    for number in range(50):
        store.add(PUBSUB, message(number, size=256))
    assert 10 < len(store) < 20
    newest = [one.message for one in store.answer(Question(forward=False, limit=1)).messages]
    assert newest == [message(49, size=256)]
    now[0] += 61
    store.prune()
    assert len(store) == 0
    assert not store.add(PUBSUB, WakuMessage(b"x", "/a/1/b/c", ephemeral=True))
    store.close()


def test_an_answer_is_bounded_in_bytes() -> None:
    store = MessageStore()
    for number in range(20):
        store.add(PUBSUB, message(number, size=32_000))
    page = store.answer(Question(limit=MAX_PAGE))
    assert 5 < len(page.messages) < 10 and page.cursor == page.messages[-1].hash
    assert len(pages(store, Question(limit=MAX_PAGE))) == 20
    store.close()


def test_a_store_and_what_was_delivered_survive_a_restart(tmp_path: Path) -> None:
    store = MessageStore(tmp_path / "store.db")
    store.add(PUBSUB, message(1))
    store.close()
    again = MessageStore(tmp_path / "store.db")
    assert [one.message for one in again.answer(Question()).messages] == [message(1)]
    again.close()
    seen = Delivered(tmp_path / "seen.db")
    assert seen.add(b"x") and not seen.add(b"x")
    seen.close()
    after = Delivered(tmp_path / "seen.db")
    assert not after.add(b"x") and after.has(b"x") and not after.has(b"y")
    after.close()


def test_what_was_delivered_is_bounded() -> None:
    seen = Delivered(most=2000)
    for number in range(5000):
        assert seen.add(number.to_bytes(4, "big"))
    assert not seen.has((0).to_bytes(4, "big")) and seen.has((4999).to_bytes(4, "big"))
    seen.close()


def test_a_message_that_nobody_reads_is_counted_and_can_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("privity.anon.messages.subscription._UNREAD", 1)
    key, seen = CHANNEL.suite.kem.generate(), Delivered()

    async def run() -> None:
        subscription = Subscription(CHANNEL, key, seen)
        for number in range(2):
            sealed = seal_payload(CHANNEL, b"%d" % number, [key.public_bytes])
            whole = WakuMessage(sealed, CHANNEL.topic)
            delivery = subscription.offer(PUBSUB, whole)
            assert delivery is not None
            subscription.put(delivery, whole)
        assert subscription.unread == 1
        assert not subscription.came(delivery.hash)
        assert (await subscription.get()).payload == b"0"
        again = subscription.offer(PUBSUB, whole)
        assert again is not None and again.payload == b"1"

    asyncio.run(run())
    seen.close()


# The bus.


def test_a_bus_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    for name in [name for name in sys.modules if name.startswith("privity.anon.messages.")]:
        if name.rsplit(".", 1)[1] in ("stack", "gossip", "node", "thread"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libp2p", None)
    with pytest.raises(MissingDependency, match="py-libp2p"):
        import_module("privity.anon.messages.stack")


def test_a_bus_that_does_not_run_says_so() -> None:
    bus = Bus(Settings(), seen=Delivered())
    with pytest.raises(InputError):
        _ = bus.addresses
    bus._seen.close()


@needs_libp2p
def test_a_reader_ends_with_its_bus() -> None:
    async def run() -> None:
        async with Bus(Settings()) as bus:
            got = bus.subscribe(CHANNEL, CHANNEL.suite.kem.generate())
        assert [delivery async for delivery in got] == []

    asyncio.run(run())


@needs_libp2p
def test_one_of_several_keys_opens_and_channels_do_not_mix() -> None:
    async def run() -> None:
        keys = [CHANNEL.suite.kem.generate() for _ in range(3)]
        other = Channel("/privity/1/else/sealed", CHANNEL.suite)
        async with Bus(Settings()) as bus:
            readers = [bus.subscribe(CHANNEL, key) for key in keys]
            elsewhere = bus.subscribe(other, keys[0])
            await bus.publish(CHANNEL, b"two", [key.public_bytes for key in keys[:2]])
            await bus.publish(other, b"other", [keys[0].public_bytes])
            await bus.publish(CHANNEL, b"last", [keys[2].public_bytes])
            assert [(await one.get()).payload for one in readers] == [b"two", b"two", b"last"]
            assert (await elsewhere.get()).payload == b"other"

    asyncio.run(run())
