"""Labelled texts for bench/detection.py: templates filled by Faker, and what a package ships."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LOCALES", "Labelled", "generated", "public_texts"]

DATA = Path(__file__).parent / "data"
LOCALES = {"en_US": "en", "en_GB": "en", "de_DE": "de", "fr_FR": "fr", "es_ES": "es"}
_SLOT = re.compile(r"<<?(health|belief):([^<>]+)>|<([a-z_]+)>")
_PUBLIC_SLOT = re.compile(r"\{\{(\w+)\}\}")
B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Labelled:
    """A text, the place it is from, and where what stands in it."""

    text: str
    place: str
    spans: tuple[tuple[int, int, str], ...]


def generated(split: str, count: int, *, seed: int) -> Iterator[Labelled]:
    """Yield each template of a split ``count`` times for each locale, the same for one seed."""
    from faker import Faker

    for place, language in LOCALES.items():
        fake = Faker(place)
        fake.seed_instance(seed)
        choice = random.Random(seed)
        lines = (DATA / f"detection.{language}.{split}.txt").read_text("utf-8").splitlines()
        for line in lines:
            for _ in range(count):
                yield _fill(line.replace("\\n", "\n"), place, Filler(fake, place, choice))


class Filler:
    """Writes one value for a slot, in the manner of a locale."""

    def __init__(self, fake: Any, place: str, choice: random.Random) -> None:
        self.fake, self.place, self.choice = fake, place, choice

    def __call__(self, slot: str) -> tuple[str, str]:
        """Return the value and its kind."""
        kind, make = _SLOTS[slot]
        return str(make(self)), kind

    def pattern(self, text: str) -> str:
        """Return a text with ``#`` a digit, ``?`` a capital, ``*`` a letter or digit."""
        kinds = {
            "#": "0123456789",
            "?": "ABCDEFGHJKLMNPRSTVWXYZ",
            "*": B64,
            "%": "0123456789abcdef",
        }
        return "".join(self.choice.choice(kinds.get(c, c)) for c in text)

    def of(self, **by_country: Callable[[], str]) -> str:
        return by_country[self.place[-2:].lower()]()


def _date(filler: Filler, born: bool) -> str:
    day = filler.fake.date_of_birth(minimum_age=1, maximum_age=95)
    if not born:
        day = filler.fake.date_between("-9y", "+9y")
    forms = {
        "en_US": ["%m/%d/%Y", "%B %d, %Y", "%Y-%m-%d"],
        "en_GB": ["%d/%m/%Y", "%d %B %Y", "%Y-%m-%d"],
        "de_DE": ["%d.%m.%Y", "%Y-%m-%d", "%d.%m.%y"],
        "fr_FR": ["%d/%m/%Y", "%Y-%m-%d", "%d-%m-%Y"],
        "es_ES": ["%d/%m/%Y", "%Y-%m-%d", "%d-%m-%Y"],
    }[filler.place]
    named = {
        "de_DE": (
            "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
            "{d}. {m} {y}",
        ),
        "fr_FR": (
            "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
            "{d} {m} {y}",
        ),
        "es_ES": (
            "enero febrero marzo abril mayo junio julio agosto septiembre octubre novi"
            "embre diciembre",
            "{d} de {m} de {y}",
        ),
    }
    if filler.place in named and filler.choice.random() < 0.35:
        months, form = named[filler.place]
        return form.format(d=day.day, m=months.split()[day.month - 1], y=day.year)
    return str(day.strftime(filler.choice.choice(forms)))


def _health_id(filler: Filler) -> str:
    return filler.of(
        us=lambda: filler.pattern("########"),
        gb=lambda: _nhs(filler),
        de=lambda: _kvnr(filler),
        fr=lambda: filler.fake.ssn(),
        es=lambda: filler.pattern("????##########"),
    )


def _nhs(filler: Filler) -> str:
    while True:
        digits = filler.pattern("#########")
        rest = 11 - sum(int(d) * (10 - i) for i, d in enumerate(digits)) % 11
        if rest != 10:
            whole = digits + str(rest % 11)
            return f"{whole[:3]} {whole[3:6]} {whole[6:]}"


