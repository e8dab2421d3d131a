"""`privity models`: what is listed, what is shown, and what a pull says before it begins."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import typer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from privity.cli import app as cli
from privity.cli import models, output
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import EngineError, PeerError, PolicyRefusal, PrivityError
from privity.infer import opening
from privity.infer.catalogue import Offer, Price, Shelf
from privity.infer.opening import SessionSettings
from privity.infer.routes.local import local_disclosure

Capture = pytest.CaptureFixture[str]
RECORDED = Path(__file__).parents[1] / "recorded" / "ollama"

OWN = local_disclosure("http://127.0.0.1:1", "ollama")
TOLD = Disclosure(
    {
        (Party.PERSON, Asset.PROMPT): Cell(View.EVERYTHING),
        (Party.PROVIDER, Asset.PROMPT): Cell(
            View.EVERYTHING, frozenset({Basis(Ground.PROMISE, "it says that it keeps nothing")})
        ),
    },
    {Party.PROVIDER: frozenset({"provider · openai, pseudonymised"})},
)
LAPTOP = Shelf(
    "local",
    "laptop",
    (
        Offer("smollm2:latest", "local", "laptop", 4096, can=frozenset({"chat"}), note="cut short"),
        Offer("shared", "local", "laptop"),
    ),
    OWN,
    version="ollama 0.17.4",
)
OPENAI = Shelf(
    "zdr",
    "openai",
    (Offer("shared", "zdr", "openai", 400_000, Price("USD", 1.25, 10.0)),),
    TOLD,
)
CONFIG = '[[enclave]]\nname = "home"\nurl = "http://127.0.0.1:9"\n[[provider]]\nname = "openai"\n'
HOME = Shelf("confidential", "home", problem=PeerError("home did not answer", hint="is it up?"))


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, privity_home: Path
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command over shelves, as the root command would."""

    privity_home.mkdir(mode=0o700)
    (privity_home / "config.toml").write_text(CONFIG)

    def call(shelves: tuple[Shelf, ...], *arguments: str) -> tuple[int, str, str]:
        async def double(settings: SessionSettings, _: object) -> tuple[Shelf, ...]:
            return tuple(shelf for shelf in shelves if shelf.route == settings.route)

        monkeypatch.setattr(opening, "shelves", double)
        monkeypatch.setenv("COLUMNS", "100")
        root = typer.Typer(pretty_exceptions_enable=False)
        root.callback()(lambda: None)
        root.add_typer(models.app, name="models")
        monkeypatch.setattr(cli, "build_app", lambda: root)
        code = cli.run(["models", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


Run = Callable[..., tuple[int, str, str]]


def test_every_model_is_listed_under_its_route_with_who_reads(run: Run) -> None:
    code, out, err = run((OPENAI, HOME, LAPTOP))
    assert code == 0 and err.startswith("\naliases") and "private/best" in err
    lines = out.splitlines()
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert heads == ["local/laptop  ollama 0.17.4", "confidential/home", "zdr/openai"]
    assert "  read by: you" in lines
    assert any("provider · openai, pseudonymised (it says that it keeps" in line for line in lines)
    assert "  smollm2:latest    4,096 tokens  no price  chat" in lines
    assert "    note: cut short" in lines
    assert any(line.startswith("  shared ") and "context ?" in line for line in lines)
    assert any("400,000 tokens  USD 1.25 + 10.00 per million tokens" in line for line in lines)
    assert "  not reachable: home did not answer" in lines and "  hint: is it up?" in lines


def test_as_json_it_says_the_same(run: Run) -> None:
    code, out, _ = run((OPENAI, HOME, LAPTOP), "--json")
    local, home, zdr = json.loads(out)
    assert code == 0
    assert [offer["name"] for offer in local["offers"]] == [
        "local/laptop/smollm2:latest",
        "local/laptop/shared",
    ]
    assert local["summary"] == "read by: you" and local["problem"] is None
    assert home["problem"] == {"hint": "is it up?", "message": "home did not answer"}
    assert zdr["offers"][0]["price"]["completion_per_million"] == 10.0
    assert Disclosure.from_json(zdr["disclosure"]) == TOLD


def test_one_route_alone(run: Run) -> None:
    code, out, _ = run((OPENAI, HOME, LAPTOP), "--route", "zdr", "--json")
    assert code == 0 and [one["rung"] for one in json.loads(out)] == ["openai"]
    code, _, err = run((LAPTOP,), "--route", "cheap")
    assert code == output.USAGE and "'cheap' is not a route" in err


def refusal() -> PolicyRefusal:
    return PolicyRefusal("the policy allows no provider", report={}, hint="")


@pytest.mark.parametrize(
    ("problem", "code", "word"),
    [
        (EngineError("it is off"), output.FAILURE, "not reachable: it is off"),
        (refusal(), output.REFUSED, "refused: the policy allows no provider"),
    ],
)
def test_where_nothing_is_reachable_it_fails(
    run: Run, problem: PrivityError, code: int, word: str
) -> None:
    ended, out, _ = run((Shelf("zdr", "openai", problem=problem),))
    assert ended == code and f"  {word}" in out.splitlines()


def test_that_nothing_is_there_is_said_and_no_success(run: Run) -> None:
    code, out, err = run(())
    assert (code, out) == (output.FAILURE, "") and "no model is reachable" in err
    code, out, _ = run((), "--json")
    assert (code, json.loads(out)) == (output.FAILURE, [])


def test_one_model_is_shown_on_each_route_with_its_table(run: Run) -> None:
    code, out, _ = run((OPENAI, LAPTOP), "show", "shared")
    assert code == 0
    assert "local/laptop/shared" in out and "zdr/openai/shared" in out
    assert out.count("who would be privy to what") == 2 and "a promise" in out
    code, out, _ = run((OPENAI, LAPTOP), "show", "zdr/openai/shared", "--json")
    (shown,) = json.loads(out)
    assert shown["context"] == 400_000 and "provider" in shown["disclosure"]


def test_a_model_that_is_nowhere_is_a_wrong_argument(run: Run) -> None:
    code, out, err = run((LAPTOP, HOME), "show", "absent")
    assert (code, out) == (output.USAGE, "")
    assert "no model is called 'absent'; not reachable now: confidential/home" in err


def test_an_engines_words_do_not_drive_the_terminal(run: Run) -> None:
    evil = "m\x1b[2J\n  zdr/forged"
    offer = Offer(evil, "local", evil, note=evil)
    shelf = Shelf("local", evil, (offer,), OWN, EngineError(evil, hint=evil), version=evil)
    for arguments in ((), ("show", evil)):
        _, out, err = run((shelf,), *arguments)
        assert "\x1b" not in out + err
        assert not any(line.strip().startswith("zdr/") for line in out.splitlines())


def test_a_policy_file_in_a_hint_can_be_copied(run: Run) -> None:
    hint = 'keep a policy file of your own:\n\nname = "mine"\n[host]\nprompt = { view = "size" }'
    refused = Shelf("confidential", "home", (), None, PolicyRefusal("no", hint=hint, report={}))
    _, out, _ = run((refused,))
    lines = [line.removeprefix("  ") for line in out.splitlines()]
    at = lines.index('name = "mine"')
    assert lines[at : at + 3] == ['name = "mine"', "[host]", 'prompt = { view = "size" }']


def ollama_app(pull: str, tags: str) -> Starlette:
    """Return a stand-in for an Ollama that answers as was recorded from a real one."""

    def recorded(name: str, path: str) -> Any:
        exchanges = json.loads((RECORDED / f"{name}.json").read_text())["exchanges"]
        return next(one for one in exchanges if one["path"] == path)

    async def answer(request: Request) -> Response:
        path = request.url.path
        if path == "/api/pull":
            lines = recorded(pull, path)["lines"]
            return Response("".join(json.dumps(line) + "\n" for line in lines))
        found = recorded(tags if path == "/api/tags" else "one_model", path)
        return JSONResponse(found["body"], found["status"])

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


def test_a_pull_says_first_who_learns_of_it_and_asks(run: Run, serve: Callable[..., str]) -> None:
    url = serve(ollama_app("pull", "one_model"))
    code, out, err = run((), "pull", "smollm2", "--engine", url)
    assert (code, out) == (output.USAGE, "")  # there is nobody to ask
    assert f"Ollama at {url} will download smollm2 from its registry" in err
    assert "that tells it what you fetch" in err and "add --yes" in err
    code, _, err = run((), "pull", "hf.co/a/b", "--engine", url)
    assert "will download hf.co/a/b from hf.co" in err
    code, out, _ = run((), "pull", "smollm2", "--engine", url, "--json")
    assert code == output.USAGE and "that tells it" in json.loads(out)["error"]["message"]


def test_a_pull_says_what_came_and_how_much_of_it_is_read(
    run: Run, serve: Callable[..., str]
) -> None:
    url = serve(ollama_app("pull", "one_model"))
    code, out, err = run((), "pull", "smollm2:latest", "--engine", url, "--yes")
    assert code == 0
    assert out == "pulled smollm2:latest: 98.4 MB, reads 4,096 tokens\n"
    assert "it reads 4,096 of 8,192 tokens" in err
    code, out, _ = run((), "pull", "smollm2:latest", "--engine", url, "--yes", "--json")
    facts = json.loads(out)
    assert (code, facts["context"], facts["size"]) == (0, 4096, 98362502)


def test_what_was_pulled_and_runs_elsewhere_is_an_error(
    run: Run, serve: Callable[..., str]
) -> None:
    url = serve(ollama_app("pull", "forwarded"))
    code, out, err = run((), "pull", "big", "--engine", url, "--yes")
    assert (code, out) == (output.FAILURE, "")
    assert "big does not run on this machine: Ollama forwards it to http://127.0.0.1:9" in err


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        ("pull_absent", "there is no such model"),
        ("pull_unreachable", "does not reach its registry"),
    ],
)
def test_a_pull_that_fails_says_why(
    run: Run, serve: Callable[..., str], recording: str, reason: str
) -> None:
    url = serve(ollama_app(recording, "one_model"))
    code, out, err = run((), "pull", "smollm2", "--engine", url, "--yes")
    assert (code, out) == (output.FAILURE, "") and reason in err


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("pull", "q:cloud", "--yes"), output.USAGE, "runs on Ollama's servers"),
        (("pull", "a b", "--yes"), output.USAGE, "not the name of a model"),
        (("pull", "a", "--yes", "--engine", "attic"), output.USAGE, "no engine is called 'attic'"),
        (
            ("pull", "a", "--yes", "--engine", "http://127.0.0.1:9"),
            output.FAILURE,
            "did not answer",
        ),
    ],
)
def test_a_pull_that_cannot_begin(
    run: Run, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    ended, out, err = run((), *arguments)
    assert (ended, out) == (code, "") and reason in err


def test_an_engine_is_found_by_its_name(
    run: Run, serve: Callable[..., str], privity_home: Path
) -> None:
    url = serve(ollama_app("pull", "one_model"))
    (privity_home / "config.toml").write_text(f'[[engine]]\nname = "attic"\nurl = "{url}"\n')
    code, _, _ = run((), "pull", "smollm2", "--engine", "attic", "--yes")
    assert code == 0


@pytest.mark.anyio
async def test_a_rung_says_which_release_its_engine_is(serve: Callable[..., str]) -> None:
    from privity.infer.local_engine import LocalEngine
    from privity.policy import Policy

    engine = LocalEngine(serve(ollama_app("pull", "one_model")), "attic")
    rung = engine.rung(Policy.load("local-only"))
    shelf = await rung.glance()
    await rung.aclose()
    assert (shelf.version, shelf.problem) == ("ollama 0.17.4", None)


def test_the_doctor_shows_servers_with_release_models_and_what_is_forwarded(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from privity.cli import doctor
    from privity.infer.engines import discover as discovery

    port = int(serve(ollama_app("pull", "forwarded")).rpartition(":")[2])
    real = discovery.discover
    monkeypatch.setattr(discovery, "discover", lambda: real({"ollama": port}, timeout_s=10))
    found = list(doctor._servers())
    assert found[0].detail == f"ollama 0.17.4 at http://127.0.0.1:{port}: smollm2:latest"
    assert found[1].state is doctor.State.NOTE
    assert "big:latest is not on this machine: Ollama forwards it to" in found[1].detail


def test_the_doctor_says_that_a_server_still_loads(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from privity.cli import doctor
    from privity.infer.engines import discover as discovery

    async def loading(_: Request) -> Response:
        return JSONResponse({"error": {"message": "Loading model", "code": 503}}, 503)

    async def listed(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "m", "owned_by": "llamacpp"}]})

    routes = [Route("/health", loading), Route("/v1/models", listed)]
    port = int(serve(Starlette(routes=routes)).rpartition(":")[2])
    real = discovery.discover
    monkeypatch.setattr(discovery, "discover", lambda: real({"llama-server": port}, timeout_s=10))
    (finding,) = doctor._servers()
    assert finding.state is doctor.State.NOTE
    assert finding.detail.endswith("m; the engine still loads its model")


