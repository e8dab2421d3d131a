"""The messages a store node keeps for those who are away, bounded in size and age.

It holds what it was given to relay: sealed payloads and content topics, in the order in which they
came. It can leave messages out, and nobody can see that from its answers alone.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from privity.anon.messages.sqlite_file import SqliteFile
from privity.anon.messages.waku import WakuMessage, message_hash
from privity.errors import InputError, MalformedError

__all__ = ["MAX_PAGE", "MessageStore", "Page", "Question", "Stored"]

MAX_PAGE = 100
"""Messages of one answer at most."""
_DEFAULT_PAGE = 20
_MAX_ANSWER = 1 << 20  # bytes of messages in one answer
_PRUNE_EVERY = 256
_TABLE = """CREATE TABLE IF NOT EXISTS messages (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB UNIQUE NOT NULL,
    pubsub TEXT NOT NULL, topic TEXT NOT NULL, sent INTEGER NOT NULL, received REAL NOT NULL,
    size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_topic_and_time ON messages (topic, arrival, sent, pubsub);
DROP INDEX IF EXISTS by_topic;"""
_WORK = 4000  # thousands of SQLite's steps for one answer


@dataclass(frozen=True)
class Question:
    """What somebody asks a store.

    Attributes:
        pubsub_topic: only messages of it.
        content_topics: only messages of one of them.
        hashes: exactly these messages, and no other condition.
        start: sent at this time or later, in nanoseconds.
        end: sent before this time.
        cursor: the hash of the last message of the page before.
        forward: from the oldest on, or from the newest back.
        limit: messages of the page.
        data: whether the messages are wanted, or their hashes alone.
    """

    pubsub_topic: str | None = None
    content_topics: tuple[str, ...] = ()
    hashes: tuple[bytes, ...] = ()
    start: int | None = None
    end: int | None = None
    cursor: bytes | None = None
    forward: bool = True
    limit: int = _DEFAULT_PAGE
    data: bool = True


@dataclass(frozen=True)
class Stored:
    """One message of an answer; without its content where hashes alone were asked for."""

    hash: bytes
    pubsub_topic: str | None = None
    message: WakuMessage | None = None


@dataclass(frozen=True)
class Page:
    """A page of messages, oldest first, and the cursor to the next one; none: it was the last."""

    messages: tuple[Stored, ...]
    cursor: bytes | None


class MessageStore:
    """Messages in an SQLite file or in memory.

    Args:
        path: of the file; without one they go when the process does.
        max_bytes: of messages, summed; the oldest go first.
        max_age_s: how long a message is kept.
        topics: keep only messages of these content topics; of all by default.
        clock: Unix seconds.

    Raises:
        InputError: the file is damaged or cannot be used; so do the methods.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_bytes: int = 1 << 30,
        max_age_s: float = 14 * 86_400,
        topics: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes < 1 or max_age_s <= 0:
            raise InputError("a store keeps at least a byte for a while")
        self._max_bytes, self._max_age, self._clock = max_bytes, max_age_s, clock
        self._topics = frozenset(topics)
        told = ("the store's file", "move it away, and begin with another")
        self._file = SqliteFile(path, *told)
        # Whoever asks keeps nobody from adding: a file is read beside its being written.
        self._asked = self._file if path is None else SqliteFile(path, *told)
        try:
            with self._file.turn() as db:
                if path is not None:
                    db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_TABLE)
                (self._bytes,) = db.execute(
                    "SELECT coalesce(sum(size), 0) FROM messages"
                ).fetchone()
        except InputError:
            self.close()
            raise
        self._since_prune = 0

    def add(self, pubsub_topic: str, message: WakuMessage) -> bool:
        """Keep a message, and return whether it is new. An ephemeral one is not kept."""
        if message.ephemeral or (self._topics and message.content_topic not in self._topics):
            return False
        body, now = message.to_bytes(), self._clock()
        row = (message_hash(pubsub_topic, message), pubsub_topic, message.content_topic)
        row += (message.timestamp or 0, now, len(body), body)  # type: ignore[assignment]
        with self._file.turn() as db:
            new = db.execute(
                "INSERT OR IGNORE INTO messages (hash, pubsub, topic, sent, received, size, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).rowcount
            self._bytes += len(body) * new
            self._since_prune += new
            if self._since_prune >= _PRUNE_EVERY or self._bytes > self._max_bytes:
                self._prune(db, now)
        return bool(new)

    def answer(self, question: Question) -> Page:
        """Return the page that was asked for.

        Raises:
            InputError: the question mixes hashes with other conditions, or so little fits it that
                too much had to be looked through.
            MalformedError: the cursor is none of a message that is here.
        """
        if question.hashes:
            return self._by_hash(question)
        where, values = self._conditions(question)
        order = "ASC" if question.forward else "DESC"
        most = max(1, min(question.limit or _DEFAULT_PAGE, MAX_PAGE))
        with self._asked.turn(_WORK) as db:
            if question.cursor is not None:
                where.append("arrival > ?" if question.forward else "arrival < ?")
                values.append(_arrival(db, question.cursor))
            text = " AND ".join(where) or "1"
            rows = db.execute(
                f"SELECT hash, pubsub, body, size FROM messages WHERE {text}"  # noqa: S608
                f" ORDER BY arrival {order} LIMIT ?",
                (*values, most + 1),
            ).fetchall()
        kept = _within(rows[:most], question.data)
        cursor = kept[-1][0] if len(kept) < len(rows) else None
        if not question.forward:
            kept.reverse()
        return Page(tuple(_stored(row, question.data) for row in kept), cursor)

    def prune(self) -> None:
        """Drop what is too old or too much, now."""
        with self._file.turn() as db:
            self._prune(db, self._clock())

    def __len__(self) -> int:
        with self._file.turn() as db:
            return int(db.execute("SELECT count(*) FROM messages").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._asked.close()
        self._file.close()

    def _by_hash(self, question: Question) -> Page:
        if question.content_topics or question.start is not None or question.end is not None:
            raise InputError("a question by hash has no other condition")
        found = []
        with self._asked.turn(_WORK) as db:
            for digest in question.hashes[:MAX_PAGE]:
                row = db.execute(
                    "SELECT hash, pubsub, body, size FROM messages WHERE hash = ?", (digest,)
                ).fetchone()
                found += [row] if row else []
        kept = _within(found, question.data)
        return Page(tuple(_stored(row, question.data) for row in kept), None)

    def _conditions(self, question: Question) -> tuple[list[str], list[object]]:
        where: list[str] = []
        values: list[object] = []
        for text, value in (
            ("pubsub = ?", question.pubsub_topic),
            ("sent >= ?", question.start),
            ("sent < ?", question.end),
        ):
            if value is not None:
                where.append(text)
                values.append(value)
        if question.content_topics:
            where.append(f"topic IN ({', '.join('?' * len(question.content_topics))})")
            values += question.content_topics
        return where, values

    def _prune(self, db: sqlite3.Connection, now: float) -> None:
        """Drop the oldest until none is too old or too much; the others are not looked at."""
        self._since_prune = 0
        oldest = "SELECT arrival, size, received FROM messages ORDER BY arrival LIMIT 64"
        while rows := db.execute(oldest).fetchall():
            for arrival, size, received in rows:
                if received >= now - self._max_age and self._bytes <= self._max_bytes:
                    return
                db.execute("DELETE FROM messages WHERE arrival = ?", (arrival,))
                self._bytes -= size


def _arrival(db: sqlite3.Connection, cursor: bytes) -> int:
    row = db.execute("SELECT arrival FROM messages WHERE hash = ?", (cursor,)).fetchone()
    if row is None:
        raise MalformedError("the cursor is none of a message that is kept here")
    return int(row[0])


Row = tuple[bytes, str, bytes, int]


def _within(rows: Sequence[Row], data: bool) -> list[Row]:
    """Return as many rows from the first on as one answer may hold."""
    kept: list[Row] = []
    total = 0
    for row in rows:
        total += row[3] if data else 0
        if kept and total > _MAX_ANSWER:
            break
        kept.append(row)
    return kept


def _stored(row: Row, data: bool) -> Stored:
    if not data:
        return Stored(row[0])
    return Stored(row[0], row[1], WakuMessage.from_bytes(row[2]))
