"""`privity model log`: what a broker decided, and whether its log is whole.

The command is registered in `cli/app.py`, beside those of `cli/grants.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privity.cli import grant_text, output
from privity.cli.choice import JsonOption

if TYPE_CHECKING:
    from privity.node.broker_log import Line

__all__ = ["log"]


def log(
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check that no line was altered or left out.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many, newest last; 0 is all.", min=0)
    ] = 50,
    every: Annotated[
        bool,
        typer.Option("--all", help="Each renewal on a line of its own, as --json has them."),
    ] = False,
    broker: Annotated[
        str | None,
        typer.Option(help="The broker's folder; by default your own.", metavar="FOLDER"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a broker's log of decisions.

    Each line is checked to follow from the one before. The renewals of a lease are shown as one
    line, with the time of the last.
    """
    lines = _read(broker)
    if verify:
        last = lines[-1].digest
        text = f"{output.check_mark(True)} {len(lines)} lines, unbroken; the last is {last}"
        if as_json:
            output.emit_json({"verified": True, "lines": len(lines), "digest": last})
        else:
            output.out(text)
        return
    if as_json:
        output.emit_json([line.to_json() for line in lines[-limit:]])
        return
    for text in _texts(lines, every=every)[-limit:]:  # of 0 that is all
        output.out(output.harmless(text))


def _read(broker: str | None) -> list[Line]:
    """Return the lines of the log in a folder; where there is none, none is called unbroken."""
    from privity.errors import InputError
    from privity.home import home
    from privity.node.broker_log import read_log
    from privity.node.owner_client import is_url

    if broker is not None and is_url(broker):
        raise InputError(
            f"the log of {broker} is not read through its URL",
            hint="run this where the broker's folder is, with --broker FOLDER",
        )
    folder = home() / "broker" if broker is None else Path(broker)
    lines = read_log(folder)
    if not lines:
        own = "`privity model grant` begins yours; --broker names another's folder"
        other = "--broker is the folder that `privity serve broker` keeps its grants in"
        raise InputError(
            f"there is no log of a broker in {folder}", hint=own if broker is None else other
        )
    return lines


def _texts(lines: list[Line], *, every: bool) -> list[str]:
    from privity.errors import EvidenceError

    try:
        told = [(line, 1) for line in lines] if every else _folded(lines)
        return [_text(line, count) for line, count in told]
    except (AttributeError, KeyError, TypeError):
        raise EvidenceError(
            "a line of the log does not say what its event has to", check="log line"
        ) from None


def _folded(lines: list[Line]) -> list[tuple[Line, int]]:
    """Return the lines with the renewals of each lease as its last one, and how many they were."""
    counts: dict[int, int] = {}
    last: dict[tuple[str, str], int] = {}
    for line in lines:
        counts[line.number] = 1
        if line.event not in ("granted", "renewed"):
            continue
        lease = line.about["grant"], line.about["enclave"]["receipts"]
        if line.event == "granted":
            last.pop(lease, None)
            continue
        if lease in last:
            counts[line.number] += counts.pop(last[lease])
        last[lease] = line.number
    return [(line, counts[line.number]) for line in lines if line.number in counts]


def _text(line: Line, count: int) -> str:
    entry: dict[str, Any] = line.to_json()
    parts = [entry["time"], f"{line.event:<8}", entry.get("purpose", "")]
    if "grant" in entry:
        parts.append(grant_text.short(entry["grant"]))
    if "enclave" in entry:
        code = " + ".join(
            f"{one['kind']} {grant_text.short(one['measurement'])}"
            for one in entry["enclave"]["evidence"]
        )
        parts.append(f"to {code}")
    if count > 1:
        parts.append(f"{count} times, this the last")
    if "check" in entry:
        parts.append(f"{entry['check']}: {entry['detail']}")
    if "revocation" in entry:
        parts.append(entry["revocation"]["revocation"]["reason"])
    return "  ".join(part for part in parts if part)
