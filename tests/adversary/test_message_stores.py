"""Attacks of a store on its readers, and of those who ask on a store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from libp2p_mark import needs_libp2p
from privity.anon.messages import (
    Bus,
    Delivered,
    MessageStore,
    Settings,
    WakuMessage,
    channel_named,
    message_hash,
    reading,
    seal_payload,
)
from privity.anon.messages import store as store_module
from privity.anon.messages.store import Page, Question, Stored
from privity.anon.messages.subscription import Subscription
from privity.errors import InputError, MalformedError, PeerError
from privity.infer.anonymous.inbox import open_box

pytestmark = pytest.mark.anyio

CHANNEL = channel_named("inbox")
PUBSUB = "/waku/2/rs/1789/0"


class Scripted:
    """A store in the place of the network: it answers what a test tells it to."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kept: list[tuple[bytes, WakuMessage]] = []
        self.asked = 0

    def keep(self, message: WakuMessage) -> bytes:
        digest = message_hash(PUBSUB, message)
        self.kept.append((digest, message))
        return digest

    def page(self, question: Question) -> Page:
        self.asked += 1
        if question.hashes:
            found = [(one, text) for one, text in self.kept if one in question.hashes]
            return Page(tuple(Stored(one, PUBSUB, text) for one, text in found), None)
        return Page(tuple(Stored(one) for one, _ in self.kept), None)


def reader(store: Scripted) -> Bus:
    """Return a bus that asks the store without a network."""
    made = Bus(store.settings)

    async def ask(address: str, question: Question) -> Page:
        await asyncio.sleep(0)
        return store.page(question)

    made.ask = ask  # type: ignore[method-assign]
    return made


def sealed(payload: bytes, key: Any, *, at: int = 60_000_000_000) -> WakuMessage:
    text = seal_payload(CHANNEL, payload, [key.public_bytes])
    return WakuMessage(text, CHANNEL.topic, timestamp=at)


async def test_what_came_before_a_store_failed_comes_again() -> None:
    """Else a store could erase what another one has: hand some of it out, and go."""

    class Failing(Scripted):
        fails = True

        def page(self, question: Question) -> Page:
            if self.fails and question.hashes and len(question.hashes) < 50:
                raise PeerError("it went")
            return super().page(question)

    store, key, seen = Failing(Settings()), CHANNEL.suite.kem.generate(), Delivered()
    payloads = [b"%d" % number for number in range(60)]
    for payload in payloads:
        store.keep(sealed(payload, key))
    got = Subscription(CHANNEL, key, seen)
    with pytest.raises(PeerError):
        await reader(store).catch_up("", got)
    store.fails = False
    found = await reader(store).catch_up("", got)
    assert [one.payload for one in found.delivered] == payloads
    seen.close()


@needs_libp2p
async def test_a_store_that_fails_takes_nothing_from_an_inbox() -> None:
    """The same with two stores, as `privity inbox read` asks them."""

    class Failing(MessageStore):
        def answer(self, question: Question) -> Page:
            if question.hashes and question.data and len(question.hashes) < 50:
                raise MalformedError("it went")
            return super().answer(question)

    box = open_box("inbox")
    failing, good = Failing(), MessageStore()
    payloads = [b"%d" % number for number in range(60)]
    for payload in payloads:
        text = seal_payload(CHANNEL, payload, [box.address.key])
        for store in (failing, good):
            store.add(PUBSUB, WakuMessage(text, CHANNEL.topic, timestamp=60_000_000_000))
    async with Bus(Settings(), store=failing) as one, Bus(Settings(), store=good) as other:
        async with box.reading([one.addresses[0], other.addresses[0]]) as letters:
            assert [letter.payload for letter in letters.messages] == payloads
            assert (letters.answered, len(letters.failed)) == (1, 1)
    failing.close()
    good.close()


def splits(message: WakuMessage) -> Iterator[tuple[str, WakuMessage]]:
    """Yield what has the hash of a message and is another: its parts are hashed unseparated."""
    topic = message.content_topic
    yield PUBSUB, replace(message, content_topic=topic[:-1], meta=topic[-1:].encode())
    yield PUBSUB[:-1], replace(message, payload=PUBSUB[-1:].encode() + message.payload)
    yield PUBSUB, replace(message, payload=message.payload + b"/", content_topic=topic[1:])


