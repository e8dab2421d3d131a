"""The embedded store: one SQLite file, one writer thread, one fsync for many records.

Requests that arrive while a commit is under way share the next: under load one fsync carries many,
and an idle store waits for nobody. Several processes of one machine may share the file.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

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
from privity.errors import InputError, PrivityError

__all__ = ["SqliteStore"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

_MOST_TOGETHER = 512  # operations that share a commit
_PRUNED_TOGETHER = 2000  # rows: between two portions others have their turn
_BUSY_S = 10.0  # how long another process may hold the file

_TABLES = """
CREATE TABLE IF NOT EXISTS signals (
    epoch INTEGER NOT NULL, scope TEXT NOT NULL, nullifier BLOB NOT NULL,
    x BLOB NOT NULL, y BLOB NOT NULL,
    PRIMARY KEY (epoch, scope, nullifier)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spends (
    nullifier BLOB PRIMARY KEY, fingerprint BLOB NOT NULL, held INTEGER NOT NULL,
    until REAL NOT NULL, refund BLOB, charged INTEGER, settled INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS spends_settled ON spends (settled) WHERE settled IS NOT NULL;
"""


class SqliteStore(OpenableStore):
    """Signals and spends in one file.

    Args:
        path: the file; made, for its owner alone, where it is not there.

    Guarantees:
        Each answer follows the commit that holds it, with ``synchronous=FULL``
        (`test_sqlite_syncs_every_commit`, tests/adversary/test_stores_crash.py).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def _open(self) -> None:
        """Open the file."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="privity-store", daemon=True
        )
        self._thread.start()
        await asyncio.wrap_future(opened)

    async def _close(self) -> None:
        """Do what was asked before, then close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            await asyncio.get_running_loop().run_in_executor(None, thread.join)

    async def record(
        self, scope: str, epoch: int, nullifier: Field, x: Field, y: Field
    ) -> Recorded:
        """Keep a signal, or say what is kept in its place."""
        return await self._do(lambda file: _record(file, scope, epoch, nullifier, x, y))

    async def prune(self, before_epoch: int) -> int:
        """Forget the signals of earlier epochs, a portion at a time."""
        total = 0
        while portion := await self._do(lambda file: _prune(file, before_epoch)):
            total += portion
        return total

    async def begin(
        self, nullifier: bytes, fingerprint: bytes, held: int, *, lease_s: float, now: float
    ) -> Began:
        """Begin a spend, or say how it stands."""
        until = now + lease_s
        return await self._do(lambda file: _begin(file, nullifier, fingerprint, held, until, now))

    async def settle(
        self, nullifier: bytes, fingerprint: bytes, refund: bytes, charged: int
    ) -> bytes:
        """Settle a spend; return the refund that is kept."""
        return await self._do(lambda file: _settle(file, nullifier, fingerprint, refund, charged))

    async def charged_since(self, cursor: int, most: int) -> tuple[Sequence[Charged], int]:
        """Return settled spends in the order of their settlement."""
        return await self._do(lambda file: _charged_since(file, cursor, most))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have the writer do ``work`` in its next transaction."""
        if self._thread is None:
            raise InputError("the store is not open", hint="use it within `async with`")
        operation = _Operation(work)
        self._waiting.put(operation)
        done: T = await asyncio.wrap_future(operation.done)
        return done

    def _run(self, opened: Future[None]) -> None:
        """Be the one that writes."""
        try:
            file = _opened(self._path)
        except PrivityError as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        more = True
        while more:
            together = [self._waiting.get()]
            while len(together) < _MOST_TOGETHER and not self._waiting.empty():
                together.append(self._waiting.get())
            more = None not in together
            _commit(file, [one for one in together if one and one.begin()])
        file.close()


class _Operation:
    """One piece of work, and who waits for it."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done: Future[Any] = Future()
        self.outcome: Any = None
        self.refusal: PrivityError | None = None

    def begin(self) -> bool:
        """Say whether anybody still waits; from here on it cannot be given up."""
        return self.done.set_running_or_notify_cancel()

    def tell(self) -> None:
        if self.refusal is not None:
            self.done.set_exception(self.refusal)
        else:
            self.done.set_result(self.outcome)


def _commit(file: sqlite3.Connection, together: list[_Operation]) -> None:
    """Do all in one transaction, and tell each when all of it is durable."""
    if not together:
        return
    try:
        file.execute("BEGIN IMMEDIATE")
        for one in together:
            try:
                one.outcome = one.work(file)
            except PrivityError as error:  # raised before anything of its own was written
                one.refusal = error
        file.execute("COMMIT")
    except (sqlite3.Error, OverflowError):
        if file.in_transaction:
            file.execute("ROLLBACK")
        for one in together:
            one.refusal = store_failed("SQLite")
    for one in together:
        one.tell()


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file, durable and its owner's alone."""
    try:
        # SQLite gives its -wal and -shm the permissions of the file itself.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        file = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"the store {path} cannot be opened: {error}") from error
    try:
        mode = file.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        file.execute("PRAGMA synchronous=FULL")
        file.executescript(_TABLES)
        if mode != "wal":
            raise InputError(f"the store {path} is on a file system without shared memory")
    except sqlite3.Error as error:
        file.close()
        raise InputError(f"{path} is not a store: {error}") from error
    except InputError:
        file.close()
        raise
    return file


def _record(
    file: sqlite3.Connection, scope: str, epoch: int, nullifier: Field, x: Field, y: Field
) -> Recorded:
    inserted = file.execute(
        "INSERT INTO signals VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (epoch, scope, nullifier, x, y),
    )
    if inserted.rowcount == 1:
        return Seen.NEW
    kept = file.execute(
        "SELECT x, y FROM signals WHERE epoch = ? AND scope = ? AND nullifier = ?",
        (epoch, scope, nullifier),
    ).fetchone()
    return Seen.DUPLICATE if kept[0] == x else Conflict(Field(kept[0]), Field(kept[1]))


def _prune(file: sqlite3.Connection, before_epoch: int) -> int:
    return file.execute(
        "DELETE FROM signals WHERE (epoch, scope, nullifier) IN "
        "(SELECT epoch, scope, nullifier FROM signals WHERE epoch < ? LIMIT ?)",
        (before_epoch, _PRUNED_TOGETHER),
    ).rowcount


def _standing(file: sqlite3.Connection, nullifier: bytes) -> Standing | None:
    row = file.execute(
        "SELECT fingerprint, held, until, refund, charged FROM spends WHERE nullifier = ?",
        (nullifier,),
    ).fetchone()
    return None if row is None else Standing(*row)


def _begin(
    file: sqlite3.Connection,
    nullifier: bytes,
    fingerprint: bytes,
    held: int,
    until: float,
    now: float,
) -> Began:
    found = _standing(file, nullifier)
    if found is None:
        file.execute(
            "INSERT INTO spends VALUES (?, ?, ?, ?, NULL, NULL, NULL)",
            (nullifier, fingerprint, held, until),
        )
        return Fresh()
    began = found.begun_again(fingerprint, now)
    if isinstance(began, Lapsed):
        file.execute("UPDATE spends SET until = ? WHERE nullifier = ?", (until, nullifier))
    return began


def _settle(
    file: sqlite3.Connection, nullifier: bytes, fingerprint: bytes, refund: bytes, charged: int
) -> bytes:
    found = checked_settlement(_standing(file, nullifier), fingerprint, charged)
    if found.refund is not None:
        return found.refund
    # One transaction at a time writes the file, so the numbers appear in their order.
    file.execute(
        "UPDATE spends SET refund = ?, charged = ?, settled = "
        "(SELECT COALESCE(MAX(settled), 0) + 1 FROM spends) WHERE nullifier = ?",
        (refund, charged, nullifier),
    )
    return refund


def _charged_since(
    file: sqlite3.Connection, cursor: int, most: int
) -> tuple[Sequence[Charged], int]:
    rows = file.execute(
        "SELECT nullifier, charged, settled FROM spends "
        "WHERE settled > ? AND charged > 0 ORDER BY settled LIMIT ?",
        (cursor, most),
    ).fetchall()
    return [(nullifier, charged) for nullifier, charged, _ in rows], (
        rows[-1][2] if rows else cursor
    )
