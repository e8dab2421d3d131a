"""The PostgreSQL store: one view for several gateways, whose atomicity is the database's.

An insert that meets another waits until that other is committed, so of any number of gateways one
is first. PostgreSQL groups commits that are under way together by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from privity.anon.field import Field
from privity.anon.stores import (
    Began,
    Charged,
    Conflict,
    Fresh,
    Lapsed,
    OpenableStore,
    Recorded,
    Seen,
    Standing,
    checked_settlement,
    store_failed,
)
from privity.errors import InputError, PeerError

__all__ = ["PostgresStore"]

_CONNECTIONS = 16
_ANSWER_S = 10.0
_PRUNED_TOGETHER = 5000
_MAKING, _NUMBERING = 0x7072_6976_0001, 0x7072_6976_0002  # advisory locks
_TABLES = """
CREATE TABLE IF NOT EXISTS privity_signals (
    epoch bigint NOT NULL, scope text NOT NULL, nullifier bytea NOT NULL,
    x bytea NOT NULL, y bytea NOT NULL,
    PRIMARY KEY (epoch, scope, nullifier)
);
CREATE TABLE IF NOT EXISTS privity_spends (
    nullifier bytea PRIMARY KEY, fingerprint bytea NOT NULL, held bigint NOT NULL,
    until double precision NOT NULL, refund bytea, charged bigint, settled bigint UNIQUE
);
CREATE INDEX IF NOT EXISTS privity_spends_unnumbered ON privity_spends (nullifier)
    WHERE charged > 0 AND settled IS NULL;
