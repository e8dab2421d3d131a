"""Server-sent events, read as they come (HTML Living Standard §9.2.6) and written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from privity.errors import OversizeError

__all__ = ["MAX_EVENT", "Event", "EventReader", "encode_event"]

MAX_EVENT = 4 << 20
"""Largest event, in bytes: it is held until it is whole."""

_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        data: its data lines, joined by line feeds.
        name: its ``event`` field; empty where it has none.
    """

    data: bytes
    name: bytes = b""


class EventReader:
    """Cuts a stream of bytes into events, however it was split.

    Guarantees:
        Total, whatever the bytes, and never holds more than `MAX_EVENT`; the same events however
        the bytes were split (tests/property/test_events.py). Each byte is looked at once, however
        long its line (`test_the_work_grows_with_the_bytes_and_not_with_their_pieces`).
    """

    def __init__(self) -> None:
        self._line = bytearray()  # what there is of a line that has not ended
        self._name = b""
        self._data = bytearray()  # each line with a line feed
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events they completed.

        Raises:
            OversizeError: an event is larger than `MAX_EVENT`.
        """
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]  # the other half of a line end that was taken already
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        events = []
        *pieces, rest = _END.split(chunk)
        for piece in pieces:
            self._hold(piece)
            line = bytes(self._line)
            self._line.clear()
            event = self._take(line)
            if event is not None:
                events.append(event)
        self._hold(rest)
        return events

    def _hold(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) + len(self._data) + len(self._name) > MAX_EVENT:
            raise OversizeError(f"an event of more than {MAX_EVENT >> 20} MiB")

    def _take(self, line: bytes) -> Event | None:
        if self._first:
            line = line.removeprefix(_BOM)
            self._first = False
        if not line:
            event = Event(bytes(self._data[:-1]), self._name) if self._data else None
            self._name = b""
            self._data.clear()
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data += value + b"\n"
        elif field == b"event":
            self._name = value
        return None  # comments, ids and retry times mean nothing here


def encode_event(data: bytes, name: bytes = b"") -> bytes:
    """Return one event as bytes; ``data`` may hold no line end, as JSON in one line does not."""
    head = b"event: %b\n" % name if name else b""
    return b"%bdata: %b\n\n" % (head, data)
