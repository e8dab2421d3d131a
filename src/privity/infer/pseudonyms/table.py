"""Finds one side of many pairs in a text, and gives the other side.

One trie for each way to fit. A match begins and ends at a border, and so ``Annapolis`` is not taken
for an ``Anna``: before and after a word stands no letter, but for an ending by which the four
languages inflect names, and for a change from small to capital letters, as in ``annaSchmidt``.
Each place of a text is tried once, over at most the longest source: linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from privity.infer.pseudonyms.pair import Fit

__all__ = ["Entry", "Hit", "Table", "apart"]

_ENDINGS = frozenset("s es n en ns ens x sche schen scher sches schem".split())
_BEGINNINGS = frozenset(end[:i] for end in _ENDINGS for i in range(len(end) + 1))
_SPACES = " \t\r\n\u00a0\u202f\u2009*_"
_MOST_SPACES = 8
_SEPARATORS = " -./()\u00a0\u202f\u2011"
_MOST_SEPARATORS = 3
_JOINS = ".@-"
_END = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is looked for, and what to put there."""

    source: str = field(repr=False)
    target: str = field(repr=False)
    fit: Fit
    shy: bool = False
    tag: Any = None


@dataclass(frozen=True, slots=True)
class Hit:
    """Where an entry was found."""

    end: int
    entry: Entry
    text: str = field(repr=False)

    @property
    def target(self) -> str:
        """What to put there, written the way the text found was."""
        entry = self.entry
        if entry.fit is Fit.WORD:
            return _in_case(self.text, entry)
        if entry.fit is Fit.COMPACT and self.text != entry.source and self.text.isalnum():
            return apart(entry.target)
        return entry.target


