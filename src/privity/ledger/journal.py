"""What was signed and sent, written down before it is sent, so that a crash sends nothing twice.

One file for each account and chain. An entry is the signed transaction itself: sending it again
cannot run it twice, since a chain takes each number (nonce) of an account once. What is named by
the same intent is the same act: it is taken up again, not signed anew.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from privity.errors import InputError, MalformedError
from privity.home import read_file, write_private, writing
from privity.identity.fields import Fields
from privity.ledger.wire import Hash

__all__ = ["Entry", "Journal"]

_FORM = "privity/ledger-journal/v1"
_MOST_BYTES = 64 * 1024 * 1024
_MOST_FINISHED = 256
_STATES = ("sent", "done")
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Entry:
    """A signed transaction.

    Attributes:
        intent: names the act; two entries never have the same while one is unfinished.
        nonce: its number among the account's transactions.
        hash: its hash.
        raw: the signed bytes.
        finished: it was mined and confirmed.
    """

    intent: str
    nonce: int
    hash: Hash
    raw: bytes
    finished: bool = False


class Journal:
    """The journal of one account on one chain.

    Args:
        path: its file.

    Guarantees:
        One holder at a time, over all processes; what `write` returned from survives a crash
        (tests/unit/test_ledger_sending.py).
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the journal while reading and writing it.

        Raises:
            InputError: its folder cannot be written to.
        """
        lock = self._path.with_suffix(".lock")
        with writing(lock):
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(fd):
                await anyio.sleep(_PAUSE_S)
            yield
        finally:
            os.close(fd)

    def read(self) -> list[Entry]:
        """Return all entries, the oldest first.

        Raises:
            InputError: the file is damaged.
        """
        data = read_file(self._path, most=_MOST_BYTES, what="the ledger's journal", absent=b"")
        if not data:
            return []
        try:
            fields = Fields(_json(data), "the journal")
            fields.constant("form", _FORM)
            entries = [_entry(item) for item in fields.items("entries", most=1_000_000)]
            fields.done()
        except MalformedError as error:
            raise InputError(
                f"the ledger's journal {self._path} is damaged: {error.message}",
                hint="look on the ledger whether the account's last transactions are there, "
                "then remove the file",
            ) from None
        return entries

    def write(self, entries: Sequence[Entry]) -> None:
        """Replace all entries; of the finished ones the newest 256 are kept.

        Raises:
            InputError: it cannot be written.
        """
        finished = [entry for entry in entries if entry.finished]
        dropped = {entry.hash for entry in finished[:-_MOST_FINISHED]}
        kept = [_dump(entry) for entry in entries if entry.hash not in dropped]
        with writing(self._path):
            write_private(self._path, json.dumps({"form": _FORM, "entries": kept}).encode())


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedError("it is not JSON") from None


def _dump(entry: Entry) -> dict[str, Any]:
    return {
        "intent": entry.intent,
        "nonce": entry.nonce,
        "hash": entry.hash.hex(),
        "raw": entry.raw.hex(),
        "state": _STATES[entry.finished],
    }


def _entry(value: Any) -> Entry:
    fields = Fields(value, "an entry")
    state = fields.text("state")
    if state not in _STATES:
        raise MalformedError("an entry is in no known state")
    entry = Entry(
        intent=fields.text("intent"),
        nonce=fields.count("nonce"),
        hash=Hash(_hex(fields.text("hash", max_chars=64), "hash")),
        raw=_hex(fields.text("raw", max_chars=1_000_000), "raw"),
        finished=state == "done",
    )
    fields.done()
    return entry


def _hex(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise MalformedError(f"an entry's {where} is not hexadecimal") from None
