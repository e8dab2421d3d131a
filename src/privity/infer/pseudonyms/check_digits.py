"""Check digits: whether a number is one of its kind. Pure functions of the text as written.

Sources are named in each docstring. All ignore spaces, dots, slashes and hyphens inside.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date

__all__ = [
    "aba_routing", "card", "compact", "dni", "german_social", "german_tax_id", "iban",
    "ibans", "italian_fiscal", "kvnr", "luhn", "mod97", "nhs", "nir", "nuss", "real_date", "ssn",
    "vin",
]  # fmt: skip

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
_SEPARATORS = re.compile(r"[\s./-]")
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ \-]{0,2}[A-Za-z0-9])")


def compact(text: str) -> str:
    """Return a number without what people put between its digits, in capitals."""
    return _SEPARATORS.sub("", text).upper()


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(c) for c in text if c.isdecimal()]
    odd = sum(digits[-1::-2])
    even = sum(sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return bool(digits) and (odd + even) % 10 == 0 and any(digits)


def card(text: str) -> bool:
    """Return whether it is a payment card: Luhn, 12 to 19 digits, an issuer's range."""
    digits = compact(text)
    known = re.match(r"4|5[0-8]|2[2-7]|3[0-9]|6[0-9]|18|21", digits)
    return 12 <= len(digits) <= 19 and known is not None and luhn(digits)


def iban(text: str) -> bool:
    """ISO 13616: the country's length, and the remainder 1 modulo 97."""
    plain = compact(text)
    if len(plain) != _IBAN_LENGTHS.get(plain[:2]) or not plain.isalnum() or not plain.isascii():
        return False
    return mod97(plain[4:] + plain[:4]) == 1


def mod97(text: str) -> int:
    """ISO 7064 MOD 97-10: the remainder of digits, and of letters as 10 to 35."""
    return int("".join(str(int(c, 36)) for c in text)) % 97


def ibans(text: str) -> list[tuple[int, int, bool]]:
    """Return where IBANs stand, in groups or not, and whether their check digits are right.

    Each ends where its country says. One with a typing error points at an account all the same.
    """
    found = []
    for match in _IBAN_START.finditer(text):
        wanted = _IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        place, count = match.start(), 0
        limit = min(len(text), match.start() + 3 * wanted)
        while place < limit and count < wanted:
            count += text[place].isalnum()
            if not (text[place].isalnum() or text[place] in " -"):
                break
            place += 1
        ends = place == len(text) or not text[place].isalnum()
        said = text[match.start() : place]
        right = bool(wanted) and count == wanted and ends and iban(said)
        if right or (wanted and count == wanted and ends and said.isupper() and _mostly(said)):
            found.append((match.start(), place, right))
    return found


def _mostly(text: str) -> bool:
    return 3 * sum(c.isdecimal() for c in text) >= 2 * len(compact(text))


def aba_routing(text: str) -> bool:
    """Check a routing number of the American Bankers Association: weights 3, 7, 1."""
    digits = [int(c) for c in text if c.isdecimal()]
    weights = (3, 7, 1) * 3
    total = sum(d * w for d, w in zip(digits, weights, strict=False))
    return len(digits) == 9 and any(digits) and total % 10 == 0


def german_tax_id(text: str) -> bool:
    """Steuer-ID: ISO 7064 MOD 11,10, and one digit of the first ten twice or thrice."""
    digits = compact(text)
    if len(digits) != 11 or not digits.isdecimal() or digits[0] == "0":
        return False
    if max(Counter(digits[:10]).values()) not in (2, 3):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def german_social(text: str) -> bool:
    """Versicherungsnummer (section 147 SGB VI, VKVV): a birthday, a letter, weighted digits."""
    plain = compact(text)
    if not re.fullmatch(r"\d{8}[A-Z]\d{3}", plain) or not 1 <= int(plain[4:6]) <= 12:
        return False
    letter = f"{ord(plain[8]) - 64:02d}"
    digits = plain[:8] + letter + plain[9:11]
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    sums = (sum(divmod(int(d) * w, 10)) for d, w in zip(digits, weights, strict=True))
    return sum(sums) % 10 == int(plain[11])


def kvnr(text: str) -> bool:
    """Krankenversichertennummer (section 290 SGB V): a letter and nine digits, weights 1 and 2."""
    plain = compact(text)
    if not re.fullmatch(r"[A-Z]\d{9}", plain):
        return False
    digits = f"{ord(plain[0]) - 64:02d}" + plain[1:9]
    sums = (sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(digits))
    return sum(sums) % 10 == int(plain[9])


def nir(text: str) -> bool:
    """French social security number (NIR) with its key: 97 less the number modulo 97."""
    plain = compact(text)
    if not re.fullmatch(r"[1-478]\d{4}(?:\d{2}|2[AB])\d{8}", plain):
        return False
    number = int(plain[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(plain[13:])


def dni(text: str) -> bool:
    """Spanish DNI and NIE: the letter is the number modulo 23."""
    plain = compact(text)
    if not re.fullmatch(r"[XYZ0-9]\d{7}[A-Z]", plain):
        return False
    number = int(plain[:8].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == plain[8]


def nuss(text: str) -> bool:
    """Spanish social security number: the last two digits are the rest modulo 97."""
    digits = compact(text)
    if len(digits) != 12 or not digits.isdecimal():
        return False
    province, number = digits[:2], int(digits[2:10])
    short = province + (str(number) if number < 10_000_000 else digits[2:10])
    return int(short) % 97 == int(digits[10:])


def nhs(text: str) -> bool:
    """NHS number: ten digits, weights 10 to 2, modulo 11."""
    digits = compact(text)
    if len(digits) != 10 or not digits.isdecimal() or len(set(digits)) == 1:
        return False
    check = 11 - sum(int(d) * w for d, w in zip(digits, range(10, 1, -1), strict=False)) % 11
    return check % 11 == int(digits[9]) and check != 10


def ssn(text: str) -> bool:
    """US social security or tax number: no check digit, but ranges that were never issued."""
    digits = compact(text)
    parts = digits[:3], digits[3:5], digits[5:]
    return (
        len(digits) == 9
        and parts[0] not in ("000", "666")
        and parts[1] != "00"
        and parts[2] != "0000"
    )


def italian_fiscal(text: str) -> bool:
    """Codice fiscale: sixteen characters, the last from the others by parity tables."""
    plain = compact(text)
    if not re.fullmatch(
        r"[A-Z]{6}[\dL-NP-V]{2}[A-EHLMPRST][\dL-NP-V]{2}[A-Z][\dL-NP-V]{3}[A-Z]", plain
    ):
        return False
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25,
           24, 23)  # fmt: skip
    ranks = [int(c) if c.isdecimal() else ord(c) - 65 for c in plain[:15]]
    total = sum(odd[rank] if i % 2 == 0 else rank for i, rank in enumerate(ranks))
    return chr(65 + total % 26) == plain[15]


def vin(text: str) -> bool:
    """Vehicle identification number with the check digit of ISO 3779 as North America has it."""
    plain = compact(text)
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3,
                                                  4, 5, 6, 7, 8, 9), strict=True))  # fmt: skip
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", plain):
        return False
    total = sum(w * (values.get(c) or int(c)) for c, w in zip(plain, weights, strict=True))
    return "0123456789X"[total % 11] == plain[8]


def real_date(day: int, month: int, year: int) -> bool:
    """Whether there is such a day, in a year that a document could speak of."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return 1850 <= year <= 2150
