"""Runs every script here, one after the other, and draws their figures up as ``bench/RESULTS.md``.

Each script measures a named peer in its own run. Give names to run only some of them; RESULTS.md is
drawn from whatever JSON lies in ``bench/out``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = (
    "codec",
    "gateway_load",
    "big_body",
    "large_requests",
    "sealed_stream",
    "start",
    "attest",
    "artefact",
    "release",
    "routing",
    "pseudonyms",
    "detection",
    "linkage",
    "utility",
    "traffic",
    "prefix",
    "rln",
    "credits",
    "query",
    "flood",
    "mixing",
    "gossip",
    "gas",
    "anonymous",
)
FLAGS = {"start": ["--cold"]}


def main() -> None:
    """Run, then draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCRIPTS)}; all by default")
    names = parser.parse_args().names or list(SCRIPTS)
    for name in names:
        if name not in SCRIPTS:
            parser.error(f"{name!r} is none of {', '.join(SCRIPTS)}")
        command = [sys.executable, f"{name}.py", *FLAGS.get(name, [])]
        subprocess.run(command, cwd=HERE, check=True)
    (HERE / "RESULTS.md").write_text(results())
    print("written: bench/RESULTS.md")


def results() -> str:
    """Return the figures at hand as Markdown."""
    lines = [
        "# Figures",
        "",
        "Written by `make bench`. Each line is one run on one machine, ours beside the peer in the",
        "same run; the ratios travel between machines, the other figures do not.",
    ]
    for name in SCRIPTS:
        path = HERE / "out" / f"{name}.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text())
        on = found["on"]
        lines += ["", f"## {name}", "", f"{on['cores']} cores, {on['machine']}, Python "]
        lines[-1] += f"{on['python']}. `bench/{name}.py`"
        lines += ["", "| what | measured |", "|---|---|"]
        for row in found["rows"]:
            lines.append(f"| {row['what']} | {' '.join(row['line'].split())} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
