"""Floor 5: what the device daemon is doing right now, for programs and for a terminal.

Counts, names and outcomes. No prompt, no answer, and no part of either is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from privity.errors import PolicyRefusal, PrivityError
from privity.identity.timestamps import Clock, format_time, utc_now
from privity.infer.journal import Job
from privity.infer.ladder import Ladder
from privity.infer.routes.route import Route
from privity.infer.rung import Rung
from privity.infer.session import PrivateTransport
from privity.policy import AdmittedRoute
from privity.receipt import Outcome
from privity.wording import printable, summarise

__all__ = ["came_back", "live_state", "live_view", "render"]

_READY, _STALE, _STARTING = "ready", "ready, but not renewed", "starting"
_REFUSED, _LEFT = "refused by policy", "left alone for a while"
_ON_DEMAND = "found when asked"
_CALM = (_STARTING, _ON_DEMAND)
_ENDED = (Outcome.COMPLETE, Outcome.FAILED, Outcome.INTERRUPTED)
_REFRESH_HZ = 4
_SHOWN = 8
# A mark beside each colour: colour never carries the meaning alone.
_OUTCOMES = {
    Outcome.COMPLETE.value: ("✓", "green"),
    Outcome.FAILED.value: ("✗", "red"),
    Outcome.INTERRUPTED.value: ("\N{EN DASH}", "yellow"),
    Outcome.UNFINISHED.value: ("…", "cyan"),
}


def live_state(
    transport: PrivateTransport,
    *,
    clock: Clock = utc_now,
    hinted: Callable[[str], str] = lambda hint: hint,
) -> dict[str, Any]:
    """Return the daemon's state as JSON-ready data; may be called from any thread.

    Args:
        transport: the daemon's.
        clock: what time it is.
        hinted: what is told in place of a problem's hint.
    """
    ladder, journal = transport.ladder, transport.journal
    now = clock()
    rungs = _rungs_state(ladder)
    route = _foremost(rungs) if rungs else _route_state(ladder.cached, ladder.problem)
    for one in rungs or [route]:
        if one["problem"] is not None:
            one["problem"]["hint"] = hinted(one["problem"]["hint"])
    return {
        "policy": ladder.policy.name,
        "route": route,
        "rungs": rungs,
        "recovered": _recovered(ladder),
        "streams": [_job_state(job, now) for job in list(journal.running.values())],
        "totals": {outcome.value: journal.totals[outcome.value] for outcome in _ENDED},
        "recent": [_job_state(job, now) for job in list(journal.recent)],
    }


def _route_state(
    admitted: AdmittedRoute[Route] | None, problem: PrivityError | None
) -> dict[str, Any]:
    state: dict[str, Any] = {"status": _status(admitted, problem), "problem": None}
    if problem is not None:
        state["problem"] = {
            "kind": type(problem).__name__,
            "message": problem.message,
            "hint": problem.hint,
        }
    if admitted is None:
        return state
    route, enclave = admitted.route, admitted.route.enclave
    state["name"] = route.name
    state["models"] = [model.id for model in route.models]
    state["summary"] = summarise(admitted.disclosure)
    state["disclosure"] = admitted.disclosure.to_json()
    if enclave is not None:
        state["enclave"] = {
            "label": "dev: plain software, which does not stop its host"
            if enclave.dev
            else ", ".join(enclave.kinds),
            "dev": enclave.dev,
            "kinds": list(enclave.kinds),
            "statement": enclave.statement_digest,
            "verified_at": format_time(enclave.verified_at),
        }
    return state


def _recovered(ladder: Ladder) -> dict[str, int] | None:
    """Return what came back of answers that never came; None where nothing is spent."""
    found = [rung.recovery for rung in ladder.rungs if rung.recovery is not None]
    if not found:
        return None
    return {
        "spends": sum(one.spends for one in found),
        "credits": sum(one.credits for one in found),
    }


def came_back(recovered: dict[str, int]) -> str:
    """Return what came back by itself, in words, since the daemon began."""
    jobs = "a job" if recovered["spends"] == 1 else f"{recovered['spends']} jobs"
    return f"{recovered['credits']} credits came back of {jobs} without an answer"


def _rungs_state(ladder: Ladder) -> list[dict[str, Any]]:
    """Return the state of each rung; of none where there is one and nothing to choose."""
    if ladder.takes_all:
        return []
    kept = {rung.key for rung in ladder.kept_fresh}
    return [_rung_state(rung, kept=rung.key in kept) for rung in ladder.rungs]


def _rung_state(rung: Rung, *, kept: bool) -> dict[str, Any]:
    state = _route_state(rung.keeper.cached, rung.keeper.problem)
    if state["status"] == _STARTING:
        shown = rung.shown
        if shown is not None:
            state |= {"summary": summarise(shown), "disclosure": shown.to_json()}
        if shown is not None and rung.keeper.policy.offences(shown):
            state["status"] = _REFUSED
        elif not kept:
            state["status"] = _ON_DEMAND
    broken = rung.breaker.broken
    if broken and state["problem"] is None:
        state["status"] = _LEFT
        state["problem"] = {"kind": "PeerError", "message": broken, "hint": ""}
    return state | {"name": rung.label}


def _foremost(rungs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state of the rung that is nearest to an answer, the first of those alike."""
    order = (_READY, _STALE, _STARTING, _ON_DEMAND)
    rank = {status: number for number, status in enumerate(order)}
    return min(rungs, key=lambda one: rank.get(one["status"], len(order)))


