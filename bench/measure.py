"""How every script here measures: ours and a named peer, in turn, in one run; medians; one line.

A figure is a ratio, because two machines share no seconds. Each script prints lines a reader can
compare and writes the same numbers as JSON to ``bench/out/<script>.json``.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs once and returns the seconds it took."""

    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return once


def median_seconds(work: Mapping[str, Callable[[], object]], budget: float) -> dict[str, float]:
    """Run each of ``work`` in turn for about ``budget`` seconds in all; return median seconds."""
    return medians({name: timed(run) for name, run in work.items()}, budget)


def medians(work: Mapping[str, Callable[[], float]], budget: float) -> dict[str, float]:
    """Do the same with what says by itself how many seconds it took.

    They alternate, so that a machine that slows down slows all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in work.values():
        run()  # warm
    began = time.perf_counter()
    while time.perf_counter() - began < budget or len(next(iter(times.values()))) < 5:
        for name, run in work.items():
            times[name].append(run())
    return {name: statistics.median(values) for name, values in times.items()}


def build_peer(folder: Path, program: str) -> Path | None:
    """Build a peer written in Rust and return where it is; None, saying so, without cargo."""
    cargo = shutil.which("cargo")
    if cargo is None:
        print(f"  (no cargo: {program} is left out)", flush=True)
        return None
    subprocess.run([cargo, "build", "--release", "--quiet", "--locked"], cwd=folder, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", folder / "target"), "release", program)


@contextmanager
def child(*command: str, **environment: str) -> Iterator[str]:
    """Run a process that prints its URL, and end it."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no output to read")
        yield process.stdout.readline().decode().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@dataclass
class Report:
    """The figures of one script.

    Attributes:
        name: the script's, and of its JSON file.
        rows: one entry a figure: what, ours, the peer's, the ratio, the goal if there is one.
    """

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, what: str, line: str, **figures: Any) -> None:
        """Record one figure and print its line."""
        self.rows.append({"what": what, "line": line, **figures})
        print(f"  {what:<44} {line}", flush=True)

    def write(self) -> Path:
        """Write ``bench/out/<name>.json``."""
        OUT.mkdir(parents=True, exist_ok=True)
        path = OUT / f"{self.name}.json"
        machine = {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        }
        path.write_text(
            json.dumps({"bench": self.name, "on": machine, "rows": self.rows}, indent=1)
        )
        return path


def title(text: str) -> None:
    """Print the heading of a script's lines."""
    print(text, file=sys.stdout, flush=True)
