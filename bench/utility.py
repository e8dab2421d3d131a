"""What pseudonymisation costs in right answers: a task set asked in several ways of a real model.

Tasks are short texts with personal data and a question whose answer is known: to extract, count,
sort, say who did what, compare dates, rewrite as JSON. The model answers each at temperature 0:

- plain: as it is;
- other: names, towns, mail addresses and phone numbers replaced by Faker's, and those put back into
  the answer. That is the control: what it loses to plain is the model's own unsteadiness, since
  nothing about these texts is stranger than about the plain ones;
- ours: as the pseudonymiser lets it leave, its answer restored;
- coined: the same, with no list of names that exist, so that every name is coined;
- presidio: its analyser's findings as numbered placeholders (``<PERSON_1>``), put back: the peer.

An answer matches where the expected one stands in it, case and white space aside; for JSON, where
it parses to the same. Random arms are asked several times with other stand-ins. Beside each rate is
its 95 % interval (Wilson), beside each difference that of a paired bootstrap over the tasks.
Some loss has to be expected and is not repaired: stand-ins sort differently, in every arm but
plain. The model is small and often wrong; the differences are what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import httpx

from measure import Report, title
from presidio_peer import presidio_engines
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.weights import weights_at
from privity.infer.pseudonyms.detector import load_detector
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.policy.sensitive import Mode

PATH = "/v1/chat/completions"
PEOPLE = (
    (
        "Martha Ellwood",
        "martha.ellwood@northgate.org",
        "Carlisle",
        "1962-05-14",
        "+44 1228 555 017",
    ),
    ("Tobias Renner", "t.renner@kraftwerk-sued.de", "Ulm", "1979-11-02", "+49 731 4402 118"),
    (
        "Claire Dubreuil",
        "claire.dubreuil@atelier.fr",
        "Angers",
        "1988-01-23",
        "+33 2 41 55 01 02",
    ),
    ("Ignacio Vidal", "ividal@hortaverde.es", "Murcia", "1991-07-30", "+34 968 220 145"),
    ("Priya Raman", "priya@ramandesign.com", "Leicester", "1984-03-09", "+44 116 496 0122"),
    ("Harold Finch", "hfinch@libraryworks.net", "Dayton", "1955-12-19", "+1 937 555 0144"),
    ("Greta Lindner", "greta.lindner@posthof.at", "Linz", "1996-08-05", "+43 732 781 800"),
    ("Samuel Okafor", "s.okafor@brightwell.io", "Leeds", "1973-10-27", "+44 113 496 0777"),
)
TOWNS = (
    "Norwich Preston Exeter Durham Bamberg Kassel Erfurt Passau Rennes Limoges Troyes Valence "
    "Burgos Girona Huesca Almería"
).split()
LETTERS = "abcdefghijklmnopqrstuvwxyz."


@dataclass(frozen=True)
class Task:
    """A question about a text, and its answer."""

    sort: str
    text: str
    answer: str


def main() -> None:
    """Ask and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=0, help="only so many of them")
    parser.add_argument("--draws", type=int, default=3, help="stand-ins drawn for each task")
    parser.add_argument("--weights", default="", help="a GGUF file, instead of the small model")
    options = parser.parse_args()
    made = list(tasks())
    chosen = made[:: max(len(made) // options.tasks, 1)] if options.tasks else made
    title(f"utility: {len(chosen)} of {len(made)} tasks, asked in five ways")
    asyncio.run(_run(chosen, max(1, min(options.draws, 9)), options.weights))


def tasks() -> Iterator[Task]:
    """Yield the tasks: nine sorts, eight of each."""
    for place, (name, mail, town, born, phone) in enumerate(PEOPLE):
        other, _, elsewhere, later, _ = PEOPLE[(place + 3) % len(PEOPLE)]
        card = f"{name} ({mail}, {phone}) was born on {born} and lives in {town}."
        both = f"{card} {other} lives in {elsewhere}."
        yield Task("extract", f"{card}\nWhat is the e-mail address? Answer with it alone.", mail)
        yield Task("extract", f"{card}\nWhat is the phone number? Answer with it alone.", phone)
        yield Task("who", f"{both}\nWho lives in {elsewhere}? Answer with the name.", other)
        yield Task(
            "who",
            f"{name} wrote the report. {other} read it.\nWho wrote the report?",
            name,
        )
        yield Task("count", f"{both}\nHow many people are named? Answer with a number.", "2")
        first = min(name, other, key=lambda one: one.split()[1])
        yield Task(
            "sort",
            f"{name}\n{other}\nWhose surname comes first in the alphabet?",
            first,
        )
        older = name if date.fromisoformat(born) < date.fromisoformat(later) else other
        yield Task(
            "dates",
            f"{name} was born on {born}, {other} on {later}.\nWho is older? Answer with the name.",
            older,
        )
        yield Task("dates", f"{name}, born {born}.\nIn which year was {name} born?", born[:4])
        record = json.dumps({"name": name, "city": town})
        yield Task(
            "json",
            f'{name} lives in {town}.\nWrite this as JSON with the keys "name" and "city" only.',
            record,
        )


async def _run(chosen: list[Task], draws: int, weights: str) -> None:
    engine = EmbeddedEngine(
        weights_at(Path(weights)) if weights else None, slots=1, context=1024, threads=2
    )
    await engine.start()
    right: dict[str, list[float]] = defaultdict(list)
    same: Counter[str] = Counter()
    try:
        async with httpx.AsyncClient(base_url=engine.base_url, timeout=120) as client:

            async def ask(text: str) -> str:
                return _text(await _ask(client, engine, _body(text)))

            arms = _arms()
            for number, task in enumerate(chosen):
                if number % 12 == 0:
                    print(f"  {number} of {len(chosen)} asked", flush=True)
                plain = ""
                for name, (way, turns) in arms.items():
                    count = min(turns, draws)
                    hits = 0
                    for turn in range(count):
                        said = await way(task.text, turn, ask)
                        plain = plain or said
                        hits += _matches(said, task)
                        same[name] += _normal(said) == _normal(plain)
                    right[name].append(hits / count)
    finally:
        await engine.aclose()
    _tell(chosen, right, same, {name: min(turns, draws) for name, (_, turns) in arms.items()})


Ask = Callable[[str], Awaitable[str]]
Way = Callable[[str, int, Ask], Awaitable[str]]


def _arms() -> dict[str, tuple[Way, int]]:
    """Return each way to ask, and how often at most, with other stand-ins each time."""
    detector = load_detector()
    others = [_others(Random(seed)) for seed in range(9)]

    async def plain(text: str, turn: int, ask: Ask) -> str:
        return await ask(text)

    async def other(text: str, turn: int, ask: Ask) -> str:
        there, back = others[turn]
        return _swapped(await ask(_swapped(text, there)), back)

    async def ours(text: str, turn: int, ask: Ask) -> str:
        departure = Pseudonymiser(detector, pick=Random(turn).randrange).replace(
            PATH, {"messages": [{"role": "user", "content": text}]}, Mode.REPLACE
        )
        said = await ask(departure.body["messages"][0]["content"])
        restorer = departure.answer("application/json")
        answer = {"choices": [{"index": 0, "message": {"content": said}}]}
        return _text(json.loads(restorer.feed(json.dumps(answer).encode()) + restorer.end()))

    async def coined(text: str, turn: int, ask: Ask) -> str:
        with patch("privity.infer.pseudonyms.familiar._listed", lambda *_: ()):
            return await ours(text, turn, ask)

    async def presidio(text: str, turn: int, ask: Ask) -> str:
        made, back = _numbered(text)
        return _swapped(await ask(made), back)

    return {
        "plain": (plain, 1),
        "other": (other, 9),
        "ours": (ours, 9),
        "coined": (coined, 9),
        "presidio": (presidio, 1),
    }


def _others(chosen: Random) -> tuple[dict[str, str], dict[str, str]]:
    """Return what Faker puts in place of each name and so on, and the way back."""
    import faker

    fakes = [faker.Faker(locale) for locale in ("en_GB", "de_DE", "fr_FR", "es_ES")]
    there: dict[str, str] = {}
    towns = chosen.sample(TOWNS, len(PEOPLE))
    for place, (name, mail, town, _, phone) in enumerate(PEOPLE):
        fake = fakes[(0, 1, 2, 3, 0, 0, 1, 0)[place]]
        fake.seed_instance(chosen.randrange(1 << 30))
        female = place in (0, 2, 4, 6)
        given = fake.unique.first_name_female() if female else fake.unique.first_name_male()
        family = fake.unique.last_name()
        plain = "".join(c for c in f"{given}.{family}".lower() if c.isascii() and c in LETTERS)
        there[mail] = f"{plain}@{fake.unique.domain_name()}"
        there[phone] = "".join(
            str(chosen.randrange(10)) if c.isdigit() and i > 3 else c for i, c in enumerate(phone)
        )
        there[name] = f"{given} {family}"
        there.update(zip(name.split(), (given, family), strict=True))
        there[town] = towns[place]
    return there, {other: one for one, other in there.items()}


def _swapped(text: str, table: Mapping[str, str]) -> str:
    """Return a text with each key replaced, the longer ones first."""
    if not table:
        return text
    keys = "|".join(re.escape(key) for key in sorted(table, key=len, reverse=True))
    return re.sub(keys, lambda found: table[found[0]], text)


def _numbered(text: str) -> tuple[str, dict[str, str]]:
    """Return a text as presidio leaves it with numbered placeholders, and the way back."""
    from presidio_anonymizer.entities import OperatorConfig

    analyzer, anonymizer = presidio_engines()
    back: dict[str, str] = {}

    def number(kind: str) -> Any:
        def placed(original: str) -> str:
            if original == "PII":  # presidio tries the function so, and looks at what it returns
                return original
            known = [key for key, value in back.items() if value == original]
            key = known[0] if known else f"<{kind}_{len(back) + 1}>"
            back[key] = original
            return key

        return OperatorConfig("custom", {"lambda": placed})

    found = analyzer.analyze(text, "en")
    operators = {one.entity_type: number(one.entity_type) for one in found}
    made = anonymizer.anonymize(text, found, operators=operators).text
    return made, {**back, **{key.strip("<>"): value for key, value in back.items()}}


def _tell(
    chosen: list[Task], right: Mapping[str, list[float]], same: Counter[str], turns: dict[str, int]
) -> None:
    report = Report("utility")
    sizes = Counter(task.sort for task in chosen)
    for sort in [*sizes, "all"]:
        rates = {
            name: _mean(
                [v for v, task in zip(rate, chosen, strict=True) if sort in (task.sort, "all")]
            )
            for name, rate in right.items()
        }
        size = len(chosen) if sort == "all" else sizes[sort]
        line = "   ".join(f"{name} {100 * rate:3.0f} %" for name, rate in rates.items())
        report.add(sort, f"{line}   of {size} tasks", tasks=size, rates=rates)
    for name, rate in right.items():
        low, high = _wilson(_mean(rate), len(rate))
        told = f"{100 * _mean(rate):5.1f} % ({100 * low:.0f} to {100 * high:.0f})"
        gaps: dict[str, tuple[float, float, float]] = {}
        for peer in ("plain", "other"):
            gaps[peer] = _gap([a - b for a, b in zip(rate, right[peer], strict=True)])
            if name not in ("plain", peer):
                mean, least, most = gaps[peer]
                told += f"   against {peer} {mean:+5.1f} points ({least:+.1f} to {most:+.1f})"
        asked = turns[name] * len(chosen)
        report.add(
            f"arm: {name}",
            f"{told}   the same answer {same[name]} of {asked}",
            rate=_mean(rate),
            interval=(low, high),
            points=gaps,
            asked=asked,
            same=same[name],
        )
    report.write()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _wilson(rate: float, size: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate; of several draws of one task, only the task counts."""
    z = 1.96
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    half = z * math.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size)) / (1 + z * z / size)
    return middle - half, middle + half


def _gap(differences: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of paired differences in points, and its 95 % interval by bootstrap."""
    drawn = Random(5)
    means = sorted(_mean(drawn.choices(differences, k=len(differences))) for _ in range(4000))
    return 100 * _mean(differences), 100 * means[100], 100 * means[3899]


def _body(text: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 64,
    }


async def _ask(
    client: httpx.AsyncClient, engine: EmbeddedEngine, body: dict[str, object]
) -> dict[str, object]:
    answer = await client.post(PATH, json=body, headers=dict(engine.headers))
    answer.raise_for_status()
    return dict(answer.json())


def _text(answer: dict[str, object]) -> str:
    choices = answer["choices"]
    if not isinstance(choices, list):
        raise RuntimeError("the engine answered without choices")
    return str(choices[0]["message"]["content"])


def _matches(said: str, task: Task) -> bool:
    if task.sort == "json":
        found = re.search(r"\{[^{}]*\}", said)
        try:
            return found is not None and json.loads(found[0]) == json.loads(task.answer)
        except ValueError:
            return False
    wanted = re.escape(_normal(task.answer))
    return re.search(rf"(?<!\w){wanted}(?!\w)", _normal(said)) is not None


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


if __name__ == "__main__":
    main()
