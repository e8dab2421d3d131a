"""The live view, drawn from states a daemon can be in."""

from __future__ import annotations

import io
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fake_rungs import Fake, session
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import PeerError, PolicyRefusal, PrivityError
from privity.infer.journal import Job
from privity.infer.ladder import Ladder
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.rung import Rung
from privity.node.live import (
    _foremost,
    _job_state,
    _route_state,
    _rungs_state,
    live_state,
    live_view,
    render,
)
from privity.policy import Policy
from privity.receipt import Outcome

NOW = datetime(2025, 11, 21, 3, 40, 1, tzinfo=UTC)


def job(outcome: Outcome, error: str | None = None) -> dict[str, Any]:
    ended = None if outcome is Outcome.UNFINISHED else NOW
    name = "20251121-034001123-k7f3q2"
    made = Job(name, "/v1/chat/completions", "small", "confidential", NOW - timedelta(seconds=2))
    made.ended, made.outcome, made.error, made.size = ended, outcome, error, 512
    return _job_state(made, NOW)


def state(**route: Any) -> dict[str, Any]:
    base = {"status": "ready", "problem": None, "name": "confidential", "models": ["small"]}
    return {
        "policy": "dev",
        "route": {**base, **route},
        "streams": [job(Outcome.UNFINISHED)],
        "recent": [job(Outcome.COMPLETE), job(Outcome.FAILED, "ReceiptError")],
        "totals": {"complete": 1, "failed": 1, "interrupted": 0},
    }


def drawn(document: dict[str, Any], width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(render(document))
    return out.getvalue()


def test_it_names_the_route_the_policy_and_each_outcome() -> None:
    dev = {"label": "dev: plain software, which does not stop its host", "dev": True}
    text = drawn(state(enclave=dev, summary="read by: you"), 140)
    for words in ("confidential · dev: plain software", "policy dev", "read by: you", "k7f3q2"):
        assert words in text
    assert "running" in text and "complete" in text and "failed (ReceiptError)" in text
    assert "1 running  1 complete  1 failed  0 interrupted" in text


@pytest.mark.parametrize("width", [30, 60, 80, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for line in drawn(state(), width).splitlines():
        assert len(line) <= width


def test_a_problem_is_told_with_its_hint() -> None:
    problem = PeerError("the relay cannot be reached", hint="start it")
    route = _route_state(None, problem)
    assert route["status"] == "unavailable"
    text = drawn({**state(), "route": route, "streams": [], "recent": []}, 80)
    assert "the relay cannot be reached" in text
    assert "hint: start it" in text
    assert "no requests yet" in text


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.anyio
async def test_a_hint_is_told_as_the_daemon_has_it(tmp_path: Path, others: int) -> None:
    broken = Fake("local", find_error=PeerError("nobody answers", hint="is it up?"))
    transport = session(tmp_path, broken, *[Fake("confidential")] * others)
    with suppress(PrivityError):
        await transport.ladder.rungs[0].keeper.current()
    for _ in range(2):  # it is told of the hint itself each time, not of what it made of it
        found = live_state(transport, hinted=str.upper)
        assert len(found["rungs"]) == 2 * others
        (told, *_) = found["rungs"] or [found["route"]]
        assert told["problem"]["hint"] == "IS IT UP?"
    out = io.StringIO()
    view = live_view(transport, hinted=str.upper)
    Console(file=out, width=80, color_system=None).print(view.get_renderable())
    assert "hint: IS IT UP?" in out.getvalue()


def test_what_a_peer_or_a_client_named_cannot_steer_the_terminal() -> None:
    document = state(models=["\x1b[2Jx"])
    document["streams"][0]["model"] = "a\x07b"
    document["recent"][0]["path"] = "/v1/\x1b]0;x"
    text = drawn(document, 140)
    assert "\x1b" not in text and "\x07" not in text


def test_the_route_is_starting_refused_or_not_renewed() -> None:
    assert _route_state(None, None)["status"] == "starting"
    refusal = PolicyRefusal("no", report={})
    assert _route_state(None, refusal)["status"] == "refused by policy"


# Several rungs


def rung(route: str, name: str, policy: Policy, shown: Disclosure | None = None) -> Rung:
    async def find() -> Any:
        raise PeerError("nobody answers", hint="is it up?")

    return Rung(route, name, RouteKeeper(find, policy, max_age=math.inf), shown=shown)


TOLD = Disclosure(
    {
        (Party.PROVIDER, Asset.PROMPT): Cell(
            View.EVERYTHING, frozenset({Basis(Ground.PROMISE, "it says so")})
        )
    }
)
OWN = Disclosure({(Party.DEVICE, Asset.PROMPT): Cell(View.EVERYTHING)})


def several(policy: Policy) -> Ladder:
    rungs = [
        rung("confidential", "home", policy),
        rung("local", "embedded", policy, OWN),
        rung("local", "laptop", policy),
        rung("zdr", "other", policy, TOLD),
    ]
    return Ladder(rungs, policy)


def test_only_a_rung_that_is_being_found_is_starting() -> None:
    states = _rungs_state(several(Policy.load("local-only")))
    assert [(one["name"], one["status"]) for one in states] == [
        ("confidential/home", "starting"),
        ("local/embedded", "found when asked"),
        ("local/laptop", "found when asked"),
        ("zdr/other", "refused by policy"),
    ]
    assert states[1]["summary"] == "read by: you"


@pytest.mark.anyio
async def test_each_rung_says_how_it_is() -> None:
    ladder = several(Policy.load("local-only"))
    await ladder.shelves()
    for _ in range(3):
        trial = ladder.rungs[1].breaker.attempt()
        assert trial is not None
        trial.failed(PeerError("gone"))
    states = _rungs_state(ladder)
    assert [one["status"] for one in states] == [
        "unavailable",
        "left alone for a while",
        "unavailable",
        "unavailable",
    ]
    assert "3 times in a row" in states[1]["problem"]["message"]
    text = drawn({**state(), "route": _foremost(states), "rungs": states}, 140)
    for words in (
        "0 of 4 ways ready · policy dev",
        "confidential/home · unavailable\n  nobody answers\n  hint: is it up?",
        "local/embedded · left alone for a while\n  read by: you",
    ):
        assert words in "\n".join(line.rstrip() for line in text.splitlines())


def test_the_foremost_is_the_one_nearest_to_an_answer() -> None:
    def named(*statuses: str) -> str:
        return str(_foremost([{"status": one} for one in statuses])["status"])

    assert named("unavailable", "found when asked", "starting") == "starting"
    assert named("refused by policy", "found when asked") == "found when asked"
    assert named("ready, but not renewed", "ready") == "ready"
    assert named("unavailable", "refused by policy") == "unavailable"


def test_what_came_back_by_itself_is_shown() -> None:
    assert "came back" not in drawn(state() | {"recovered": {"spends": 0, "credits": 0}}, 140)
    text = drawn(state() | {"recovered": {"spends": 1, "credits": 7}}, 140)
    assert "7 credits came back of a job without an answer" in text
    text = drawn(state() | {"recovered": {"spends": 2, "credits": 9}}, 140)
    assert "9 credits came back of 2 jobs without an answer" in text


def test_one_way_alone_has_no_list() -> None:
    policy = Policy.load("local-only")
    assert _rungs_state(Ladder([rung("local", "laptop", policy)], policy)) == []
