"""Times in documents: UTC, whole seconds, ``2026-01-31T09:00:00Z``.

Whole seconds because a finer time in a receipt would help to match it with traffic someone watched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from privity.errors import InputError, MalformedError

__all__ = ["CLOCK_SKEW", "Clock", "format_time", "parse_time", "utc_now", "whole_second"]

Clock = Callable[[], datetime]
"""A source of the current time, aware and in UTC."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of the verifier's clock another machine's may run."""

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_STRPTIME = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> datetime:
    """Return the operating system's time: the default clock."""
    return datetime.now(UTC)


def whole_second(moment: datetime) -> datetime:
    """Return ``moment`` in UTC with the fraction of its second dropped.

    Raises:
        InputError: the time has no zone, or is outside the years a document can carry.
    """
    if moment.tzinfo is None:
        raise InputError("a time without a zone; pass an aware datetime")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise InputError("a time beyond the years a document can carry") from None


def format_time(moment: datetime) -> str:
    """Write a time as documents carry it, to the whole second.

    Raises:
        InputError: the time has no zone.
    """
    # isoformat, not strftime: on some platforms %Y drops the zeros of years before 1000.
    return whole_second(moment).replace(tzinfo=None).isoformat() + "Z"


def parse_time(text: str) -> datetime:
    """Read what `format_time` writes, and nothing else.

    Raises:
        MalformedError: another spelling, or no such moment.
    """
    if not _FORM.fullmatch(text):
        raise MalformedError("not a time: YYYY-MM-DDTHH:MM:SSZ was expected")
    try:
        return datetime.strptime(text, _STRPTIME).replace(tzinfo=UTC)
    except ValueError:
        raise MalformedError("not a time: no such day or hour") from None
