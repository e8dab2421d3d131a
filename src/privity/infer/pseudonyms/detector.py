"""The detector: our own recognisers, the person's vocabulary, and two models, as one answer.

A pattern with a label or check digits is surer than a model, a model surer than a bare form. What
one of them is not sure of another may be; nothing here finds everything, and nobody should read
an empty answer as "there is nothing personal in it".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from privity.infer.pseudonyms.finding import Detector, Finding, merge
from privity.infer.pseudonyms.folding import fold
from privity.infer.pseudonyms.ordinary import named_part
from privity.infer.pseudonyms.recognisers import recognise
from privity.infer.pseudonyms.vocabulary import Vocabulary
from privity.policy.sensitive import Kind

__all__ = ["PersonalDataDetector", "load_detector"]

_MODEL_TOP = 0.89  # below every pattern that has a label or check digits
_DIGITS = frozenset(
    {Kind.PHONE, Kind.NATIONAL_ID, Kind.BANK_ACCOUNT, Kind.PASSPORT, Kind.DRIVING_LICENCE,
     Kind.POSTCODE}
)  # fmt: skip
_THRESHOLDS = {
    Kind.PERSON: 0.5,
    Kind.ORGANISATION: 0.5,
    Kind.PLACE: 0.5,
    Kind.ADDRESS: 0.5,
    Kind.URL: 2.0,
}
_THRESHOLD = 0.6
_NAMES = frozenset({Kind.PERSON, Kind.ORGANISATION, Kind.PLACE})
_NUMBER = "rampart/number"  # of a house or a flat, which alone says nothing
_LOWER = 0.8
_NEIGHBOURS = 120
"""What a model has to say of a name without a capital."""
_RUN = re.compile(r"\w+")
_ADDRESS_GAP = re.compile(r"[ \t,.\-/]{0,3}\n?[ \t]{0,2}")


class _Finder(Protocol):
    def find(self, text: str) -> Iterator[Finding]: ...


class PersonalDataDetector:
    """Finds personal data in texts of any length, in any thread.

    Args:
        models: what finds names and places; each yields findings with scores of its own.
        vocabulary: the person's own words.

    Guarantees:
        Total: any text has an answer, in order, without overlaps, inside the text
        (tests/property/test_detector.py::test_any_text_has_an_answer).
        The same text has the same answer
        (tests/property/test_detector.py::test_the_same_text_has_the_same_answer).
    """

    def __init__(self, models: Sequence[_Finder], vocabulary: Vocabulary) -> None:
        self._models, self._vocabulary = tuple(models), vocabulary
        self._pool = ThreadPoolExecutor(max(1, len(self._models)), thread_name_prefix="detector")

    def __repr__(self) -> str:
        return f"PersonalDataDetector({len(self._models)} models, {self._vocabulary!r})"

    def find(self, text: str) -> tuple[Finding, ...]:
        """Return what it finds, in order and without overlaps."""
        folded = fold(text)
        if not any(c.isalnum() for c in folded.text):
            return ()
        # The models work side by side, and the patterns meanwhile.
        asked = [self._pool.submit(_all, model, folded.text) for model in self._models]
        patterns = list(recognise(folded.text))
        said = [f for one in asked for f in one.result()]
        named = _without_stray(folded.text, list(_plausible(folded.text, said)))
        named = list(_addresses(folded.text, named))
        formed = _containing(patterns, named)
        found = merge([*self._vocabulary.find(folded.text), *formed, *named])
        echoed = merge([*found, *_echoes(folded.text, found)])
        return tuple(folded.back(one) for one in echoed)


def _all(model: _Finder, text: str) -> list[Finding]:
    return list(model.find(text))


def _plausible(text: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield what a model is sure enough of, with a score below that of a pattern that knows."""
    found = list(found)
    ends = {f.end for f in found if f.kind is Kind.PERSON}
    for one in found:
        said = text[one.start : one.end]
        score = one.score
        if score < _THRESHOLDS.get(one.kind, _THRESHOLD):
            continue
        if one.kind in _DIGITS and not any(c.isdigit() for c in said):
            continue
        if one.kind in (Kind.PERSON, Kind.PLACE):
            if len(said) < 2 or not any(c.isalpha() for c in said):
                continue
            if not any(c.isupper() for c in said) and score < _LOWER:
                continue
        if one.kind in _NAMES:
            part = named_part(text, one.start, one.end)
            if part is not None:
                one = replace(one, start=part[0], end=part[1])
            elif one.kind is not Kind.PERSON or one.start - 1 not in ends:
                continue  # and after a given name, any word may be a surname: Michael Ende
        yield replace(one, score=score * _MODEL_TOP)


