"""Nothing a store answered is forgotten: its process, and its server, are killed in the middle."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

import store_servers
from privity.anon.stores import Running, Seen, Settled, Store, open_store
from privity.errors import PeerError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WRITER = Path(__file__).with_name("store_writer.py")
ANSWERS = 300


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    library = {"postgres": "asyncpg", "redis": "redis"}.get(request.param)
    if library is not None:
        pytest.importorskip(library, reason=f"the client library of {request.param} is missing")
    found: str = request.param
    return found


@pytest.fixture(params=["postgres", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[store_servers.StoreServer]:
    pytest.importorskip({"postgres": "asyncpg", "redis": "redis"}[request.param])
    with running(request.param) as started:
        yield started


def running(kind: str) -> AbstractContextManager[Any]:
    if kind == "sqlite":
        return nullcontext()
    return {"postgres": store_servers.postgres_server, "redis": store_servers.redis_server}[kind]()


def answered_until_killed(url: str, tag: str) -> list[list[str]]:
    """Let a process write, kill -9 it in the middle, and return what it was answered."""
    writer = subprocess.Popen(
        [sys.executable, WRITER, url, tag], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None and writer.stderr is not None
    with writer.stdout, writer.stderr:
        lines = [writer.stdout.readline() for _ in range(ANSWERS)]
        writer.kill()
        # What it had written into the pipe was answered as well; the last line may be half.
        lines += writer.stdout.read().splitlines(keepends=True)
        assert lines[0], writer.stderr.read().decode()[-500:]
    writer.wait(10)
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


async def remembers(store: Store, what: str, key: Any) -> bool:
    if what == "signal":
        return await store.record("crash", 1, key, key, key) is Seen.DUPLICATE
    stands = await store.begin(key, b"f", 9, lease_s=1e9, now=0)
    if what == "settled":
        return stands == Settled(b"refund", 4)
    return isinstance(stands, Running | Settled)


async def test_a_killed_process_forgets_nothing_it_was_answered(kind: str, tmp_path: Path) -> None:
    with running(kind) as server:
        url = f"sqlite:{tmp_path / 'store.db'}" if server is None else server.url
        for tag in ("first", "second", "third"):
            answers = answered_until_killed(url, tag)
            assert len(answers) >= ANSWERS
            async with open_store(url) as store:
                for what, key in answers:
                    assert await remembers(store, what, bytes.fromhex(key)), (what, key)


async def test_a_killed_server_forgets_nothing_it_answered(
    server: store_servers.StoreServer,
) -> None:
    answers: list[tuple[str, Any]] = []
    enough = asyncio.Event()

    async def write(store: Store, lane: int, tag: int) -> None:
        for number in range(lane, 1 << 20, 8):
            key: Any = bytes([tag]) * 24 + number.to_bytes(8, "big")
            await store.record("crash", 1, key, key, key)
            answers.append(("signal", key))
            await store.begin(key, b"f", 9, lease_s=1e9, now=0)
            answers.append(("begun", key))
            await store.settle(key, b"f", b"refund", 4)
            answers.append(("settled", key))
            if len(answers) > ANSWERS:
                enough.set()

    for tag in range(2):
        enough.clear()
        answers.clear()
        async with open_store(server.url) as store:
            writers = [asyncio.create_task(write(store, lane, tag)) for lane in range(8)]
            await enough.wait()
            await asyncio.to_thread(server.kill)
            ended = await asyncio.gather(*writers, return_exceptions=True)
            # Whatever the client library raises, callers see one error of ours.
            assert all(isinstance(one, PeerError) for one in ended), ended
        await asyncio.to_thread(server.start)
        async with open_store(server.url) as store:
            for what, key in answers:
                assert await remembers(store, what, key), what


async def test_a_store_recovers_when_its_server_does(server: store_servers.StoreServer) -> None:
    key: Any = bytes(32)
    async with open_store(server.url) as store:
        assert await store.record("crash", 1, key, key, key) is Seen.NEW
        await asyncio.to_thread(server.kill)
        with pytest.raises(PeerError):
            await store.record("crash", 1, key, key, key)
        await asyncio.to_thread(server.start)
        for _ in range(64):  # each pooled connection finds out for itself
            try:
                assert await store.record("crash", 1, key, key, key) is Seen.DUPLICATE
                break
            except PeerError:
                await asyncio.sleep(0.05)
        else:
            pytest.fail("the store did not recover")
