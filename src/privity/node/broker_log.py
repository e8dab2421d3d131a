"""The broker's log: every decision about a key, each line bound to all before it.

One line is one decision in canonical JSON, with its number and the digest of the line before. It is
on disk before what it decides takes effect, and it is what the broker knows: how often a key was
released and which leases run is read from here. A small file beside it says how long it was, so
that lines missing from its end are noticed too.

Whoever can write both files can write another log. The digest of a line, which every release
carries to the enclave and which an owner can keep, is what holds a broker to its past.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from privity.errors import EvidenceError, InputError, MalformedError, OversizeError
from privity.home import write_private
from privity.identity.digests import check_digest, digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.timestamps import format_time

__all__ = ["EVENTS", "GENESIS", "DecisionLog", "Line", "read_log"]

EVENTS = ("added", "granted", "renewed", "refused", "revoked", "expired")

GENESIS = digest(b"privity/broker-log/v1")
"""What stands for the line before the first."""

_LOG, _HEAD, _LOCK = "decisions.log", "decisions.head", "decisions.lock"
_MAX_LINE = 16_384


@dataclass(frozen=True)
class Line:
    """One decision.

    Attributes:
        number: from 0, without gaps.
        before: digest of the line before.
        digest: digest of this one.
        time: when, by the broker's clock.
        event: one of `EVENTS`.
        about: the rest: ``artefact``, ``grant``, ``check`` and so on. No secrets.
    """

    number: int
    before: str
    digest: str
    time: datetime
    event: str
    about: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON-ready data, with its digest."""
        head = {"number": self.number, "time": format_time(self.time), "event": self.event}
        return {**head, **self.about, "digest": self.digest}

    @classmethod
    def parse(cls, data: bytes) -> Line:
        """Read a line without its end; raises `MalformedError` and `OversizeError`."""
        value = loads_canonical(data, max_bytes=_MAX_LINE)
        fields = Fields(value, "log line")
        line = cls(
            number=fields.count("number"),
            before=fields.digest("before"),
            digest=digest(data),
            time=fields.time("time"),
            event=fields.text("event", max_chars=16),
            about=fields.object("about"),
        )
        fields.done()
        if line.event not in EVENTS:
            raise MalformedError("a log line of an event there is not")
        return line