def _without_stray(text: str, found: list[Finding]) -> list[Finding]:
    """Return findings without names in small letters that stand alone among names in capitals.

    Who writes names without capitals does so throughout; elsewhere it is a word a model mistook.
    """
    persons = sorted((f for f in found if f.kind is Kind.PERSON), key=lambda f: f.start)
    stray = set()
    for place, one in enumerate(persons):
        if any(c.isupper() for c in text[one.start : one.end]):
            continue
        beside = persons[max(0, place - 1) : place] + persons[place + 1 : place + 2]
        gaps = [(max(one.start, n.start) - min(one.end, n.end), n) for n in beside]
        if any(gap <= 2 for gap, _ in gaps):
            continue
        if any(gap < _NEIGHBOURS and text[n.start].isupper() for gap, n in gaps):
            stray.add(one)
    return [f for f in found if f not in stray]


def _containing(formed: list[Finding], named: list[Finding]) -> Iterator[Finding]:
    """Yield patterns' findings; an organisation around names a model saw counts as surer.

    Else a name in it would win, and the rest of it would be left as it is.
    """
    for one in formed:
        inside = (
            one.kind is Kind.ORGANISATION
            and one.score > 0.5
            and any(one.start <= n.start and n.end <= one.end for n in named)
        )
        yield replace(one, score=max(one.score, _MODEL_TOP + 0.005)) if inside else one


def _addresses(text: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings; a street, its number and what belongs to it become one."""
    last: Finding | None = None
    for one in sorted(found, key=lambda f: (f.start, f.end)):
        if one.kind is not Kind.ADDRESS:
            yield one
        elif last is None:
            last = one
        elif one.start >= last.end and _ADDRESS_GAP.fullmatch(text, last.end, one.start):
            source = min(last.source, one.source)  # a number beside a street is of the street
            last = replace(last, end=one.end, score=max(last.score, one.score), source=source)
        else:
            if last.source != _NUMBER:
                yield last
            last = one
    if last is not None and last.source != _NUMBER:
        yield last


def _echoes(text: str, found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield other places of a name that was found: a model sees some and misses others."""
    names: dict[str, Finding] = {}
    for one in found:
        if one.kind in (Kind.PERSON, Kind.ORGANISATION) and one.score >= 0.5:
            said = text[one.start : one.end]
            if len(said) >= 3 and said[0].isupper() and names.get(said, one).score <= one.score:
                names[said] = one
    lowered = {said.split(" ")[0].lower() for said in names}
    lower = {text[start:end] for start, end in _standing(text, lowered)}
    for start, end in _standing(text, names):
        said = text[start:end]
        # What also stands there in small letters is a word.
        if said.split(" ")[0].lower() not in lower:
            yield replace(names[said], start=start, end=end, score=0.5, source="echo")


def _standing(text: str, wanted: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield where one of some names stands as whole words; each begins with a letter.

    The text is read once, however many they are.
    """
    sizes: dict[str, set[int]] = {}
    for said in wanted:
        first = _RUN.match(said)
        if first is not None:
            sizes.setdefault(first.group(), set()).add(len(said))
    if not sizes:
        return
    for word in _RUN.finditer(text):
        start = word.start()
        for size in sizes.get(word.group(), ()):
            end = start + size
            if text[start:end] in wanted and not _RUN.match(text, end):
                yield start, end


_LOCK = threading.Lock()
_loaded: list[_Finder] = []


def load_detector(*, vocabulary: Sequence[str] = ()) -> Detector:
    """Return a detector with presidio, Rampart and our recognisers; run on the device.

    The models are loaded once for the process, which takes seconds: call it outside the event loop.

    Args:
        vocabulary: words of the person's own, each found as a whole word in any case.

    Raises:
        MissingDependency: a library or a model is not installed; the hint says how to get it.
        InputError: a term of the vocabulary that cannot be looked for.
    """
    own = Vocabulary(vocabulary)
    with _LOCK:
        if not _loaded:
            from privity.infer.pseudonyms.presidio import load_presidio
            from privity.infer.pseudonyms.rampart import load_rampart

            loaders: tuple[Callable[[], _Finder], ...] = (load_rampart, load_presidio)
            _loaded.extend([load() for load in loaders])
    return PersonalDataDetector(_loaded, own)
