"""The live view, drawn from states a daemon can be in."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from privity.errors import PeerError, PolicyRefusal
from privity.infer.journal import Job
from privity.node.live import _job_state, _route_state, render
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
