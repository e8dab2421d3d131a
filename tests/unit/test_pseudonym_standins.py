"""Stand-ins have the shape of what they stand for, and hold what is reserved or checked."""

from __future__ import annotations

import ipaddress
import re
from datetime import date

import pytest

from privity.infer.pseudonyms.check_digits import luhn
from privity.infer.pseudonyms.dates import BORN, parse_date
from privity.infer.pseudonyms.mapping import ConversationMap
from privity.infer.pseudonyms.standins import stand_in
from privity.policy.sensitive import Kind


def make(kind: Kind, text: str, seen: str = "") -> str:
    place = ConversationMap()
    place.see([text, seen], [text, seen])
    return stand_in(kind, text, place)


def shape(text: str) -> str:
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", text)))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.BANK_ACCOUNT, "DE44 5001 0517 5407 3249 31"),
        (Kind.BANK_ACCOUNT, "FR1420041010050500013M02606"),
        (Kind.BANK_ACCOUNT, "ES91 2100 0418 4502 0005 1332"),
        (Kind.BANK_ACCOUNT, "GB29 NWBK 6016 1331 9268 19"),
    ],
)
def test_an_iban_keeps_country_and_form_and_checks(kind: Kind, text: str) -> None:
    made = make(kind, text)
    assert made[:2] == text[:2] and len(made) == len(text) and made != text
    bare = made.replace(" ", "")
    assert int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97 == 1


