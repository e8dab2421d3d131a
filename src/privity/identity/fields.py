"""A reader of JSON objects that are expected to have exactly certain members.

Statements, evidence and receipts are read with it, so that each of their parsers is total: it
returns what the format allows or raises `MalformedError`, naming the place and never the value.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from privity.errors import MalformedError
from privity.identity.digests import check_digest
from privity.identity.multibase import decode_base64url
from privity.identity.timestamps import parse_time

__all__ = ["Fields"]

T = TypeVar("T")

_MAX_TEXT = 512


class Fields:
    """The members of one JSON object, each taken once; `done` refuses the ones not taken.

    Args:
        value: the parsed value; refused unless it is an object.
        where: what it is, for messages: ``statement.keyset``.

    Raises:
        MalformedError: from every method, for a member that is missing or not of the asked form.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"{where} is not a JSON object")
        self._left = dict(value)
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> Any:
        """Take a member of any form."""
        try:
            return self._left.pop(name)
        except KeyError:
            raise MalformedError(f"{self.where} has no {name}") from None

    def text(self, name: str, *, max_chars: int = _MAX_TEXT) -> str:
        """Take a string of 1 to ``max_chars`` characters."""
        value = self.take(name)
        if not isinstance(value, str) or not 0 < len(value) <= max_chars:
            raise self._wrong(name, f"a string of 1 to {max_chars} characters")
        return value

    def constant(self, name: str, expected: Any) -> None:
        """Take a member that must equal ``expected``."""
        value = self.take(name)
        # type() as well: in Python, True == 1 == 1.0.
        if type(value) is not type(expected) or value != expected:
            raise MalformedError(f"{self.where}.{name} must be {expected!r}")

    def count(self, name: str, *, least: int = 0, most: int = 2**53 - 1) -> int:
        """Take an integer from ``least`` to ``most``."""
        value = self.take(name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"an integer from {least} to {most}")
        return value

    def time(self, name: str) -> datetime:
        """Take a time in the spelling of `privity.identity.timestamps`."""
        return self._read(name, parse_time)

    def digest(self, name: str) -> str:
        """Take a ``sha256:`` digest."""
        return self._read(name, check_digest)

    def blob(self, name: str, *, least: int = 1, most: int) -> bytes:
        """Take base64url text of ``least`` to ``most`` bytes."""
        value = self.take(name)
        if not isinstance(value, str) or len(value) > (most * 4 + 2) // 3:
            raise self._wrong(name, f"base64url of {least} to {most} bytes")
        data = self._reread(name, value, decode_base64url)
        if not least <= len(data) <= most:
            raise self._wrong(name, f"base64url of {least} to {most} bytes")
        return data

    def items(self, name: str, *, least: int = 0, most: int) -> list[Any]:
        """Take an array of ``least`` to ``most`` items."""
        value = self.take(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self._wrong(name, f"an array of {least} to {most} items")
        return value

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """Take a member that is null, or what ``read`` (a method of this object) takes."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return read(name)

    def inner(self, name: str) -> Fields:
        """Take a member that is itself an object."""
        return Fields(self.take(name), f"{self.where}.{name}")

    def object(self, name: str) -> dict[str, Any]:
        """Take a member that is an object, unread."""
        value = self.take(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return value

    def done(self) -> None:
        """Refuse members nothing took: an unknown one could mean something to another reader."""
        if self._left:
            raise MalformedError(f"{self.where} has {len(self._left)} member(s) it must not have")

    def _read(self, name: str, parse: Callable[[str], T]) -> T:
        return self._reread(name, self.text(name), parse)

    def _reread(self, name: str, value: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(value)
        except MalformedError as error:
            raise MalformedError(f"{self.where}.{name}: {error.message}") from None

    def _wrong(self, name: str, expected: str) -> MalformedError:
        return MalformedError(f"{self.where}.{name} must be {expected}")
