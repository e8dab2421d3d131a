"""What was delivered already: a message comes to its reader once, however often it is replayed."""

from __future__ import annotations

from pathlib import Path

from privity.anon.messages.sqlite_file import SqliteFile
from privity.errors import InputError

__all__ = ["Delivered", "Tentative"]


class Delivered:
    """A bounded memory of digests, in a file or in the process alone.

    Args:
        path: of an SQLite file; without one, a restart forgets everything.
        most: digests that are kept; the oldest go first.

    Raises:
        InputError: the file is damaged; so do the methods.

    Guarantees:
        A digest is new once, whatever comes in between, until ``most`` others came after it:
        `test_a_replayed_message_is_not_delivered_twice`.
    """

    def __init__(self, path: Path | None = None, *, most: int = 1_000_000) -> None:
        if most < 1:
            raise InputError("at least one digest has to be kept")
        self._most = most
        self._file = SqliteFile(
            path,
            "the record of what was read",
            "remove `read.db` of that inbox, and what stores still keep comes once more",
        )
        try:
            with self._file.turn() as db:
                if path is not None:
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("PRAGMA synchronous = NORMAL")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS seen"
                    " (at INTEGER PRIMARY KEY, digest BLOB UNIQUE NOT NULL)"
                )
        except InputError:
            self._file.close()
            raise

    def add(self, digest: bytes) -> bool:
        """Return whether the digest is new, and remember it."""
        with self._file.turn() as db:
            new = db.execute("INSERT OR IGNORE INTO seen (digest) VALUES (?)", (digest,))
            if new.rowcount and new.lastrowid is not None and new.lastrowid % 1024 == 0:
                db.execute("DELETE FROM seen WHERE at <= ?", (new.lastrowid - self._most,))
            return bool(new.rowcount)

    def has(self, digest: bytes) -> bool:
        """Return whether a digest is remembered."""
        with self._file.turn() as db:
            row = db.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,)).fetchone()
            return row is not None

    def discard(self, digest: bytes) -> None:
        """Forget a digest, because its message was not taken after all."""
        with self._file.turn() as db:
            db.execute("DELETE FROM seen WHERE digest = ?", (digest,))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Tentative(Delivered):
    """What is being delivered: it counts as delivered for good on `commit`, once it was shown.

    A reader that ends between the two gets it again, rather than never.

    Args:
        kept: what was delivered before.
    """

    def __init__(self, kept: Delivered) -> None:
        super().__init__()
        self._kept = kept
        self._new: dict[bytes, None] = {}

    def add(self, digest: bytes) -> bool:
        """Return whether the digest is new, and remember it until `commit`."""
        if self._kept.has(digest) or not super().add(digest):
            return False
        self._new[digest] = None
        return True

    def has(self, digest: bytes) -> bool:
        """Return whether a digest is remembered, for good or until `commit`."""
        return super().has(digest) or self._kept.has(digest)

    def discard(self, digest: bytes) -> None:
        """Forget a digest that is not committed yet."""
        super().discard(digest)
        self._new.pop(digest, None)

    def commit(self) -> None:
        """Keep what was added."""
        for digest in self._new:
            self._kept.add(digest)
        self._new.clear()
