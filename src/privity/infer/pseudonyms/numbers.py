"""Stand-ins that keep the form of what they stand for: numbers, identifiers, secrets.

Each letter and digit is replaced by a random one of its sort, and what groups them stays. A number
with check digits gets one whose check digits hold, so that a tool which looks at the form takes it.
Ranges that stand for nobody are used where they exist: United States social security numbers that
begin with 9, United Kingdom NHS numbers that begin with 999, bank codes that no bank has, prefixes
of test cards. For other identifiers there is no such range: their stand-in may be somebody's.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator

from privity.infer.pseudonyms.check_digits import (
    dni,
    german_tax_id,
    iban,
    kvnr,
    luhn,
    mod97,
    nhs,
    nir,
    nuss,
    vin,
)
from privity.infer.pseudonyms.coined import Pick
from privity.infer.pseudonyms.table import apart
from privity.policy.sensitive import Kind

__all__ = ["bounds", "digits_like", "lay", "number_like", "secret_like"]

Check = Callable[[str], bool]
_TRIES = 4000
_PATIENCE = 48
_BANK_CODES = {
    "DE": "00000",
    "GB": "XQZV",
    "FR": "99999",
    "ES": "9999",
    "IT": "X99999",
    "NL": "XQZV",
}
_PREFIX = re.compile(
    r"[A-Za-z]{2,8}(?:[-_][A-Za-z]{2,5}){0,2}[-_]|AKIA|ASIA|AIza|eyJ|0x|bc1|[a-z+]{2,20}://"
)


def digits_like(text: str, pick: Pick, *, keep: int = 0, more: int = 0) -> str:
    """Return a text with each letter and digit past ``keep`` replaced by one of its sort."""
    out = []
    for place, char in enumerate(text):
        out.append(char if place < keep else _other(char, pick, first=place == keep))
    out += [str(pick(10)) for _ in range(more)]
    return "".join(out)


def number_like(kind: Kind, text: str, pick: Pick) -> Iterator[str]:
    """Yield candidates for an identifier without end; those past the first ones grow longer."""
    compact = apart(text).upper()
    check = next((one for one in _CHECKS.get(kind, ()) if one(compact)), None)
    for turn in range(10_000_000):
        more = turn // _PATIENCE
        if check is not None and not more:
            yield _checked(kind, text, compact, check, pick)
        else:
            yield digits_like(
                _reserve(kind, text, compact), pick, keep=_kept(kind, compact), more=more
            )


def secret_like(text: str, pick: Pick) -> Iterator[str]:
    """Yield candidates for a secret: its known beginning, its alphabet, its length, else random."""
    if text.startswith("-----BEGIN"):
        head, _, rest = text.partition("\n")
        body, dashes, foot = rest.partition("-----END")
        while True:
            yield f"{head}\n{digits_like(body, pick)}{dashes}{foot}"
    found = _PREFIX.match(text)
    keep = found.end() if found and found.end() + 6 < len(text) else 0
    hexadecimal = re.fullmatch(r"[0-9a-fA-F]{16,}", text[keep:]) is not None
    for turn in range(10_000_000):
        made = digits_like(text, pick, keep=keep, more=turn // _PATIENCE)
        yield _hexadecimal(made, pick, keep) if hexadecimal else made


def bounds(text: str) -> tuple[int, int]:
    """Return where the letters and digits of a number begin and end, a plus sign among them."""
    kept = [place for place, char in enumerate(text) if char.isalnum() or char == "+"]
    return (kept[0], kept[-1] + 1) if kept else (0, len(text))


def _hexadecimal(text: str, pick: Pick, keep: int) -> str:
    letters = ("abcdef"[pick(6)] if char.isalpha() else char for char in text[keep:].lower())
    made = "".join(letters)
    return text[:keep] + (made if text[keep:].islower() else made.upper())


def lay(digits: str, form: str) -> str:
    """Return a form with its letters and digits replaced in order; those left over are added."""
    left = iter(digits)
    out = []
    for char in form:
        taken = next(left, "") if char.isalnum() else char
        out.append(taken)
    return "".join(out) + "".join(left)


def _checked(kind: Kind, text: str, compact: str, check: Check, pick: Pick) -> str:
    if check is iban:
        return lay(_new_iban(compact, pick), text)
    begun = _reserve(kind, compact, compact)
    for _ in range(_TRIES):
        candidate = digits_like(begun, pick, keep=_kept(kind, compact))
        if check(candidate.upper()):
            return lay(candidate, text)
    return digits_like(text, pick)


def _new_iban(compact: str, pick: Pick) -> str:
    bank = _BANK_CODES.get(compact[:2], "99")
    rest = digits_like(compact[4 + len(bank) :], pick)
    number = bank + rest
    check = 98 - mod97(number + compact[:2] + "00")
    return f"{compact[:2]}{check:02}{number}"


def _reserve(kind: Kind, text: str, compact: str) -> str:
    """Return the text with its beginning in a range that stands for nobody, where there is one."""
    begin = ""
    if kind is Kind.CARD and len(compact) >= 12:
        begin = {"4": "400000", "5": "555555", "3": "370000", "2": "222300"}.get(
            compact[0], "601100"
        )
    elif kind is Kind.NATIONAL_ID and re.fullmatch(r"\d{9}", compact):
        begin = "9"
    elif nhs(compact) and kind in (Kind.HEALTH_ID, Kind.NATIONAL_ID):
        begin = "999"
    return lay(begin + compact[len(begin) :], text) if begin else text


def _kept(kind: Kind, compact: str) -> int:
    """Return how many characters of a reserved beginning stay."""
    if kind is Kind.CARD and len(compact) >= 12:
        return 6
    if kind is Kind.NATIONAL_ID and re.fullmatch(r"\d{9}", compact):
        return 1
    return 3 if nhs(compact) and kind in (Kind.HEALTH_ID, Kind.NATIONAL_ID) else 0


def _other(char: str, pick: Pick, *, first: bool) -> str:
    if char.isdigit():
        return str(1 + pick(9) if first else pick(10))
    if char in string.ascii_lowercase:
        return string.ascii_lowercase[pick(26)]
    if char in string.ascii_uppercase:
        return string.ascii_uppercase[pick(26)]
    if char.isalpha():
        return (
            string.ascii_lowercase[pick(26)] if char.islower() else string.ascii_uppercase[pick(26)]
        )
    return char


def _luhn(text: str) -> bool:
    return len(text) >= 8 and text.isdecimal() and luhn(text)


_CHECKS: dict[Kind, tuple[Check, ...]] = {
    Kind.BANK_ACCOUNT: (iban,),
    Kind.CARD: (_luhn,),
    Kind.NATIONAL_ID: (german_tax_id, dni, nir, nuss, nhs, _luhn),
    Kind.HEALTH_ID: (kvnr, nhs, nir),
    Kind.VEHICLE: (vin,),
}
