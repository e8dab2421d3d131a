"""How soon the first token comes: from a fresh clone, from a running devnet, and without privity.

``--cold`` clones the repository into an empty folder and times `make demo` there twice, which
installs from the package registries the first time. Without it only the warm figures are measured:
from starting the command to the first token on its output, with a devnet running, beside a bare
httpx script against the same engine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from measure import Report, child, title
from privity.node.devnet import DevnetSettings, run_devnet

HERE = Path(__file__).parent
QUESTION = "Name three colours."
BARE = """
import httpx, sys
body = {"messages": [{"role": "user", "content": sys.argv[2]}], "stream": True, "max_tokens": 8}
with httpx.stream("POST", sys.argv[1] + "/v1/chat/completions", json=body, timeout=60) as answer:
    for line in answer.iter_lines():
        if '"content":"' in line:
            print(line, flush=True)
"""


def first_output(command: list[str], environment: dict[str, str]) -> float:
    """Run a command; return seconds until its first byte of output."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        if process.stdout is None or not os.read(process.stdout.fileno(), 1):
            raise RuntimeError(f"{command[0]} said nothing")
        first = time.perf_counter() - began
        process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{command[:4]} ended with {process.returncode}")
    return first


def warm(report: Report, runs: int) -> None:
    """Time `privity ask` against a running devnet, in turn with the bare script."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(child(str(HERE / "llama_server.py")))
        environment = {**os.environ, "PRIVITY_HOME": str(home)}
        os.environ["PRIVITY_HOME"] = str(home)
        stack.enter_context(run_devnet(DevnetSettings(), folder=home / "devnet"))
        ask = [sys.executable, "-m", "privity.cli", "ask", "--policy", "dev", "--max-tokens", "8"]
        bare = [sys.executable, "-c", BARE, engine, QUESTION]
        ours, theirs = [], []
        for _ in range(runs):
            theirs.append(first_output(bare, environment))
            ours.append(first_output([*ask, QUESTION], environment))
    mine, peer = statistics.median(ours), statistics.median(theirs)
    report.add(
        "`privity ask` to its first token, devnet up",
        f"{mine:>6.2f} s   bare httpx script {peer:.2f} s   ratio {mine / peer:.2f}",
        seconds=mine,
        peer="a bare httpx script against the same engine, unsealed",
        peer_seconds=peer,
        ratio=round(mine / peer, 3),
    )


def cold(report: Report) -> None:
    """Time `make demo` in a fresh clone, twice."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "privity"
        subprocess.run(["git", "clone", "--quiet", str(HERE.parent), str(clone)], check=True)
        for _ in range(2):
            began = time.perf_counter()
            subprocess.run(["make", "demo"], cwd=clone, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
    report.add(
        "`make demo`, fresh clone",
        f"{times[0]:>6.1f} s, second run {times[1]:.1f} s",
        seconds=times[0],
        second_run_seconds=times[1],
    )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cold", action="store_true", help="time a fresh clone too")
    parser.add_argument("--runs", type=int, default=7, help="of each side")
    options = parser.parse_args()
    title("Start to first token")
    report = Report("start")
    warm(report, options.runs)
    if options.cold:
        cold(report)
    report.write()


if __name__ == "__main__":
    main()