def _kvnr(filler: Filler) -> str:
    letter, digits = filler.pattern("?"), filler.pattern("########")
    total = 0
    for i, d in enumerate(f"{ord(letter) - 64:02d}{digits}"):
        value = int(d) * (2 if i % 2 else 1)
        total += value // 10 + value % 10
    return f"{letter}{digits}{total % 10}"


def _national(filler: Filler) -> str:
    return filler.of(
        us=lambda: filler.fake.ssn(),
        gb=lambda: filler.pattern("AB ## ## ## C"),
        de=lambda: _steuer_id(filler),
        fr=lambda: filler.fake.ssn(),
        es=lambda: filler.choice.choice([filler.fake.nif, filler.fake.nie])(),
    )


def _steuer_id(filler: Filler) -> str:
    """Return an identification number by the Bundeszentralamt's own description."""
    digits = filler.choice.sample("123456789", 9)
    digits.insert(filler.choice.randrange(1, 9), filler.choice.choice(digits))
    product = 10
    for d in digits:
        total = (int(d) + product) % 10
        product = (10 if total == 0 else total) * 2 % 11
    check = 11 - product
    whole = "".join(digits) + str(0 if check == 10 else check)
    return filler.choice.choice([whole, f"{whole[:2]} {whole[2:5]} {whole[5:8]} {whole[8:]}"])


def _plate(filler: Filler) -> str:
    return filler.of(
        us=lambda: filler.fake.license_plate(),
        gb=lambda: filler.fake.license_plate(),
        de=lambda: filler.pattern(filler.choice.choice(["B-?? ###", "HH-?? ####", "M ?? ##"])),
        fr=lambda: filler.pattern("??-###-??"),
        es=lambda: filler.pattern("#### ???"),
    )


def _secret(filler: Filler) -> str:
    forms = [
        "ghp_" + "*" * 36,
        "sk-proj-" + "*" * 40,
        "AKIA" + "?" * 16,
        "hf_" + "*" * 34,
        "glpat-" + "*" * 20,
        "xoxb-" + "#" * 12 + "-" + "*" * 24,
        "*" * 32,
        "%" * 40,
    ]
    form = filler.choice.choice(forms)
    return form[:4] + filler.pattern(form[4:]) if form[:1] not in "*%" else filler.pattern(form)


_SLOTS: dict[str, tuple[str, Callable[[Filler], object]]] = {
    "person": ("person", lambda f: f"{f.fake.first_name()} {f.fake.last_name()}"),
    "given": ("person", lambda f: f.fake.first_name()),
    "surname": ("person", lambda f: f.fake.last_name()),
    "org": ("organisation", lambda f: f.fake.company()),
    "email": ("email", lambda f: f.fake.email()),
    "phone": ("phone", lambda f: f.fake.phone_number()),
    "street": ("address", lambda f: f.fake.street_address().replace("\n", ", ")),
    "city": ("place", lambda f: f.fake.city()),
    "postcode": ("postcode", lambda f: f.fake.postcode()),
    "dob": ("date", lambda f: _date(f, True)),
    "date": ("date", lambda f: _date(f, False)),
    "iban": ("bank-account", lambda f: f.fake.iban()),
    "card": ("card", lambda f: f.fake.credit_card_number()),
    "national": ("national-id", _national),
    "healthid": ("health-id", _health_id),
    "passport": (
        "passport",
        lambda f: f.pattern(
            f.of(
                us=lambda: "#########",
                gb=lambda: "#########",
                de=lambda: "C##G#H#K#",
                fr=lambda: "##AK#####",
                es=lambda: "PAA######",
            )
        ),
    ),
    "driving": (
        "driving-licence",
        lambda f: f.pattern(
            f.of(
                us=lambda: "?#######",
                gb=lambda: "JONES######AB#CD",
                de=lambda: "B###RRE####",
                fr=lambda: "############",
                es=lambda: "########K",
            )
        ),
    ),
    "ip": (
        "ip",
        lambda f: f.choice.choice([f.fake.ipv4_public, f.fake.ipv4_private, f.fake.ipv6])(),
    ),
    "mac": ("ip", lambda f: f.fake.mac_address()),
    "url": ("url", lambda f: f.choice.choice([f.fake.url, f.fake.uri])()),
    "username": ("username", lambda f: f.fake.user_name()),
    "plate": ("vehicle", _plate),
    "vin": ("vehicle", lambda f: f.fake.vin()),
    "wallet": ("wallet", lambda f: "0x" + f.pattern("%" * 40)),
    "secret": ("secret", _secret),
    "secret_url": (
        "secret",
        lambda f: (
            f"p"
            f"o"
            f"s"
            f"t"
            f"g"
            f"r"
            f"es://{f.fake.user_name()}:{f.fake.password(special_chars=False)}@db.internal:5432/app"
        ),
    ),
    "password": ("secret", lambda f: f.fake.password(length=12)),
}


