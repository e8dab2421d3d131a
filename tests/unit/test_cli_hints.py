"""Hints that name another command repeat the policy that this one was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.main import get_command

from privity.cli import wallet
from privity.cli.app import build_app, run
from privity.cli.hints import with_policy
from privity.errors import InputError

HINT = "`privity wallet top-up` stakes for you and buys credits"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask", "--policy", "dev", "Hi."], "`privity wallet top-up --policy dev` stakes"),
        (["ask", "--policy=dev", "Hi."], "`privity wallet top-up --policy dev` stakes"),
        (["ask", "-pdev", "Hi."], "`privity wallet top-up --policy dev` stakes"),
        (["wallet", "exit", "-p", "a b.toml"], "`privity wallet top-up --policy 'a b.toml'`"),
        (["ask", "Hi."], "`privity wallet top-up` stakes"),
        (["ask", "--", "-p", "dev"], "`privity wallet top-up` stakes"),
    ],
)
def test_a_command_in_a_hint_has_the_policy_that_was_given(arguments: list[str], told: str) -> None:
    assert told in with_policy(HINT, arguments, get_command(build_app()))


@pytest.mark.parametrize(
    "hint",
    [
        "",
        "no command at all",
        "`privity doctor` looks",  # it takes none
        "`privity wallet balance` shows them",
        "`privity wallet top-up --policy anonymous` is another's",
        "`privity wallet` is a group, and `privity nothing` is none",
    ],
)
def test_what_takes_no_policy_or_has_one_stays_as_it_is(hint: str) -> None:
    assert with_policy(hint, ["ask", "-p", "dev"], get_command(build_app())) == hint


def test_p_of_another_command_may_be_something_else() -> None:
    assert with_policy(HINT, ["verify", "-p", "dev"], get_command(build_app())) == HINT


def test_an_error_of_a_command_has_it_in_text_and_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise InputError("you are not a member", hint=HINT)

    monkeypatch.setattr(wallet, "_acted", refuse)
    assert run(["wallet", "recover", "--policy", "dev"]) == 2
    assert "hint: `privity wallet top-up --policy dev`" in capsys.readouterr().err
    assert run(["wallet", "recover", "--policy", "dev", "--json"]) == 2
    hint = json.loads(capsys.readouterr().out)["error"]["hint"]
    assert hint.startswith("`privity wallet top-up --policy dev`")
