"""Fuzz each target for a while, and say what came of it. `scripts/fuzz` calls it.

Corpora grow in ``build/fuzz/corpus``, inputs that crashed a target stay in ``build/fuzz/crashes``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fuzz import make_seeds
from fuzz.harness import FOLDER, SEEDS

BUILD = FOLDER.parents[1] / "build" / "fuzz"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))
GROUPS = {
    "verifiers": ["tdx", "snp", "nitro", "nvidia"],
    "all": TARGETS,
}

_DONE = re.compile(r"^#(\d+)\s+(?:DONE|pulse|NEW|REDUCE|INITED|RELOAD).*?cov: (\d+)", re.M)
_LONGEST_INPUT_S = 10
_MEMORY_MB = 2048


@dataclass(frozen=True)
class Outcome:
    """What came of one run."""

    target: str
    executions: int
    coverage: int
    corpus: int
    crashes: list[Path]
    log: Path

    @property
    def line(self) -> str:
        found = f"{len(self.crashes)} CRASH: {self.crashes[0]}" if self.crashes else "no crash"
        return (
            f"{self.target:<12} {self.executions:>11,} executions  {self.coverage:>5} edges  "
            f"{self.corpus:>5} inputs  {found}"
        )


def main() -> int:
    """Run; return 1 if a target crashed."""
    asked = _arguments()
    if asked.seeds:
        sys.argv[1:] = asked.targets
        make_seeds.main()
        return 0
    targets = [one for name in asked.targets or ["all"] for one in GROUPS.get(name, [name])]
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown:
        print(f"error: no target {unknown[0]}; there are {', '.join([*GROUPS, *TARGETS])}")
        return 2
    with ThreadPoolExecutor(asked.jobs) as pool:
        outcomes = []
        for outcome in pool.map(lambda target: _fuzz(target, asked.seconds), targets):
            print(outcome.line, flush=True)
            outcomes.append(outcome)
    crashed = [outcome for outcome in outcomes if outcome.crashes]
    for outcome in crashed:
        print(f"\n{outcome.target}: the end of {outcome.log}")
        print("\n".join(outcome.log.read_text(errors="replace").splitlines()[-25:]))
    total = sum(outcome.executions for outcome in outcomes)
    print(f"{len(outcomes)} targets, {total:,} executions, {len(crashed)} crashed")
    return 1 if crashed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join([*GROUPS, *TARGETS])}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="at a time (1)")
    parser.add_argument("--seeds", action="store_true", help="write the seeds anew, and stop")
    return parser.parse_args()


def _fuzz(target: str, seconds: int) -> Outcome:
    corpus, crashes = BUILD / "corpus" / target, BUILD / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{target}.log"
    before = set(crashes.glob(f"{target}-*"))
    command = [
        sys.executable, "-m", "fuzz.run_target", target,
        f"-max_total_time={seconds}", f"-timeout={_LONGEST_INPUT_S}",
        f"-rss_limit_mb={_MEMORY_MB}", "-max_len=32768", "-print_final_stats=1",
        f"-artifact_prefix={crashes}/{target}-", str(corpus), str(SEEDS / target),
    ]  # fmt: skip
    began = time.monotonic()
    with log.open("wb") as out:
        code = subprocess.run(command, stdout=out, stderr=out, check=False).returncode
    told = _DONE.findall(log.read_text(errors="replace"))
    executions, coverage = (int(one) for one in told[-1]) if told else (0, 0)
    found = sorted(set(crashes.glob(f"{target}-*")) - before)
    # Without an input kept, it did not get as far as fuzzing, or died by itself: no less a crash.
    if code and not found:
        found = [log]
    if not code and time.monotonic() - began < seconds / 2:
        found = [log]
    return Outcome(target, executions, coverage, len(list(corpus.iterdir())), found, log)


if __name__ == "__main__":
    sys.exit(main())
