"""Telephone numbers: what reads like one, and is valid somewhere (by phonenumbers)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from privity.errors import MissingDependency
from privity.infer.pseudonyms.finding import Finding
from privity.infer.pseudonyms.missing import HINT
from privity.infer.pseudonyms.recognisers.rule import NEAR
from privity.policy.sensitive import Kind

__all__ = ["PATTERN", "recognise"]

PATTERN = re.compile(
    r"(?<![\w.,:/#=-])(?:\+|00 ?)?(?:\(\+?\d{1,5}\)[ -]?)?\d(?:[ ./()\u2011-]{0,2}\d){5,15}"
    r"(?:\s?(?i:x|ext\.?|durchwahl|poste)\s?\d{1,6})?(?![\w]|[.,:/-]\d)"
)
_WORDS = re.compile(
    r"(?i)(?<![^\W\d_])(?:phone|tel|tél|fon|mob|cell|call|ring|text|sms|whatsapp|signal|fax|"
    r"handy|ruf|anruf|zurückruf|"
    r"appel|joindre|joignable|portable|fixe|llam|móvil|movil|contact|kontakt|next of kin)"
)
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{2,4}")
_SPACED = re.compile(r"[ ./()-]")
_REGIONS = ("US", "GB", "DE", "FR", "ES", "AT", "CH", "IT", "BE", "NL")


def recognise(text: str) -> Iterator[Finding]:
    """Yield telephone numbers, in international or a known country's national form.

    Raises:
        MissingDependency: the part that knows the countries' numbers is not installed.
    """
    for match in PATTERN.finditer(text):
        score = _score(match.group(), text, match.start())
        if score:
            yield Finding(match.start(), match.end(), Kind.PHONE, score, "phone")


def _score(number: str, text: str, start: int) -> float:
    """Return how surely it is a number to call: by its form, its country's plan, words before."""
    if _DATE.fullmatch(number):
        return 0.0
    told = _WORDS.search(text, max(0, start - NEAR), start) is not None
    if number.startswith(("+", "00", "(+")):
        return 0.95 if told or _valid(number, ()) else 0.8
    spaced = _SPACED.search(number) is not None
    if not (told or spaced or number.startswith("0")):
        return 0.0
    if not _valid(number, _REGIONS):
        return 0.7 if told and (spaced or number.startswith("0")) else 0.0
    return 0.92 if told else 0.72


def _valid(number: str, regions: tuple[str, ...]) -> bool:
    try:
        import phonenumbers
    except ImportError as err:
        raise MissingDependency(
            "telephone numbers need phonenumbers, which is not installed",
            hint=HINT,
        ) from err
    for region in regions or (None,):
        try:
            parsed = phonenumbers.parse(re.sub(r"^00 ?", "+", number), region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed):
            return True
    return False