PROGRAM = """
import sys, typer
from privity.cli import app, models
root = typer.Typer(pretty_exceptions_enable=False)
root.callback()(lambda: None)
root.add_typer(models.app, name="models")
app.build_app = lambda: root
app.main()
"""


def test_ctrl_c_stops_the_download_and_says_that_it_can_go_on(serve: Callable[..., str]) -> None:
    gone = threading.Event()

    async def endless(_: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            try:
                while True:
                    yield '{"status":"pulling","digest":"sha256:ab","total":9000,"completed":1}\n'
                    await anyio.sleep(0.05)
            finally:
                gone.set()

        return StreamingResponse(body())

    async def version(_: Request) -> Response:
        return JSONResponse({"version": "0.17.4"})

    routes = [Route("/api/pull", endless, methods=["POST"]), Route("/api/version", version)]
    url = serve(Starlette(routes=routes))
    # What runs in the background of a shell ignores Ctrl-C, and so do its children.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", heard + PROGRAM, "models", "pull", "tiny"]
    command += ["--engine", url, "--yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline()  # it has begun
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert first.startswith(b"pulling tiny, sha256:ab: 0 % of 9 kB")
    assert (process.returncode, out) == (output.INTERRUPTED, b"")
    assert b"Ollama keeps what it has, and the same command goes on from there" in err
    assert gone.wait(10)  # Ollama stops where its caller has left
