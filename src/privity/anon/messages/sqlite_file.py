"""A file of SQLite that several threads use one after the other; its errors are privity's."""

from __future__ import annotations

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
    def turn(self) -> Iterator[sqlite3.Connection]:
        """Give the database to one thread at a time; raises `InputError` where it is unusable."""
        with self._lock, self._told():
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
            raise InputError(f"{self._what} cannot be used: {error}", hint=self._hint) from error
