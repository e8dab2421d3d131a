"""Write docs/cli.md and the README's command list from the commands, or check that they match."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from privity.cli.app import build_app, run

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- privity --help: written by `make docs` -->", "<!-- end of privity --help -->"
INTRODUCTION = """\
# The commands

Written by `make docs` from the commands themselves; `make check` compares.

With `--json` a command writes exactly one JSON document to stdout, `{"error": {…}}` when it fails;
progress and remarks go to stderr. Colour needs a terminal and no `NO_COLOR`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it failed |
| 2 | an argument, a file or a setting is wrong |
| 3 | refused by the policy: nothing was sent |
| 130 | interrupted |
| 143 | ended by SIGTERM |

| variable | meaning |
|---|---|
| `PRIVITY_HOME` | the folder of your keys, receipts and settings, instead of the platform's own |
| `PRIVITY_KEYRING=1` | keep the device key in the system's keyring instead of a file |
| `PRIVITY_ENGINE_KEY` | the API key of an engine named by URL |
| `PRIVITY_TRACEBACK=1` | show the whole of an unexpected error, which may quote a prompt |
| `NO_COLOR`, `FORCE_COLOR` | no colour; colour without a terminal |
"""


def help_text(path: list[str]) -> str:
    """Return what `privity PATH --help` prints at 92 columns."""
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        code = run([*path, "--help"])
    if code:
        raise SystemExit(f"error: privity {' '.join(path)} --help exited with {code}")
    return "\n".join(line.rstrip() for line in captured.getvalue().strip().splitlines())


def commands(command: Any, path: list[str]) -> Iterator[list[str]]:
    """Yield the path of a command and of every command below it."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, [*path, name])


def reference() -> str:
    """Return docs/cli.md."""
    tree = typer.main.get_command(build_app())
    parts = [INTRODUCTION]
    for path in commands(tree, []):
        title = " ".join(["privity", *path])
        parts.append(f"## {title}\n\n```text\n{help_text(path)}\n```\n")
    return "\n".join(parts)


def with_help(readme: str) -> str:
    """Return the README with the text between the markers replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("error: README.md has lost the markers around `privity --help`")
    return f"{before}{BEGIN}\n```text\n{help_text([])}\n```\n{END}{after}"


def main() -> None:
    """Write both files, or with --check exit 1 when one differs."""
    os.environ.update(COLUMNS="92", TERMINAL_WIDTH="92", NO_COLOR="1")
    os.environ.pop("FORCE_COLOR", None)
    readme = ROOT / "README.md"
    wanted = {ROOT / "docs" / "cli.md": reference(), readme: with_help(readme.read_text())}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if "--check" in sys.argv[1:]:
        if stale:
            raise SystemExit(f"error: not what the commands say: {names}\nhint: make docs")
        print("docs/cli.md and README.md match the commands")
        return
    for path in stale:
        path.write_text(wanted[path])
    print(f"wrote {names}" if stale else "nothing to write")


if __name__ == "__main__":
    main()