class DecisionLog:
    """The log in a folder, for one writer at a time over all processes.

    Args:
        folder: where it lies; made if there is none.
        on_line: told every line, once, in order: those that were there and those appended.

    Guarantees:
        A line is on disk before `append` returns, and a process killed at any moment leaves a log
        that reads (tests/unit/test_broker_log.py). A line altered, dropped, moved or put in is
        found by whoever reads it next (tests/adversary/test_broker_log.py).
    """

    def __init__(self, folder: Path, on_line: Callable[[Line], None]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._on_line = folder, on_line
        self._threads = threading.Lock()
        self._offset = self._count = 0
        self._last = GENESIS

    @contextmanager
    def writing(self) -> Iterator[DecisionLog]:
        """Hold the log alone, caught up with what other processes wrote.

        Raises:
            EvidenceError: ``.check`` says how the log is not what it was.
            InputError: it cannot be read or written.
        """
        with self._threads, _locked(self._folder / _LOCK):
            self._catch_up()
            yield self

    def append(self, event: str, time: datetime, about: dict[str, Any]) -> Line:
        """Put a decision at the end; within `writing`. It is on disk when this returns.

        Raises:
            InputError: it cannot be written. Whatever was to follow must not.
        """
        if not self._threads.locked():
            raise InputError("the log is written to while it is held")
        content = {
            "about": about,
            "before": self._last,
            "event": event,
            "number": self._count,
            "time": format_time(time),
        }
        data = canonical(content)
        line = Line.parse(data)
        path = self._folder / _LOG
        try:
            _write(path, data + b"\n")
            self._took(line, len(data) + 1)
            _write_head(self._folder, self._count, self._last)
        except OSError as error:
            raise InputError(
                f"cannot write {path}: {error.strerror}",
                hint="nothing is released that is not in the log: mend the folder or its disk",
            ) from error
        return line

    def _took(self, line: Line, size: int) -> None:
        self._offset, self._count, self._last = self._offset + size, line.number + 1, line.digest
        self._on_line(line)

    def _catch_up(self) -> None:
        """Read what is new, and put right what a process that was killed left behind."""
        path, known = self._folder / _LOG, _read_head(self._folder)
        fresh = _read_from(path, self._offset)
        whole, newline, torn = fresh.rpartition(b"\n")
        seen = {self._count: self._last}
        for data in whole.split(b"\n") if newline else ():
            self._took(_next(data, self._count, self._last), len(data) + 1)
            seen[self._count] = self._last
        _check_end(known, seen, self._count)
        if torn:  # it was never whole on disk, so nothing followed from it
            os.truncate(path, self._offset)
        if known[0] != self._count:
            _write_head(self._folder, self._count, self._last)


def read_log(folder: Path) -> list[Line]:
    """Return all lines of a log, each checked to follow from the one before.

    Raises:
        InputError: it cannot be read.
        EvidenceError: ``.check`` is ``log line`` (one is not of the form), ``log number``,
            ``log chain``, or ``log end`` (lines are missing from its end).
    """
    # The head first: a broker at work may make the log longer meanwhile, never shorter.
    known = _read_head(folder)
    whole, newline, _ = _read_from(folder / _LOG, 0).rpartition(b"\n")
    lines: list[Line] = []
    seen = {0: GENESIS}
    for data in whole.split(b"\n") if newline else ():
        lines.append(_next(data, len(lines), seen[len(lines)]))
        seen[len(lines)] = lines[-1].digest
    _check_end(known, seen, len(lines))
    return lines


def _next(data: bytes, number: int, last: str) -> Line:
    """Read the line that must follow."""
    try:
        line = Line.parse(data)
    except (MalformedError, OversizeError) as error:
        raise EvidenceError(
            f"line {number} of the log: {error.message}", check="log line"
        ) from None
    if line.number != number:
        raise EvidenceError(
            f"line {number} of the log says it is line {line.number}", check="log number"
        )
    if not hmac.compare_digest(line.before, last):
        raise EvidenceError(
            f"line {number} of the log does not follow from the one before it", check="log chain"
        )
    return line


def _check_end(known: tuple[int, str], seen: dict[int, str], count: int) -> None:
    """Hold the log against what its head says: at that length it ended in that line."""
    # One line more than the head knows is what a kill between the two writes leaves.
    if seen.get(known[0]) != known[1]:
        raise EvidenceError(
            f"the log had {known[0]} lines and has {count}: some are missing or were replaced",
            check="log end",
        )


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < offset:
                raise EvidenceError("the log is shorter than it was", check="log end")
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        if offset:
            raise EvidenceError("the log is gone", check="log end") from None
        return b""
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    made = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    if made:  # the name too has to be on disk
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write_head(folder: Path, count: int, last: str) -> None:
    write_private(folder / _HEAD, canonical({"count": count, "digest": last}))


def _read_head(folder: Path) -> tuple[int, str]:
    try:
        data = (folder / _HEAD).read_bytes()
    except FileNotFoundError:
        return 0, GENESIS
    except OSError as error:
        raise InputError(f"cannot read {folder / _HEAD}: {error.strerror}") from error
    try:
        fields = Fields(loads_canonical(data, max_bytes=1024), "log head")
        head = fields.count("count"), check_digest(fields.text("digest"))
        fields.done()
    except (MalformedError, OversizeError) as error:
        raise EvidenceError(f"the log's head: {error.message}", check="log end") from None
    return head


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes respect, and that goes with this one."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(
            f"cannot open {path}: {error.strerror}",
            hint="a broker's folder belongs to the user it runs as",
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