def _status(admitted: AdmittedRoute[Route] | None, problem: PrivityError | None) -> str:
    if isinstance(problem, PolicyRefusal):
        return _REFUSED
    if admitted is not None:
        return _READY if problem is None else _STALE
    return _STARTING if problem is None else "unavailable"


def _job_state(job: Job, now: datetime) -> dict[str, Any]:
    return {
        "id": job.id,
        "path": job.path,
        "model": job.model,
        "route": job.route,
        "outcome": job.outcome.value,
        "error": job.error,
        "chunks": job.chunks,
        "bytes": job.size,
        "seconds": round(((job.ended or now) - job.started).total_seconds(), 1),
    }


def live_view(
    transport: PrivateTransport,
    *,
    hinted: Callable[[str], str] = lambda hint: hint,
    **options: Any,
) -> Live:
    """Return a `rich` live display of a running daemon; use it in ``with``.

    Args:
        transport: the daemon's.
        hinted: as for `live_state`.
        options: passed to `rich.live.Live`, such as ``console``.
    """
    return Live(
        get_renderable=lambda: render(live_state(transport, hinted=hinted)),
        refresh_per_second=_REFRESH_HZ,
        **options,
    )


def render(state: dict[str, Any]) -> RenderableType:
    """Draw a state of `live_state`, in lines that fold to any width."""
    route = state["route"]
    parts: list[RenderableType] = [_headline(state)]
    if state.get("rungs"):
        parts += [line for rung in state["rungs"] for line in _rung_lines(rung)]
    else:
        parts += _problem(route)
        if "summary" in route:
            parts.append(Text(printable(route["summary"]), style="dim"))
    jobs = [*state["streams"], *state["recent"]][:_SHOWN]
    parts.append(Text(""))
    parts.append(_jobs_table(jobs) if jobs else Text("no requests yet", style="dim"))
    totals = "  ".join(f"{count} {outcome}" for outcome, count in state["totals"].items())
    parts.append(Text(f"{len(state['streams'])} running  {totals}", style="dim"))
    recovered = state.get("recovered")
    if recovered and recovered["spends"]:
        parts.append(Text(came_back(recovered), style="dim"))
    return Group(*parts)


def _rung_lines(rung: dict[str, Any]) -> list[Text]:
    line = Text(printable(rung["name"]), style="bold")
    line.append(f" · {rung['status']}", style=_style(rung["status"]))
    lines = [line]
    if "summary" in rung:
        lines.append(Text(f"  {printable(rung['summary'])}", style="dim"))
    return lines + [Text("  ").append_text(text) for text in _problem(rung)]


def _style(status: str) -> str:
    if status == _READY:
        return "green"
    return "dim" if status in _CALM else "red"


def _headline(state: dict[str, Any]) -> Text:
    route = state["route"]
    if state.get("rungs"):
        ready = sum(rung["status"] == _READY for rung in state["rungs"])
        line = Text(f"{ready} of {len(state['rungs'])} ways ready", style="bold")
        return line.append(f" · policy {state['policy']}", style="not bold")
    line = Text()
    line.append(route.get("name", "route"), style="bold")
    if "enclave" in route:
        style = "yellow" if route["enclave"]["dev"] else "green"
        line.append(" · ").append(printable(route["enclave"]["label"]), style=style)
    line.append(f" · {route['status']}", style=_style(route["status"]))
    line.append(f" · policy {state['policy']}")
    if route.get("models"):
        line.append(f" · {printable(', '.join(route['models'][:3]))}")
    return line


def _problem(route: dict[str, Any]) -> list[Text]:
    if route["problem"] is None:
        return []
    lines = [Text(printable(route["problem"]["message"]), style="red")]
    if route["problem"]["hint"]:
        lines.append(Text(f"hint: {printable(route['problem']['hint'])}"))
    return lines


def _jobs_table(jobs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for heading in ("", "receipt", "request", "model", "bytes", "seconds", "outcome"):
        right = heading in ("bytes", "seconds")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for job in jobs:
        mark, style = _OUTCOMES[job["outcome"]]
        ending = f"{job['outcome']} ({job['error']})" if job["error"] else job["outcome"]
        table.add_row(
            Text(mark, style=style),
            job["id"].rpartition("-")[2],
            printable(job["path"].removeprefix("/v1/")),
            printable(job["model"] or "\N{EN DASH}"),
            str(job["bytes"]),
            f"{job['seconds']:.1f}",
            Text("running" if job["outcome"] == "unfinished" else ending, style=style),
        )
    return table
