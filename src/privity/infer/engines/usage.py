"""Reads an engine's own count of tokens from an answer as it passes, without holding it.

The count stands near the end of an answer, or, for embeddings, near its start; so the first and the
last few kilobytes are looked at when the answer has ended. What a model writes cannot be taken for
a count: inside a JSON string a quotation mark is escaped.
"""

from __future__ import annotations

import json
import re

__all__ = ["UsageReader"]

_WINDOW = 4096
_COUNT = re.compile(rb'(?<!\\)"(usage|timings)"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})', re.ASCII)
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")


class UsageReader:
    """Watches one answer.

    Attributes:
        prompt_tokens: as the engine counted, once `done` was called; None if it did not say.
        completion_tokens: likewise.
    """

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    def feed(self, data: bytes) -> None:
        """Look at the next bytes of the answer."""
        if len(self._head) < _WINDOW:
            self._head += data[: _WINDOW - len(self._head)]
        self._tail = data[-_WINDOW:] if len(data) >= _WINDOW else (self._tail + data)[-_WINDOW:]

    def done(self) -> None:
        """Take the counts from what was seen, and forget that."""
        for window in (self._head, self._tail):
            for name, text in _COUNT.findall(window):
                self._take(name, text)
        self._head = self._tail = b""

    def _take(self, name: bytes, text: bytes) -> None:
        try:
            counts = json.loads(text)
        except ValueError:
            return
        if name == b"timings":  # llama.cpp's, in the last event of a stream
            cached = _count(counts, ("cache_n",))
            fresh = _count(counts, ("prompt_n",))
            prompt = None if fresh is None else fresh + (cached or 0)
            completion = _count(counts, ("predicted_n",))
        else:
            prompt, completion = _count(counts, _PROMPT), _count(counts, _COMPLETION)
        self.prompt_tokens = self.prompt_tokens if prompt is None else prompt
        self.completion_tokens = self.completion_tokens if completion is None else completion


def _count(counts: dict[str, object], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
            return value
    return None
