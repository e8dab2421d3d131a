"""Full dates, in figures or with the month's name in four languages: such as of a birth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.infer.pseudonyms.check_digits import real_date
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.recognisers.rule import LIKELY, SURE, Rule, apply
from privity.policy.sensitive import Kind

__all__ = ["RULES", "recognise"]

_MONTH = (
    r"(?i:jan(?:uary|uar|vier|\.)?|jän(?:ner|\.)?|enero|ene\.?|feb(?:ruary|ruar|rero|\.)?|"
    r"f[ée]vr(?:ier|\.)?|"
    r"mar(?:ch|zo|s|\.)?|märz|mrz\.?|apr(?:il|\.)?|avr(?:il|\.)?|abr(?:il|\.)?|may|mai|mayo|"
    r"jun(?:e|i|io|\.)?|juin|"
    r"jul(?:y|i|io|\.)?|juil(?:let|\.)?|aug(?:ust|\.)?|ao[ûu]t|ago(?:sto|\.)?|sept?(?:ember|"
    r"embre|iembre|\.)?|"
    r"set(?:iembre|\.)?|o[ck]t(?:ober|obre|ubre|\.)?|nov(?:ember|embre|iembre|\.)?|"
    r"de[cz](?:ember|\.)?|"
    r"d[ée]c(?:embre|\.)?|dic(?:iembre|\.)?)"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:1[89]|20)\d{2}"
_FIGURES = re.compile(r"\d{1,4}")


def _figures(text: str) -> bool:
    """Whether the three numbers are a day, in either order of day and month."""
    first, month, last = (int(n) for n in _FIGURES.findall(text)[:3])
    if first > 31:
        return real_date(last, month, first)
    year = last if last > 99 else 2000 + last
    return real_date(first, month, year) or real_date(month, first, year)


RULES = (
    Rule(
        "date-iso",
        Kind.DATE,
        re.compile(rf"(?<![\w.-]){_YEAR}([-/.])\d{{1,2}}\1\d{{1,2}}(?=T\d|(?![\w-]|\.\d))"),
        SURE,
        _figures,
    ),
    Rule(
        "date-figures",
        Kind.DATE,
        re.compile(rf"(?<![\w.,/-])\d{{1,2}}([-/.] ?)\d{{1,2}}\1{_YEAR}(?![\w/-]|\.\d)"),
        SURE,
        _figures,
    ),
    Rule(
        "date-short",
        Kind.DATE,
        re.compile(r"(?<![\w.,/-])\d{1,2}([-/.])\d{1,2}\1\d{2}(?![\w/-]|[.,]\d)"),
        LIKELY,
        _figures,
    ),
    Rule(
        "date-day-first",
        Kind.DATE,
        re.compile(
            rf"(?<![\w.,]){_DAY}(?:st|nd|rd|th|er|\.|º)?[ -](?:(?:de|of|"
            rf"d') ?)?{_MONTH},?[ -]"
            rf"(?:(?:de|del) )?{_YEAR}(?!\w)"
        ),
        SURE,
    ),
    Rule(
        "date-month-first",
        Kind.DATE,
        re.compile(rf"(?<!\w){_MONTH} {_DAY}(?:st|nd|rd|th)?,? {_YEAR}(?!\w)"),
        SURE,
    ),
    Rule(
        "birthday",
        Kind.DATE,
        re.compile(
            rf"(?<!\w)(?i:born|birthday|dob|geb(?:oren|\.)|geburtstag|n[ée]e?|"
            rf"naci(?:d[oa]|miento)|anniversaire)"
            rf"(?!\w)[^\n\d]{{0,16}}(?P<it>{_DAY}(?:st|nd|rd|th|er|\.|º)?[ -](?:(?:de|"
            rf"of) )?{_MONTH}|"
            rf"{_MONTH} {_DAY}(?:st|nd|rd|th)?|{_YEAR}|\d{{8}})(?!\w)"
        ),
        LIKELY,
    ),
)


def recognise(text: str) -> Iterator[Finding]:
    """Yield full dates."""
    return apply(RULES, text)
