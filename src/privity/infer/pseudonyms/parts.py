"""Moves into one part of a message what is split over several of its text parts.

A provider reads the parts of a message one after the other. An account number whose digits stand in
two parts is none in either. So the parts are looked at together too, around each border, and what
crosses a border is moved, as it is, into the part in which it begins: then it is found, replaced
and restored as anything else. Read one after the other the parts say the same as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Crossing", "gather", "joined"]

Crossing = Callable[[str, Sequence[int]], Iterable[tuple[int, int]]]
"""Given parts in one text, and where the borders between them are, yields what to keep whole."""

_AROUND = 600
_TEXTS = frozenset({"text", "input_text", "output_text"})
_HOLDS_PARTS = ("messages", "input", "system", "content", "output", "source")
_MAX_DEPTH = 12


def gather(body: Mapping[str, Any], crossing: Crossing) -> dict[str, Any]:
    """Return a request in which nothing that ``crossing`` names is split over parts.

    Args:
        body: in any shape that can be walked; it is not changed.
        crossing: is asked about the text around the borders between parts.

    Guarantees:
        The parts of a message, read one after the other, say what they said; at most a space is
        between two that had none (tests/property/test_pseudonyms.py).
    """
    return {
        key: _within(value, crossing, 1) if key in _HOLDS_PARTS else value
        for key, value in body.items()
    }


def _within(value: Any, crossing: Crossing, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return value  # the walk refuses what is too deep
    if isinstance(value, list):
        made = [_within(one, crossing, depth + 1) for one in value]
        return _gathered(made, crossing)
    if isinstance(value, Mapping):
        return {
            key: _within(one, crossing, depth + 1)
            if key in _HOLDS_PARTS and isinstance(one, (list, Mapping))
            and not (key == "input" and isinstance(one, Mapping))
            else one
            for key, one in value.items()
        }  # fmt: skip
    return value


def _gathered(parts: list[Any], crossing: Crossing) -> list[Any]:
    at = [place for place, part in enumerate(parts) if _is_text(part)]
    if len(at) < 2:
        return parts
    before = [str(parts[place]["text"]) for place in at]
    # A name may go on after a border with or without a space that nobody wrote.
    texts = joined(joined(before, crossing, ""), crossing, " ")
    if texts == before:
        return parts
    made = list(parts)
    for place, text in zip(at, texts, strict=True):
        made[place] = {**parts[place], "text": text}
    return _without_empty(made, {place for place, text in zip(at, texts, strict=True) if not text})


def _without_empty(parts: list[Any], empty: set[int]) -> list[Any]:
    """Return the parts that still say something; providers refuse those that say nothing.

    What else an emptied part asks for, such as to cache all before it, its forerunner asks for.
    """
    out: list[Any] = []
    last = 0
    for place, part in enumerate(parts):
        if place not in empty:
            if _is_text(part):
                last = len(out)
            out.append(part)
        else:
            out[last] = {**part, **out[last]}
    return out


def joined(texts: Sequence[str], crossing: Crossing, between: str) -> list[str]:
    """Return texts with what crosses a border between them moved into the one it begins in.

    Args:
        texts: in their order.
        crossing: is asked about the text around the borders.
        between: a space, to look where none is written; or nothing.
    """
    whole, begins, ends, borders = "", list[int](), list[int](), list[int]()
    for text in texts:
        if whole and text:
            spaced = whole[-1].isspace() or text[0].isspace()
            whole += "" if spaced else between
            # Two words that stand in two parts are no one word: read with a space in between.
            words = whole[-1].islower() and text[0].isupper()
            if not (spaced if between else words):
                borders.append(len(whole))
        begins.append(len(whole))
        whole += text
        ends.append(len(whole))
    for start, end in _spans(whole, borders, crossing):
        first = max(i for i, begin in enumerate(begins) if begin <= start)
        for place in range(first, len(texts)):
            if place == first:
                ends[first] = max(ends[first], end)
            elif begins[place] < end:
                begins[place] = min(max(ends[place], begins[place]), end)
    return [whole[b : max(b, e)] for b, e in zip(begins, ends, strict=True)]


def _spans(whole: str, borders: Sequence[int], crossing: Crossing) -> list[tuple[int, int]]:
    """Return what crosses a border, in order and apart, having looked around each."""
    found: list[tuple[int, int]] = []
    for low, high in _windows(whole, borders):
        inside = [border - low for border in borders if low < border < high]
        found += [(low + a, low + b) for a, b in crossing(whole[low:high], inside)]
    out: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if out and start < out[-1][1]:
            out[-1] = out[-1][0], max(end, out[-1][1])
        else:
            out.append((start, end))
    return out


def _windows(whole: str, borders: Sequence[int]) -> list[tuple[int, int]]:
    """Return the stretches around borders, those that touch as one."""
    out: list[tuple[int, int]] = []
    for border in sorted(set(borders)):
        low, high = max(border - _AROUND, 0), min(border + _AROUND, len(whole))
        if out and low <= out[-1][1]:
            out[-1] = out[-1][0], high
        else:
            out.append((low, high))
    return out


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, Mapping)
        and isinstance(part.get("text"), str)
        and part.get("type") in _TEXTS
        and bool(part["text"])
    )
