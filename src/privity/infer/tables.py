"""Reads TOML tables that a person wrote, and names what is wrong in them.

``where`` is what an error puts before the name of a setting, such as ``[routing] ``.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeVar

from privity.errors import InputError

__all__ = [
    "choice",
    "known",
    "number",
    "section",
    "tables",
    "text",
    "text_or",
    "texts",
    "whole",
    "yes_or_no",
]

Word = TypeVar("Word", bound=Enum)


def known(table: Mapping[str, Any], names: set[str], where: str) -> None:
    """Refuse a setting that is not one of ``names``: a misspelt one is not silently ignored.

    Raises:
        InputError: there is one; the message names it, after ``where``.
    """
    unknown = sorted(str(name) for name in table.keys() - names)
    if unknown:
        near = get_close_matches(unknown[0], names, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"unknown setting {where}{unknown[0]!r:.80}",
            hint=f"{meant}known: {', '.join(sorted(names))}",
        )


def section(table: Mapping[str, Any], name: str, names: set[str]) -> Mapping[str, Any]:
    """Return the table ``[name]``, empty where there is none; raises `InputError`."""
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise InputError(f"[{name}] must be a table")
    known(found, names, f"[{name}] ")
    return found


def tables(value: Any, name: str) -> list[Mapping[str, Any]]:
    """Return a list of ``[[name]]`` tables; raises `InputError`."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"each {name} is written as a [[{name}]] table")
    return value


def text(table: Mapping[str, Any], name: str, where: str = "") -> str:
    """Return a text that must be there and not empty; raises `InputError`."""
    if name not in table:
        raise InputError(f"{where}{name!r} is missing")
    value = table[name]
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}{name!r} must be a text")
    return value


def text_or(table: Mapping[str, Any], name: str, default: str, where: str = "") -> str:
    """Return a text, or the default where there is none; raises `InputError`."""
    return text(table, name, where) if name in table else default


def choice(table: Mapping[str, Any], name: str, default: Word, where: str = "") -> Word:
    """Return one of the words that the default is one of; raises `InputError`, which lists them."""
    words = type(default)
    value = text_or(table, name, default.value, where)
    if value not in [one.value for one in words]:
        raise InputError(
            f"{where}{name}: {value!r:.80} is not known",
            hint=f"known: {', '.join(one.value for one in words)}",
        )
    return words(value)


def texts(table: Mapping[str, Any], name: str, where: str = "") -> tuple[str, ...]:
    """Return a list of texts, empty where there is none; raises `InputError`."""
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise InputError(f"{where}{name!r} must be a list of texts")
    return tuple(value)


def number(table: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    """Return a number within bounds, or the default; raises `InputError`."""
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{name!r} must be a number from {least:g} to {most:g}")
    return value


def whole(table: Mapping[str, Any], name: str, default: int, allowed: range) -> int:
    """Return a whole number within bounds, or the default; raises `InputError`."""
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise InputError(f"{name!r} must be a whole number from {allowed[0]} to {allowed[-1]}")
    return value


def yes_or_no(table: Mapping[str, Any], name: str, default: bool) -> bool:
    """Return true or false, or the default; raises `InputError`."""
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name!r} must be true or false")
    return value
