"""A session on the local route: the engine's own address, its key, and records without a seal."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.errors import EngineError, InputError, PolicyRefusal, TruncatedError
from privity.identity.keys import SigningKey
from privity.infer import local_engine
from privity.infer.asker import Asker
from privity.infer.config import Config
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.journal import Journal
from privity.infer.ladder import Ladder
from privity.infer.opening import SessionSettings, open_session
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.local import LocalRoute, local_disclosure
from privity.infer.session import PrivateTransport
from privity.policy import Policy
from privity.statement import Model

pytestmark = pytest.mark.anyio


@dataclass
class FakeEngine:
    base_url: str = "http://127.0.0.1:4444/v1"
    kind: str = "fake"
    headers: dict[str, str] = field(default_factory=lambda: {"authorization": "Bearer engine"})
    models: tuple[Model, ...] = (Model("small", None, "fake 1"),)
    started: int = 0

    async def start(self) -> None:
        self.started += 1


def session(
    engine: Any, inner: httpx.AsyncBaseTransport, tmp_path: Path, policy: str = "local-only"
) -> PrivateTransport:
    async def find() -> LocalRoute:
        return LocalRoute(engine, local_disclosure(engine.base_url, engine.kind))

    keeper = RouteKeeper(find, Policy.load(policy), max_age=math.inf)
    journal = Journal(ReceiptStore(tmp_path / "receipts"), SigningKey.generate())
    return PrivateTransport(Ladder.of(keeper, "local"), journal, inner)


def test_what_only_looks_like_a_line_end_breaks_no_piece(tmp_path: Path) -> None:
    text = "a\u2028b\u0085c\u2029d"
    event = json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False)
    body = f"data: {event}\r\n\r\ndata: [DONE]\r\n\r\n".encode()
    engine = httpx.MockTransport(
        lambda request: httpx.Response(
            200, content=body, headers={"content-type": "text/event-stream"}
        )
    )
    with Asker(transport=session(FakeEngine(), engine, tmp_path)) as asker:
        assert asker.stream([{"role": "user", "content": "x"}], model="small").answer() == text


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_of_a_local_engine_is_an_error(status: int, tmp_path: Path) -> None:
    seen: list[str] = []

    def engine(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(status, headers={"location": "http://evil.example/"})

    transport = session(FakeEngine(), httpx.MockTransport(engine), tmp_path)
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(EngineError, match="redirect"):
            await client.post("http://any/v1/chat/completions", json={"model": "small"})
    assert seen == ["127.0.0.1"]
    record = transport.journal.store.get("last")[1].record
    assert record["credentialSubject"]["outcome"] == "failed"


@pytest.mark.parametrize("base", ["http://127.0.0.1:4444", "http://127.0.0.1:4444/v1/"])
async def test_a_request_goes_to_the_engine_with_its_key(base: str, tmp_path: Path) -> None:
    seen: list[httpx.Request] = []

    def engine(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"ok": True})

    transport = session(FakeEngine(base_url=base), httpx.MockTransport(engine), tmp_path)
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.post(
            "http://any/v1/chat/completions?x=1",
            json={"model": "small"},
            headers={"authorization": "Bearer mine"},
        )
    assert response.json() == {"ok": True}
    assert str(seen[0].url) == "http://127.0.0.1:4444/v1/chat/completions?x=1"
    assert seen[0].headers["host"] == "127.0.0.1:4444"
    assert seen[0].headers["authorization"] == "Bearer engine"
    assert not [name for name in seen[0].headers if name.startswith("privity-")]
    file = transport.journal.store.get("last")[1]
    subject = file.record["credentialSubject"]
    assert (subject["route"], subject["outcome"]) == ("local", "complete")
    assert (subject["model"], subject["statement"], file.receipt) == ("small", None, None)


async def test_an_engine_that_refuses_or_is_gone_leaves_a_failed_record(tmp_path: Path) -> None:
    def engine(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("gone"):
            raise httpx.ConnectError("no", request=request)
        return httpx.Response(404, json={"error": "no such model"})

    transport = session(FakeEngine(), httpx.MockTransport(engine), tmp_path)
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.post("http://any/v1/x", json={"a": 1})).status_code == 404
        with pytest.raises(EngineError, match="did not answer"):
            await client.post("http://any/v1/gone", json={"a": 1})
    assert transport.journal.totals == {"failed": 2}


async def test_an_engine_that_ended_is_started_again_once(tmp_path: Path) -> None:
    tries: list[bytes] = []

    def engine(request: httpx.Request) -> httpx.Response:
        tries.append(request.content)
        if len(tries) == 1:
            raise httpx.ConnectError("no", request=request)
        return httpx.Response(200, json={"ok": True})

    fake = FakeEngine()
    transport = session(fake, httpx.MockTransport(engine), tmp_path)
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.post("http://any/v1/x", json={"a": 1})).status_code == 200
    assert fake.started == 1
    assert tries[0] == tries[1]
    assert transport.journal.totals == {"complete": 1}


async def test_an_engine_that_breaks_off_leaves_an_interrupted_record(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        raise httpx.ReadError("died")

    def engine(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=broken())

    transport = session(FakeEngine(), httpx.MockTransport(engine), tmp_path)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(TruncatedError, match="broke off"):
            await client.post("http://any/v1/x", json={"a": 1})
    assert transport.journal.totals == {"interrupted": 1}


@pytest.mark.parametrize(("key", "sent"), [(None, None), ("", None), ("k", "Bearer k")])
async def test_an_engine_configured_by_url_gets_its_key(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str], key: str | None, sent: str | None
) -> None:
    seen: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        seen.append(dict(scope["headers"]).get(b"authorization", b"").decode() or None)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"data": [{"id": "small"}]}'})

    monkeypatch.delenv("PRIVITY_ENGINE_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("PRIVITY_ENGINE_KEY", key)
    config = Config(policy="local-only", engine=serve(app))
    transport = open_session(SessionSettings(route="local"), config=config)
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.post("http://any/v1/x", json={})).status_code == 200
    assert set(seen) == {sent}


@pytest.mark.parametrize("loaded", [True, False])
async def test_detecting_takes_a_server_with_a_model_and_never_gives_it_the_key(
    monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    found = OpenAIServer("http://127.0.0.1:9")
    found._models = (Model("small", None, "fake 1"),) if loaded else ()

    async def discover() -> list[OpenAIServer]:
        return [found]

    monkeypatch.setenv("PRIVITY_ENGINE_KEY", "k")
    monkeypatch.setattr("privity.infer.engines.discover.discover", discover)
    engine = await local_engine.LocalEngine("detect")._choose()
    assert (engine is found) == loaded
    assert isinstance(engine, OpenAIServer if loaded else EmbeddedEngine)
    assert engine.headers.get("authorization") != "Bearer k"


async def test_an_engine_elsewhere_is_refused_before_a_byte_leaves(tmp_path: Path) -> None:
    def engine(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing may be sent")

    elsewhere = FakeEngine(base_url="http://gpu.example:8000/v1")
    transport = session(elsewhere, httpx.MockTransport(engine), tmp_path, "confidential")
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(PolicyRefusal):
            await client.post("http://any/v1/chat/completions", json={"model": "small"})
    assert list(transport.journal.store.ids()) == []


@pytest.mark.parametrize("named", ["big:cloud", "other", ""])
async def test_a_model_that_an_ollama_would_forward_is_never_asked_for(
    named: str, tmp_path: Path
) -> None:
    """An Ollama takes names that it does not list, and passes the prompt on to other servers."""
    seen: list[httpx.Request] = []

    def engine(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    server = OpenAIServer("http://127.0.0.1:9")
    server.kind, server._models = "ollama", (Model("small:latest", None, "ollama 1"),)
    transport = session(server, httpx.MockTransport(engine), tmp_path)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(InputError, match="does not run"):
            await client.post("http://any/v1/chat/completions", json={"model": named})
        assert seen == []
        await client.post("http://any/v1/chat/completions", json={"model": "small"})
    assert len(seen) == 1