class Table:
    """Entries, ready to be looked for.

    Args:
        entries: the first of those with one source counts.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._words: dict[str, Any] = {}
        self._exact: dict[str, Any] = {}
        self._compact: dict[str, Any] = {}
        self.size = 0
        firsts = set()
        for entry in entries:
            if self._add(entry):
                firsts.add(_key(entry)[0])
                self.size += 1
        both = {c for one in firsts for c in (one, one.upper(), one.lower()) if len(c) == 1}
        chosen = "".join(re.escape(c) for c in sorted(both))
        unit = rf"(?:(?<![^\W\d_])|(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ]))[{chosen}]" if chosen else r"(?!)"
        self.start = re.compile(unit)
        """Where an entry could begin."""

    def _add(self, entry: Entry) -> bool:
        node = self._words if entry.fit is Fit.WORD else self._exact
        if entry.fit is Fit.COMPACT:
            node = self._compact
        key = _key(entry)
        if not key:
            return False
        for char in key:
            node = node.setdefault(char, {})
        held = node.setdefault(_END, [])
        if any(one.source == entry.source or one.fit is not Fit.CASED for one in held):
            return False
        held.append(entry)
        return True

    def match(self, text: str, at: int, before: str, *, final: bool) -> Hit | bool | None:
        """Return what begins at a place: the longest; None for nothing; True where more is needed.

        Args:
            text: what there is.
            at: the place.
            before: the character before it, or nothing.
            final: nothing follows ``text``.
        """
        best: Hit | None = None
        char = _fold(text[at])
        for node, walk in (
            (self._words, self._word),
            (self._exact, self._exactly),
            (self._compact, self._compactly),
        ):
            if char in node and _begins(text[at], before, words=node is self._words):
                found = walk(text, at, final)
                if found is True:
                    return True
                if isinstance(found, Hit) and (best is None or found.end > best.end):
                    best = found
        return best

    def _word(self, text: str, at: int, final: bool) -> Hit | bool | None:
        node, place, best = self._words, at, None
        while True:
            if _END in node:
                end = _word_end(text, place, final)
                if end < 0:
                    return True
                if end and not (node[_END][0].shy and text[at:place].islower()):
                    best = Hit(end, node[_END][0], text[at:end])
            if place == len(text):
                more = len(node) > (_END in node)
                return best if final or not more else True
            child = node.get(_fold(text[place]))
            place += 1
            if child is None:
                return best
            node = child
            if text[place - 1] in _SPACES:
                place = _past(text, place, _SPACES, _MOST_SPACES)

    def _exactly(self, text: str, at: int, final: bool) -> Hit | bool | None:
        node, place, best = self._exact, at, None
        while True:
            for entry in node.get(_END, ()):
                if entry.fit is Fit.CASED and text[at:place] != entry.source:
                    continue
                ends = _exact_end(text, place, final)
                if ends is None:
                    return True
                if ends:
                    best = Hit(place, entry, text[at:place])
            if place == len(text):
                more = len(node) > (_END in node)
                return best if final or not more else True
            child = node.get(_fold(text[place]))
            place += 1
            if child is None:
                return best
            node = child
            if text[place - 1] in _SPACES[:-2]:
                place = _past(text, place, _SPACES[:-2], _MOST_SPACES)

    def _compactly(self, text: str, at: int, final: bool) -> Hit | bool | None:
        node, place, best = self._compact, at, None
        while True:
            if _END in node:
                if place == len(text) and not final:
                    return True
                if place == len(text) or not text[place].isalnum():
                    best = Hit(place, node[_END][0], text[at:place])
            if place == len(text):
                more = len(node) > (_END in node)
                return best if final or not more else True
            after = place
            if place > at:
                after = _past(text, place, _SEPARATORS, _MOST_SEPARATORS)
                if after == len(text):
                    more = len(node) > (_END in node)
                    return best if final or not more else True
            child = node.get(_fold(text[after]))
            if child is None:
                return best
            node, place = child, after + 1


def apart(text: str) -> str:
    """Return a text without what groups its letters and digits."""
    return "".join(char for char in text if char.isalnum() or char == "+")


def _key(entry: Entry) -> str:
    if entry.fit is Fit.COMPACT:
        return "".join(map(_fold, apart(entry.source)))
    return "".join(map(_fold, re.sub(r"\s+", " ", entry.source.strip())))


def _fold(char: str) -> str:
    if char.isspace():
        return " "
    small = char.lower()
    return small if len(small) == 1 else char


def _begins(char: str, before: str, *, words: bool) -> bool:
    if not before:
        return True
    if words:
        return not before.isalpha() or (before.islower() and char.isupper())
    if char.isdigit():
        return not before.isdigit()
    return not before.isalnum() or not char.isalnum() or (before.islower() and char.isupper())


def _word_end(text: str, place: int, final: bool) -> int:
    """Return where a word with its inflection ends; 0 where it does not; -1 if not yet known."""
    run = place
    while run < len(text) and run - place <= 6 and text[run].isalpha():
        run += 1
    tail = text[place:run].lower()
    if run == len(text) and not final:
        return -1 if tail in _BEGINNINGS else _camel(text, place)
    if not tail or tail in _ENDINGS:
        return run
    return _camel(text, place)


def _camel(text: str, place: int) -> int:
    change = place < len(text) and text[place].isupper() and text[place - 1].islower()
    return place if change else 0


def _exact_end(text: str, place: int, final: bool) -> bool | None:
    if place == len(text):
        return True if final else None
    last, char = text[place - 1], text[place]
    if char.isalnum():
        return not last.isalnum() or (last.isdigit() and char.isalpha())
    if char in _JOINS and last.isalnum():
        if place + 1 == len(text):
            return True if final else None
        return char == "-" or not text[place + 1].isalnum()
    return True


def _past(text: str, place: int, chars: str, most: int) -> int:
    stop = min(len(text), place + most)
    while place < stop and text[place] in chars:
        place += 1
    return place


def _in_case(found: str, entry: Entry) -> str:
    """Return a word's target in the case, and with the ending, that was found."""
    size = _covered(found, entry.source)
    body, ending, target = found[:size], found[size:], entry.target
    if body.isupper() and (len(body) > 1 and not entry.source.isupper()):
        target = target.upper()
    elif body.islower() and not entry.source.islower():
        target = target.lower()
    elif body[:1].isupper() and not body.isupper() and (target.islower() or target.isupper()):
        target = target.title() if len(target) > 1 else target
    elif body[:1].islower() and entry.source[:1].isupper():
        target = target[:1].lower() + target[1:]
    if ending.lower() == "s" and target[-1:].lower() in "sxzß":
        return target + "'"
    return target + ending


def _covered(found: str, source: str) -> int:
    """Return how much of what was found is the source, its white space counted as one."""
    place = 0
    source = re.sub(r"\s+", " ", source.strip())
    for char in source:
        place += 1
        if char == " ":
            while place < len(found) and found[place] in _SPACES:
                place += 1
    return place
