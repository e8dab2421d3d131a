"""Server-sent events, read as they come (HTML Living Standard §9.2.6) and written."""

from __future__ import annotations

from dataclasses import dataclass

from privity.errors import OversizeError

__all__ = ["MAX_EVENT", "Event", "EventReader", "encode_event"]

MAX_EVENT = 4 << 20
"""Largest event, in bytes: it is held until it is whole."""


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
        Total, whatever the bytes, and never holds more than `MAX_EVENT`
        (tests/property/test_events.py).
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._name = b""
        self._data: list[bytes] = []
        self._held = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events they completed.

        Raises:
            OversizeError: an event is larger than `MAX_EVENT`.
        """
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]  # the other half of a line end that was taken already
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        self._rest += chunk
        events = []
        *lines, rest = self._rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            event = self._line(bytes(line))
            if event is not None:
                events.append(event)
        if len(self._rest) + self._held > MAX_EVENT:
            raise OversizeError(f"an event of more than {MAX_EVENT >> 20} MiB")
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(b"\n".join(self._data), self._name) if self._data else None
            self._name, self._data, self._held = b"", [], 0
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._held += len(value) + 1
        elif field == b"event":
            self._name = value
        return None  # comments, ids and retry times mean nothing here


def encode_event(data: bytes, name: bytes = b"") -> bytes:
    """Return one event as bytes; ``data`` may hold no line end, as JSON in one line does not."""
    head = b"event: %b\n" % name if name else b""
    return b"%bdata: %b\n\n" % (head, data)
