"""The wallet's file: sealed records, one after another, each on disk before it counts.

::

    file   = magic ‖ id (16) ‖ record ‖ record …        the first record is empty: it proves the key
    record = length (4, big endian) ‖ salt (32) ‖ AES-256-GCM(padded JSON)

Each record has a key of its own, derived from the wallet's key and its salt; it is bound to the
file's id, to its place, and to the record before it. So records can be cut off at the end, and not
noticed; none can be altered, moved, left out or added. A record that was being written when the
process died is cut off at the next opening: nothing that depended on it had left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag

from privity.errors import InputError, MalformedError, OpenError
from privity.hazmat.aead import AES_256_GCM
from privity.hazmat.kdf import expand, extract
from privity.home import read_private, write_private
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey

__all__ = ["MAX_RECORD", "SealedJournal", "read_journal", "wallet_key"]

MAX_RECORD = 64 << 10
"""Largest record, in bytes of its JSON."""

_MAGIC = b"privity wallet 1\n"
_ID, _LENGTH, _SALT, _TAG = 16, 4, 32, 16
_SMALLEST = 512
_LENGTHS = frozenset(_TAG + (_SMALLEST << power) for power in range(9))
_MOST = _LENGTH + _SALT + max(_LENGTHS)
_NONCE = bytes(AES_256_GCM.nonce_size)
_FILE, _LOCK = "wallet.journal", "wallet.lock"

Event = dict[str, Any]


def wallet_key(device: SigningKey) -> bytes:
    """Return the key of this device's wallet, 32 bytes."""
    return extract(b"privity/wallet/v1", device.unsafe_seed())


def read_journal(folder: Path, key: bytes) -> list[Event]:
    """Return the events in a wallet's file without locking it; none where there is no file.

    Raises:
        OpenError: it is not what this device wrote.
        InputError: it cannot be read, or others can read it.
    """
    path = folder / _FILE
    return _Reader(read_private(path), key).events if path.exists() else []