def _fill(template: str, place: str, filler: Callable[[str], tuple[str, str]]) -> Labelled:
    pieces: list[str] = []
    spans: list[tuple[int, int, str]] = []
    length = done = 0
    for match in _SLOT.finditer(template):
        before = template[done : match.start()]
        if match.group().startswith("<<"):
            before += "<"
        value, kind = (match[2], f"{match[1]}") if match[1] else filler(match[3])
        kind = "health-condition" if kind == "health" else kind
        pieces += [before, value]
        length += len(before)
        spans.append((length, length + len(value), kind))
        length, done = length + len(value), match.end()
    return Labelled("".join(pieces) + template[done:], place, tuple(spans))


_PUBLIC = {
    "person": ("person", "GivenName Surname"),
    "name": ("person", "GivenName Surname"),
    "name_male": ("person", "GivenName Surname"),
    "name_female": ("person", "GivenName Surname"),
    "first_name": ("person", "GivenName"),
    "first_name_male": ("person", "GivenName"),
    "first_name_female": ("person", "GivenName"),
    "last_name": ("person", "Surname"),
    "last_name_male": ("person", "Surname"),
    "last_name_female": ("person", "Surname"),
    "email": ("email", "EmailAddress"),
    "phone_number": ("phone", "TelephoneNumber"),
    "street_name": ("address", "StreetAddress"),
    "street_address": ("address", "StreetAddress"),
    "city": ("place", "City"),
    "country": ("place", "CountryFull"),
    "organization": ("organisation", "Company"),
    "company": ("organisation", "Company"),
    "zipcode": ("postcode", "ZipCode"),
    "postcode": ("postcode", "ZipCode"),
    "date_of_birth": ("date", "Birthday"),
    "birthday": ("date", "Birthday"),
    "url": ("url", "Domain"),
    "domain_name": ("url", "Domain"),
}


def public_texts(folder: Path, *, seed: int = 7) -> Iterator[Labelled]:
    """Yield presidio-evaluator's templates with its own fake persons.

    Templates with labels it has no data for are left out, and persons of other scripts than Latin.
    """
    found = sorted(folder.rglob("templates.txt"))
    persons = sorted(folder.rglob("FakeNameGenerator*.csv"))
    if not found or not persons:
        return
    with persons[0].open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if _latin(row)]
    choice = random.Random(seed)
    for line in found[0].read_text("utf-8", errors="replace").splitlines():
        slots = _PUBLIC_SLOT.findall(line)
        if line and all(slot in _PUBLIC for slot in slots):
            yield _fill_public(line.replace("\\n", "\n"), rows, choice)


def _fill_public(line: str, rows: list[dict[str, str]], choice: random.Random) -> Labelled:
    text, spans, done = "", [], 0
    for match in _PUBLIC_SLOT.finditer(line):
        kind, columns = _PUBLIC[match[1]]
        row = choice.choice(rows)
        value = " ".join(row[column] for column in columns.split())
        text += line[done : match.start()]
        spans.append((len(text), len(text) + len(value), kind))
        text, done = text + value, match.end()
    return Labelled(text + line[done:], "en", tuple(spans))


def _latin(row: dict[str, str]) -> bool:
    wanted = ("GivenName", "Surname", "StreetAddress", "City", "Company", "Domain", "ZipCode")
    return all(row[k] and all(ord(c) < 0x250 for c in row[k]) for k in wanted)
