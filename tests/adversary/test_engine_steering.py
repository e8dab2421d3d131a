"""A caller tries to steer the engine, make it reach out, or keep others waiting."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from privity.errors import MalformedError
from privity.infer.engines import proxy
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.isolation import MAX_REQUEST, Isolated, isolate
from privity.infer.engines.proxy import EngineProxy
from privity.statement import Model

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
AWAY = "http://x.example/a"
DATA = "data:image/png;base64,AAAA"


class Recorder(Engine):
    """An engine that notes what reaches it."""

    kind = "llama-server"
    base_url = "http://127.0.0.1:9"
    headers: dict[str, str] = {}  # noqa: RUF012
    models = (Model("tiny", None, "script 1"),)
    prefix_cache = PrefixCache.OFF

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    async def ask(self, path: str, body: bytes = b"{}", query: bytes = b"") -> tuple[int, Any]:
        """Send a request through a proxy; return status and answer."""
        sent: list[Any] = []
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if parts:
                return parts.pop()
            await anyio.sleep_forever()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        engine = EngineProxy(self, transport=httpx.MockTransport(self.answer))
        with anyio.fail_after(60):
            await engine({**scope, "query_string": query}, receive, send)
        return sent[0]["status"], json.loads(b"".join(part["body"] for part in sent[1:]))


def isolated(request: dict[str, Any], path: str = CHAT) -> dict[str, Any]:
    """Return what goes to the engine."""
    return dict(json.loads(isolate(json.dumps(request).encode(), path).encode({})))


def said(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        *("/v1", "/v1/", "/v1/models", "/v1/models/tiny", "/v1/chat", "/v1/chat/completions/"),
        *("/v1/chat/completions/x", "/v1/chat/completions/control", "/V1/chat/completions"),
        *("/v1/FILES", "/v1/fine-tuning/jobs", "/v1/responses/r/cancel", "/v1/realtime"),
        *("/v1/audio/transcriptions", "/v1/images/generations", "/v1/unload", "/v1/infill"),
        *("/v1/messages/batches", "/v1/messages/count_tokens/..", "/v1/streams/x", "/slots"),
    ],
)
async def test_what_is_not_on_the_list_does_not_reach_the_engine(path: str) -> None:
    engine = Recorder()
    status, answer = await engine.ask(path)
    assert (status, answer["error"]["code"]) == (404, "not_served")
    assert engine.requests == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        *(CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", MESSAGES),
        *("/v1/messages/count_tokens", "/v1/rerank", "/v1/reranking", "/v1/score"),
    ],
)
async def test_a_query_string_does_not_reach_the_engine(path: str) -> None:
    engine = Recorder()
    status, _ = await engine.ask(path, query=b"model=other&id_slot=0")
    assert status == 200
    assert [str(request.url) for request in engine.requests] == [engine.base_url + path]


@pytest.mark.parametrize(
    "request_",
    [
        said({"type": "image", "source": {"type": "url", "url": AWAY}}),
        said({"type": "document", "source": {"type": "URL", "uri": AWAY}}),
        said({"type": "input_audio", "input_audio": {"url": AWAY}}),
        said({"type": "input_audio", "input_audio": {"data": AWAY}}),
        said({"type": "image", "image": AWAY}),
        said({"type": "image_url", "image_url": [AWAY]}),
        said({"type": "image_url", "Image_URL": {"URL": AWAY}}),
        said({"type": "image_url", "image_url": {"url": {"url": DATA}}}),
        said({"type": "tool_use", "input": {"url": AWAY}}),
        {"documents": {"content": [{"type": "image_url", "image_url": {"url": AWAY}}]}},
        {"documents": [{"image": "file:///etc/passwd"}]},
        {"anything": [{"new": {"thumbnail_url": "//x.example"}}]},
        {"mcp_servers": [{"type": "url", "name": "x"}]},
        {"mcp_servers": []},
        {"tools": [{"type": "function", "server_url": AWAY}]},
        {"tools": {"type": "mcp", "server_url": AWAY}},
        {"text": {"format": {}, "url": AWAY}},
        {"bootstrap_host": "x.example", "bootstrap_port": 1},
        {"bootstrap_room": 1},
        {"Bootstrap_Host": "x.example"},
    ],
    ids=lambda request: json.dumps(request)[:90],
)
def test_no_member_makes_the_engine_reach_out(request_: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        isolated(request_)


_SCHEMA = {"type": "object", "properties": {"url": {"type": "string", "default": AWAY}}}


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        (CHAT, {"messages": [{"role": "user", "content": f"read {AWAY}"}]}),
        (CHAT, said({"type": "text", "text": f'{{"url": "{AWAY}"}}'})),
        (CHAT, said({"type": "image_url", "image_url": {"url": DATA, "detail": "low"}})),
        (CHAT, said({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})),
        (MESSAGES, said({"type": "image", "source": {"type": "base64", "data": "AAAA"}})),
        (MESSAGES, said({"type": "tool_use", "name": "get", "input": {"url": AWAY}})),
        (MESSAGES, {"tools": [{"name": "get", "input_schema": _SCHEMA}]}),
        (CHAT, {"tools": [{"type": "function", "function": {"parameters": _SCHEMA}}]}),
        (CHAT, {"functions": [{"name": "get", "parameters": _SCHEMA}]}),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": _SCHEMA}}),
        (CHAT, {"image_url": None}),
        ("/v1/responses", {"text": {"format": {"schema": _SCHEMA}}, "store": False}),
        ("/v1/completions", {"prompt": [f"{AWAY} {{[,", "data"]}),
        ("/v1/rerank", {"query": AWAY, "documents": [AWAY, "b"]}),
    ],
)
def test_text_schemas_and_media_in_the_request_pass(path: str, request_: dict[str, Any]) -> None:
    assert isolated(request_, path) == request_


@pytest.mark.parametrize(
    "name",
    [
        *("n_cmpl", "priority", "request_id", "prompt_embeds", "Cache_Prompt", "KEEP_ALIVE"),
        *("\u017ftore", "\u212aeep_alive", "MODEL"),
    ],
)
def test_no_spelling_of_a_steering_member_passes(name: str) -> None:
    assert isolated({name: 1, "seed": 2}) == {"seed": 2}


def test_several_answers_by_another_name_are_wide() -> None:
    assert isolate(b'{"n_cmpl": 4}', CHAT).wide
    assert not isolate(b'{"n_cmpl": 1}', CHAT).wide


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"9" * 101])
def test_numbers_that_json_or_an_engine_lacks_are_refused(number: bytes) -> None:
    with pytest.raises(MalformedError):
        isolate(b'{"seed":' + number + b"}", CHAT)


def test_the_request_is_not_in_what_is_printed_of_it() -> None:
    assert "canary" not in repr(isolate(b'{"model":"m","prompt":"canary"}', "/v1/completions"))


def _filled(part: bytes) -> bytes:
    """Return a request of the largest size there is, full of one thing."""
    room = (MAX_REQUEST - 100) // (len(part) + 1)
    return b'{"prompt":[' + b",".join([part] * room) + b"]}"


def _at_the_limits() -> bytes:
    """Return the slowest request that is taken: as many parts as may be, and long numbers."""
    members = b",".join(b'"k%d":{"n":%b}' % (i, b"9" * 100) for i in range(90_000))
    return b'{"prompt":{%b},"more":[%b]}' % (members, b",".join([b"1"] * 300_000))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (_at_the_limits, 200),
        (lambda: _filled(b"{}"), 400),
        (lambda: _filled(b"[]"), 400),
        (lambda: _filled(b"1"), 400),
        (lambda: _filled(b'{"a":1}'), 400),
        (lambda: _filled(b"9" * 4200), 400),
    ],
    ids=["at the limits", "objects", "lists", "items", "members", "digits"],
)
async def test_no_large_request_is_read_on_the_event_loop(
    body: Callable[[], bytes], answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, request, read_on = Recorder(), body(), list[int]()

    def noting(data: bytes, path: str) -> Isolated:
        read_on.append(threading.get_ident())
        return isolate(data, path)

    monkeypatch.setattr(proxy, "isolate", noting)
    status, _ = await engine.ask(CHAT, request)
    assert (status, len(engine.requests)) == (answer, answer == 200)
    assert len(read_on) == 1 and threading.get_ident() not in read_on


@pytest.mark.anyio
async def test_a_long_conversation_passes() -> None:
    text = 'Well, as I said: see {"a": [1, 2]}, or (so it seems, at least) line 7.\n' * 28
    turns = [{"role": "user", "content": text} for _ in range(1000)]
    body = json.dumps({"model": "tiny", "messages": turns}).encode()
    assert len(body) > 2_000_000
    engine = Recorder()
    assert (await engine.ask(CHAT, body))[0] == 200
    sent = json.loads(engine.requests[0].content)
    assert sent == {"model": "tiny", "messages": turns, "cache_prompt": False}
