"""Traffic analysis: what sizes and times of a sealed answer tell of its topic, for each shape.

Streamed answers of models leak their topic by the sizes and times of what is sent, sealed or not:
"Whisper Leak" (McDonald and Bar Or, Microsoft, 2025) tells one topic from all others with over 98 %
AUPRC for many providers, and "What Was Your Prompt?" (Weiss et al., USENIX Security 2024) reads
answers from the lengths of tokens. This is such an attack, on our own stack: the real model's
answers to questions of seven topics, recorded once, replayed in real time through enclave and relay
for each way of shaping, seen as sizes and times of reads at the device's connection, and classified
(traffic_attack.py). The first row has no stack of ours at all: what TLS alone would show.

Beside each: what it costs. Recordings and captures are kept in ``bench/out/traffic``; delete that
to begin anew. ``--quick`` takes few questions, to see that it runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from measure import OUT, Report, title
from privity.seal.shaping import Pace
from privity.seal.transport import Shape
from traffic_attack import Seen, Verdict, attack
from traffic_capture import Capture, capture, stack
from traffic_prompts import TOPICS, questions
from traffic_traces import Trace, record

MODES: dict[str, Shape] = {
    "plain": Shape(None, None),
    "records of 512": Shape(512, None),
    "records, delay to 100 ms": Shape(512, None, delay_ms=100),
    "batch, 2048 in 100 ms": Shape(2048, 100, pace=Pace.BATCH),
    "batch, 2048 in 100 ms, delay to 100": Shape(2048, 100, pace=Pace.BATCH, delay_ms=100),
    "even, 2048 in 50 ms": Shape(2048, 50, pace=Pace.EVEN),
    "bucket, 512 in 50 ms": Shape(512, 50, pace=Pace.BUCKET),
    "bucket, 1024 in 25 ms": Shape(1024, 25, pace=Pace.BUCKET),
    "bucket, 2048 in 50 ms": Shape(2048, 50, pace=Pace.BUCKET),
    "bucket, 4096 in 100 ms": Shape(4096, 100, pace=Pace.BUCKET),
    "whole": Shape(2048, None, pace=Pace.WHOLE),
}
_TLS = 22  # bytes that a TLS 1.3 record adds to what it holds


def main() -> None:
    """Record, replay, attack and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few questions: a smoke test")
    parser.add_argument("--at-once", type=int, default=24, help="answers replayed at one time")
    parser.add_argument("--anew", action="store_true", help="capture again what was captured")
    parser.add_argument("--times", type=int, default=1, help="each question is asked so often")
    options = parser.parse_args()
    title("What sizes and times of an answer tell of its topic, and what hiding that costs")
    folder = OUT / "traffic"
    lines = folder / "traces.jsonl"
    asked = questions(1 if options.quick else 9, options.times)
    traces = asyncio.run(record(asked, lines))
    captures = folder / ("quick" if options.quick else "captures")
    if options.anew:
        shutil.rmtree(captures, ignore_errors=True)
    captures.mkdir(parents=True, exist_ok=True)
    report = Report("traffic_quick" if options.quick else "traffic")
    about = f"{len(traces)} answers of the real model, {len(TOPICS)} topics asked in 12 ways each"
    print(f"  {about}, replayed {options.at_once} at a time", flush=True)
    bare = [_over_tls(trace) for trace in traces]
    if not options.quick:  # whether an observer with more answers would do better
        half = len(traces) // 2
        _row(report, "none, half of the answers", traces[:half], bare[:half], None)
        topics = [trace.question.topic for trace in traces]
        random.Random(7).shuffle(topics)  # what the learners make of nothing
        _row(report, "none, topics shuffled", traces, bare, None, topics)
    _row(report, "none: what TLS shows", traces, bare, None)
    with tempfile.TemporaryDirectory() as home, stack(lines, Path(home)) as there:
        for name, shape in MODES.items():
            kept = captures / f"{name.replace(' ', '-').replace(',', '')}.json"
            passed = capture(traces, shape, there, kept, at_once=options.at_once)
            _row(report, name, traces, [one.seen for one in passed], passed)
    report.write()


def _over_tls(trace: Trace) -> Seen:
    return [(at, len(data) + _TLS) for at, data in trace.messages]


def _row(
    report: Report,
    name: str,
    traces: Sequence[Trace],
    seen: Sequence[Seen],
    passed: Sequence[Capture] | None,
    topics: Sequence[str] | None = None,
) -> None:
    """Attack what was seen, and report that beside its cost."""
    topics = topics or [trace.question.topic for trace in traces]
    began = time.perf_counter()
    verdict = attack(seen, topics, [trace.question.template for trace in traces])
    sent = sum(size for one in seen for _, size in one) / sum(trace.size for trace in traces)
    figures = {"bytes_ratio": round(sent, 3), "attack_seconds": time.perf_counter() - began}
    cost = f"bytes {sent:.2f}"
    if passed is not None:
        first = sorted(one.first for one in passed)
        high = first[int(0.95 * len(first))]
        total = statistics.median(one.total for one in passed)
        figures |= {
            "first_token_added": statistics.median(first),
            "first_token_added_p95": high,
            "end_added": total,
        }
        cost += f"   first token +{statistics.median(first) * 1e3:.0f} ms (p95 {high * 1e3:.0f})"
        cost += f"   end +{total * 1e3:.0f} ms"
    report.add(name, f"{_line(verdict)}   {cost}", **vars(verdict), **figures)


def _line(verdict: Verdict) -> str:
    return (
        f"AUPRC {verdict.auprc:.3f} [{verdict.low:.3f}, {verdict.high:.3f}], known ways of asking "
        f"{verdict.known:.3f}, guessing {verdict.base:.3f}; ROC {verdict.roc:.3f}"
    )


if __name__ == "__main__":
    main()
