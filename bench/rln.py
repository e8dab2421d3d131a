"""Rate-limiting nullifiers beside the bare zerokit crate, built from ``bench/zerokit``.

Lower is better for proving and single checks: a ratio is our time over zerokit's in the same run.
For a batch the ratio is of throughput, ours over zerokit's, whose users check one by one. Both
verify from bytes. Ours is timed as Python calls it, zerokit inside its own process.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from measure import Report, build_peer, medians, timed, title
from privity.anon.field import Field, field_from_int
from privity.anon.membership import MemberTree, RateIdentity
from privity.anon.rln import external_nullifier
from privity.hazmat.native import native

CRATE = Path(__file__).parent / "zerokit"
LIMIT = 300
BATCH = 256
SECONDS = 6.0

Work = Callable[[], float]


class Ours:
    """One member and its proofs, through the calls that `privity.anon.rln` makes."""

    def __init__(self) -> None:
        self.core = native("Rln")
        self.rln = self.core.Rln.load()
        identity, tree = RateIdentity.generate(), MemberTree()
        index = tree.append(identity.leaf(LIMIT))
        self.secret = identity.unsafe_secret()
        self.place = tree.place(index, LIMIT)
        self.scope = external_nullifier(1, "did:key:bench")
        self.prepared = self.prepare()
        self.message = 0
        self.claims = [self.claim() for _ in range(BATCH)]

    def next(self) -> tuple[int, Field]:
        """Return a message id and its signal."""
        self.message += 1
        return self.message % LIMIT, Field(self.core.hash_to_field(b"%d" % self.message))

    def prepare(self) -> object:
        """Return the part of a proof that no message changes."""
        return self.rln.prepare(self.secret, LIMIT, self.place.path, self.place.index)

    def claim(self) -> tuple[bytes, ...]:
        """Finish one proof from it, and return what a verifier gets."""
        number, x = self.next()
        proof, root, y, nullifier = self.rln.finish(self.prepared, number, x, self.scope)
        return proof, root, x, y, nullifier, self.scope

    def prove(self) -> None:
        """Make a whole proof."""
        number, x = self.next()
        path, index = self.place.path, self.place.index
        self.rln.prove(self.secret, LIMIT, number, path, index, x, self.scope)

    def verify(self) -> None:
        """Check one claim."""
        assert self.rln.verify(*self.claims[0])

    def batch(self) -> None:
        """Check all claims at once."""
        assert all(self.rln.verify_batch(self.claims))

    def batch_with_a_false_one(self) -> None:
        """Check all at once where one has another share."""
        false = (*self.claims[9][:3], field_from_int(1), *self.claims[9][4:])
        verdicts = self.rln.verify_batch([*self.claims[:9], false, *self.claims[10:]])
        assert verdicts.count(False) == 1


@dataclass(frozen=True)
class Peer:
    """zerokit in a process of its own."""

    ask: Callable[[str], Work]
    process: psutil.Process


@contextmanager
def zerokit() -> Iterator[Peer | None]:
    """Build and run the peer; None without cargo."""
    program = build_peer(CRATE, "privity-bench-zerokit")
    if program is None:
        yield None
        return
    process = subprocess.Popen(
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(what: str) -> Work:
        def once() -> float:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(what + "\n")
            process.stdin.flush()
            return int(process.stdout.readline()) / 1e9

        return once

    try:
        yield Peer(ask, psutil.Process(process.pid))
    finally:
        process.kill()
        process.communicate()


def compare(report: Report, what: str, run: Callable[[], object], peer: Work | None) -> None:
    """Add a line of our time beside the peer's."""
    work = {"ours": timed(run)} | ({"peer": peer} if peer else {})
    found = medians(work, SECONDS)
    ours, theirs = found["ours"], found.get("peer")
    line = f"{ours * 1e3:8.2f} ms"
    if theirs is not None:
        line += f"   zerokit {theirs * 1e3:8.2f} ms   ratio {ours / theirs:.2f}"
    ratio = None if theirs is None else round(ours / theirs, 3)
    report.add(what, line, seconds=ours, peer="zerokit", peer_seconds=theirs, ratio=ratio)


