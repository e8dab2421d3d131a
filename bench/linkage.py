"""Who wrote this prompt? A linkage attack on what pseudonymisation leaves.

A population of synthetic persons, made here, each with a public record (name, birthday, date of
hire, town, employer, work, two rare pastimes) and a sample of their writing. Each sends one prompt
that tells some of it. The attacker has all the records and samples, sees the prompts as a provider
would, and ranks the records for each: by words and word pairs weighed by rarity (what is left of
names, towns, pastimes), by pieces of words (style), and by the dates in it: the attacker knows how
dates are moved, and keeps the records that could have become what the prompt says. Top-1 and top-5
are how often the writer is ranked first or among the first five; chance is 1 and 5 out of the
number of persons. Beside: the plain prompt, and presidio's analyser with its anonymiser's replace,
where every entity becomes its type.

A second table compares ways to move dates, for who knows a birthday and a date of hire of all, or
the birthday alone, and nothing else: in how many prompts the one record is found, among the persons
and among 10,000; and what is lost: by how much a person's age today is off, whether the age at the
other date stays, whether days of the week do.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from random import Random

from measure import Report, title
from presidio_peer import presidio_engines
from privity.infer.pseudonyms.dates import apart_from
from privity.infer.pseudonyms.detector import load_detector
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.policy.sensitive import Mode

PATH = "/v1/chat/completions"
JOBS = "nurse welder notary baker surveyor teacher plumber archivist florist optician".split()
PASTIMES = (
    "bell ringing|lichen mapping|slot cars|cheese rolling|falconry|bookbinding|tide pooling|"
    "accordion repair|curling|moth trapping|sourdough|kite building|caving|morris dancing|stilts|"
    "fern collecting|ham radio|whittling|dowsing|unicycling|marquetry|orienteering|beekeeping"
).split("|")
HABITS = (
    ("Hi,", "cheers"), ("Good day.", "Kind regards"), ("hey there!!", "thx"), ("Hello -", "Best"),
    ("Dear assistant,", "Yours sincerely"), ("Right;", "ta"), ("Morning.", "Many thanks indeed"),
    ("so,", "k thanks"),
)  # fmt: skip
FILLERS = "honestly basically actually perhaps frankly admittedly obviously anyway".split()


@dataclass(frozen=True)
class Person:
    """One of the population."""

    name: str
    town: str
    employer: str
    job: str
    born: date
    hired: date
    pastimes: tuple[str, str]
    habit: tuple[str, str]
    filler: str

    def record(self) -> str:
        """Return what is public about them, and how they write."""
        greeting, close = self.habit
        return (
            f"{self.name} of {self.town}, born {self.born}, {self.job} at {self.employer} since "
            f"{self.hired}. Likes {self.pastimes[0]} and {self.pastimes[1]}. {greeting} it was "
            f"fine {self.filler}, {self.filler}, {close}"
        )

    def prompt(self, told: frozenset[str]) -> str:
        """Return what they send: what is told of it, in their way or in nobody's."""
        greeting, close = self.habit if "style" in told else ("Hello.", "Thank you")
        lines = [f"I am {self.name}, I live in {self.town} and work for {self.employer}."]
        if "dates" in told:
            lines.append(f"I was born on {self.born} and am in this job since {self.hired}.")
        if "work" in told:
            lines.append(f"As a {self.job} I sit too little.")
        if "pastimes" in told:
            lines.append(f"On weekends I do {self.pastimes[0]} and {self.pastimes[1]}.")
        if "style" in told:
            lines.append(f"{self.filler.capitalize()}, it is time, {self.filler}.")
        lines.append("Could you plan a week of exercise for me? My knee hurts.")
        return " ".join([greeting, *lines, close])


TOLD = {
    "names": frozenset[str](),
    "names, work": frozenset({"work"}),
    "names, dates": frozenset({"dates"}),
    "names, pastimes": frozenset({"pastimes"}),
    "names, style": frozenset({"style"}),
    "all of it": frozenset({"dates", "work", "pastimes", "style"}),
}


