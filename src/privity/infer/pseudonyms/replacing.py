"""Replaces what was found in the texts of one request, and what is the same elsewhere in it.

All texts are looked at before one is changed: a name that is found in one of them is replaced in
all, also where the detector missed it, and no stand-in is chosen that any of them holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from privity.infer.pseudonyms.dates import BORN, parse_date
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.pair import Fit
from privity.infer.pseudonyms.preview import Span
from privity.infer.pseudonyms.standins import ORDER, as_name, name_words, stand_in
from privity.infer.pseudonyms.table import Hit
from privity.infer.pseudonyms.walk import Place
from privity.policy.sensitive import FLAGGED, Kind

__all__ = ["Replacing", "Seen"]

_HOST = re.compile(r"(?i:(?:https?|wss?|ftp)://|@)([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_LOOK_BACK = 64
_WORD_ENDS = re.compile(r"_|(?<=[a-z])(?=[A-Z])")
_OWN_ROLES = frozenset({"user", "system", "developer"})
_OWN_PLACES = frozenset({"system", "instructions", "prompt", "input"})
"""Whose words name the person's own hosts. All others may repeat what a stranger wrote."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A text of a request and what was found in it."""

    text: str = field(repr=False)
    place: Place
    findings: tuple[Finding, ...]


class Replacing:
    """A visitor that replaces; made of what a first walk has seen.

    Args:
        place: the map of the conversation, which learns what is new.
        seen: every text of the request, with what was found.
    """

    def __init__(self, place: ConversationMap, seen: Sequence[Seen]) -> None:
        self._map = place
        self._by_text: dict[tuple[str, str], tuple[Finding, ...]] = {
            (one.place.pointer, one.text): one.findings for one in seen
        }
        self.replaced: Counter[Kind] = Counter()
        self.kept: Counter[Kind] = Counter()
        self.spans: list[Span] = []
        self.texts: dict[str, str] = {}
        place.see(
            (one.text for one in seen),
            (one.text for one in seen if one.place.role != "assistant"),
        )
        self._learn_births(seen)
        self._learn(seen)
        self._table = place.forward()
        self.own = frozenset(self._hosts(seen))

    def __call__(self, text: str, place: Place) -> str:
        """Return what leaves in a text's place."""
        if place.context.startswith("thinking "):
            sent = self._map.kept_texts.get(place.context)
            if sent is not None:
                return sent  # its signature is over just these words
        out: list[str] = []
        done = size = 0
        for start, end, kind, after in self._stretches(text, place):
            out += [text[done:start], after]
            size += start - done
            if not place.quick:
                span = Span(place.pointer, size, size + len(after), kind, text[start:end], after)
                self.spans.append(span)
            size += len(after)
            done = end
            (self.kept if kind in FLAGGED else self.replaced)[kind] += 1
        out.append(text[done:])
        made = "".join(out)
        if not place.quick:
            self.texts[place.pointer] = made
        return made

    def _learn(self, seen: Iterable[Seen]) -> None:
        """Choose stand-ins for everything found: for words first, then for what they make up."""
        found: dict[Kind, dict[str, str]] = {}
        for one in seen:
            for f in one.findings:
                if f.kind not in FLAGGED:
                    found.setdefault(f.kind, {}).setdefault(one.text[f.start : f.end], f.part)
        self._learn_names(found.get(Kind.PERSON, {}))
        for kind in (*ORDER, *(kind for kind in Kind if kind not in ORDER)):
            for text in sorted(found.get(kind, ()), key=len):
                stand_in(kind, text, self._map)

    def _learn_births(self, seen: Iterable[Seen]) -> None:
        """Tell the map which dates are of births: what stands before them says it, or their key."""
        births, events = set[date](), set[date]()
        for one in seen:
            for f in one.findings:
                if f.kind is not Kind.DATE:
                    continue
                text = one.text[f.start : f.end].strip()
                written = parse_date(text, month_first=self._map.month_first)
                if written is not None:
                    (births if _is_birth(one, f) else events).add(written.day)
        self._map.see_births(births, events - births)

    def _learn_names(self, names: dict[str, str]) -> None:
        # The shortest first: Schmidts is then known for a form of Schmidt. And of words that are
        # both, those in a full name first: there it shows which is the surname.
        words: dict[str, tuple[int, str]] = {}
        for name, part in names.items():
            listed = list(name_words(name, part))
            for word, role in listed:
                rank = (-len(listed) if not part else -9, role)
                words[word] = min(words.get(word, rank), rank)
        for word in sorted(words, key=lambda w: (len(w), w.isupper(), w)):
            stem = re.sub(r"(?:['\u2019]?s|es)\Z", "", word)
            if stem == word or stem not in words:
                if self._map.find(Fit.WORD, word) is None and not self._inflected(word):
                    self._map.coin(words[word][1], as_name(word), Kind.PERSON)

    def _inflected(self, word: str) -> bool:
        stem = re.sub(r"(?:['\u2019]?s|es)\Z", "", word)
        return stem != word and len(stem) > 2 and self._map.find(Fit.WORD, stem) is not None

    def _stretches(self, text: str, place: Place) -> Iterator[tuple[int, int, Kind, str]]:
        """Yield what is recognised, in order: where the detector found it, and between."""
        done = 0
        for f in self._by_text.get((place.pointer, text), ()):
            if f.start < done:
                continue
            yield from self._known(text, done, f.start)
            part = text[f.start : f.end]
            after = part if f.kind in FLAGGED else stand_in(f.kind, part, self._map)
            if after != part or f.kind in FLAGGED:
                yield f.start, f.end, f.kind, after
            else:
                yield from self._known(text, f.start, f.end)
            done = f.end
        yield from self._known(text, done, len(text))

    def _known(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, Kind, str]]:
        """Yield what is an original already, between what was found."""
        at = start
        while at < end and (found := self._table.start.search(text, at, end)):
            at = found.start()
            hit = self._table.match(text, at, text[at - 1] if at else "", final=True)
            if isinstance(hit, Hit) and hit.end <= end:
                yield at, hit.end, hit.entry.tag.kind, hit.target
                at = hit.end
            else:
                at += 1

    def _hosts(self, seen: Iterable[Seen]) -> Iterator[str]:
        for one in seen:
            if _is_own(one.place):
                for found in _HOST.finditer(one.text):
                    pair = self._map.find(Fit.EXACT, found[1])
                    yield found[1].lower()
                    if pair is not None:
                        yield pair.stand_in.lower()


def _is_birth(seen: Seen, f: Finding) -> bool:
    key = _WORD_ENDS.sub(" ", seen.place.context[:_LOOK_BACK])
    return BORN.search(f"{key} {seen.text[max(f.start - _LOOK_BACK, 0) : f.start]}") is not None


def _is_own(place: Place) -> bool:
    if place.role:
        return place.role in _OWN_ROLES
    top, _, inner = place.pointer.removeprefix("/").partition("/")
    # What is in the items of an input without a role may be anybody's.
    return top in _OWN_PLACES and not (top == "input" and inner)
