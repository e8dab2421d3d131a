"""JSON of others, read strictly where it is a request and leniently where it is an answer.

A request is read with `Members`: each member is taken by name, and one that nobody took ends in an
error, so that nothing a person asked for is left out unseen. Of an answer only what is known is
read, because providers add members; what is read has its type checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from privity.errors import InputError, MalformedError

__all__ = ["Members", "count", "named", "read_json", "read_object", "text_of", "write_json"]

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def named(value: object) -> str:
    """Return a name that a stranger wrote as it may stand in an error: short and plain, or not."""
    return f"`{value}`" if isinstance(value, str) and _NAME.fullmatch(value) else "something else"


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a number of JSON")


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number too large")
    return value


def read_json(text: bytes | str, *, exact: bool = True) -> Any:
    """Parse JSON, and nothing that is almost JSON.

    Args:
        text: of one value.
        exact: refuse a number without value, such as ``NaN``, too: what is translated is written
            again, and has to be JSON then. Servers send them where only other members are read.

    Raises:
        MalformedError: it is not JSON, is nested too deep, or has a number that may not be there.
    """
    try:
        if not exact:
            return json.loads(text)
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_number)
    except (ValueError, RecursionError):
        raise MalformedError("what came is not JSON") from None


def read_object(text: bytes | str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        MalformedError: it is not one.
    """
    value = read_json(text)
    if not isinstance(value, dict):
        raise MalformedError("what came is not a JSON object")
    return value


def write_json(value: object) -> str:
    """Return compact JSON in one line, in ASCII, so that halves of characters stay what they are.

    Raises:
        MalformedError: it has no JSON, or is nested too deep.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise MalformedError("what came has no JSON") from None


def text_of(value: Mapping[str, Any], name: str) -> str:
    """Return a text member of an answer; empty where it is missing or null.

    Raises:
        MalformedError: it is something else.
    """
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise MalformedError(f"`{name}` of an answer is not text")
    return found


def count(value: object, *names: str) -> int:
    """Return a count that stands below these names, 0 where nobody says."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
        return value
    return 0


class Members:
    """The members of a JSON object in a request, each taken once; null says the same as nothing.

    Args:
        value: the object.
        where: its place in the request, such as ``messages[2].``, as errors name it.

    Raises:
        InputError: it is not an object. So does each method where a member is not as it says.

    Guarantees:
        What nobody took is named in an error by `end`
        (tests/adversary/test_shapes.py::test_no_member_of_a_request_is_left_out_unseen).
    """

    def __init__(self, value: object, where: str = "") -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where.rstrip('.') or 'the request'} is not a JSON object")
        self.where = where
        self._left = {str(name): found for name, found in value.items() if found is not None}

    def refuse(self, name: str, why: str, hint: str = "") -> NoReturn:
        """Raise the error that names this member."""
        raise InputError(f"{self.where}{name} {why}", hint=hint)

    def take(self, name: str) -> Any:
        """Return a member of any type, None where there is none."""
        return self._left.pop(name, None)

    def _typed(self, name: str, fits: Callable[[Any], bool], what: str) -> Any:
        value = self.take(name)
        if value is not None and not fits(value):
            self.refuse(name, f"is not {what}")
        return value

    def text(self, name: str) -> str | None:
        """Return a text."""
        value: str | None = self._typed(name, lambda v: isinstance(v, str), "text")
        return value

    def must(self, name: str) -> str:
        """Return a text that has to be there."""
        value = self.text(name)
        if value is None:
            self.refuse(name, "is missing")
        return value

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        value: bool | None = self._typed(name, lambda v: isinstance(v, bool), "true or false")
        return value

    def whole(self, name: str) -> int | None:
        """Return a whole number."""
        value: int | None = self._typed(
            name, lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"
        )
        return value

    def number(self, name: str) -> float | None:
        """Return a number."""
        value: float | None = self._typed(
            name, lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number"
        )
        return value

    def items(self, name: str) -> list[Any] | None:
        """Return a list."""
        value: list[Any] | None = self._typed(name, lambda v: isinstance(v, list), "a list")
        return value

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return an object that is passed on as it is, such as a schema."""
        value: dict[str, Any] | None = self._typed(name, lambda v: isinstance(v, dict), "an object")
        return value

    def members(self, name: str) -> Members | None:
        """Return an object whose members are read as well."""
        value = self.take(name)
        return None if value is None else Members(value, f"{self.where}{name}.")

    def choice(self, name: str, choices: Mapping[str, Any]) -> Any:
        """Return what a text stands for in the other shape."""
        value = self.text(name)
        if value is None:
            return None
        if value not in choices:
            self.refuse(name, f"may not be {named(value)}", f"one of: {', '.join(choices)}")
        return choices[value]

    def only(self, name: str, allowed: Iterable[object], why: str) -> None:
        """Take a member that the other shape has not, where it says what is so anyway."""
        value = self.take(name)
        if value is not None and not any(type(value) is type(a) and value == a for a in allowed):
            self.refuse(name, why, "leave it out, or ask a model that takes it")

    def forgo(self, *names: str) -> None:
        """Take members that change no answer: what they ask for is saved work, and kept prompts."""
        for name in names:
            self.take(name)

    def end(self) -> None:
        """Refuse what nobody took."""
        for name in self._left:
            raise InputError(
                f"{self.where}: {named(name)} has no counterpart in the provider's API",
                hint="leave it out, or ask a model that takes it",
            )
