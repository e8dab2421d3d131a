"""Holds back the end of an answer until it may be shown.

A client takes an answer for complete as soon as it has seen its end: the last byte of a JSON
body, the ``data: [DONE]`` of an event stream. Many then hang up, before the sealed stream's own
end and the receipt behind it have come. So the end is handed out last, once they were checked.
"""

from __future__ import annotations

import re

__all__ = ["HeldEnd"]

_LAST_EVENTS = (
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b"message_stop",
)
_MARKS = (
    b"data: [DONE]",
    b"data:[DONE]",
    *(b"event:" + gap + name for name in _LAST_EVENTS for gap in (b"", b" ")),
    *(
        b"data:" + gap + b'{"type":' + inner + b'"' + name + b'"'
        for name in _LAST_EVENTS
        for gap in (b"", b" ")
        for inner in (b"", b" ")
    ),
)
"""What chat, responses and messages APIs end an event stream with, at the beginning of a line."""
_MARKED_LINE = re.compile(rb"(?:\A|(?<=[\r\n]))(?:" + b"|".join(map(re.escape, _MARKS)) + rb")")
_LINE_ENDS = (b"\n", b"\r")
_LONGEST = max(len(mark) for mark in _MARKS)


class HeldEnd:
    """Splits an answer, as it streams by, into what may go on and what waits for the end.

    Args:
        events: it is an event stream: only from the end mark on is anything held, so no token
            waits. Otherwise the latest chunk waits for the one after it.
    """

    __slots__ = ("_ended", "_events", "_held", "_line_start")

    def __init__(self, *, events: bool) -> None:
        self._events = events
        self._held = b""
        self._line_start = True
        self._ended = False

    def feed(self, chunk: bytes) -> bytes:
        """Take the next chunk; return what may be handed out now, which may be nothing."""
        if not self._events:
            out, self._held = self._held, chunk
            return out
        # Event streams arrive as whole lines: nothing held, and no mark in sight.
        if not self._held and chunk.endswith(b"\n") and not self._ended:
            if not any(mark in chunk for mark in _MARKS):
                self._line_start = True
                return chunk
        return self._scan(self._held + chunk)

    def end(self) -> bytes:
        """Return what was held; called once the answer is known to be whole."""
        out, self._held = self._held, b""
        return out

    def _scan(self, data: bytes) -> bytes:
        cut = len(data) if not self._ended else 0
        if not self._ended:
            marked = self._find(data)
            if marked >= 0:
                self._ended, cut = True, marked
            else:
                cut = self._partial(data)
        out, self._held = data[:cut], data[cut:]
        if out:
            self._line_start = out.endswith(_LINE_ENDS)
        return out

    def _find(self, data: bytes) -> int:
        """Return where a mark begins a line of ``data``, or -1; inside a line it is only text."""
        for found in _MARKED_LINE.finditer(data):
            if found.start() > 0 or self._line_start:
                return found.start()
        return -1

    def _partial(self, data: bytes) -> int:
        """Return where a last, unfinished line begins that could still become a mark."""
        begin = max(data.rfind(end) for end in _LINE_ENDS) + 1
        tail = data[begin:]
        if not tail or len(tail) >= _LONGEST or (begin == 0 and not self._line_start):
            return len(data)
        return begin if any(mark.startswith(tail) for mark in _MARKS) else len(data)
