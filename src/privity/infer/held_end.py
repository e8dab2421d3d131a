"""Holds back the end of an answer until it may be shown.

A client takes an answer for complete as soon as it has seen its end: the last byte of a JSON
body, the ``data: [DONE]`` of an event stream. Many then hang up, before the sealed stream's own
end and the receipt behind it have come. So the end is handed out last, once they were checked.
"""

from __future__ import annotations

__all__ = ["HeldEnd"]

_MARKS = (b"data: [DONE]", b"data:[DONE]", b"event: response.completed")
"""What the chat and the responses API end an event stream with, at the beginning of a line."""
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
            marked = [at for mark in _MARKS if (at := self._find(data, mark)) >= 0]
            if marked:
                self._ended, cut = True, min(marked)
            else:
                cut = self._partial(data)
        out, self._held = data[:cut], data[cut:]
        if out:
            self._line_start = out.endswith(b"\n")
        return out

    def _find(self, data: bytes, mark: bytes) -> int:
        """Return where ``mark`` begins a line of ``data``, or -1; inside a line it is only text."""
        if self._line_start and data.startswith(mark):
            return 0
        at = data.find(b"\n" + mark)
        return at + 1 if at >= 0 else -1

    def _partial(self, data: bytes) -> int:
        """Return where a last, unfinished line begins that could still become a mark."""
        begin = data.rfind(b"\n") + 1
        tail = data[begin:]
        if not tail or len(tail) >= _LONGEST or (begin == 0 and not self._line_start):
            return len(data)
        return begin if any(mark.startswith(tail) for mark in _MARKS) else len(data)
