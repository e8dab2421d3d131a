"""The person's own vocabulary: names of projects, people and places nobody else would know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from privity.errors import InputError
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.lexicon import Lexicon
from privity.policy.sensitive import Kind

__all__ = ["Vocabulary"]

MAX_TERMS, MAX_LENGTH = 10_000, 200


class Vocabulary:
    """Words a person named, found whole, in any case, and with endings such as a genitive s.

    Raises:
        InputError: too many of them, one that is too long, or one without a letter or digit.

    Guarantees:
        A term that stands in a text as whole words is found, whatever its case
        (tests/adversary/test_detection.py::test_every_own_word_is_found).
    """

    def __init__(self, terms: Sequence[str]) -> None:
        if len(terms) > MAX_TERMS:
            raise InputError(f"a vocabulary of {len(terms)} terms; the limit is {MAX_TERMS}")
        for place, term in enumerate(terms):
            if len(term) > MAX_LENGTH or not any(c.isalnum() for c in term):
                raise InputError(
                    f"term {place + 1} of the vocabulary has no letter or digit, or more than"
                    f" {MAX_LENGTH} characters",
                    hint="write words as they stand in your texts",
                )
        # `=` would forbid endings: it means nothing in a person's own list.
        self._lexicon = Lexicon(term.lstrip("=") for term in terms)
        self._unspaced = [t for t in terms if any("\u3040" <= c <= "\ud7ff" for c in t)]

    def __repr__(self) -> str:
        return f"Vocabulary({self._lexicon!r})"

    def find(self, text: str) -> Iterator[Finding]:
        """Yield where its terms stand."""
        for start, end in self._lexicon.find(text):
            yield Finding(start, end, Kind.OWN, 1.0, "vocabulary")
        for term in self._unspaced:  # scripts that put no spaces between words
            place = text.find(term)
            while place >= 0:
                yield Finding(place, place + len(term), Kind.OWN, 1.0, "vocabulary")
                place = text.find(term, place + len(term))
