"""What a model said of pieces of text it saw lately: the next turn costs only what is new."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Recent"]

_Answer = TypeVar("_Answer")


class Recent(Generic[_Answer]):
    """A bounded store of answers by piece, the least lately used forgotten first; thread-safe.

    Guarantees:
        It keeps no piece, only a digest under a key of the process
        (tests/unit/test_detector_parts.py::test_what_is_remembered_holds_no_text).
        It is bounded (tests/unit/test_detector_parts.py::test_what_is_remembered_is_bounded).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._key = secrets.token_bytes(32)
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Recent({len(self._answers)} of {self._most})"

    def name(self, piece: bytes) -> bytes:
        """Return what a piece is remembered under."""
        return hashlib.blake2b(piece, key=self._key, digest_size=16).digest()

    def get(self, name: bytes) -> _Answer | None:
        """Return the answer for a piece's name, if it is still there."""
        with self._lock:
            answer = self._answers.get(name)
            if answer is not None:
                self._answers.move_to_end(name)
            return answer

    def put(self, name: bytes, answer: _Answer) -> None:
        """Remember an answer."""
        with self._lock:
            self._answers[name] = answer
            self._answers.move_to_end(name)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
