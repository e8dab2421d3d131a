"""What the detector finds beside plain presidio: recall and precision, per kind and per language.

Two sets. *Generated*: sentence templates of ours (bench/data) filled by Faker in five locales;
`a` was used to tune the detector; `b` was held back while it was tuned, and is what is reported.
Both were written by the same author, and words about health and belief stand in the templates
themselves: read those rows as a check, not as an estimate. *Public*: the templates and the fake
persons that presidio-evaluator ships (MIT); give its folder or unpacked wheel with ``--public`` or
``PRIVITY_PRESIDIO_EVALUATOR``; nothing is downloaded.

A labelled span is *found* when at least half of its letters and digits are covered by findings of
any kind, *typed* when one of its own kind overlaps it, *exact* when one of its kind (or several
side by side: a given name and a surname) has its borders. A finding is *right* when at
least half of its letters and digits are inside labelled spans. Plain presidio is
`AnalyzerEngine()` with the same spaCy model, language ``en``, and nothing changed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detection_texts import Labelled, generated, public_texts
from measure import Report
from privity.infer.pseudonyms.finding import Finding
from privity.policy.sensitive import Kind

PRESIDIO_KINDS = {
    "PERSON": "person", "LOCATION": "place", "ORGANIZATION": "organisation",
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card",
    "IBAN_CODE": "bank-account", "US_BANK_NUMBER": "bank-account", "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "ip", "URL": "url", "DATE_TIME": "date", "CRYPTO": "wallet",
    "US_SSN": "national-id", "US_ITIN": "national-id", "UK_NHS": "health-id",
    "MEDICAL_LICENSE": "health-id", "US_PASSPORT": "passport",
    "US_DRIVER_LICENSE": "driving-licence", "NRP": "belief",
}  # fmt: skip
Find = Callable[[str], Sequence[Finding]]
LONG, LONG_SEED = 16_000, 7
"""Characters of the long prompts, and a seed of their own: nothing of them was seen before."""


@dataclass
class Score:
    """Counts of one group of spans."""

    spans: int = 0
    found: int = 0
    typed: int = 0
    exact: int = 0
    findings: int = 0
    right: int = 0

    def figures(self) -> dict[str, float]:
        """Return the shares."""
        return {
            "spans": self.spans, "recall": _share(self.found, self.spans),
            "typed": _share(self.typed, self.spans), "exact": _share(self.exact, self.spans),
            "findings": self.findings, "precision": _share(self.right, self.findings),
        }  # fmt: skip


@dataclass
class Tally:
    """The scores of one detector on one set."""

    micro: Score = field(default_factory=Score)
    kinds: defaultdict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    places: defaultdict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    cells: defaultdict[tuple[str, str], Score] = field(default_factory=lambda: defaultdict(Score))
    seconds: float = 0.0
    processor: float = 0.0
    characters: int = 0
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)
    mistyped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def groups(self, kind: str, place: str) -> tuple[Score, ...]:
        """Return the scores a span or finding counts in."""
        return self.micro, self.kinds[kind], self.places[place], self.cells[kind, place]


def main() -> None:
    """Print both tables as Markdown and write bench/out/detection.json."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--split", choices=("a", "b"), default="b")
    asked.add_argument("--count", type=int, default=8, help="fillings of each template")
    asked.add_argument("--public", default=os.environ.get("PRIVITY_PRESIDIO_EVALUATOR", ""))
    asked.add_argument("--only", choices=("generated", "public"), help="one of the two sets")
    asked.add_argument("--show", type=int, default=0, help="print this many misses, for tuning")
    options = asked.parse_args()
    report = Report("detection")
    detectors = {"privity": ours(), "presidio": plain_presidio()}
    sets: list[tuple[str, list[Labelled]]] = []
    if options.only != "public":
        texts = list(generated(options.split, options.count, seed=20260))
        sets.append((f"generated {options.split}", texts))
    if options.only != "generated":
        shipped = list(public_texts(Path(options.public))) if options.public else []
        if shipped:
            sets.append(("public", shipped))
        else:
            report.add("public", "skipped: no presidio-evaluator (--public FOLDER)")
    if options.only != "public":
        add_long(report, detectors["privity"], options.split)
    for name, texts in sets:
        tallies = {who: tally(find, texts) for who, find in detectors.items()}
        add(report, name, tallies)
        print("\n" + markdown(tallies) + "\n")
        if options.show:
            show(tallies["privity"], options.show)
    print(f"  {report.write()}")


