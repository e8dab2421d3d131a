"""A file of SQLite that several threads use one after the other; its errors are privity's."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from privity.errors import InputError

__all__ = ["SqliteFile"]


class SqliteFile:
    """A database in a file, or in memory.

    Args:
        path: of the file; without one it goes when the process does.
        what: what a person is told cannot be used; it may reach strangers, so it has no path.
        hint: what to do then.

    Raises:
        InputError: the file is damaged, or cannot be used.
    """

    def __init__(self, path: Path | None, what: str, hint: str) -> None:
        self._what, self._hint = what, hint
        self._lock = threading.Lock()
        with self._told():
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, check_same_thread=False, isolation_level=None
            )

    @contextmanager
    def turn(self, work: int | None = None) -> Iterator[sqlite3.Connection]:
        """Give the database to one thread at a time.

        Args:
            work: thousands of SQLite's steps that may be done; any number by default.

        Raises:
            InputError: it cannot be used, or more work would be needed.
        """
        left = itertools.repeat(0) if work is None else itertools.repeat(0, work)
        with self._lock, self._told():
            self._db.set_progress_handler(lambda: next(left, 1), 1000)
            yield self._db

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise InputError("what is asked takes too much work") from None
            raise InputError(f"{self._what} cannot be used: {error}", hint=self._hint) from error