@pytest.mark.parametrize("way", range(3))
async def test_a_message_with_its_parts_moved_is_not_taken_for_it(way: int) -> None:
    """A store could withhold it that way, and no reader would be told."""

    class Moving(Scripted):
        moves = True

        def page(self, question: Question) -> Page:
            page = super().page(question)
            if not (self.moves and question.hashes):
                return page
            (one,) = page.messages
            assert one.message is not None
            topic, moved = list(splits(one.message))[way]
            assert message_hash(topic, moved) == one.hash
            return Page((Stored(one.hash, topic, moved),), None)

    store, key, seen = Moving(Settings()), CHANNEL.suite.kem.generate(), Delivered()
    digest = store.keep(sealed(b"said", key))
    got = Subscription(CHANNEL, key, seen)
    found = await reader(store).catch_up("", got)
    assert not found.delivered and found.missing == (digest,), "it is reported"
    store.moves = False
    found = await reader(store).catch_up("", got)
    assert [one.payload for one in found.delivered] == [b"said"], "and asked for again"
    seen.close()


class Endless(Scripted):
    """Lists without end, and hands out what was never sent to the bus."""

    def __init__(self, key: Any, size: int) -> None:
        super().__init__(Settings())
        self.made: dict[bytes, WakuMessage] = {}
        text = seal_payload(CHANNEL, b"x" * size, [key.public_bytes])
        self.like, self.number = text, 0

    def page(self, question: Question) -> Page:
        self.asked += 1
        if question.hashes:
            got = [(one, self.made.pop(one)) for one in question.hashes if one in self.made]
            return Page(tuple(Stored(one, PUBSUB, text) for one, text in got), None)
        listed = []
        for _ in range(100):
            self.number += 1
            message = WakuMessage(self.like, CHANNEL.topic, timestamp=self.number)
            digest = message_hash(PUBSUB, message)
            self.made[digest] = message
            listed.append(Stored(digest))
        return Page(tuple(listed), listed[-1].hash)


async def test_a_list_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And reading goes on after it the next time, so that a long list is read in parts."""
    monkeypatch.setattr(reading, "_LISTED", 1000)
    key, seen = CHANNEL.suite.kem.generate(), Delivered()
    store, got = Endless(key, 10), Subscription(CHANNEL, key, seen)
    async with asyncio.timeout(60):
        first = await reader(store).catch_up("", got)
    assert first.more and first.listed == 1000 and len(first.delivered) == 1
    assert first.cursor is not None
    seen.close()


@needs_libp2p
async def test_a_long_list_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LISTED", 1)
    box, store = open_box("inbox"), MessageStore()
    for number in range(150):
        text = seal_payload(CHANNEL, b"%d" % number, [box.address.key])
        store.add(PUBSUB, WakuMessage(text, CHANNEL.topic, timestamp=number + 1))
    read: list[bytes] = []
    async with Bus(Settings(), store=store) as keeper:
        for parts, more in ((100, True), (150, False)):
            async with box.reading([keeper.addresses[0]]) as letters:
                read += [letter.payload for letter in letters.messages]
                assert (len(read), letters.more) == (parts, more)
    assert read == [b"%d" % number for number in range(150)]
    store.close()


async def test_messages_without_end_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has an address can seal to it; what a store made itself needed no rate."""
    monkeypatch.setattr(reading, "_TAKEN", 64 << 10)
    key, seen = CHANNEL.suite.kem.generate(), Delivered()

    class Large(Endless):
        def page(self, question: Question) -> Page:
            self.like = seal_payload(CHANNEL, b"%d" % self.asked * 3000, [key.public_bytes])
            return super().page(question)

    store, got = Large(key, 10), Subscription(CHANNEL, key, seen)
    async with asyncio.timeout(60):
        found = await reader(store).catch_up("", got)
    assert found.more
    assert sum(len(one.payload) for one in found.delivered) < 3 * (64 << 10)
    seen.close()


async def test_a_slow_store_is_left_in_time() -> None:
    key, seen = CHANNEL.suite.kem.generate(), Delivered()
    store, got = Endless(key, 10), Subscription(CHANNEL, key, seen)
    found = await reader(store).catch_up("", got, patience_s=0.0)
    assert found.more and store.asked <= 1 and found.cursor is None
    seen.close()


@pytest.mark.parametrize("names", [(b"a" * 32,), (b"a" * 32, b"b" * 32)], ids=["one", "two"])
async def test_cursors_that_go_round_end(names: tuple[bytes, ...]) -> None:
    class Round(Scripted):
        turns = itertools.cycle(names)

        def page(self, question: Question) -> Page:
            self.asked += 1
            if question.hashes:
                return Page((), None)
            name = next(self.turns)
            return Page((Stored(name),) if self.lists else (), name)

        lists = True

    for lists in (True, False):
        store, key, seen = Round(Settings()), CHANNEL.suite.kem.generate(), Delivered()
        store.lists = lists
        async with asyncio.timeout(60):
            with pytest.raises(MalformedError):
                await reader(store).catch_up("", Subscription(CHANNEL, key, seen))
        assert store.asked < 20
        seen.close()


# Those who ask.