def main() -> None:
    """Attack and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--persons", type=int, default=300)
    options = parser.parse_args()
    title(f"linkage: whose prompt is it, of {options.persons} persons")
    chosen = Random(11)
    people = population(options.persons, chosen)
    report = Report("linkage")
    chance = 100 / len(people)
    for told, what in TOLD.items():
        prompts = [one.prompt(what) for one in people]
        views = {"plain": prompts, "presidio": presidio(prompts), "ours": ours(prompts)}
        rates = {name: attack(people, seen) for name, seen in views.items()}
        line = "   ".join(f"{n} {first:5.1f} / {five:5.1f} %" for n, (first, five) in rates.items())
        report.add(
            f"told: {told}",
            f"top-1 / top-5: {line}   chance {chance:.1f} / {5 * chance:.1f} %",
            rates=rates,
            chance_percent=chance,
            persons=len(people),
        )
    ways(len(people), report)
    report.write()


def population(size: int, chosen: Random) -> list[Person]:
    """Return persons with names, towns and employers of Faker's lists."""
    import faker

    made = faker.Faker("en_GB")
    made.seed_instance(12)
    towns = [made.city() for _ in range(max(size // 6, 3))]
    employers = [made.company() for _ in range(max(size // 5, 3))]
    return [
        Person(
            made.name(),
            chosen.choice(towns),
            chosen.choice(employers),
            chosen.choice(JOBS),
            date(1950, 1, 1) + timedelta(chosen.randrange(18_000)),
            date(2005, 1, 1) + timedelta(chosen.randrange(7_000)),
            (chosen.choice(PASTIMES), chosen.choice(PASTIMES)),
            chosen.choice(HABITS),
            chosen.choice(FILLERS),
        )
        for _ in range(size)
    ]


def ours(prompts: Sequence[str]) -> list[str]:
    """Return prompts as our pseudonymiser lets them leave."""
    pseudonymiser = Pseudonymiser(load_detector())
    made = []
    for text in prompts:
        body = {"messages": [{"role": "user", "content": text}]}
        departure = pseudonymiser.replace(PATH, body, Mode.REPLACE)
        made.append(str(departure.body["messages"][0]["content"]))
    return made


def presidio(prompts: Sequence[str]) -> list[str]:
    """Return prompts as presidio's replace makes them."""
    analyzer, anonymizer = presidio_engines()
    return [anonymizer.anonymize(text, analyzer.analyze(text, "en")).text for text in prompts]


def attack(people: Sequence[Person], prompts: Sequence[str]) -> tuple[float, float]:
    """Return in how many of a hundred prompts the writer is ranked first, and among five."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    records = [one.record() for one in people]
    scores = np.zeros((len(prompts), len(people)))
    for weight, settings in (
        (1.0, {"ngram_range": (1, 2), "token_pattern": r"[\w!]+"}),
        (0.5, {"analyzer": "char_wb", "ngram_range": (2, 4)}),
    ):
        vectorizer = TfidfVectorizer(sublinear_tf=True, **settings)
        known = vectorizer.fit_transform(records)
        scores += weight * (vectorizer.transform(prompts) @ known.T).toarray()
    for row, text in enumerate(prompts):
        told = _dates(text)
        for column, one in enumerate(people):
            if len(told) == 2 and _could_be((one.born, one.hired), told):
                scores[row, column] += 5.0  # more than all words together
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1)
    ties = (scores == scores.diagonal()[:, None]).sum(axis=1) - 1
    ranks = ranks + ties / 2  # in the middle of those it cannot tell apart
    return float((ranks < 1).mean() * 100), float((ranks < 5).mean() * 100)


def _dates(text: str) -> list[date]:
    found = []
    for one in re.findall(r"\d{4}-\d\d-\d\d", text):
        try:
            found.append(date.fromisoformat(one))
        except ValueError:
            continue
    return found


def _could_be(known: tuple[date, date], told: Sequence[date]) -> bool:
    """Tell whether a birthday and another date may have become those told."""
    by = (told[1] - known[1]).days
    if by == 0:
        return known == tuple(told)
    return 35 <= abs(by) <= 706 and _age(*known) == _age(told[0], told[1])


def _age(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


WEEKS = [sign * 7 * weeks for weeks in range(5, 101) for sign in (1, -1)]
DAYS = [sign * days for days in range(35, 707) for sign in (1, -1)]
TWO_YEARS = [7 * weeks for weeks in range(-104, 105) if weeks]


@dataclass(frozen=True)
class Way:
    """A way to move dates: by what all are moved, and by what births are instead.

    ``births`` is a list of numbers of days, "same" for those of all, "age" for any that keep the
    age at the other date.
    """

    shifts: Sequence[int]
    births: Sequence[int] | str

    def move(self, born: date, hired: date, chosen: Random) -> tuple[date, date]:
        """Return both as they would leave."""
        by = chosen.choice(self.shifts)
        moved = hired + timedelta(by)
        if self.births == "age":
            further = apart_from([born], [hired], by, chosen.randrange)
            return born + timedelta(by + further), moved
        own = by if isinstance(self.births, str) else chosen.choice(self.births)
        return born + timedelta(own), moved

    @cached_property
    def _sets(self) -> tuple[frozenset[int], frozenset[int]]:
        births = frozenset() if isinstance(self.births, str) else frozenset(self.births)
        return frozenset(self.shifts), births

    def could_be(self, known: tuple[date, date], told: tuple[date, date], *, both: bool) -> bool:
        """Tell whether one may have become the other; ``both``: or the birthdays alone."""
        shifts, births = self._sets
        birth, other = ((b - a).days for a, b in zip(known, told, strict=True))
        if both and other not in shifts:
            return False
        if self.births == "age":
            same = _age(*known) == _age(*told)
            return same if both else 0 < abs(birth) <= 706 + 365
        if self.births == "same":
            return birth == other if both else birth in shifts
        return birth in births


WAYS = {
    "one shift of weeks": Way(WEEKS, "same"),
    "one shift of days": Way(DAYS, "same"),
    "births by their own weeks, up to 2 years": Way(WEEKS, TWO_YEARS),
    "births by their own days, the rest weeks": Way(WEEKS, DAYS),
    "births by their own days, the rest days": Way(DAYS, DAYS),
    "births within their year of life, weeks": Way(WEEKS, "age"),
    "births within their year of life, days": Way(DAYS, "age"),
}


def ways(size: int, report: Report) -> None:
    """Compare ways to move dates."""
    for name, way in WAYS.items():
        chosen = Random(31)
        rates, off, ages, days = {}, 0.0, 0, 0
        people = [_birth_and_hire(chosen) for _ in range(10_000)]
        tried = [(one, way.move(*one, chosen)) for one in people[:100]]
        for one, said in tried:
            off += abs((said[0] - one[0]).days) / 365.25
            ages += _age(*one) == _age(*said)
            days += one[1].weekday() == said[1].weekday()
        for both in (True, False):
            others = [
                sum(way.could_be(one, said, both=both) for one in people) - 1 for _, said in tried
            ]
            for among in (size, len(people)):
                found = sum(_found(other / (len(people) - 1), among - 1) for other in others)
                rates[f"{among} {'both' if both else 'birthday'}"] = found
        line = "   ".join(f"{what} {rate:5.1f} %" for what, rate in rates.items())
        report.add(
            f"dates: {name}",
            f"{line}   age today off {off / 100:.1f} years   age at the other date kept "
            f"{ages} %   weekday {days} %",
            rates=rates,
            age_off_years=off / 100,
            age_at_date_kept_percent=ages,
            weekday_kept_percent=days,
        )


def _found(share: float, others: int) -> float:
    """Return how often one is picked among those who fit, if each other fits with this share."""
    return (1 - (1 - share) ** (others + 1)) / ((others + 1) * share) if share else 1.0


def _birth_and_hire(chosen: Random) -> tuple[date, date]:
    born = date(1950, 1, 1) + timedelta(chosen.randrange(18_000))
    return born, date(2005, 1, 1) + timedelta(chosen.randrange(7_000))


if __name__ == "__main__":
    main()
