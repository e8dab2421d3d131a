"""What the proxy lets through to an engine, and how it ends; the engine here is a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from privity.errors import EngineError
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.isolation import MAX_REQUEST
from privity.infer.engines.proxy import SERVED, EngineProxy, Served
from privity.statement import Model

CHAT = "/v1/chat/completions"
MODELS = (Model("tiny", None, "script 1"), Model("org/big", None, "script 1"))


class ScriptedEngine(Engine):
    """A server that records what it gets and answers as it is told."""

    kind = "llama-server"
    prefix_cache = PrefixCache.OFF
    models = MODELS
    headers: Mapping[str, str] = {"authorization": "Bearer secret"}

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer = [b'{"ok":true}']
        self.status = b"200 OK"
        self.cut = False
        self.stall = False
        self.left = asyncio.Event()
        self.turns: list[bool] = []
        self.turns_ended = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        if self._server is None:
            return "http://127.0.0.1:9"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def aclose(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()
        while self._open:
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def turn(self, *, wide: bool = False) -> AsyncIterator[Mapping[str, object]]:
        self.turns.append(wide)
        try:
            yield {"id_slot": 7}
        finally:
            self.turns_ended += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._reply(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((line, headers, body))
        writer.write(b"HTTP/1.1 " + self.status + b"\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"X-Host-Path: /secret\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in self.answer:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.01)
        if self.stall:
            await reader.read()
            self.left.set()
        elif not self.cut:
            writer.write(b"0\r\n\r\n")


class Caller:
    """One ASGI call of the proxy."""

    def __init__(self, path: str, body: bytes = b"", method: str = "POST") -> None:
        self.served = Served()
        self.messages: list[dict[str, Any]] = []
        self.first = anyio.Event()
        self.leaving = anyio.Event()
        self._parts = [{"type": "http.request", "body": body, "more_body": False}]
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [
                (b"cookie", b"me"),
                (b"authorization", b"Bearer mine"),
                (b"accept", b"*/*"),
            ],
            SERVED: self.served,
        }

    async def receive(self) -> dict[str, Any]:
        if self._parts:
            return self._parts.pop(0)
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self.first.set()

    async def call(self, proxy: EngineProxy) -> Caller:
        with anyio.fail_after(60):
            await proxy(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def error(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["error"])

    @property
    def ended(self) -> bool:
        return not self.messages[-1].get("more_body", False)


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    await engine.start()
    yield engine
    await engine.aclose()


@pytest.fixture
async def proxy(engine: ScriptedEngine) -> AsyncIterator[EngineProxy]:
    proxy = EngineProxy(engine)
    yield proxy
    await proxy.aclose()


@pytest.mark.anyio
async def test_answers_stream_through_piece_by_piece(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    engine.answer = [b"data: 1\n\n", b"data: 2\n\n"]
    caller = await Caller(CHAT, b'{"model":"tiny"}').call(proxy)
    assert [message.get("body") for message in caller.messages[1:]] == [*engine.answer, b""]
    assert caller.status == 200 and caller.ended
    assert caller.messages[0]["headers"] == [(b"content-type", b"text/event-stream")]
    assert engine.turns_ended == 1


@pytest.mark.anyio
async def test_only_what_the_engine_needs_of_a_request_reaches_it(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    body = b'{"model":"tiny","n":1,"cache_prompt":true,"id_slot":0,"cache_salt":"s"}'
    await Caller(CHAT, body).call(proxy)
    line, headers, sent = engine.requests[0]
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == "Bearer secret"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers
    assert json.loads(sent) == {"model": "tiny", "n": 1, "cache_prompt": False, "id_slot": 7}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        "/slots",
        "/v1",
        "/v1/",
        "/v1/../slots",
        "/v1/x/../../slots",
        "/v1/./models",
        "/v1//slots",
        "/v1/%2e%2e/slots",
        "/v1/a?b",
        "/v1/a#b",
        "/v1/a\\..\\b",
        "//v1/models",
        "/v1/files",
        "/v1/load_lora_adapter",
        "/v1/chat/completions/control",
        "/V1/models",
    ],
)
async def test_paths_of_the_engine_itself_are_not_reached(
    path: str, engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    for method in ("GET", "POST", "DELETE"):
        caller = await Caller(path, b"{}", method).call(proxy)
        assert caller.status in (404, 405)
    assert engine.requests == []


@pytest.mark.anyio
async def test_models_are_told_by_their_clean_ids(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    caller = await Caller("/v1/models", method="GET").call(proxy)
    listed = json.loads(caller.body)
    assert [entry["id"] for entry in listed["data"]] == ["tiny", "org/big"]
    one = await Caller("/v1/models/org/big", method="GET").call(proxy)
    assert json.loads(one.body)["id"] == "org/big"
    none = await Caller("/v1/models/gone", method="GET").call(proxy)
    assert (none.status, none.error["code"]) == (404, "model_not_found")
    assert engine.requests == []


@pytest.mark.anyio
async def test_a_model_that_is_not_there_is_not_replaced_by_another(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    caller = await Caller(CHAT, b'{"model":"gpt-4"}').call(proxy)
    assert (caller.status, caller.error["code"]) == (404, "model_not_found")
    assert "tiny" in caller.error["message"]
    assert engine.requests == []
    unnamed = await Caller(CHAT, b"{}").call(proxy)
    assert unnamed.served.model == MODELS[0]
    assert json.loads(engine.requests[0][2])["model"] == "tiny"


@pytest.mark.anyio
async def test_what_cannot_be_isolated_is_refused(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    caller = await Caller(CHAT, b"not json").call(proxy)
    assert (caller.status, caller.error["type"]) == (400, "invalid_request_error")
    large = await Caller(CHAT, b" " * (MAX_REQUEST + 1)).call(proxy)
    assert (large.status, large.error["code"]) == (413, "request_too_large")
    assert engine.requests == []


@pytest.mark.anyio
async def test_the_engines_own_errors_pass_as_they_are(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    engine.status, engine.answer = b"400 Bad Request", [b'{"error":{"code":400}}']
    caller = await Caller(CHAT, b"{}").call(proxy)
    assert (caller.status, caller.body) == (400, b'{"error":{"code":400}}')


@pytest.mark.anyio
async def test_counts_and_model_are_reported_to_whoever_asks(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    engine.answer = [b'{"usage":{"prompt_tokens":3,"completion_', b'tokens":4}}']
    caller = await Caller(CHAT, b'{"model":"org/big"}').call(proxy)
    assert caller.served == Served(MODELS[1], 3, 4)


@pytest.mark.anyio
async def test_generation_stops_when_the_caller_leaves(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    engine.stall = True
    caller = Caller(CHAT, b'{"stream":true}')
    async with anyio.create_task_group() as group:
        group.start_soon(caller.call, proxy)
        await caller.first.wait()
        assert not engine.left.is_set()
        caller.leaving.set()
        with anyio.fail_after(60):
            await engine.left.wait()
    assert not caller.ended
    assert engine.turns_ended == 1


@pytest.mark.anyio
async def test_a_cancelled_call_frees_its_place(engine: ScriptedEngine, proxy: EngineProxy) -> None:
    engine.stall = True
    caller = Caller(CHAT, b"{}")
    async with anyio.create_task_group() as group:
        group.start_soon(caller.call, proxy)
        await caller.first.wait()
        group.cancel_scope.cancel()
    with anyio.fail_after(60):
        await engine.left.wait()
    assert engine.turns_ended == 1


@pytest.mark.anyio
async def test_an_answer_that_breaks_off_has_no_end(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    engine.cut, engine.answer = True, [b"half of"]
    caller = Caller(CHAT, b"{}")
    with pytest.raises(EngineError, match="broke off"):
        await caller.call(proxy)
    assert caller.body == b"half of" and not caller.ended
    assert caller.served.completion_tokens is None
    assert engine.turns_ended == 1


@pytest.mark.anyio
async def test_an_engine_that_is_gone_is_a_502(engine: ScriptedEngine, proxy: EngineProxy) -> None:
    await engine.aclose()
    caller = await Caller(CHAT, b"{}").call(proxy)
    assert (caller.status, caller.error["code"]) == (502, "engine_unavailable")
    assert caller.error["type"] == "engine_error"


@pytest.mark.anyio
async def test_a_request_for_several_answers_says_so_to_the_engine(
    engine: ScriptedEngine, proxy: EngineProxy
) -> None:
    await Caller(CHAT, b'{"n":2}').call(proxy)
    await Caller(CHAT, b'{"n":1}').call(proxy)
    assert engine.turns == [True, False]


@pytest.mark.anyio
async def test_requests_run_at_the_same_time(engine: ScriptedEngine, proxy: EngineProxy) -> None:
    engine.stall = True
    callers = [Caller(CHAT, b"{}") for _ in range(20)]
    async with anyio.create_task_group() as group:
        for caller in callers:
            group.start_soon(caller.call, proxy)
        with anyio.fail_after(60):
            for caller in callers:
                await caller.first.wait()
        for caller in callers:
            caller.leaving.set()
    assert len(engine.requests) == engine.turns_ended == 20
