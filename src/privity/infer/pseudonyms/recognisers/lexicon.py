"""A set of terms, and where they stand in a text: whole words, any case, with endings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["ENDINGS", "Lexicon"]

_TOKEN = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\W_]{1,3}")
_MAX_WORDS = 12

ENDINGS = frozenset(
    "s es en n e er em ern ens ed d x a o as os nes in innen in r se sche schen scher sches ne "
    "nen ism ist ic ers ly al e's".split()
)
"""What may follow a term: plural, case, gender and genitive of the four languages."""


class Lexicon:
    """Terms of one or more words.

    Args:
        terms: the terms; ``=`` before one forbids endings. Case is ignored.
        compounds: whether a longer word that begins with a term of six letters or more counts, as
            in ``Diabetespatient``.
    """

    def __init__(self, terms: Iterable[str], *, compounds: bool = False) -> None:
        self._compounds = compounds
        self._first: dict[str, list[tuple[tuple[str, ...], bool]]] = {}
        for term in terms:
            words = tuple(_TOKEN.findall(term.casefold()))[:_MAX_WORDS]
            if words:
                self._first.setdefault(words[0], []).append((words[1:], term.startswith("=")))
        for rests in self._first.values():
            rests.sort(key=lambda rest: -len(rest[0]))
        self._longest = max(map(len, self._first), default=0)

    def __repr__(self) -> str:
        return f"Lexicon({sum(map(len, self._first.values()))} terms)"

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where terms stand, the longest at each place; a term of several words may wrap."""
        if not self._first:
            return
        tokens = [(m.group().casefold(), m.start(), m.end()) for m in _TOKEN.finditer(text)]
        place = 0
        while place < len(tokens):
            count = self._at(tokens, place, text)
            if count:
                yield tokens[place][1], tokens[place + count - 1][2]
            place += count or 1

    def _at(self, tokens: list[tuple[str, int, int]], place: int, text: str) -> int:
        """Return how many tokens from here are a term; 0 where none is."""
        word = tokens[place][0]
        for stem in self._stems(word):
            for rest, whole in self._first.get(stem, ()):
                count = 1 + len(rest)
                if (whole or rest) and stem != word:
                    continue
                if place + count > len(tokens):
                    continue
                heard = [token for token, _, _ in tokens[place + 1 : place + count]]
                if not _same(heard, rest, whole):
                    continue
                if all(
                    _GAP.fullmatch(text, tokens[i][2], tokens[i + 1][1])
                    for i in range(place, place + count - 1)
                ):
                    return count
        return 0

    def _stems(self, word: str) -> Iterator[str]:
        """Yield what a word could be a form of, the longest first."""
        yield word
        for cut in range(1, min(6, len(word) - 2)):
            if word[-cut:] in ENDINGS:
                yield word[:-cut]
        if self._compounds and len(word) > 6:
            for length in range(min(len(word) - 1, self._longest), 5, -1):
                yield word[:length]


def _same(heard: list[str], rest: tuple[str, ...], whole: bool) -> bool:
    """Whether tokens are the rest of a term; its last word may have an ending."""
    if not rest:
        return True
    if tuple(heard[:-1]) != rest[:-1]:
        return False
    last, wanted = heard[-1], rest[-1]
    return last == wanted or (
        not whole and last.startswith(wanted) and last[len(wanted) :] in ENDINGS
    )
