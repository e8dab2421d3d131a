"""Reads a JSON object from a stranger whose members are for others to judge, at bounded cost.

What is in a request is counted before it is parsed: objects and lists take a hundred times their
length in memory and time. Text of a few megabytes stays far below, and token numbers too.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from privity.errors import MalformedError

__all__ = ["parse_object"]

_MAX_NESTS = 100_000
_MAX_ITEMS = 400_000
_MAX_DIGITS = 100  # of a whole number: reading and writing one takes the square of that


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the members of the JSON object in a request; of one named twice, the last.

    Raises:
        MalformedError: it is none, or has too many parts.
    """
    if body.count(b"{") + body.count(b"[") > _MAX_NESTS or body.count(b",") > _MAX_ITEMS:
        raise MalformedError("the request has more parts than are taken")
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError):  # its words could quote the request
        raise MalformedError("the request is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedError("the request is not a JSON object")
    return value


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("too long")
    return int(digits)
