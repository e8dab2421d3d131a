"""Our messages and gossip against Waku's own JavaScript: @waku/proto, message-hash and relay."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libp2p_mark import needs_libp2p
from privity.anon.messages.store import Page, Question, Stored
from privity.anon.messages.store_wire import encode_page, encode_question
from privity.anon.messages.topics import shard_topic
from privity.anon.messages.waku import RateLimitProof, WakuMessage, message_hash

FOLDER = Path(__file__).parent / "waku"
TOPIC = "/waku/2/rs/1789/0"
PROOF = RateLimitProof(b"\1" * 128, *(bytes([place]) * 32 for place in range(2, 8)))
MESSAGES = [
    WakuMessage(b"\1\2\3", "/privity/1/round/sealed"),
    WakuMessage(b"", "/privity/1/round/sealed"),
    WakuMessage(b"x", "/a/0/b/proto", version=0, timestamp=0, meta=b"", ephemeral=False),
    WakuMessage(b"\xff" * 999, "/ä/1/b/proto", version=2**32 - 1, timestamp=2**63 - 1),
    WakuMessage(b"y", "/a/0/b/c", timestamp=-5, meta=b"m" * 64, ephemeral=True),
    WakuMessage(b"z", "/a/0/b/c", timestamp=1_681_964_442_000_000_000, rate_limit_proof=PROOF),
]

pytestmark = pytest.mark.slow


class Peer:
    """The JavaScript relay: asked by lines, heard by lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            told = json.loads(line)
            await (self.heard if "heard" in told else self.answers).put(told)

    async def ask(self, command: str, **rest: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **rest}).encode() + b"\n")
        async with asyncio.timeout(60):
            told = await self.answers.get()
        assert "failed" not in told, told
        return told["answer"]


@asynccontextmanager
async def peer() -> AsyncIterator[tuple[Peer, str]]:
    """Start the relay; skip where it is not installed."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("Waku's JavaScript is not installed: `make interop` does it where npm is")
    process = await asyncio.create_subprocess_exec(
        node,
        "peer.mjs",
        cwd=FOLDER,
        limit=1 << 22,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    made = Peer(process)
    reading = asyncio.create_task(made.read())
    try:
        async with asyncio.timeout(60):
            told = await made.answers.get()
        yield made, told["address"]
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await reading


def fields(message: WakuMessage) -> dict[str, Any]:
    proof = message.rate_limit_proof
    names = ("proof", "merkleRoot", "epoch", "shareX", "shareY", "nullifier", "rlnIdentifier")
    return {
        "payload": message.payload.hex(),
        "contentTopic": message.content_topic,
        "version": message.version,
        "timestamp": None if message.timestamp is None else str(message.timestamp),
        "meta": None if message.meta is None else message.meta.hex(),
        "ephemeral": message.ephemeral,
        "rateLimitProof": proof
        and dict(zip(names, (part.hex() for part in vars(proof).values()), strict=True)),
    }


def given(message: WakuMessage) -> dict[str, Any]:
    return {name: value for name, value in fields(message).items() if value is not None}


def test_messages_and_hashes_are_the_same_bytes() -> None:
    async def run() -> None:
        async with peer() as (waku, _):
            for message in MESSAGES:
                encoded = message.to_bytes()
                assert await waku.ask("encode", fields=given(message)) == encoded.hex()
                assert await waku.ask("decode", data=encoded.hex()) == fields(message)
                assert WakuMessage.from_bytes(encoded) == message
                digest = await waku.ask("hash", topic=TOPIC, fields=given(message))
                assert digest == message_hash(TOPIC, message).hex()

    asyncio.run(run())


def test_content_topics_are_on_the_same_shards() -> None:
    topics = [f"/{app}/{version}/x/proto" for app in ("privity", "toychat") for version in range(9)]

    async def run() -> None:
        async with peer() as (waku, _):
            for topic in topics:
                shard = await waku.ask("shard", topic=topic, shards=8)
                assert shard_topic(topic, cluster=1, shards=8) == f"/waku/2/rs/1/{shard}"

    asyncio.run(run())


def test_a_store_s_questions_and_answers_are_the_same_bytes() -> None:
    questions = [
        Question(pubsub_topic=TOPIC, content_topics=("/a/1/b/c", "/a/1/d/c"), limit=7),
        Question(hashes=(b"\7" * 32, b"\x08" * 32), data=False),
        Question(start=-1, end=2**62, cursor=b"\x09" * 32, forward=False),
    ]
    stored = [Stored(message_hash(TOPIC, each), TOPIC, each) for each in MESSAGES]

    async def run() -> None:
        async with peer() as (waku, _):
            for question in questions:
                encoded = encode_question(question, "id").hex()
                told = await waku.ask("question", data=encoded)
                assert told == {"again": encoded, "topics": list(question.content_topics)}
            for page in (Page(tuple(stored), b"\3" * 32), Page((Stored(b"\4" * 32),), None)):
                encoded = encode_page(page, "id").hex()
                told = await waku.ask("page", data=encoded)
                assert told["again"] == encoded
                assert told["hashes"] == [row.hash.hex() for row in page.messages]

    asyncio.run(run())


@needs_libp2p
def test_messages_are_gossiped_to_and_from_a_relay_of_waku() -> None:
    from privity.anon.messages import Bus, Channel, Settings

    channel = Channel("/privity/1/interop/sealed")
    key = channel.suite.kem.generate()
    count = 40

    async def run() -> None:
        async with peer() as (waku, _), Bus(Settings()) as bus:
            got = bus.subscribe(channel, key)
            await waku.ask("subscribe", topic=TOPIC)
            await waku.ask("dial", address=bus.addresses[0])
            await bus.settled(1)
            sent = {
                (await bus.publish(channel, b"%d" % place, [key.public_bytes])).hex()
                for place in range(count)
            }
            ours = [await got.get() for _ in range(count)]
            assert {each.hash.hex() for each in ours} == sent
            async with asyncio.timeout(60):
                heard = [await waku.heard.get() for _ in range(count)]
            assert {told["hash"] for told in heard} == sent
            assert not any(told["signed"] for told in heard)

            sealed = WakuMessage(bytes.fromhex(heard[0]["heard"]["payload"]), "/other/1/x/sealed")
            other = bus.subscribe(Channel(sealed.content_topic), key)
            for place in range(count):  # theirs, which only they could have made: not for our key
                message = WakuMessage(sealed.payload, sealed.content_topic, timestamp=place + 1)
                while not await waku.ask("publish", topic=TOPIC, fields=given(message)):
                    await asyncio.sleep(0.1)
            while bus.counts.relayed < 2 * count:
                await asyncio.sleep(0.05)
            assert other.unread == 0 and bus.counts.refused == 0

    asyncio.run(run())
