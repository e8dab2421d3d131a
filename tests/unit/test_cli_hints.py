"""Hints that name another command repeat the policy that this one was given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from typer.main import get_command

from fake_rungs import Fake, session
from privity.cli import chat, wallet
from privity.cli.app import build_app, run
from privity.cli.hints import with_policy
from privity.errors import InputError
from privity.home import home
from privity.infer import asker, opening
from privity.node import listen
from privity.node.access import AccessControl
from privity.node.device import DeviceApp, token_path

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


# What is written of errors that end no command


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have every way there is fail with the hint."""
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))
    fails = InputError("not yet", hint=HINT)
    rungs = [Fake("local", find_error=fails), Fake("zdr", find_error=fails)]
    monkeypatch.setattr(asker, "open_session", lambda *_, **__: session(tmp_path, *rungs))

    async def shelves(*_: object) -> Any:
        return await session(tmp_path, *rungs).ladder.shelves()

    monkeypatch.setattr(opening, "shelves", shelves)


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(
    "command",
    [["models", "--policy", "dev"], ["models", "-pdev"], ["policy", "check", "dev"]],
    ids=" ".join,
)
def test_what_is_said_of_a_way_names_the_policy(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ([], ["--json"]):
        assert run([*command, *form]) != 0
        said = capsys.readouterr().out
        assert "`privity wallet top-up --policy dev` stakes" in said and HINT not in said


def test_a_turn_of_a_chat_that_fails_names_the_policy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))
    transport = session(tmp_path, Fake("local", find_error=InputError("not yet", hint=HINT)))
    monkeypatch.setattr(asker, "open_session", lambda *_, **__: transport)
    monkeypatch.setattr(chat._Conversation, "run", lambda self: self._turn("Hi."))
    assert run(["chat", "--policy", "dev"]) == 0
    assert "`privity wallet top-up --policy dev` stakes" in capsys.readouterr().err


# What the daemon answers

Served = Callable[[list[str]], tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    """Return what has a daemon with these options answer a request and a question of its state."""
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    transport = session(tmp_path, Fake("local", find_error=InputError("not yet", hint=HINT)))
    answers: list[dict[str, Any]] = []

    async def ask(app: DeviceApp) -> None:
        token = token_path(home()).read_text().strip()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://127.0.0.1:8484",
            headers={"authorization": f"Bearer {token}"},
        ) as client:
            answers.append((await client.post("/v1/chat/completions", json={})).json()["error"])
            answers.append((await client.get("/privity/state")).json()["route"]["problem"])

    monkeypatch.setattr(opening, "open_session", lambda *_, **__: transport)
    monkeypatch.setattr(listen, "bind", lambda *_: None)
    monkeypatch.setattr(listen, "serve_app", lambda app, *_, **__: anyio.run(ask, app))

    def of(options: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        assert run(["up", *options]) == 0
        return answers[-2], answers[-1]

    return of


@pytest.mark.parametrize("options", [["--policy", "dev"], ["-pdev"], ["--policy=dev", "--json"]])
def test_what_the_daemon_answers_names_its_policy(options: list[str], answered: Served) -> None:
    error, problem = answered(options)
    named = "`privity wallet top-up --policy dev` stakes for you and buys credits"
    assert (error["hint"], problem["hint"]) == (named, named)
    assert error["message"] == f"not yet ({named})"


def test_without_the_option_the_daemon_names_none(answered: Served) -> None:
    error, problem = answered([])
    assert (error["hint"], problem["hint"]) == (HINT, HINT)


def test_an_app_learns_no_more_of_a_policy_file_than_was_typed(answered: Served) -> None:
    error, _ = answered(["--policy", "mine.toml"])
    assert "`privity wallet top-up --policy mine.toml`" in error["hint"]


class _BrokenOff(httpx.AsyncByteStream):
    """An answer that begins, and then fails."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'data: {"choices": []}\n\n'
        raise InputError("not enough", hint=HINT)


def test_an_answer_that_breaks_off_ends_with_the_hint_of_the_daemon(tmp_path: Path) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        kind = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=kind, stream=_BrokenOff())

    token = "t" * 43
    transport = session(tmp_path, Fake("local", answering=answer))
    app = DeviceApp(transport, AccessControl(token), hinted=str.upper)
    fields = {"host": "127.0.0.1:8484", "authorization": f"Bearer {token}"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }
    sent = bytearray()

    async def ask() -> None:
        requests = iter([{"type": "http.request", "body": b"{}"}])

        async def receive() -> dict[str, Any]:
            found = next(requests, None)
            if found is None:  # the client stays
                await anyio.sleep_forever()
            return found or {}

        async def send(message: Any) -> None:
            sent.extend(message.get("body", b""))

        await app(scope, receive, send)

    anyio.run(ask)
    (told,) = [line for line in sent.decode().splitlines() if line.startswith('data: {"type"')]
    assert json.loads(told.removeprefix("data: "))["error"]["hint"] == HINT.upper()
