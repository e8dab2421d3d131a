"""How a job ended, as the one who signs could see it."""

from __future__ import annotations

import enum

from privity.errors import MalformedError

__all__ = ["Outcome"]


class Outcome(enum.StrEnum):
    """How a job ended. The value is the word in receipts."""

    COMPLETE = "complete"
    """The whole answer, to its authenticated end."""
    FAILED = "failed"
    """It ended with an error instead of an answer."""
    INTERRUPTED = "interrupted"
    """It stopped before the answer's authenticated end."""
    UNFINISHED = "unfinished"
    """It was begun, and nothing is known of its end: the device itself stopped."""

    @classmethod
    def parse(cls, text: str) -> Outcome:
        """Read an outcome by its word; raises `MalformedError`."""
        try:
            return cls(text)
        except ValueError:
            raise MalformedError("an outcome that is not one of the four") from None