CREATE SEQUENCE IF NOT EXISTS privity_settled;
"""
_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what some of its calls say when the server goes away
    OSError,
    TimeoutError,
)


class PostgresStore(OpenableStore):
    """Signals and spends in a PostgreSQL database.

    Args:
        url: of the database.
        unsafe_durability: accept a server that may forget what it answered.

    Guarantees:
        A server without ``fsync`` is refused, and each session waits for its commits
        (`test_postgres_without_fsync_is_refused`, tests/adversary/test_stores_crash.py).
    """

    def __init__(self, url: str, *, unsafe_durability: bool = False) -> None:
        self._url = url
        self._unsafe = unsafe_durability
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def _open(self) -> None:
        """Connect, check that it is durable, and make the tables where they are missing."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=_CONNECTIONS,
                command_timeout=_ANSWER_S,
                timeout=_ANSWER_S,
                # At the start of the session: whatever is set later, the pool resets.
                server_settings=None if self._unsafe else {"synchronous_commit": "on"},
            )
            async with self._pool.acquire() as session:
                if not self._unsafe:
                    await _refuse_forgetful(session)
                async with session.transaction():
                    # CREATE … IF NOT EXISTS fails where two gateways run it at the same time.
                    await session.execute("SELECT pg_advisory_xact_lock($1)", _MAKING)
                    await session.execute(_TABLES)
        except (ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise InputError(
                f"the PostgreSQL store cannot be used ({type(error).__name__})",
                hint="look at its URL, and at what its user may do",
            ) from error
        except (OSError, TimeoutError) as error:
            raise PeerError("the PostgreSQL server cannot be reached") from error

    async def _close(self) -> None:
        """Close the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def record(
        self, scope: str, epoch: int, nullifier: Field, x: Field, y: Field
    ) -> Recorded:
        """Keep a signal, or say what is kept in its place."""
        async with self._session() as session:
            while True:  # again only where the other was pruned between the two
                if await session.fetchval(
                    "INSERT INTO privity_signals VALUES ($1, $2, $3, $4, $5) "
                    "ON CONFLICT DO NOTHING RETURNING true",
                    epoch, scope, nullifier, x, y,
                ):  # fmt: skip
                    return Seen.NEW
                kept = await session.fetchrow(
                    "SELECT x, y FROM privity_signals "
                    "WHERE epoch = $1 AND scope = $2 AND nullifier = $3",
                    epoch, scope, nullifier,
                )  # fmt: skip
                if kept is not None:
                    return Seen.DUPLICATE if kept["x"] == x else Conflict(kept["x"], kept["y"])

    async def prune(self, before_epoch: int) -> int:
        """Forget the signals of earlier epochs, a portion at a time."""
        total = 0
        async with self._session() as session:
            while True:
                done: int = await session.fetchval(
                    "WITH gone AS (DELETE FROM privity_signals WHERE ctid = ANY(ARRAY("
                    "SELECT ctid FROM privity_signals WHERE epoch < $1 LIMIT $2)) RETURNING 1) "
                    "SELECT count(*) FROM gone",
                    before_epoch, _PRUNED_TOGETHER,
                )  # fmt: skip
                total += done
                if not done:
                    return total

    async def begin(
        self, nullifier: bytes, fingerprint: bytes, held: int, *, lease_s: float, now: float
    ) -> Began:
        """Begin a spend, or say how it stands."""
        until = now + lease_s
        async with self._session() as session:
            if await session.fetchval(
                "INSERT INTO privity_spends (nullifier, fingerprint, held, until) "
                "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING true",
                nullifier, fingerprint, held, until,
            ):  # fmt: skip
                return Fresh()
            async with session.transaction():
                found = await _standing(session, nullifier)
                if found is None:
                    raise store_failed("PostgreSQL")  # somebody deleted it
                began = found.begun_again(fingerprint, now)
                if isinstance(began, Lapsed):
                    await session.execute(
                        "UPDATE privity_spends SET until = $1 WHERE nullifier = $2",
                        until, nullifier,
                    )  # fmt: skip
            return began

    async def settle(
        self, nullifier: bytes, fingerprint: bytes, refund: bytes, charged: int
    ) -> bytes:
        """Settle a spend; return the refund that is kept."""
        async with self._session() as session, session.transaction():
            found = await _standing(session, nullifier)
            found = checked_settlement(found, fingerprint, charged)
            if found.refund is None:
                await session.execute(
                    "UPDATE privity_spends SET refund = $1, charged = $2 WHERE nullifier = $3",
                    refund, charged, nullifier,
                )  # fmt: skip
        return refund if found.refund is None else found.refund

    async def charged_since(self, cursor: int, most: int) -> tuple[Sequence[Charged], int]:
        """Return settled spends; those that nobody has asked for before are numbered first.

        Numbers drawn while settling would become visible out of their order, and a reader that
        was past one would never see it. So the reader draws them, one reader at a time.
        """
        async with self._session() as session:
            async with session.transaction():
                await session.execute("SELECT pg_advisory_xact_lock($1)", _NUMBERING)
                await session.execute(
                    "UPDATE privity_spends SET settled = nextval('privity_settled') "
                    "WHERE charged > 0 AND settled IS NULL"
                )
            rows = await session.fetch(
                "SELECT nullifier, charged, settled FROM privity_spends "
                "WHERE settled > $1 ORDER BY settled LIMIT $2",
                cursor, most,
            )  # fmt: skip
        last = rows[-1]["settled"] if rows else cursor
        return [(row["nullifier"], row["charged"]) for row in rows], last

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        """Lend a connection; translate what fails on it."""
        if self._pool is None:
            raise InputError("the store is not open", hint="use it within `async with`")
        try:
            async with self._pool.acquire(timeout=_ANSWER_S) as session:
                yield session
        except _FAILURES as error:
            raise store_failed("PostgreSQL") from error


async def _refuse_forgetful(session: Any) -> None:
    for setting in ("fsync", "synchronous_commit"):
        if await session.fetchval(f"SHOW {setting}") != "on":
            raise InputError(
                f"this PostgreSQL server runs without {setting}: it may forget what it answered",
                hint=f"set {setting} = on, or ?unsafe_durability=1 to accept double spending",
            )


async def _standing(session: Any, nullifier: bytes) -> Standing | None:
    """Return a spend, locked until the transaction ends."""
    row = await session.fetchrow(
        "SELECT fingerprint, held, until, refund, charged FROM privity_spends "
        "WHERE nullifier = $1 FOR UPDATE",
        nullifier,
    )
    return None if row is None else Standing(*row)