@pytest.mark.parametrize("text", ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"])
def test_a_card_keeps_form_and_checks_and_is_of_a_test_range(text: str) -> None:
    made = make(Kind.CARD, text)
    assert shape(made) == shape(text) and luhn(re.sub(r"\D", "", made)) and made != text
    assert re.sub(r"\D", "", made)[:6] in ("400000", "555555", "370000")


@pytest.mark.parametrize(
    ("kind", "text", "form"),
    [
        (Kind.NATIONAL_ID, "078-05-1120", r"9\d\d-\d\d-\d{4}"),
        (Kind.HEALTH_ID, "943 476 5919", r"999 \d{3} \d{4}"),
        (Kind.NATIONAL_ID, "12345678Z", r"\d{8}[A-Z]"),
        (Kind.NATIONAL_ID, "86095742719", r"\d{11}"),
        (Kind.HEALTH_ID, "A123456780", r"[A-Z]\d{9}"),
        (Kind.VEHICLE, "B-MW 1234", r"[A-Z]-[A-Z]{2} \d{4}"),
        (Kind.VEHICLE, "1M8GDM9AXKP042788", r"[A-HJ-NPR-Z0-9]{17}"),
        (Kind.PASSPORT, "C01X00T47", r"[A-Z]\d\d[A-Z]\d\d[A-Z]\d\d"),
        (Kind.POSTCODE, "SW1A 1AA", r"[A-Z]{2}\d[A-Z] \d[A-Z]{2}"),
        (Kind.WALLET, "0x52908400098527886E0F7030069857D2E4169EE7", r"0x[0-9A-F]{40}"),
        (Kind.SECRET, "ghp_16C7e42F292c6912E7710c838347Ae178B4a", r"ghp_[A-Za-z0-9]{36}"),
        (Kind.SECRET, "AKIAIOSFODNN7EXAMPLE", r"AKIA[A-Z0-9]{16}"),
        (Kind.PHONE, "+44 20 7183 8750", r"\+44 \d\d \d{4} \d{4}"),
        (Kind.PHONE, "(212) 736-5000", r"\(\d{3}\) 555-01\d\d"),
        (Kind.PHONE, "+33 1 42 68 53 00", r"\+33 \d \d\d \d\d \d\d \d\d"),
        (Kind.IP, "10.20.30.40", r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}"),
        (Kind.IP, "00:1b:44:11:3a:b7", r"00:00:5e:00:53:[0-9a-f]{2}"),
        (Kind.EMAIL, "someone@firma.de", r"[a-z]+@[a-z]+\.example"),
        (Kind.URL, "https://firma.de/about", r"https://[a-z]+\.example/about"),
        (Kind.URL, "https://u:p@firma.de:8080/about", r"https://[a-z]+\.example:8080/[a-z]+"),
        (Kind.URL, "https://firma.de/order/123456", r"https://[a-z]+\.example/[a-z]+"),
        (Kind.ADDRESS, "Hauptstraße 12", r"[A-Z][a-z]+straße \d\d"),
        (Kind.ADDRESS, "12 rue de la Paix", r"\d\d rue de la [A-Z][a-z]+"),
        (Kind.ADDRESS, "221 Baker Street", r"\d{3} [A-Z][a-z]+ Street"),
        (Kind.ORGANISATION, "Wexley Turbines GmbH", r"[A-Z][a-z]+ [A-Z][a-z]+ GmbH"),
        (Kind.USERNAME, "@xxdragon99", r"@[a-z]+\d\d"),
    ],
)
def test_a_stand_in_has_the_form_of_its_original(kind: Kind, text: str, form: str) -> None:
    made = make(kind, text)
    assert re.fullmatch(form, made), made
    assert made != text


@pytest.mark.parametrize("kind", [Kind.BANK_ACCOUNT, Kind.CARD, Kind.NATIONAL_ID, Kind.HEALTH_ID])
@pytest.mark.parametrize("size", [9, 10, 11, 12, 15, 16, 22])
def test_a_raised_digit_is_none_of_a_number(kind: Kind, size: int) -> None:
    text = "4" * (size - 1) + "²"
    made = make(kind, text)
    assert len(made) == size and made != text


def test_every_ip_of_the_documentation_ranges_can_run_out() -> None:
    place = ConversationMap()
    texts = [f"10.0.{i // 250}.{i % 250}" for i in range(900)]
    place.see(texts, texts)
    made = {stand_in(Kind.IP, text, place) for text in texts}
    assert len(made) == 900
    for one in made:
        assert not ipaddress.ip_address(one).is_global


def test_names_do_not_run_out() -> None:
    place = ConversationMap()
    made = {
        stand_in(Kind.PERSON, f"{'abcdefgh'[i % 8]}nname{i}x".title(), place) for i in range(1500)
    }
    assert len(made) == 1500


@pytest.mark.parametrize(
    "text",
    ["1985-03-03", "3.4.1985", "03.04.85", "12/25/2001", "3 March 1985", "March 3rd, 1985",
     "3. März 1985", "1 mars 1985", "3 de marzo de 1985", "Mar 3, 1985", "1985-03-03T10:00:00Z"],
)  # fmt: skip
def test_a_date_is_moved_and_written_the_same(text: str) -> None:
    first = parse_date(text, month_first=True)
    assert first is not None and first.moved(0) == text
    moved = parse_date(first.moved(70), month_first=True)
    assert moved is not None and (moved.day - first.day).days == 70


DAYS = ("1985-03-04", "1999-12-31", "2024-02-29")


@pytest.mark.parametrize("said", ["on Monday", "am Mittwoch", "vendredi", "el próximo sábado"])
def test_dates_keep_order_distance_and_weekday(said: str) -> None:
    place = ConversationMap()
    place.see([said], [said])
    made = [date.fromisoformat(stand_in(Kind.DATE, day, place)) for day in DAYS]
    assert made == sorted(made) and (made[1] - made[0]).days == 5415
    assert made[0].weekday() == date(1985, 3, 4).weekday() and made[0] != date(1985, 3, 4)
    assert 35 <= abs((made[0] - date(1985, 3, 4)).days) <= 706


def test_without_days_of_the_week_they_tell_nothing_of_the_shift() -> None:
    weekdays = set()
    for _ in range(200):
        place = ConversationMap()
        place.see(["see you then"], [])
        made = [date.fromisoformat(stand_in(Kind.DATE, day, place)) for day in DAYS]
        assert made == sorted(made) and (made[1] - made[0]).days == 5415
        assert 35 <= abs((made[0] - date(1985, 3, 4)).days) <= 706
        weekdays.add(made[0].weekday())
    assert weekdays == set(range(7))


def age(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


@pytest.mark.parametrize(
    ("births", "events"),
    [
        (["1985-03-04"], ["2010-06-01"]),
        (["1985-03-04", "1987-11-30"], ["2010-06-01"]),
        (["2023-05-01"], ["2023-05-03", "2023-07-01"]),
        (["1960-02-29"], ["1959-12-24", "2024-02-29"]),
        (
            ["1985-03-04"],
            [f"{year}-{month:02}-10" for year in (2001, 2002) for month in range(1, 13)],
        ),
        (["1985-03-04"], []),
    ],
)
def test_births_are_moved_apart_and_ages_stay(births: list[str], events: list[str]) -> None:
    born = [date.fromisoformat(one) for one in births]
    known = [date.fromisoformat(one) for one in events]
    distances = set()
    for _ in range(60):
        place = ConversationMap()
        place.see(["x"], ["x"])
        place.see_births(born, known)
        moved = [date.fromisoformat(stand_in(Kind.DATE, one, place)) for one in births]
        later = [date.fromisoformat(stand_in(Kind.DATE, one, place)) for one in events]
        for one, other in zip(born, moved, strict=True):
            assert [one <= day for day in known] == [other <= day for day in later]
            for day, after in list(zip(known, later, strict=True))[-1:]:
                assert age(one, day) == age(other, after)
        assert (moved[-1] - moved[0]) == (born[-1] - born[0]), "who is older, and by how much"
        kept = ConversationMap.from_bytes(place.to_bytes())
        assert [kept.days_for(day) for day in born] == [place.days_for(day) for day in born]
        distances.add((later[-1] - moved[0]).days if later else moved[0])
    assert len(distances) > 20


@pytest.mark.parametrize(
    ("before", "is_birth"),
    [
        ("born on ", True), ("Date of birth: ", True), ("**DOB:** ", True), ("geb. am ", True),
        ("Geburtsdatum: ", True), ("née le ", True), ("nacida en Murcia el ", True),
        ("date of birth ", True), ("Anna Schmidt (* ", True), ("Anna, *", True),
        ("* ", False), ("- **", False), ("hired on ", False), ("geborgen am ", False),
        ("born in 1985, hired ", False), ("reborn\n", False), ("", False),
    ],
)  # fmt: skip
def test_what_stands_before_a_date_says_whether_it_is_of_a_birth(
    before: str, is_birth: bool
) -> None:
    assert (BORN.search(before) is not None) is is_birth


def test_the_names_in_an_address_agree_with_the_name() -> None:
    place = ConversationMap()
    given, family = stand_in(Kind.PERSON, "Anna Schmidt", place).split()
    assert stand_in(Kind.PERSON, "Frau Schmidt", place) == f"Frau {family}"
    assert stand_in(Kind.PERSON, "Schmidt, Anna", place) == f"{family}, {given}"
    assert stand_in(Kind.PERSON, "Schmidts", place) == f"{family}s"
    assert stand_in(Kind.PERSON, "ANNA SCHMIDT", place) == f"{given} {family}".upper()
    address = stand_in(Kind.EMAIL, "anna.schmidt@firma.de", place)
    assert address.startswith(f"{given}.{family}@".lower())
    assert stand_in(Kind.URL, "https://firma.de/", place) == f"https://{address.split('@')[1]}/"


def test_a_stand_in_is_not_computed_from_its_original() -> None:
    made = {make(kind, text) for _ in range(20) for kind, text in ((Kind.PERSON, "Anna Schmidt"),)}
    assert len(made) > 15


def test_what_has_no_form_keeps_its_letters_as_one() -> None:
    for kind in Kind:
        made = make(kind, "Ωmega-7 🙂 x1")
        assert made
        assert make(kind, "—") == "—"


def test_what_is_put_together_stands_for_one_thing_alone() -> None:
    place = ConversationMap()
    place.see(["Anna Schmidt"], [])
    stand_in(Kind.PERSON, "Anna Schmidt", place)
    for kind, form in (
        (Kind.ADDRESS, "Dean Pass {}"),
        (Kind.EMAIL, "anna{}@firma.de"),
        (Kind.USERNAME, "@anna{}"),
    ):
        made = {stand_in(kind, form.format(number), place) for number in range(10)}
        made |= {stand_in(kind, form.format(f"{number}"), place) for number in range(10, 30)}
        assert len(made) == 30
    assert stand_in(Kind.EMAIL, "anna.schmidt@firma.de", place) != stand_in(
        Kind.EMAIL, "anna_schmidt@firma.de", place
    )
