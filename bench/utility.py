"""What pseudonymisation costs in right answers: a task set, with and without, on a real model.

Tasks are short texts with personal data and a question whose answer is known: to extract, count,
sort, say who did what, compare dates, rewrite as JSON. The embedded model answers each at
temperature 0, once on the plain text and once on the pseudonymised one, whose answer is restored.
An answer matches where the expected one stands in it, case and white space aside; for JSON, where
it parses to the same. The figures: matches with and without, and in how many tasks that changed.
Some change has to be expected and is not repaired: stand-ins sort differently, and dates that an
answer computes are moved. The model is small and often wrong; the difference is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import httpx

from measure import Report, title
from privity.infer.engines.embedded import EmbeddedEngine
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


@dataclass(frozen=True)
class Task:
    """A question about a text, and its answer."""

    sort: str
    text: str
    answer: str


def main() -> None:
    """Ask and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=0, help="only the first of them")
    options = parser.parse_args()
    made = list(tasks())
    chosen = made[:: max(len(made) // options.tasks, 1)] if options.tasks else made
    title(f"utility: {len(chosen)} of {len(made)} tasks, with and without")
    asyncio.run(_run(chosen))


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


async def _run(chosen: list[Task]) -> None:
    pseudonymiser = Pseudonymiser(load_detector())
    engine = EmbeddedEngine(slots=1, context=1024)
    await engine.start()
    plain: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    won: Counter[str] = Counter()
    same = 0
    try:
        async with httpx.AsyncClient(base_url=engine.base_url, timeout=120) as client:
            for task in chosen:
                body = _body(task)
                one = await _ask(client, engine, body)
                departure = pseudonymiser.replace(PATH, body, Mode.REPLACE)
                said = await _ask(client, engine, departure.body)
                restorer = departure.answer("application/json")
                whole = restorer.feed(json.dumps(said).encode()) + restorer.end()
                before, after = _text(one), _text(json.loads(whole))
                right, still = _matches(before, task), _matches(after, task)
                plain[task.sort] += right
                ours[task.sort] += still
                lost[task.sort] += right and not still
                won[task.sort] += still and not right
                same += _normal(before) == _normal(after)
    finally:
        await engine.aclose()
    _tell(chosen, plain, ours, lost, won, same)


def _tell(
    chosen: list[Task],
    plain: Counter[str],
    ours: Counter[str],
    lost: Counter[str],
    won: Counter[str],
    same: int,
) -> None:
    report = Report("utility")
    sizes = Counter(task.sort for task in chosen)
    for sort in [*sizes, "all"]:
        size = len(chosen) if sort == "all" else sizes[sort]
        counts = [
            sum(one.values()) if sort == "all" else one[sort] for one in (plain, ours, lost, won)
        ]
        report.add(
            sort,
            f"plain {counts[0]:3d} of {size:3d}   pseudonymised {counts[1]:3d}   "
            f"lost {counts[2]}   won {counts[3]}   change "
            f"{(counts[1] - counts[0]) * 100 / size:+.1f} "
            "points",
            tasks=size,
            plain=counts[0],
            ours=counts[1],
            lost=counts[2],
            won=counts[3],
        )
    report.add("the very same answer", f"{same} of {len(chosen)}", same=same, tasks=len(chosen))
    report.write()


def _body(task: Task) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": task.text}],
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
