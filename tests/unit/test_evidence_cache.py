"""The cache of findings: a hit is what examining again would give, and nothing else is a hit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from privity.attest.cache import Cached
from privity.attest.evidence import Findings
from privity.attested import Check

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Counting:
    kind = "counted"

    def __init__(self, period: tuple[datetime, datetime] | None = (NOW, NOW + HOUR)) -> None:
        self.calls = 0
        self.period = period

    def examine(
        self, evidence: dict[str, Any], bound: bytes | None, endorsements: Sequence[Any], now: Any
    ) -> Findings:
        self.calls += 1
        return Findings(self.kind, (Check("call", True, str(self.calls)),), period=self.period)


def test_the_same_evidence_is_examined_once() -> None:
    counting = Counting()
    cached = Cached(counting)
    first = cached.examine({"a": 1}, b"x", [{"b": 2}], NOW)
    assert cached.examine({"a": 1}, b"x", [{"b": 2}], NOW + HOUR / 2) is first
    assert counting.calls == 1 and cached.kind == "counted"


@pytest.mark.parametrize(
    ("evidence", "bound", "endorsements"),
    [
        ({"a": 2}, b"x", []),
        ({"a": True}, b"x", []),
        ({"a": 1.0}, b"x", []),
        ({"a": 1}, b"y", []),
        ({"a": 1}, None, []),
        ({"a": 1}, b"x", [{}]),
    ],
)
def test_anything_else_is_examined_anew(
    evidence: dict[str, Any], bound: bytes | None, endorsements: list[Any]
) -> None:
    counting = Counting()
    cached = Cached(counting)
    cached.examine({"a": 1}, b"x", [], NOW)
    cached.examine(evidence, bound, endorsements, NOW)
    assert counting.calls == 2


def test_a_result_ends_with_its_period() -> None:
    counting = Counting()
    cached = Cached(counting)
    for now in (NOW, NOW + HOUR, NOW - HOUR):
        cached.examine({}, None, [], now)
    assert counting.calls == 3


def test_a_result_of_unknown_period_is_not_kept() -> None:
    counting = Counting(None)
    cached = Cached(counting)
    cached.examine({}, None, [], NOW)
    cached.examine({}, None, [], NOW)
    assert counting.calls == 2


def test_room_is_bounded() -> None:
    counting = Counting()
    cached = Cached(counting, most=2)
    for name in ("a", "b", "c", "a"):
        cached.examine({name: 1}, None, [], NOW)
    assert counting.calls == 4