class Deaf:
    """A stream of a peer that puts a question and never reads the answer."""

    def __init__(self, peer: str, question: bytes) -> None:
        self.muxed_conn = SimpleNamespace(peer_id=peer)
        self._left = question
        self.made = self.refused = False

    async def read(self, most: int) -> bytes:
        given, self._left = self._left[:most], self._left[most:]
        return given

    async def write(self, data: bytes) -> None:
        from privity.anon.messages.stack import trio

        self.made = True
        await trio.sleep_forever()

    async def reset(self) -> None:
        self.refused = True


@needs_libp2p
async def test_who_asks_and_never_reads_holds_few_answers() -> None:
    from privity.anon.messages.framing import prefixed
    from privity.anon.messages.stack import trio
    from privity.anon.messages.store_wire import encode_question

    question = prefixed(encode_question(Question(limit=100), "1"))
    greedy = [Deaf("greedy", question) for _ in range(60)]
    other = Deaf("another", question)
    store = MessageStore()
    async with Bus(Settings(), store=store) as keeper:
        node = keeper._running()

        async def act() -> None:
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for stream in (*greedy, other):
                        nursery.start_soon(node._answer, stream)
                    while not all(one.made or one.refused for one in (*greedy, other)):
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()

        await keeper._do(act)
        assert not node._answering, "what ended is not counted on"
    store.close()
    assert sum(one.made for one in greedy) == 4 and other.made


def steps_of_adding(kept: int) -> int:
    """Return how much SQLite works on a hundred messages for a full store."""
    store, steps = MessageStore(max_bytes=kept * 280), itertools.count()

    def added(numbers: range) -> None:
        for number in numbers:
            message = WakuMessage(b"%08d" % number * 32, CHANNEL.topic, timestamp=1)
            store.add(PUBSUB, message)

    added(range(kept + 50))
    assert len(store) <= kept
    database = store._file._db

    @contextmanager
    def counting(work: int | None = None) -> Iterator[Any]:
        database.set_progress_handler(lambda: next(steps) * 0, 1)
        yield database

    store._file.turn = counting  # type: ignore[method-assign]
    added(range(kept + 50, kept + 150))
    store.close()
    return next(steps)


def test_a_full_store_does_not_look_through_itself_for_each_message() -> None:
    assert steps_of_adding(4000) < 2 * steps_of_adding(400)


# Files.


@pytest.mark.parametrize("kind", [Delivered, MessageStore])
def test_a_damaged_file_is_told(tmp_path: Path, kind: type[Delivered] | type[MessageStore]) -> None:
    whole = tmp_path / "whole.db"
    kind(whole).close()
    cut = whole.read_bytes()[:1000] + b"\xff" * 4000
    for damage in (b"not a database" * 1000, cut):
        path = tmp_path / "damaged.db"
        path.write_bytes(damage)
        with pytest.raises(InputError, match="cannot be used") as caught:
            kind(path)
        assert str(tmp_path) not in caught.value.message, "a store tells strangers why"


@needs_libp2p
async def test_a_full_disk_ends_no_node(caplog: pytest.LogCaptureFixture) -> None:
    store, key = MessageStore(), CHANNEL.suite.kem.generate()
    async with Bus(Settings(), store=store) as keeper, Bus(Settings()) as sender:
        await sender.connect(keeper.addresses[0])
        await sender.settled(1)
        got = keeper.subscribe(CHANNEL, key)
        with store._file.turn() as db:
            db.execute("PRAGMA max_page_count = 1")
        sent = [await sender.publish(CHANNEL, b"x" * 9000, [key.public_bytes]) for _ in range(3)]
        async with asyncio.timeout(60):
            came = [(await got.get()).hash for _ in sent]
        assert sorted(came) == sorted(sent)
        assert keeper.counts.unkept > 0 and keeper.running
        assert caplog.text.count("not kept") == 1
    store.close()


def test_a_question_does_not_look_through_all_of_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_WORK", 5)
    for path in (None, tmp_path / "messages.db"):
        store = MessageStore(path)
        for number in range(3000):
            store.add(PUBSUB, WakuMessage(b"%d" % number, CHANNEL.topic, timestamp=1))
        for question in (
            Question(pubsub_topic="/waku/2/rs/1/1"),
            Question(start=1 << 60),
            Question(content_topics=(CHANNEL.topic,), end=-1),
        ):
            with pytest.raises(InputError, match="too much work"):
                store.answer(question)
        narrow = Question(content_topics=(CHANNEL.topic,), limit=100)
        page = store.answer(narrow)
        assert len(page.messages) == 100
        assert store.add(PUBSUB, WakuMessage(b"more", CHANNEL.topic, timestamp=1))
        assert len(store.answer(replace(narrow, cursor=page.cursor)).messages) == 100
        store.close()
