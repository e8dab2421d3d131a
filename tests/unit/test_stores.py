"""One suite for every store: what they answer, alone, at once, and after they were closed."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import store_servers
from privity.anon.stores import (
    Conflict,
    Fresh,
    Lapsed,
    Running,
    Seen,
    Settled,
    Store,
    Taken,
    open_store,
)
from privity.errors import InputError, MissingDependency, PeerError

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    pytest.importorskip("redis", reason="the client library of Redis is not installed")
    with store_servers.redis_server() as server:
        yield server.url


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    pytest.importorskip("asyncpg", reason="the client library of PostgreSQL is not installed")
    with store_servers.postgres_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.db'}"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def scope(request: pytest.FixtureRequest) -> str:
    # The servers serve all tests of this module: each has a scope of its own.
    return f"did:test:{request.node.name}"


def field(number: int) -> Any:
    return number.to_bytes(32, "little")


def name(request_name: str, number: int = 0) -> bytes:
    return (request_name.encode() + bytes(32))[:28] + number.to_bytes(4, "big")


async def test_a_signal_is_new_then_a_duplicate_then_a_conflict(url: str, scope: str) -> None:
    async with open_store(url) as store:
        assert await store.record(scope, 7, field(1), field(2), field(3)) is Seen.NEW
        assert await store.record(scope, 7, field(1), field(2), field(3)) is Seen.DUPLICATE
        other = await store.record(scope, 7, field(1), field(4), field(5))
        assert other == Conflict(field(2), field(3))
        # The first stays: the second point did not take its place.
        assert await store.record(scope, 7, field(1), field(2), field(3)) is Seen.DUPLICATE


async def test_scopes_epochs_and_nullifiers_do_not_meet(url: str, scope: str) -> None:
    async with open_store(url) as store:
        for where in (scope, scope + "/other"):
            for epoch in (7, 8):
                for nullifier in (field(1), field(9)):
                    seen = await store.record(where, epoch, nullifier, field(2), field(3))
                    assert seen is Seen.NEW


async def test_what_was_kept_is_there_when_it_is_opened_again(url: str, scope: str) -> None:
    async with open_store(url) as store:
        await store.record(scope, 7, field(1), field(2), field(3))
        await store.begin(name(scope), b"f", 9, lease_s=10, now=100)
    async with open_store(url) as store:
        assert await store.record(scope, 7, field(1), field(2), field(3)) is Seen.DUPLICATE
        assert await store.begin(name(scope), b"f", 9, lease_s=10, now=101) == Running(110)


async def test_one_of_many_at_once_is_first(url: str, scope: str) -> None:
    async with open_store(url) as one, open_store(url) as two:
        asked = [
            store.record(scope, 7, field(1), field(point), field(point))
            for point in range(2, 34)
            for store in (one, two)
        ]
        seen = await asyncio.gather(*asked)
        begun = await asyncio.gather(
            *(
                store.begin(name(scope), bytes([number]), 5, lease_s=60, now=0)
                for number in range(32)
                for store in (one, two)
            )
        )
    assert seen.count(Seen.NEW) == 1
    # Its own twin is a duplicate; all others have met it and say so.
    assert seen.count(Seen.DUPLICATE) == 1
    assert len({one for one in seen if isinstance(one, Conflict)}) == 1
    assert begun.count(Fresh()) == 1
    assert sum(isinstance(one, Running) for one in begun) == 1
    assert begun.count(Taken()) == 62


async def test_pruning_forgets_earlier_epochs_alone(url: str, scope: str) -> None:
    async with open_store(url) as store:
        await store.prune(1000)  # what other tests left
        for epoch in (100, 101, 102):
            for number in range(40):
                await store.record(scope, epoch, field(number), field(2), field(3))
        assert await store.prune(102) == 80
        assert await store.prune(102) == 0
        assert await store.record(scope, 101, field(1), field(2), field(3)) is Seen.NEW
        assert await store.record(scope, 102, field(1), field(2), field(3)) is Seen.DUPLICATE
        assert await store.prune(1000) == 41


async def test_pruning_more_than_one_portion(url: str, scope: str) -> None:
    async with open_store(url) as store:
        await store.prune(1000)
        await asyncio.gather(
            *(store.record(scope, n % 3, field(n), field(2), field(3)) for n in range(4500))
        )
        assert await store.prune(3) == 4500


async def test_a_spend_from_begin_to_its_refund(url: str, scope: str) -> None:
    async with open_store(url) as store:
        spend, mine = name(scope), b"mine"
        assert await store.begin(spend, mine, 50, lease_s=30, now=1000.25) == Fresh()
        assert await store.begin(spend, mine, 50, lease_s=30, now=1001) == Running(1030.25)
        assert await store.begin(spend, b"other", 50, lease_s=30, now=1001) == Taken()
        assert await store.settle(spend, mine, b"refund", 20) == b"refund"
        assert await store.begin(spend, mine, 50, lease_s=30, now=1002) == Settled(b"refund", 20)
        assert await store.begin(spend, mine, 50, lease_s=30, now=9000) == Settled(b"refund", 20)
        assert await store.begin(spend, b"other", 50, lease_s=30, now=9000) == Taken()


async def test_a_lapsed_spend_is_taken_over_once_and_the_first_settlement_stands(
    url: str, scope: str
) -> None:
    async with open_store(url) as store:
        spend, mine = name(scope), b"mine"
        await store.begin(spend, mine, 50, lease_s=30, now=1000)
        assert await store.begin(spend, b"other", 50, lease_s=30, now=1030) == Taken()
        again = [store.begin(spend, mine, 50, lease_s=30, now=1030) for _ in range(8)]
        begun = await asyncio.gather(*again)
        assert begun.count(Lapsed()) == 1
        assert begun.count(Running(1060)) == 7
        assert await store.settle(spend, mine, b"all of it", 0) == b"all of it"
        # The one that had crashed, or was slow, comes to its end after all.
        assert await store.settle(spend, mine, b"less", 45) == b"all of it"


async def test_only_what_was_begun_is_settled_and_for_no_more_than_it_holds(
    url: str, scope: str
) -> None:
    async with open_store(url) as store:
        spend, mine = name(scope), b"mine"
        with pytest.raises(InputError):
            await store.settle(spend, mine, b"refund", 1)
        await store.begin(spend, mine, 50, lease_s=30, now=1000)
        for fingerprint, charged in ((b"other", 1), (mine, 51), (mine, -1)):
            with pytest.raises(InputError):
                await store.settle(spend, fingerprint, b"refund", charged)
        assert await store.settle(spend, mine, b"refund", 50) == b"refund"


async def test_each_settlement_is_told_once_along_the_cursors(url: str, scope: str) -> None:
    async with open_store(url) as store, open_store(url) as other:
        cursor = 0
        while True:  # what other tests settled
            found, cursor = await store.charged_since(cursor, 100)
            if not found:
                break
        spends = {name(scope, number): number for number in range(60)}

        async def settle(number: int) -> None:
            one = (store, other)[number % 2]
            await one.begin(name(scope, number), b"f", 99, lease_s=9, now=0)
            await one.settle(name(scope, number), b"f", b"refund", number)

        told: list[tuple[bytes, int]] = []
        settling = [asyncio.create_task(settle(number)) for number in range(60)]
        while not all(task.done() for task in settling) or found:
            found, cursor = await store.charged_since(cursor, 7)
            assert len(found) <= 7
            told += found
            await asyncio.sleep(0)
        assert sorted(told) == sorted((key, cost) for key, cost in spends.items() if cost)


async def test_a_caller_that_gives_up_leaves_the_others_alone(url: str, scope: str) -> None:
    async with open_store(url) as store:
        tasks = [
            asyncio.create_task(store.record(scope, 7, field(n), field(2), field(3)))
            for n in range(40)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[1::2] == [Seen.NEW] * 20


async def test_conflicts_show_nothing(url: str, scope: str) -> None:
    assert repr(Conflict(field(2), field(3))) == "Conflict(…)"
    assert "refund" not in repr(Settled(b"refund", 3))


@pytest.mark.parametrize("bad", ["", "sqlite:", "mysql://x", "store.db", "postgresql://[::1"])
async def test_what_names_no_store_is_refused(bad: str) -> None:
    with pytest.raises(InputError):
        open_store(bad)


async def test_a_missing_client_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "privity.anon.stores_postgres", raising=False)
    with pytest.raises(MissingDependency, match="postgres"):
        open_store("postgresql://localhost/x")


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
async def test_a_server_that_is_not_there_is_said_without_its_password(scheme: str) -> None:
    pytest.importorskip({"postgresql": "asyncpg", "redis": "redis"}[scheme])
    port = store_servers.free_port()
    with pytest.raises(PeerError) as caught:
        async with open_store(f"{scheme}://someone:canary@127.0.0.1:{port}/0"):
            pass
    assert "canary" not in caught.value.message + caught.value.hint


async def test_sqlite_syncs_every_commit(tmp_path: Path) -> None:
    from privity.anon.stores_sqlite import _opened

    file = _opened(tmp_path / "store.db")
    try:
        assert file.execute("PRAGMA synchronous").fetchone() == (2,)
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        file.close()
    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600


async def test_sqlite_commits_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from privity.anon import stores_sqlite

    commits = 0
    real = stores_sqlite._commit

    def counted(file: Any, together: list[Any]) -> None:
        nonlocal commits
        commits += 1
        real(file, together)

    monkeypatch.setattr(stores_sqlite, "_commit", counted)
    async with open_store(f"sqlite:{tmp_path / 'store.db'}") as store:
        asked = [store.record("s", 1, field(n), field(2), field(3)) for n in range(300)]
        assert set(await asyncio.gather(*asked)) == {Seen.NEW}
    assert commits < 100


async def test_sqlite_refuses_what_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "not-a-store"
    path.write_bytes(b"something else" * 100)
    for where in (path, tmp_path / "no" / "such" / "folder"):
        with pytest.raises(InputError):
            async with open_store(f"sqlite:{where}"):
                pass


async def test_sqlite_says_that_it_failed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_store(f"sqlite:{path}") as store:
        with sqlite3.connect(path) as file:
            file.execute("DROP TABLE signals")
        file.close()
        with pytest.raises(PeerError):
            await store.record("s", 1, field(1), field(2), field(3))
        # The others of a failed commit are told as well, and the store goes on.
        assert await store.begin(b"n", b"f", 1, lease_s=1, now=0) == Fresh()


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store: Store = open_store(f"sqlite:{tmp_path / 'store.db'}")
    with pytest.raises(InputError):
        await store.prune(1)


async def refused(url: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        async with open_store(url):
            pass
    mark = "&" if "?" in url else "?"
    async with open_store(f"{url}{mark}unsafe_durability=1") as store:
        assert await store.record("s", 1, field(1), field(2), field(3)) is Seen.NEW


@pytest.mark.parametrize(
    "settings",
    [{"appendonly": "no"}, {"appendfsync": "everysec"}],
    ids=["nothing-written", "written-later"],
)
async def test_redis_that_may_forget_is_refused(settings: dict[str, str]) -> None:
    pytest.importorskip("redis")
    with store_servers.redis_server(**settings) as server:
        await refused(server.url, "may forget")


async def test_redis_that_drops_keys_is_refused() -> None:
    pytest.importorskip("redis")
    settings = {"maxmemory": "64mb", "maxmemory_policy": "allkeys-lru"}
    with store_servers.redis_server(**settings) as server:
        await refused(server.url, "drops keys")


async def test_redis_that_does_not_say_is_refused() -> None:
    pytest.importorskip("redis")
    with store_servers.redis_server(rename_command="CONFIG nobody") as server:
        await refused(server.url, "does not say")


async def test_postgres_without_fsync_is_refused() -> None:
    pytest.importorskip("asyncpg")
    with store_servers.postgres_server(fsync="off") as server:
        await refused(server.url, "without fsync")


async def test_postgres_sessions_wait_for_their_commits() -> None:
    pytest.importorskip("asyncpg")
    from privity.anon.stores_postgres import PostgresStore

    with store_servers.postgres_server(synchronous_commit="off") as server:
        async with PostgresStore(server.url) as store, store._session() as session:
            assert await session.fetchval("SHOW synchronous_commit") == "on"