def throughput(report: Report, ours: Ours, ask: Callable[[str], Work] | None) -> None:
    """Add the lines of a batch: against single checks one by one, and on all cores."""
    work = {"ours": timed(ours.batch), "false": timed(ours.batch_with_a_false_one)}
    if ask is None:
        work["one by one"] = timed(ours.verify)
    else:
        work |= {"one by one": ask("verify"), "all cores": ask(f"verify-all {BATCH}")}
    found = medians(work, 2 * SECONDS)
    rates = {
        "one by one": 1 / found["one by one"],
        **({"all cores": BATCH / found["all cores"]} if ask else {}),
    }
    for name, key in ((f"batch of {BATCH}", "ours"), ("  with one false proof in it", "false")):
        rate = BATCH / found[key]
        for peer, theirs in rates.items():
            who = f"zerokit {peer}" if ask else "our single checks"
            line = f"{rate:6.0f} /s   {who} {theirs:6.0f} /s   ratio {rate / theirs:.2f}"
            goal = 5.0 if (key, peer) == ("ours", "one by one") else None
            report.add(
                name, line, rate=rate, peer=who, peer_rate=theirs,
                ratio=round(rate / theirs, 2), goal=goal,
            )  # fmt: skip


def processor(process: psutil.Process) -> float:
    """Return the seconds of processor that a process took, on all cores."""
    times = process.cpu_times()
    return float(times.user + times.system)


def throughput_by_processor(report: Report, ours: Ours, peer: Peer) -> None:
    """Add the line of a batch by time of processor, which other load on the machine changes little.

    The two are run in turns, so that what changes meanwhile changes for both.
    """
    mine, singles = psutil.Process(), 64
    verify = peer.ask("verify")
    ratios, rates = [], []
    for _ in range(6):
        before = processor(mine), processor(peer.process)
        for _ in range(4):
            ours.batch()
        for _ in range(singles):
            verify()
        taken = processor(mine) - before[0], processor(peer.process) - before[1]
        rates.append((4 * BATCH / taken[0], singles / taken[1]))
        ratios.append(rates[-1][0] / rates[-1][1])
    rate, theirs = (statistics.median(one[at] for one in rates) for at in (0, 1))
    ratio = statistics.median(ratios)
    report.add(
        f"batch of {BATCH}, by processor time",
        f"{rate:6.0f} /s a core   zerokit one by one {theirs:6.0f} /s a core   ratio {ratio:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})   goal 5: {'met' if ratio >= 5 else 'missed'}",
        rate=rate, peer="zerokit one by one", peer_rate=theirs, ratio=round(ratio, 2), goal=5.0,
    )  # fmt: skip


def main() -> None:
    """Measure and report."""
    title(
        "Rate-limiting nullifiers, depth 20 (our time / zerokit's; a batch: our rate / zerokit's)"
    )
    report, ours = Report("rln"), Ours()
    with zerokit() as peer:
        ask = None if peer is None else peer.ask
        if peer is not None:
            throughput_by_processor(report, ours, peer)
        compare(report, "prove, cold", ours.prove, ask and ask("prove"))
        compare(report, "prove, warm (finish)", ours.claim, ask and ask("finish"))
        work = {"warm": timed(ours.claim), "cold": timed(ours.prove)}
        found = medians(work, SECONDS)
        share = found["warm"] / found["cold"]
        report.add("warm over cold, ours", f"ratio {share:.2f}", ratio=round(share, 3), **found)
        compare(report, "verify one", ours.verify, ask and ask("verify"))
        throughput(report, ours, ask)
    report.write()


if __name__ == "__main__":
    main()
