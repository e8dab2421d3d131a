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

from privity.infer.pseudonyms.coined import Pick
from privity.infer.pseudonyms.table import apart
from privity.policy.sensitive import Kind

__all__ = ["bounds", "digits_like", "lay", "luhn", "number_like", "secret_like"]

Check = Callable[[str], bool]
_TRIES = 4000
_PATIENCE = 48
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
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


def luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    if not digits.isdecimal() or len(digits) < 8:
        return False
    doubled = [int(char) * (1 + place % 2) for place, char in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _checked(kind: Kind, text: str, compact: str, check: Check, pick: Pick) -> str:
    if check is _iban:
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
    check = 98 - _mod97(number + compact[:2] + "00")
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
    elif _nhs(compact) and kind in (Kind.HEALTH_ID, Kind.NATIONAL_ID):
        begin = "999"
    return lay(begin + compact[len(begin) :], text) if begin else text


def _kept(kind: Kind, compact: str) -> int:
    """Return how many characters of a reserved beginning stay."""
    if kind is Kind.CARD and len(compact) >= 12:
        return 6
    if kind is Kind.NATIONAL_ID and re.fullmatch(r"\d{9}", compact):
        return 1
    return 3 if _nhs(compact) and kind in (Kind.HEALTH_ID, Kind.NATIONAL_ID) else 0


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


def _mod97(text: str) -> int:
    return int("".join(str(int(char, 36)) for char in text)) % 97


def _iban(text: str) -> bool:
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}", text):
        return False
    return _mod97(text[4:] + text[:4]) == 1


def _steuer_id(text: str) -> bool:
    if not re.fullmatch(r"[1-9][0-9]{10}", text):
        return False
    product = 10
    for char in text[:10]:
        total = (int(char) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(text[10])


def _dni(text: str) -> bool:
    if not re.fullmatch(r"[0-9XYZ][0-9]{7}[A-Z]", text):
        return False
    number = str("XYZ".find(text[0])) if text[0] in "XYZ" else text[0]
    return _DNI[int(number + text[1:8]) % 23] == text[8]


def _nir(text: str) -> bool:
    if not re.fullmatch(r"[12][0-9]{14}", text):
        return False
    return 97 - int(text[:13]) % 97 == int(text[13:])


def _nuss(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{12}", text)) and int(text[:10]) % 97 == int(text[10:])


def _nhs(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{10}", text):
        return False
    check = 11 - sum(int(char) * (10 - place) for place, char in enumerate(text[:9])) % 11
    return check % 11 == int(text[9])


def _kvnr(text: str) -> bool:
    if not re.fullmatch(r"[A-Z][0-9]{9}", text):
        return False
    digits = f"{ord(text[0]) - 64:02}{text[1:9]}"
    weighed = [int(char) * (1 + place % 2) for place, char in enumerate(digits)]
    return sum(value - 9 * (value > 9) for value in weighed) % 10 == int(text[9])


def _vin(text: str) -> bool:
    if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", text):
        return False
    letters = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum(int(letters.get(c, c)) * w for c, w in zip(text, weights, strict=True))
    return text[8] == ("X" if total % 11 == 10 else str(total % 11))


_CHECKS: dict[Kind, tuple[Check, ...]] = {
    Kind.BANK_ACCOUNT: (_iban,),
    Kind.CARD: (luhn,),
    Kind.NATIONAL_ID: (_steuer_id, _dni, _nir, _nuss, _nhs, luhn),
    Kind.HEALTH_ID: (_kvnr, _nhs, _nir),
    Kind.PASSPORT: (),
    Kind.VEHICLE: (_vin,),
}
