"""Words about health and belief: vocabularies of our own in four languages, and ICD-10 codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.lexicon import Lexicon
from privity.infer.pseudonyms.recognisers.rule import LIKELY, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "lexicon", "recognise"]

_HEALTH, _BELIEF = 0.8, 0.6
"""With a capital: Gay and Parkinson are surnames too, and a model that is sure of a name wins."""
_CODE = r"[A-TV-Z]\d{2}(?:\.\d{1,4}[A-Z]?)?"
RULES = (
    Rule(
        "icd-10", Kind.HEALTH, re.compile(r"(?<![\w.-])[A-TV-Z]\d{2}\.\d{1,2}(?![\w]|\.\d)"), LIKELY
    ),
    Rule(
        "icd-10-labelled",
        Kind.HEALTH,
        re.compile(
            rf"(?<!\w)(?i:icd(?:-?10)?(?:-gm|-cm)?|diagnos\w{{1,6}}|dx|cie-10|"
            rf"cim-10)[^\n]{{0,16}}?(?<!\w)(?P<it>{_CODE})(?!\w)"
        ),
        SURE,
    ),
)


@lru_cache(maxsize=4)
def lexicon(name: str) -> Lexicon:
    """Return the vocabulary of a data file beside this module."""
    text = files(__package__).joinpath("data", f"{name}.txt").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    terms = (term.strip() for line in lines for term in line.split(","))
    return Lexicon((term for term in terms if term), compounds=name == "health")


def recognise(text: str) -> Iterator[Finding]:
    """Yield words about health and belief; they are flagged, not replaced."""
    for name, kind, capital in (("health", Kind.HEALTH, _HEALTH), ("belief", Kind.BELIEF, _BELIEF)):
        for start, end in lexicon(name).find(text):
            score = SURE if text[start].islower() else capital
            yield Finding(start, end, kind, score, f"{name}-words")
    yield from apply(RULES, text)
