"""Anonymous credits beside the bare crate, built from ``bench/act``.

One spend is: proved by the device, verified by the desk, refunded by it, completed by the device.
Lower is better: a ratio is our time over the crate's in the same run. Ours is timed as Python
calls it, with the one-spelling checks of each message; the crate inside its own process.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from measure import Report, build_peer, title
from privity.anon.credits import CreditToken, Issuer, IssuerKey, prepare_purchase

CRATE = Path(__file__).parent / "act"
STEPS = ("spend", "verify", "refund", "complete")
SECONDS = 8.0
GOAL_MS = 20.0

Work = Callable[[], list[float]]


class Ours:
    """One token, spent again and again."""

    def __init__(self) -> None:
        self.bank = Issuer(IssuerKey.generate(), "bench")
        pending, request = prepare_purchase(self.bank.terms, 10**9)
        self.token: CreditToken = pending.complete(self.bank.issue(request, 10**9))

    def once(self) -> list[float]:
        """Spend, verify, refund, complete; return seconds of each."""
        times = [time.perf_counter()]
        pending, data = self.token.spend(60)
        times.append(time.perf_counter())
        spend = self.bank.verify_spend(data)
        times.append(time.perf_counter())
        refund = self.bank.refund(spend, 45)
        times.append(time.perf_counter())
        self.token = pending.complete(refund)
        times.append(time.perf_counter())
        return [after - before for before, after in pairwise(times)]


@contextmanager
def crate(program: Path) -> Iterator[Work]:
    """Run the peer; the function given does one spend in it."""
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    told, said = process.stdin, process.stdout

    def once() -> list[float]:
        told.write("go\n")
        told.flush()
        return [int(word) / 1e9 for word in said.readline().split()]

    try:
        yield once
    finally:
        told.close()
        process.wait(10)
        said.close()


def in_turn(ours: Work, theirs: Work | None) -> tuple[list[list[float]], list[list[float]]]:
    """Run both in turn for some seconds; return the times of each."""
    mine, peers = [], []
    ours()
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        mine.append(ours())
        if theirs is not None:
            peers.append(theirs())
    return mine, peers


def add(report: Report, what: str, ours: float, peer: float | None, **more: float) -> None:
    """Report one figure in milliseconds."""
    line = f"{ours * 1e3:>7.2f} ms"
    if peer is not None:
        line += f"   bare crate {peer * 1e3:>7.2f} ms   ratio {ours / peer:.2f}"
        more["peer_ms"] = peer * 1e3
        more["ratio"] = round(ours / peer, 3)
    report.add(what, line, ms=ours * 1e3, peer="anonymous-credit-tokens 0.4.2", **more)


def main() -> None:
    """Measure and report."""
    title("Anonymous credits: one spend, from proof to the next token")
    report, ours = Report("credits"), Ours()
    program = build_peer(CRATE, "privity-bench-act")
    if program is None:
        mine, peers = in_turn(ours.once, None)
    else:
        with crate(program) as theirs:
            mine, peers = in_turn(ours.once, theirs)

    def median(rounds: list[list[float]], pick: Callable[[list[float]], float]) -> float | None:
        return statistics.median(map(pick, rounds)) if rounds else None

    for place, step in enumerate(STEPS):
        add(
            report,
            step,
            statistics.median(one[place] for one in mine),
            median(peers, lambda one, place=place: one[place]),  # type: ignore[misc]
        )
    three = statistics.median(sum(one[:3]) for one in mine)
    add(
        report,
        "spend + verify + refund",
        three,
        median(peers, lambda one: sum(one[:3])),
        goal_ms=GOAL_MS,
    )
    whole = statistics.median(sum(one) for one in mine)
    add(report, "all four", whole, median(peers, sum))
    report.write()


if __name__ == "__main__":
    main()
