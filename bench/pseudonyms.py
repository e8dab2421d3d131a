"""Pseudonymise a prompt and restore its answer: beside presidio, and beside waiting for the whole.

The prompt is about 4,000 tokens of generated English texts (detection_texts.py, seeded), dense with
names and numbers; a first turn is always of a text never seen. The stand-in provider echoes
part of what it was sent, a token at a time, at a steady pace, as a streaming answer of 256 tokens;
the first token a person sees is timed from when the prompt is handed over. Peers, in the same run:

* ``presidio, whole``: presidio's analyser and anonymiser as their documentation has them, with a
  numbered placeholder for each entity, and the answer de-anonymised when all of it is there;
* ``ours, whole``: our replacement and restoration, the answer held until all of it is there.

The pace is an argument: the slower a provider, the better streaming looks beside the whole.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from detection_texts import generated
from measure import Report, median_seconds, title
from presidio_peer import presidio_engines
from privity.infer.pseudonyms.detector import load_detector
from privity.infer.pseudonyms.pseudonymiser import Departure, Pseudonymiser
from privity.policy.sensitive import Mode

PATH = "/v1/chat/completions"
TOKENS = 4000
ANSWER = 256
LEAST_BACK = 0.95  # beside links a stand-in stays: spec/pseudonyms.md


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="budget of each comparison")
    parser.add_argument("--pace", type=float, default=100, help="tokens a second of the provider")
    options = parser.parse_args()
    title("pseudonyms: replace, stream, restore")
    report = Report("pseudonyms")
    detector = load_detector()
    text = prompt()
    body = body_of(text)
    _replacement(report, detector, body, options.seconds)
    departure = Pseudonymiser(detector).replace(PATH, body, Mode.REPLACE)
    _restoration(report, departure)
    _first_token(report, detector, body, options.pace)
    report.write()


def prompt(seed: int = 4) -> str:
    """Return about 4,000 tokens with personal data, the same for one seed."""
    size = TOKENS * 4
    texts: list[str] = []
    while len("".join(texts)) < size:
        texts += [one.text for one in generated("b", 2, seed=seed) if one.place.startswith("en")]
        seed += 1000
    random.Random(seed).shuffle(texts)
    return "\n\n".join(texts)[:size]


def body_of(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def tokens(text: str) -> list[str]:
    """Return a text in pieces of about four characters, whatever stands in them."""
    return [text[i : i + 4] for i in range(0, len(text), 4)]


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Naive:
    """Presidio as its documentation uses it, with numbered placeholders and a plain dictionary."""

    def __init__(self) -> None:
        self._analyzer, self._anonymizer = presidio_engines()

    def anonymise(self, text: str) -> tuple[str, dict[str, str]]:
        """Return a text with placeholders, and what they stand for."""
        from presidio_anonymizer.entities import OperatorConfig

        held: dict[str, str] = {}

        def number(original: str) -> str:
            if original == "PII":  # presidio tries the function out
                return original
            return held.setdefault(original, f"<PII_{len(held)}>")

        found = self._analyzer.analyze(text, "en")
        operators = {"DEFAULT": OperatorConfig("custom", {"lambda": number})}
        made = self._anonymizer.anonymize(text, found, operators).text
        return made, {stood: original for original, stood in held.items()}

    @staticmethod
    def restore(text: str, held: dict[str, str]) -> str:
        """Return a whole answer with the originals."""
        for stood in sorted(held, key=len, reverse=True):
            text = text.replace(stood, held[stood])
        return text


def _replacement(report: Report, detector: Any, body: dict[str, Any], seconds: float) -> None:
    naive = Naive()
    text = body["messages"][0]["content"]
    kept = Pseudonymiser(detector)
    kept.replace(PATH, body, Mode.REPLACE)
    turn = {"messages": [*body["messages"], {"role": "user", "content": ""}]}
    turns = iter(range(1_000_000))

    def later() -> None:
        turn["messages"][-1]["content"] = f"And what of {next(turns)} for Mr Brown of Leeds?"
        kept.replace(PATH, turn, Mode.REPLACE)

    took = median_seconds(
        {
            "later": later,
            "again": lambda: kept.replace(PATH, body, Mode.REPLACE),
            "presidio": lambda: naive.anonymise(text),
        },
        seconds,
    )
    # The detector remembers sentences, so a first turn is one of a text that it never saw.
    new = [body_of(prompt(seed)) for seed in range(100, 108)]
    took["first"] = statistics.median(_replaced(detector, one) for one in new)
    for what, name in (
        ("first", f"replace in {TOKENS} tokens, first turn"),
        ("later", "the same with one new message, later turn"),
        ("again", "the same, nothing new to detect"),
    ):
        ratio = took["presidio"] / took[what]
        report.add(
            name,
            f"ours {took[what] * 1e3:8.1f} ms   presidio {took['presidio'] * 1e3:8.1f} ms   "
            f"{ratio:.1f}x",
            ours_ms=took[what] * 1e3,
            peer_ms=took["presidio"] * 1e3,
            ratio=ratio,
        )


def _replaced(detector: Any, body: dict[str, Any]) -> float:
    began = time.perf_counter()
    Pseudonymiser(detector).replace(PATH, body, Mode.REPLACE)
    return time.perf_counter() - began


def _restoration(report: Report, departure: Departure) -> None:
    said = tokens(departure.texts["/messages/0/content"])
    chunks = [chunk(one) for one in said]
    rounds, times = 5, []
    for _ in range(rounds):
        restorer = departure.answer("text/event-stream")
        began = time.perf_counter()
        out = b"".join(map(restorer.feed, chunks)) + restorer.feed(END) + restorer.end()
        times.append(time.perf_counter() - began)
    answer = _text_of(out)
    stood = [span for span in departure.spans if not span.kept]
    back = sum(span.after not in answer for span in stood) / len(stood)
    if back < LEAST_BACK:
        raise RuntimeError(f"{back:.1%} of the stand-ins were restored")
    each = statistics.median(times) / len(said)
    report.add(
        "restore while streaming",
        f"{1 / each:8.0f} tokens/s   {each * 1e6:.1f} us a token, events read and written; "
        f"{back:.1%} of the stand-ins back",
        restored=back,
        tokens_per_second=1 / each,
        us_per_token=each * 1e6,
    )


def _first_token(report: Report, detector: Any, body: dict[str, Any], pace: float) -> None:
    naive = Naive()
    warm = Pseudonymiser(detector)
    warm.replace(PATH, body, Mode.REPLACE)
    new = (body_of(prompt(seed)) for seed in range(200, 300))
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        "first turn": lambda: _ours(Pseudonymiser(detector), next(new), pace, whole=False),
        "later turn": lambda: _ours(warm, body, pace, whole=False),
        "ours, whole, later turn": lambda: _ours(warm, body, pace, whole=True),
        "ours, whole, first turn": lambda: _ours(
            Pseudonymiser(detector), next(new), pace, whole=True
        ),
        "presidio, whole": lambda: _presidio(naive, body["messages"][0]["content"], pace),
    }
    took = {name: min(run() for _ in range(3)) for name, run in runs.items()}
    for turn, whole in (
        ("later turn", "ours, whole, later turn"),
        ("first turn", "ours, whole, first turn"),
    ):
        ours, answer = took[turn]
        for peer in (whole, "presidio, whole"):
            theirs = took[peer][0]
            report.add(
                f"first token, {turn}, beside {peer}",
                f"ours {ours * 1e3:8.1f} ms   peer {theirs * 1e3:8.1f} ms   {theirs / ours:.1f}x   "
                f"of these after the provider's first: ours {answer * 1e3:.1f}, "
                f"peer {took[peer][1] * 1e3:.1f} ms",
                ours_ms=ours * 1e3,
                peer_ms=theirs * 1e3,
                ratio=theirs / ours,
                after_provider_ms=[answer * 1e3, took[peer][1] * 1e3],
                pace_tokens_per_second=pace,
                goal="5x" if "ours" in peer else "",
            )


def _provider(text: str, pace: float) -> Iterator[str]:
    """Yield an answer at a steady pace, a first token at once."""
    began = time.perf_counter()
    for place, token in enumerate(tokens(text)[:ANSWER]):
        wait = began + place / pace - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        yield token


def _ours(
    pseudonymiser: Pseudonymiser, body: dict[str, Any], pace: float, *, whole: bool
) -> tuple[float, float]:
    began = time.perf_counter()
    departure = pseudonymiser.replace(PATH, body, Mode.REPLACE)
    sent = time.perf_counter()
    restorer = departure.answer("text/event-stream")
    held = b""
    for token in _provider(departure.texts["/messages/0/content"], pace):
        out = restorer.feed(chunk(token))
        held += out
        if not whole and _text_of(out):
            break
    now = time.perf_counter()
    return now - began, now - sent


def _presidio(naive: Naive, text: str, pace: float) -> tuple[float, float]:
    began = time.perf_counter()
    made, held = naive.anonymise(text)
    sent = time.perf_counter()
    naive.restore("".join(_provider(made, pace)), held)
    now = time.perf_counter()
    return now - began, now - sent


def _text_of(events: bytes) -> str:
    lines = [line[6:] for line in events.split(b"\n") if line.startswith(b"data: {")]
    return "".join(json.loads(one)["choices"][0]["delta"].get("content", "") for one in lines)


if __name__ == "__main__":
    main()