def ours() -> Find:
    """Return the detector as `privity` loads it, without a vocabulary."""
    from privity.infer.pseudonyms.detector import load_detector

    return load_detector().find


def plain_presidio() -> Find:
    """Return presidio as it comes, with the same spaCy model and no call to the network."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    from privity.infer.pseudonyms.presidio import SPACY_MODEL

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    models = [{"lang_code": "en", "model_name": SPACY_MODEL}]
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": models}
    ).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine)

    def find(text: str) -> list[Finding]:
        return [
            Finding(one.start, one.end, Kind(kind), one.score, one.entity_type)
            for one in analyzer.analyze(text, "en")
            if (kind := PRESIDIO_KINDS.get(one.entity_type))
        ]

    return find


def tally(find: Find, texts: Sequence[Labelled]) -> Tally:
    """Return how a detector does on texts; its time counts `find` alone."""
    total = Tally()
    find("Warm up, please.")
    for one in texts:
        began, used = time.perf_counter(), time.process_time()
        found = find(one.text)
        total.seconds += time.perf_counter() - began
        total.processor += time.process_time() - used
        total.characters += len(one.text)
        _count_spans(total, one, found)
        _count_findings(total, one, found)
    return total


def _count_spans(total: Tally, one: Labelled, found: Sequence[Finding]) -> None:
    covered = _marks(one.text, [(f.start, f.end) for f in found])
    whole = _joined(one.text, found)
    for start, end, kind in one.spans:
        is_found = _half(one.text, start, end, covered)
        typed = any(f.kind == kind and f.start < end and start < f.end for f in found)
        exact = (start, end) in whole[kind]
        for score in total.groups(kind, one.place):
            score.spans += 1
            score.found += is_found
            score.typed += typed
            score.exact += exact
        if is_found and not typed:
            names = [f"{f.kind} {f.source}" for f in found if f.start < end and start < f.end]
            total.mistyped[f"{one.place} {kind}", f"{one.text[start:end]} as {names}"] += 1
        if not is_found:
            total.missed[f"{one.place} {kind}", one.text[start:end]] += 1


def _count_findings(total: Tally, one: Labelled, found: Sequence[Finding]) -> None:
    labelled = _marks(one.text, [(start, end) for start, end, _ in one.spans])
    for f in found:
        right = _half(one.text, f.start, f.end, labelled)
        for score in total.groups(f.kind.value, one.place):
            score.findings += 1
            score.right += right
        if not right:
            context = one.text[max(0, f.start - 15) : f.end + 15]
            total.wrong[
                f"{one.place} {f.kind} {f.source}", f"{one.text[f.start : f.end]} <- {context}"
            ] += 1


def _joined(text: str, found: Sequence[Finding]) -> defaultdict[str, set[tuple[int, int]]]:
    """Return the borders of findings, and of those of one kind side by side: given and surname."""
    whole: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for place, one in enumerate(found):
        whole[one.kind].add((one.start, one.end))
        end = one.end
        for following in found[place + 1 :]:
            if following.kind is not one.kind or text[end : following.start] != " ":
                break
            end = following.end
            whole[one.kind].add((one.start, end))
    return whole


def _marks(text: str, spans: Sequence[tuple[int, int]]) -> bytearray:
    marks = bytearray(len(text))
    for start, end in spans:
        marks[start:end] = b"\x01" * (end - start)
    return marks


def _half(text: str, start: int, end: int, marks: bytearray) -> bool:
    """Whether at least half of the letters and digits of a stretch are marked."""
    inside = [marks[i] for i in range(start, end) if text[i].isalnum()]
    return 2 * sum(inside) >= len(inside) > 0


def add(report: Report, name: str, tallies: dict[str, Tally]) -> None:
    """Record the figures of one set."""
    for who, one in tallies.items():
        figures = one.micro.figures()
        cost = one.seconds * 1e6 / one.characters
        processor = one.processor * 1e6 / one.characters
        report.add(
            f"{name}, {who}",
            f"recall {figures['recall']:.3f}, precision {figures['precision']:.3f}, "
            f"typed {figures['typed']:.3f}, {cost:.1f} ms ({processor:.1f} of a processor)"
            " per 1,000 characters",
            micro=figures,
            kinds={k: s.figures() for k, s in sorted(one.kinds.items())},
            languages={k: s.figures() for k, s in sorted(one.places.items())},
            cells={"/".join(k): s.figures() for k, s in sorted(one.cells.items())},
            ms_per_1000_characters=cost,
            processor_ms_per_1000_characters=processor,
        )


def add_long(report: Report, find: Find, split: str) -> None:
    """Record what one long prompt costs: the first time, and with a sentence added to it."""
    find("Warm up, please.")
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for one in generated(split, 40, seed=LONG_SEED):
        parts[one.place].append(one.text)
    for place, texts in parts.items():
        text = "\n\n".join(texts)[:LONG]
        first, again = (
            _seconds(find, said) for said in (text, f"{text}\n\nMy name is Ingrid Bergström.")
        )
        report.add(
            f"{LONG:,} characters at once, {place}",
            f"{first[0]:.2f} s ({first[1]:.2f} s of a processor), with a sentence more"
            f" {again[0]:.2f} s ({again[1]:.2f} s)",
            first_s=first[0], first_processor_s=first[1], more_s=again[0],
            more_processor_s=again[1],
        )  # fmt: skip


def _seconds(find: Find, text: str) -> tuple[float, float]:
    began, used = time.perf_counter(), time.process_time()
    find(text)
    return time.perf_counter() - began, time.process_time() - used


def markdown(tallies: dict[str, Tally]) -> str:
    """Return per kind and per language: recall and precision of both, ours first."""
    mine, theirs = tallies["privity"], tallies["presidio"]
    lines = [
        "| | spans | recall: privity | presidio | typed: privity | presidio"
        " | exact: privity | precision: privity | presidio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for label, ours_, peers in _rows(mine, theirs):
        a, b = ours_.figures(), peers.figures()
        lines.append(
            f"| {label} | {a['spans']} | {a['recall']:.3f} | {b['recall']:.3f} | {a['typed']:.3f}"
            f" | {b['typed']:.3f} | {a['exact']:.3f} | {_cell(a)} | {_cell(b)} |"
        )
    return "\n".join(lines)


def _rows(mine: Tally, theirs: Tally) -> Iterator[tuple[str, Score, Score]]:
    yield "all", mine.micro, theirs.micro
    for place in sorted(mine.places):
        yield place, mine.places[place], theirs.places[place]
    for kind in (
        k.value for k in Kind if mine.kinds[k.value].spans or mine.kinds[k.value].findings
    ):
        yield kind, mine.kinds[kind], theirs.kinds[kind]


def show(one: Tally, count: int) -> None:
    """Print what is missed and what is wrong, the most frequent first."""
    for what, counter in (
        ("missed", one.missed),
        ("mistyped", one.mistyped),
        ("wrong", one.wrong),
    ):
        for (label, text), times in counter.most_common(count):
            print(f"  {what} {times} {label}: {text!r}")


def _cell(figures: dict[str, Any]) -> str:
    return f"{figures['precision']:.3f}" if figures["findings"] else "-"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


if __name__ == "__main__":
    main()
