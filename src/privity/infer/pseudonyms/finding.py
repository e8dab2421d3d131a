"""What a detector says about a text: where something personal stands, and of which kind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from privity.policy.sensitive import Kind

__all__ = ["Detector", "Finding", "merge"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch of a text, without the text: it may be logged, counted and shown.

    Attributes:
        start: index of its first character.
        end: index after its last.
        kind: what it is.
        score: how sure the detector is, 0 to 1.
        source: which recogniser said so, such as ``iban`` or ``rampart``.
        part: for a person, ``given`` or ``surname`` where that is known; else empty.
    """

    start: int
    end: int
    kind: Kind
    score: float
    source: str
    part: str = ""


class Detector(Protocol):
    """Finds personal data in a text. Run on the device, beside the event loop."""

    def find(self, text: str) -> tuple[Finding, ...]:
        """Return what it finds, in order and without overlaps."""


def merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in order and without overlaps: the surer wins, then the longer.

    What is left over of one that lost on one side is not kept: the winner covers what is certain,
    and detectors that see more say so with a finding of their own.
    """
    starts: list[int] = []
    taken: list[Finding] = []
    for one in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.kind)):
        place = bisect_right(starts, one.start)
        before = taken[place - 1].end if place else 0
        after = starts[place] if place < len(starts) else one.end
        if before <= one.start < one.end <= after:
            starts.insert(place, one.start)
            taken.insert(place, one)
    return tuple(taken)
