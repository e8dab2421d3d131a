"""A rule: a pattern, the kind it means, and what makes it sure: a check, or words before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from privity.infer.pseudonyms.finding import Finding
from privity.policy.sensitive import Kind

__all__ = ["CERTAIN", "LIKELY", "SURE", "Rule", "apply", "labelled"]

CERTAIN, SURE, LIKELY = 0.98, 0.9, 0.75
"""Scores: a check digit or a vendor's prefix; a label or a strict form; a form alone."""

NEAR = 48
"""How many characters before a match its words are looked for in."""


@dataclass(frozen=True)
class Rule:
    """How one thing is recognised.

    Attributes:
        name: the source its findings name.
        kind: what it is.
        pattern: bounded; the group ``it``, or the whole match, is the finding.
        score: how sure a match is.
        check: whether the matched text is one, such as by its check digits.
        words: what has to stand close before a match; None where nothing has to.
        part: see `Finding.part`.
    """

    name: str
    kind: Kind
    pattern: re.Pattern[str]
    score: float
    check: Callable[[str], bool] | None = None
    words: re.Pattern[str] | None = None
    part: str = ""


def apply(rules: Iterable[Rule], text: str) -> Iterator[Finding]:
    """Yield every match of every rule that passes its check and has its words."""
    for rule in rules:
        group = "it" if "it" in rule.pattern.groupindex else 0
        for match in rule.pattern.finditer(text):
            start, end = match.span(group)
            if start < 0 or start == end:
                continue
            if rule.check is not None and not rule.check(match.group(group)):
                continue
            if rule.words is not None and not rule.words.search(text, max(0, start - NEAR), start):
                continue
            yield Finding(start, end, rule.kind, rule.score, rule.name, rule.part)


def labelled(labels: str, value: str, *, gap: int = 28) -> re.Pattern[str]:
    """Return a pattern for a value after a label, with at most ``gap`` characters between.

    Args:
        labels: alternatives, matched as words in any case.
        value: what follows them; matched in the case it is written in.
        gap: characters between, within one line; fillers such as "number is" fit in.
    """
    return re.compile(
        rf"(?<![^\W_])(?i:{labels})(?![^\W\d_])[^\n]{{0,{gap}}}?(?<![\w+])(?P<it>{value})(?![\w])"
    )
