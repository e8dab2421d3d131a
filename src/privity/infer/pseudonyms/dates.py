"""Dates, moved by one number of days a conversation: their order and their distances stay.

Where a text speaks of days of the week the number is one of whole weeks, so that these stay too.
Dates of birth are moved further, within the year in which every age at another date of the text
stays the same: the distance of a birth to anything else is what finds a person in a register.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

__all__ = ["BORN", "WEEKDAY", "Written", "apart_from", "parse_date"]

BORN = re.compile(
    r"(?:\b(?:born|birth(?:day|date)?|d\.?o\.?b|geb|geboren\w*|geburts\w+|née?s?|naissance|"
    r"naci[óo]|nacid[oa]s?|nacimiento)\b[^\d\n]{0,48}|[\w(,;.] ?\* ?)\Z",
    re.IGNORECASE,
)
"""What stands before a date of birth."""
WEEKDAY = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|week(?:day|end)s?|"
    r"(?:mon|diens|donners|frei|sams|sonn)tags?|mittwochs?|sonnabends?|wochentage?s?|wochenenden?|"
    r"lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|jours? de la semaine|"
    r"lunes|martes|mi[ée]rcoles|jueves|viernes|s[áa]bados?|domingos?|d[íi]as? de la semana)\b",
    re.IGNORECASE,
)
_FURTHEST = 365
_LEAST_CHOICES = 90
_MOST_JUDGED = 40

_MONTHS = {
    "en": "january february march april may june july august september october november december",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
}
_NAMES = {code: tuple(names.split()) for code, names in _MONTHS.items()}
_SHORT = {name[:3]: month + 1 for code in ("en", "de") for month, name in enumerate(_NAMES[code])}
_LONG = {name: month + 1 for names in _NAMES.values() for month, name in enumerate(names)}
_WORD = r"(?P<month>[^\W\d_]{3,10})\.?"
_FORMS = (
    ("{y:04}-{m:02}-{d:02}", re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)(?!\d)")),
    ("{y:04}/{m:02}/{d:02}", re.compile(r"(?P<y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)(?!\d)")),
    (
        "dmy",
        re.compile(r"(?P<a>\d{1,2})(?P<sep>[./-] ?)(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d\d)(?!\d)"),
    ),
    (
        "d month y",
        re.compile(
            rf"(?P<d>\d{{1,2}})(?P<dot>\.|st|nd|rd|th|er|º)?(?P<s1> (?:de |of )?){_WORD}"
            rf"(?P<s2>,? (?:de |del )?)(?P<y>\d{{4}})"
        ),
    ),
    (
        "month d y",
        re.compile(rf"{_WORD} (?P<d>\d{{1,2}})(?P<dot>st|nd|rd|th)?(?P<s2>,? )(?P<y>\d{{4}})"),
    ),
    ("month y", re.compile(rf"{_WORD}(?P<s2>,? (?:de |del )?)(?P<y>\d{{4}})")),
)


@dataclass(frozen=True)
class Written:
    """A date and how it is written.

    Attributes:
        day: the date.
        form: how: a format of numbers, or with a month's name in one of four languages.
        rest: what follows it, such as a time of day.
    """

    day: date
    form: str
    rest: str = ""

    def moved(self, days: int) -> str:
        """Return it, written the same, so many days later."""
        return _write(_later(self.day, days), self.form) + self.rest

    def also(self, days: int) -> Iterator[tuple[str, str]]:
        """Yield it and the moved one in the other ways in which an answer may write them."""
        later = _later(self.day, days)
        for form in _OTHERS:
            yield _write(self.day, form), _write(later, form)


def parse_date(text: str, *, month_first: bool) -> Written | None:
    """Return the date that a text is, or None.

    Args:
        text: the whole of it, with a time of day behind it or not.
        month_first: of ``3/4/2025``, which number is the month.
    """
    for name, pattern in _FORMS:
        found = pattern.match(text)
        if found is None:
            continue
        try:
            written = _READERS.get(name, _plain)(name, found, month_first)
        except ValueError:
            continue
        if written is not None:
            return Written(written.day, written.form, text[found.end() :])
    return None


def apart_from(
    births: Collection[date], events: Collection[date], days: int, pick: Callable[[int], int]
) -> int:
    """Return by how many days births are moved further than all else, which is moved by ``days``.

    Args:
        births: they are moved alike, so that who is older stays.
        events: the other dates. Every age at one of them stays; where that leaves few choices, the
            order, and the age at the last.
        days: what the others are moved by.
        pick: the source of randomness.
    """
    known = sorted(set(events))
    if len(known) > _MOST_JUDGED:
        known = known[: _MOST_JUDGED // 2] + known[-_MOST_JUDGED // 2 :]
    born = sorted(set(births))[:_MOST_JUDGED]
    choices = list(range(-_FURTHEST, _FURTHEST + 1))
    for judged in (known, known[-1:]):
        left = [by for by in choices if all(_fits(one, known, judged, days, by) for one in born)]
        if len(left) >= _LEAST_CHOICES:
            break
    return left[pick(len(left))] if left else 0


def _fits(born: date, known: list[date], judged: list[date], days: int, by: int) -> bool:
    moved = _later(born, days + by)
    return all((moved <= _later(one, days)) == (born <= one) for one in known) and all(
        _age(moved, _later(one, days)) == _age(born, one) for one in judged
    )


def _age(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def _plain(form: str, found: re.Match[str], _: bool) -> Written | None:
    return Written(date(int(found["y"]), int(found["m"]), int(found["d"])), form)


def _numbers(_: str, found: re.Match[str], month_first: bool) -> Written | None:
    a, b, sep = int(found["a"]), int(found["b"]), found["sep"]
    swap = (month_first and "." not in sep and b > 0 and a <= 12) or b > 12
    day, month = (b, a) if swap else (a, b)
    year = int(found["y"])
    short = len(found["y"]) == 2
    if short:
        year += 2000 if year < 50 else 1900
    wide = "02" if len(found["a"]) == 2 and len(found["b"]) == 2 else ""
    d, m = "{d:%s}" % wide, "{m:%s}" % wide  # noqa: UP031 - braces in an f-string would be doubled
    form = sep.join([m, d] if swap else [d, m]) + sep + ("{yy:02}" if short else "{y:04}")
    return Written(date(year, month, day), form)


def _named(name: str, found: re.Match[str], _: bool) -> Written | None:
    spelled = found["month"]
    code, short = _language(spelled)
    if not code:
        return None
    month = _SHORT[spelled.lower()[:3]] if short else _LONG[spelled.lower()]
    case = "upper" if spelled.isupper() else "lower" if spelled.islower() else "title"
    mark = f"{{{'short' if short else 'long'}_{code}_{case}}}"
    groups = found.groupdict()
    if name == "month y":
        return Written(date(int(found["y"]), month, 15), f"{mark}{found['s2']}{{y:04}}")
    dot = groups.get("dot") or ""
    dot = "{th}" if dot in ("st", "nd", "rd", "th") else dot
    if name == "d month y":
        form = f"{{d}}{dot}{found['s1']}{mark}{found['s2']}{{y:04}}"
    else:
        form = f"{mark} {{d}}{dot}{found['s2']}{{y:04}}"
    return Written(date(int(found["y"]), month, int(found["d"])), form)


_READERS = {"dmy": _numbers, "d month y": _named, "month d y": _named, "month y": _named}


def _language(spelled: str) -> tuple[str, bool]:
    small = spelled.lower()
    for code, names in _NAMES.items():
        if small in names:
            return code, False
    for code in ("en", "de"):
        if any(small in (name[:3], name[:4]) for name in _NAMES[code]):
            return code, True
    return "", False


_OTHERS = (
    "{y:04}-{m:02}-{d:02}",
    "{d:02}.{m:02}.{y:04}",
    "{d}.{m}.{y:04}",
    "{d} {long_en_title} {y:04}",
    "{long_en_title} {d}, {y:04}",
    "{d}. {long_de_title} {y:04}",
    "{d} {long_fr_lower} {y:04}",
    "{d} de {long_es_lower} de {y:04}",
    "{d} {short_en_title} {y:04}",
    "{short_en_title} {d}, {y:04}",
)


def _write(day: date, form: str) -> str:
    names = {}
    for code, months in _NAMES.items():
        name = months[day.month - 1]
        for size, spelled in (("long", name), ("short", name[:3])):
            names[f"{size}_{code}_lower"] = spelled
            names[f"{size}_{code}_upper"] = spelled.upper()
            names[f"{size}_{code}_title"] = spelled.title()
    teen = 11 <= day.day <= 13
    th = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return form.format(y=day.year, yy=day.year % 100, m=day.month, d=day.day, th=th, **names)


def _later(day: date, days: int) -> date:
    try:
        return day + timedelta(days)
    except OverflowError:
        return day - timedelta(days)
