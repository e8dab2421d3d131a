"""The map of one conversation: which original has which stand-in.

What is chosen is random, never computed from the original. A stand-in equals no original and no
text of the conversation, and is part of none, nor of another stand-in; only those put together of
others, such as an address of a name and a host, contain them, and piece by piece mean the same.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from privity.errors import MalformedError
from privity.infer.pseudonyms.coined import EVERYDAY, Pick, guess_language
from privity.infer.pseudonyms.dates import WEEKDAY, apart_from
from privity.infer.pseudonyms.familiar import candidates, marked, plain
from privity.infer.pseudonyms.pair import Fit, Pair
from privity.infer.pseudonyms.table import Entry, Hit, Table, apart
from privity.policy.sensitive import Kind

__all__ = ["ConversationMap"]

_PATIENCE = 400
_FORMAT = 1
_SHORTEST_PART = 4
_SHORTEST_WORD = 5
_MAX_KEPT = 64


class ConversationMap:
    """Pairs of one conversation, which only grow, but for a stand-in that came up by itself.

    Args:
        pick: the source of randomness.

    Guarantees:
        An original keeps its stand-in, and no two share one
        (tests/property/test_pseudonyms.py).
    """

    def __init__(self, pick: Pick = secrets.randbelow) -> None:
        self.pick = pick
        self.language = ""
        self.month_first = True
        # Whole weeks, and never fewer than five: a Monday stays a Monday.
        self.shift = 7 * (5 + pick(96)) * (1 if pick(2) else -1)
        self._births: set[date] = set()
        self._births_by: int | None = None
        self.version = 0
        self.kept_texts: dict[str, str] = {}
        self._pairs: dict[tuple[Fit, str], Pair] = {}
        self._taken: set[str] = set()
        self._originals: set[str] = set()
        self._retired: set[str] = set()
        self._seen = ""
        self._words: set[str] | None = None
        self._built: dict[str, tuple[int, Table]] = {}

    def see(self, texts: Iterable[str], persons: Iterable[str]) -> None:
        """Take note of what a request says, so that no stand-in is any of it, or has it in it.

        Args:
            texts: all of its texts.
            persons: those that are not a model's: a stand-in in one of these came up by itself.
        """
        self._seen, self._words = "\n".join(texts).casefold(), None
        if not self.language:
            self.language = guess_language(self._seen)
            self.month_first = self.language == "en"
            if WEEKDAY.search(self._seen) is None:
                self.shift += self.pick(7) * (1 if self.shift > 0 else -1)
        self._retire("\n".join(persons))

    def see_births(self, births: Collection[date], events: Collection[date]) -> None:
        """Take note of which dates are of births, and choose by how much further these are moved.

        Args:
            births: dates of birth.
            events: the other dates there are.
        """
        self._births |= set(births)
        if births and self._births_by is None:
            self._births_by = apart_from(births, events, self.shift, self.pick)

    def days_for(self, day: date) -> int:
        """Return by how many days a date is moved."""
        return self.shift + ((self._births_by or 0) if day in self._births else 0)

    def find(self, fit: Fit, original: str) -> Pair | None:
        """Return the pair of an original, if it has one."""
        return self._pairs.get(_key(fit, original))

    def add(self, pair: Pair) -> Pair:
        """Keep a pair; the first one of an original stays."""
        held = self._pairs.setdefault(_key(pair.fit, pair.original), pair)
        if held is pair:
            self.version += 1
            self._taken.add(_bare(pair.stand_in))
            self._originals.add(_bare(pair.original))
        return held

    def coin(self, what: str, original: str, kind: Kind, *, shy: bool = False) -> Pair:
        """Return the pair of a word or name, with a coined one where it has none yet."""
        found = self.find(Fit.WORD, original)
        if found is not None:
            return found
        names = candidates(what, original, self.language, self.pick)
        if marked(original):  # so that its stand-in can have a mark too
            names = (name for name in names if not name.isascii() or re.search("[oau]", name[1:]))
        whole = _bare(original)
        name = self.fresh(n for n in names if len(whole) < _SHORTEST_PART or whole not in _bare(n))
        shy = shy or _shy(original)
        pair = self.add(Pair(original, _like(name, original), kind, Fit.WORD, shy))
        for other, stand_in in _spellings(original, pair.stand_in):
            self.add(Pair(other, stand_in, kind, Fit.WORD, _shy(other)))
        return pair

    def fresh(self, candidates: Iterator[str]) -> str:
        """Return the first candidate that nothing in this conversation is or has in it."""
        last = ""
        for turn, last in enumerate(candidates):
            if self._free(last, strict=turn < _PATIENCE):
                break
        return last

    def distinct(self, original: str, make: Callable[[int], str]) -> str:
        """Return the first text made that stands for nothing yet.

        Without digits what is made of words is as distinct as they are, and there is no second.

        Args:
            original: what it is to stand for.
            make: puts a text together; its argument grows when many were taken.
        """
        for turn in itertools.count():
            made = make(turn // 32)
            if _bare(made) not in self._taken or not re.search(r"\d", original):
                return made
        raise AssertionError("counting ended")

    def forward(self) -> Table:
        """Return the table from originals to stand-ins."""
        return self._table(
            "forward",
            lambda pair: (
                None
                if pair.only_back
                else Entry(pair.original, pair.stand_in, pair.fit, pair.shy, pair)
            ),
        )

    def backward(self) -> Table:
        """Return the table from stand-ins to originals."""
        return self._table(
            "backward", lambda pair: Entry(pair.stand_in, pair.original, pair.fit, tag=pair)
        )

    def snapshot(self) -> ConversationMap:
        """Return it as it is now; only the texts kept for the next turn are shared."""
        made = copy.copy(self)
        made._pairs = dict(self._pairs)
        made._built = dict(self._built)
        made._births = set(self._births)
        return made

    @property
    def mark(self) -> tuple[int, int]:
        """What changes whenever there is something new to keep."""
        return self.version, len(self.kept_texts)

    def keep_text(self, context: str, text: str) -> None:
        """Keep a text that a provider signed, so that it is sent back as it was."""
        self.kept_texts[context] = text
        while len(self.kept_texts) > _MAX_KEPT:
            del self.kept_texts[next(iter(self.kept_texts))]

    def to_bytes(self) -> bytes:
        """Return it as it is kept, before it is sealed."""
        pairs = [
            [p.original, p.stand_in, p.kind.value, p.fit.value, p.shy, p.only_back]
            for p in self._pairs.values()
        ]
        return json.dumps(
            {
                "births": sorted(day.isoformat() for day in self._births),
                "births_by": self._births_by,
                "format": _FORMAT,
                "language": self.language,
                "month_first": self.month_first,
                "pairs": pairs,
                "retired": sorted(self._retired),
                "shift": self.shift,
                "texts": self.kept_texts,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes, pick: Pick = secrets.randbelow) -> ConversationMap:
        """Return what `to_bytes` wrote.

        Raises:
            MalformedError: it is not that.
        """
        made = cls(pick)
        try:
            made._take(json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MalformedError("a kept map of stand-ins is damaged") from error
        return made

    def _take(self, kept: Mapping[str, Any]) -> None:
        if kept["format"] != _FORMAT:
            raise ValueError("another format")
        for original, stand_in, kind, fit, shy, only_back in kept["pairs"]:
            self.add(Pair(original, stand_in, Kind(kind), Fit(fit), shy, only_back))
        self.language, self.month_first = str(kept["language"]), bool(kept["month_first"])
        self.shift = int(kept["shift"])
        self._births = {date.fromisoformat(day) for day in kept["births"]}
        self._births_by = None if kept["births_by"] is None else int(kept["births_by"])
        self.kept_texts = dict(kept["texts"])
        self._retired = set(kept["retired"])
        self._taken |= self._retired

    def _table(self, name: str, entry: Any) -> Table:
        built = self._built.get(name)
        if built is None or built[0] != self.version:
            made = (entry(pair) for pair in self._pairs.values())
            built = self._built[name] = self.version, Table(one for one in made if one is not None)
        return built[1]

    def _free(self, candidate: str, *, strict: bool) -> bool:
        bare = _bare(candidate)
        if not bare or bare in self._taken:
            return False
        if not strict:  # of two digits there are not many: at least it is none that was seen whole
            return re.search(rf"(?<!\w){re.escape(candidate.casefold())}(?!\w)", self._seen) is None
        if candidate.casefold() in self._seen or (len(bare) > 5 and bare in self._seen):
            return False
        if bare in "\n".join(self._taken):
            return False
        parts = list(_parts(bare))
        if self._words is None:
            self._words = set(re.findall(rf"[^\W\d_]{{{_SHORTEST_WORD},}}", self._seen))
        return all(held.isdisjoint(parts) for held in (self._taken, self._originals, self._words))

    def _retire(self, texts: str) -> None:
        """Give up every stand-in that the person's own words hold by themselves.

        Its original gets another one as soon as it is found again, which is in this same request:
        a history comes whole. What the provider saw before stays consistent in itself.
        """
        table = self.backward()
        hits = set[str]()
        at = 0
        while table.size and (found := table.start.search(texts, at)):
            at = found.start()
            hit = table.match(texts, at, texts[at - 1] if at else "", final=True)
            if isinstance(hit, Hit):
                hits.add(_bare(hit.entry.source))
            at = hit.end if isinstance(hit, Hit) else at + 1
        if not hits:
            return
        for key, pair in list(self._pairs.items()):
            if any(one in _bare(pair.stand_in) for one in hits):
                del self._pairs[key]
                self._retired.add(_bare(pair.stand_in))
        self.version += 1


def _key(fit: Fit, original: str) -> tuple[Fit, str]:
    if fit is Fit.CASED:
        return fit, original
    if fit is Fit.COMPACT:
        return fit, apart(original).casefold()
    return fit, re.sub(r"\s+", " ", original.strip()).casefold()


def _shy(original: str) -> bool:
    return original.casefold() in EVERYDAY or len(original) < _SHORTEST_PART


def _bare(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _parts(bare: str) -> Iterator[str]:
    """Yield every part of a text that is long enough to be taken for a stand-in by itself."""
    for begin in range(len(bare)):
        for end in range(begin + _SHORTEST_PART, len(bare) + 1):
            yield bare[begin:end]


def _like(name: str, original: str) -> str:
    """Return a name with a mark on a letter where the original has one, and in its case."""
    if marked(original) and name.isascii():
        marks = "öäü" if re.search("[äöüß]", original.lower()) else "óáú"
        at = next((i for i, c in enumerate(name) if i and c in "oau"), None)
        if at is not None:
            name = name[:at] + marks["oau".index(name[at])] + name[at + 1 :]
    if original.isupper() and len(original) > 1:
        return name.upper()
    return name.lower() if original.islower() else name


def _spellings(original: str, stand_in: str) -> Iterator[tuple[str, str]]:
    """Yield a name with marks on letters, and its stand-in, as people spell it without them."""
    if stand_in.isascii():
        return
    for spell in (_german, plain):
        other, stood = spell(original), spell(stand_in)
        if other != original and stood != stand_in:
            yield other, stood


def _german(text: str) -> str:
    for mark, pair in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        text = text.replace(mark, pair).replace(mark.upper(), pair.capitalize())
    return text
