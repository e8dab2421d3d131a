"""Canonical JSON (RFC 8785), and the strict reader that goes with it.

A signature covers bytes, people pass around JSON. JCS gives each JSON value one byte form; the
reader here refuses whatever could make two readers see two values in the same bytes (I-JSON,
RFC 7493): duplicate members, numbers that a double cannot hold, lone surrogates, NaN.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import rfc8785

from privity.errors import MalformedError, OversizeError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "canonical", "loads_canonical", "loads_strict"]

MAX_BYTES = 262_144
"""Largest document read by default, in bytes."""

MAX_DEPTH = 32
"""Deepest nesting of objects and arrays read or written."""

_MAX_INTEGER = 2**53 - 1


def canonical(value: Any) -> bytes:
    """Return the one RFC 8785 byte form of a JSON value.

    Raises:
        MalformedError: the value has no such form: not JSON, a number beyond a double's exact
            range, a lone surrogate, or nesting deeper than `MAX_DEPTH`.
    """
    try:
        _check_depth(value, MAX_DEPTH)
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise MalformedError(f"no canonical JSON form: {type(error).__name__}") from None


def loads_strict(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Parse JSON that every reader must understand alike, in any spelling.

    Args:
        data: UTF-8 JSON text.
        max_bytes: largest size accepted.

    Raises:
        OversizeError: longer than ``max_bytes``.
        MalformedError: not JSON, or JSON that two readers could read differently.

    Guarantees:
        Total: returns or raises one of these two (tests/property/test_identity.py).
    """
    if len(data) > max_bytes:
        raise OversizeError(f"a JSON document of {len(data)} bytes; the limit is {max_bytes}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        _check_depth(value, MAX_DEPTH)
    except UnicodeDecodeError:
        raise MalformedError("not JSON: the bytes are not UTF-8") from None
    except json.JSONDecodeError as error:
        # Only the position: `error.doc` holds the whole text.
        raise MalformedError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedError(f"JSON nested deeper than {MAX_DEPTH}") from None
    return value


def loads_canonical(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Parse JSON that is already in its RFC 8785 form, and refuse any other spelling.

    Raises:
        OversizeError: longer than ``max_bytes``.
        MalformedError: not JSON, or not in canonical form.

    Guarantees:
        ``canonical(loads_canonical(data)) == data``, so that no bit of ``data`` can change
        without changing what its digest covers (tests/property/test_identity.py).
    """
    value = loads_strict(data, max_bytes=max_bytes)
    if canonical(value) != data:
        raise MalformedError("JSON that is not in its canonical form (RFC 8785)")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError("a JSON object with the same member twice")
    return members


def _integer(text: str) -> int:
    # Compared by length first: Python refuses, with a bare ValueError, to read thousands of digits.
    if len(text) > 17 or abs(int(text)) > _MAX_INTEGER:
        raise MalformedError("a JSON integer beyond 2^53 - 1, which readers round differently")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedError("a JSON number beyond the range of a double")
    return number


def _constant(text: str) -> NoReturn:
    raise MalformedError(f"{text} is not JSON")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict | list | tuple):
        if left == 0:
            raise MalformedError(f"JSON nested deeper than {MAX_DEPTH}")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)