class SealedJournal:
    """The open file of one process.

    Args:
        folder: where it is; made 0700 if absent.
        key: 32 bytes that only this device knows.
        randomness: makes ids and salts.

    Raises:
        InputError: another process has it open, or it cannot be read or written.
        OpenError: it is not what this device wrote.

    Guarantees:
        When `append` returns, the event survives ``kill -9`` and the loss of power
        (tests/adversary/test_wallet_crash.py).
    """

    def __init__(
        self,
        folder: Path,
        key: bytes,
        *,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._path = folder / _FILE
        self._key = key
        self._randomness = randomness
        self._fd = self._lock = -1
        self._id, self._last = b"", b""
        self._place = self._size = 0
        with _told(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(self._lock)
            if not self._path.exists():
                self._write([])
            self.events = self._open()
        except BaseException:
            self.close()
            raise

    @property
    def records(self) -> int:
        """Return how many records the file has."""
        return self._place - 1

    def append(self, event: Event) -> None:
        """Write an event behind the others, and return when it is on disk.

        Raises:
            InputError: it cannot be written; the file is as it was, or is not written any more.
        """
        if self._fd < 0:
            raise InputError("the wallet is closed", hint="open it again")
        record, tag = self._sealed(self._id, self._place, self._last, event)
        with _told(self._path):
            try:
                _write_all(self._fd, record)
                os.fsync(self._fd)
            except OSError:
                # What is on disk is not known now. Nothing may be built on it in this process.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._size)
                self.close()
                raise
        self._size += len(record)
        self._place += 1
        self._last = tag

    def rewrite(self, events: Iterable[Event]) -> None:
        """Put a file of these events in place of the file, whole or not at all.

        Raises:
            InputError: it cannot be written; the file is the old one or the new one, and is not
                written any more by this process.
        """
        try:
            self._write(events)
            os.close(self._fd)
            self._fd = -1
            self._open()
        except BaseException:
            # The open file may be one that has no name any more: what it is given would be lost.
            self.close()
            raise

    def close(self) -> None:
        """Let another process open it."""
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1

    def _open(self) -> list[Event]:
        """Read the file, cut off what was not finished, and stand at its end."""
        reader = _Reader(read_private(self._path), self._key)
        with _told(self._path):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            if reader.torn:
                os.ftruncate(self._fd, reader.size)
                os.fsync(self._fd)
        self._id, self._size, self._last = reader.id, reader.size, reader.last
        self._place = reader.place
        return reader.events

    def _write(self, events: Iterable[Event]) -> None:
        file_id = self._randomness(_ID)
        last = bytes(_TAG)
        parts = [_MAGIC, file_id]
        for place, event in enumerate([{}, *events]):
            record, last = self._sealed(file_id, place, last, event)
            parts.append(record)
        with _told(self._path):
            write_private(self._path, b"".join(parts))
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # the rename too has to be on disk
            finally:
                os.close(folder)

    def _sealed(self, file_id: bytes, place: int, last: bytes, event: Event) -> tuple[bytes, bytes]:
        data = canonical(event)
        if len(data) > MAX_RECORD - _LENGTH:
            raise InputError(f"a record of the wallet is larger than {MAX_RECORD} bytes")
        # A fresh key for each record, so its one nonce is used once, even where a file that was
        # put back is continued.
        salt = self._randomness(_SALT)
        cipher = AES_256_GCM.cipher(_record_key(self._key, salt))
        sealed = cipher.encrypt(_NONCE, _padded(data), _bound(file_id, place, last))
        return len(sealed).to_bytes(_LENGTH, "big") + salt + sealed, sealed[-_TAG:]


class _Reader:
    """What a file holds: its events, and where the last whole record ends."""

    def __init__(self, data: bytes, key: bytes) -> None:
        if not data.startswith(_MAGIC):
            raise OpenError(
                "the wallet's file is none, or of another version; it was left as it is",
                hint="restore it from a copy that is not older than its last use",
            )
        start = len(_MAGIC) + _ID
        self.id = data[len(_MAGIC) : start]
        self.size, self.place, self.last = start, 0, bytes(_TAG)
        self.events: list[Event] = []
        while self.size < len(data) and self._take(data, key):
            pass
        self.torn = self.size < len(data)
        if self.place == 0:
            raise OpenError(
                "the wallet is sealed with another key, or altered",
                hint="it opens with the device key it was made with; it was left as it is",
            )
        if self.torn and not self._at_end(data):
            raise OpenError(
                "the wallet's file is damaged before its end; it was left as it is",
                hint="restore it from a copy that is not older than its last use",
            )

    def _take(self, data: bytes, key: bytes) -> bool:
        head = data[self.size : self.size + _LENGTH + _SALT]
        length = int.from_bytes(head[:_LENGTH], "big")
        end = self.size + _LENGTH + _SALT + length
        if len(head) < _LENGTH + _SALT or length <= _TAG or end > len(data):
            return False
        sealed = data[end - length : end]
        cipher = AES_256_GCM.cipher(_record_key(key, head[_LENGTH:]))
        try:
            padded = cipher.decrypt(_NONCE, sealed, _bound(self.id, self.place, self.last))
        except InvalidTag:
            return False
        if self.place:
            self.events.append(_event(padded))
        self.size, self.place, self.last = end, self.place + 1, sealed[-_TAG:]
        return True

    def _at_end(self, data: bytes) -> bool:
        """Tell whether what is left can be one record that was being written."""
        left = data[self.size :]
        if len(left) < _LENGTH or not any(left):  # a file system may have made room, and no more
            return len(left) <= _MOST
        # Only a length that is written: one flipped bit in it must not pass for a record cut off.
        length = int.from_bytes(left[:_LENGTH], "big")
        return length in _LENGTHS and len(left) <= _LENGTH + _SALT + length


def _event(padded: bytes) -> Event:
    size = int.from_bytes(padded[:_LENGTH], "big")
    value = loads_strict(padded[_LENGTH : _LENGTH + size], max_bytes=MAX_RECORD)
    if not isinstance(value, dict):
        raise MalformedError("a record of the wallet is no JSON object")
    return value


def _padded(data: bytes) -> bytes:
    """Return data behind its length, filled up to 512 bytes times a power of two."""
    size = _SMALLEST
    while size < _LENGTH + len(data):
        size *= 2
    return (len(data).to_bytes(_LENGTH, "big") + data).ljust(size, b"\0")


def _bound(file_id: bytes, place: int, last: bytes) -> bytes:
    return _MAGIC + file_id + place.to_bytes(8, "big") + last


def _record_key(key: bytes, salt: bytes) -> bytes:
    return expand(extract(salt, key), b"privity/wallet/record", AES_256_GCM.key_size)


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(
            "another process has the wallet open",
            hint="two that spend from it would use message ids twice; end the other one",
        ) from None


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


class _told(contextlib.AbstractContextManager[None]):
    """Say an operating system's refusal as an `InputError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"cannot write the wallet {self._path}: {error.strerror}",
                hint="make room, or make its folder one that you can write to",
            ) from error
