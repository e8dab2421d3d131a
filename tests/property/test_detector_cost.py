"""What a pattern costs at one place does not grow with the text: counted in steps, not in seconds.

Two things are shown. No pattern may repeat without a bound, so it sees a bounded stretch from where
it starts. And a small matcher that walks the same parse tree as `re`, backtracking alike, counts
the steps from every place of texts made to hurt; they repeat, so a longer one costs the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from privity.infer.pseudonyms import folding
from privity.infer.pseudonyms.finding import merge
from privity.infer.pseudonyms.recognisers import (
    _MODULES,
    phone,
    recognise,
    secrets,
)
from privity.infer.pseudonyms.recognisers.rule import Rule

RULES: tuple[Rule, ...] = tuple(r for m in _MODULES for r in getattr(m, "RULES", ()))
PATTERNS = {r.name: r.pattern for r in RULES} | {
    "phone": phone.PATTERN,
    "folding": folding._SPECIAL,
    "pem": secrets._PEM,
    "pem-body": secrets._PEM_BODY,
}
WIDEST = 40_000
BUDGET = 20_000
"""Steps one place may cost: most patterns take under a hundred."""
HURTFUL = (
    "a",
    "A",
    "1",
    " ",
    "a ",
    "A ",
    "Aa ",
    "1 ",
    "1-",
    "1.",
    "a.",
    "a@",
    "A-",
    "Ab, ",
    "Ab and ",
    "eyJa",
    "eyJaaaaaaaaa.",
    "password ",
    "password: ",
    "x:",
    "a://a:",
    "12 Ab Ab ",
    "Am Ab ",
    "calle de la ",
    "user ",
    "iban ",
    "card 1 ",
    "seed abc ",
    "Aa-Aa ",
    "Mr Dr. ",
    "&#1",
    "\\u0",
    "%",
    "passport number A",
    "born ",
    "name: Aa ",
    "(",
    "[at]",
    "a at ",
    "dot ",
    "::",
    "0x",
    "é",
    "\u200b",
)


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_repeats_without_a_bound(name: str) -> None:
    low, high = _parser.parse(PATTERNS[name].pattern, PATTERNS[name].flags).getwidth()
    assert low <= high <= WIDEST


@pytest.mark.parametrize("name", PATTERNS)
def test_steps_from_any_place_stay_in_the_budget(name: str) -> None:
    pattern = PATTERNS[name]
    tree = _parser.parse(pattern.pattern, pattern.flags)
    for unit in HURTFUL:
        text = (unit * 1200)[:1200]
        for start in range(0, 3 * len(unit)):
            steps = Steps(text)
            steps.match(list(tree), start, lambda place: True)
            assert steps.count <= BUDGET, (unit, steps.count)


@pytest.mark.parametrize(
    "unit", ["a", "1", "1 ", "Aa ", "password: ", "-----BEGIN PRIVATE KEY-----"]
)
def test_two_hundred_thousand_characters_have_an_answer(unit: str) -> None:
    text = (unit * 200_000)[:200_000]
    assert all(one.end <= len(text) for one in merge(recognise(folding.fold(text).text)))


class Steps:
    """A backtracking matcher over `re`'s parse tree that counts what it tries."""

    def __init__(self, text: str) -> None:
        self.text, self.count, self.groups = text, 0, {}  # type: ignore[var-annotated]

    def match(self, ops: list[Any], place: int, then: Callable[[int], bool]) -> bool:
        self.count += 1
        if self.count > 2 * BUDGET:
            return True
        if not ops:
            return then(place)
        (op, value), rest = ops[0], ops[1:]
        follow = lambda p: self.match(rest, p, then)  # noqa: E731
        if op in (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY):
            return self.one(op, value, place) and follow(place + 1)
        if op is c.AT:
            return follow(place)
        if op is c.SUBPATTERN:
            return self.group(value[0], list(value[3]), place, follow)
        if op is c.BRANCH:
            return any(self.match(list(branch) + rest, place, then) for branch in value[1])
        if op is c.ASSERT or op is c.ASSERT_NOT:
            return self.look(op, value, place) and follow(place)
        if op is c.ATOMIC_GROUP:
            end = self.first(list(value), place)
            return end is not None and follow(end)
        if op is c.GROUPREF:
            said = self.groups.get(value, "")
            return self.text.startswith(said, place) and follow(place + len(said))
        return self.repeat(op, value, place, follow)

    def repeat(self, op: Any, value: Any, place: int, follow: Callable[[int], bool]) -> bool:
        low, high, body = value
        items = list(body)
        single = len(items) == 1 and items[0][0] in (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY)
        if single:  # a run of single characters: as `re` does, counted then given back
            run = 0
            while run < high and self.one(*items[0], place + run):
                run += 1
                self.count += 1
            if run < low:
                return False
            if op is c.POSSESSIVE_REPEAT:
                return follow(place + run)
            tries = range(low, run + 1) if op is c.MIN_REPEAT else range(run, low - 1, -1)
            return any(follow(place + n) for n in tries)

        def more(done: int, at: int) -> bool:
            again = lambda p: p > at and more(done + 1, p)  # noqa: E731
            if done < low:
                return self.match(items, at, lambda p: more(done + 1, p))
            if op is c.MIN_REPEAT:
                return follow(at) or (done < high and self.match(items, at, again))
            return (done < high and self.match(items, at, again)) or follow(at)

        return more(0, place)

    def first(self, items: list[Any], place: int) -> int | None:
        ends: list[int] = []
        return ends[0] if self.match(items, place, lambda p: not ends.append(p)) and ends else None  # type: ignore[func-returns-value]

    def group(self, name: Any, items: list[Any], place: int, follow: Callable[[int], bool]) -> bool:
        def close(end: int) -> bool:
            self.groups[name] = self.text[place:end]
            return follow(end)

        return self.match(items, place, close)

    def look(self, op: Any, value: Any, place: int) -> bool:
        direction, body = value
        if direction < 0:
            place -= _width(tuple(map(repr, body)), body)
        seen = place >= 0 and self.first(list(body), place) is not None
        return seen is (op is c.ASSERT)

    def one(self, op: Any, value: Any, place: int) -> bool:
        self.count += 1
        if place >= len(self.text):
            return False
        char = self.text[place]
        if op is c.ANY:
            return char != "\n"
        if op is c.IN:
            return _inside(repr(value), char, value)
        same = ord(char) == value or char.lower() == chr(value).lower()
        return same is (op is c.LITERAL)


_seen: dict[tuple[str, str], bool] = {}


def _inside(key: str, char: str, items: Any) -> bool:
    if (key, char) not in _seen:
        _seen[key, char] = next(_members(char, items), False) is not (items[0][0] is c.NEGATE)
    return _seen[key, char]


def _members(char: str, items: Any) -> Iterator[bool]:
    classes = {
        c.CATEGORY_DIGIT: r"\d", c.CATEGORY_NOT_DIGIT: r"\D", c.CATEGORY_WORD: r"\w",
        c.CATEGORY_NOT_WORD: r"\W", c.CATEGORY_SPACE: r"\s", c.CATEGORY_NOT_SPACE: r"\S",
    }  # fmt: skip
    for op, value in items:
        literal = op is c.LITERAL and char.lower() == chr(value).lower()
        ranged = op is c.RANGE and value[0] <= ord(char) <= value[1]
        if literal or ranged or (op is c.CATEGORY and re.match(classes[value], char)):
            yield True


_widths: dict[tuple[str, ...], int] = {}


def _width(key: tuple[str, ...], body: Any) -> int:
    if key not in _widths:
        _widths[key] = body.getwidth()[0]
    return _widths[key]
