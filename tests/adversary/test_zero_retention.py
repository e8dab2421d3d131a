"""Attacks on the zero-retention route: callers that have things kept, hostile providers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from privity.errors import (
    InputError,
    MalformedError,
    OversizeError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    TruncatedError,
)
from privity.infer.peers import ProviderPeer
from privity.infer.providers import answer as answer_module
from privity.infer.providers.profile import load_profile
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.routes.zero_retention import Left, ZeroRetentionRoute, zero_retention_route
from privity.policy import Feature, Kind, Mode, Policy, SensitivePolicy, TermsPolicy
from providers.front import Double
from providers.standin import KEY
from scripted_detector import ScriptedDetector

pytestmark = pytest.mark.anyio

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
MODELS = {"openai": "gpt-6.2-sol", "anthropic": "claude-sonnet-5-5"}
CANARY = "kanarienvogel"
FULLWIDTH_STORE = "\uff53\uff54\uff4f\uff52\uff45"
LONG_S_STORE = "\u017ftore"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


class Wire(httpx.AsyncBaseTransport):
    """The provider's end: keeps what comes, answers what it is told."""

    def __init__(self, reply: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.reply = reply

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.reply is not None, "something was sent"
        return self.reply(request)


def policy(*features: Feature, mode: Mode = Mode.WARN) -> Policy:
    dev = Policy.load("dev")
    return Policy(
        dev.name,
        dev.ceilings,
        terms=TermsPolicy(stateful=frozenset(features)),
        sensitive=SensitivePolicy(mode=mode),
    )


def route(
    provider: str = "openai",
    *,
    rules: Policy | None = None,
    pseudonyms: Any = None,
    **settings: Any,
) -> ZeroRetentionRoute:
    return zero_retention_route(
        ProviderPeer("p", provider, **settings),
        load_profile(provider),
        policy=rules or policy(),
        pseudonyms=lambda: pseudonyms or Double(),  # type: ignore[arg-type,return-value]
    )


async def send(
    wire: Wire,
    path: str,
    body: Any,
    to: ZeroRetentionRoute | None = None,
    method: str = "POST",
    **request: Any,
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    transport = (to or route()).transport(None, wire)  # type: ignore[arg-type]
    asked = httpx.Request(method, f"https://enclave.privity{path}", content=content, **request)
    return await transport.handle_async_request(asked)


def chat(text: str = "x", **more: Any) -> dict[str, Any]:
    return {"model": MODELS["openai"], "messages": [{"role": "user", "content": text}], **more}


def messages(text: str = "x", **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": text}]
    return {"model": MODELS["anthropic"], "max_tokens": 9, "messages": turns, **more}


def responses(text: Any = "x", **more: Any) -> dict[str, Any]:
    return {"model": MODELS["openai"], "input": text, **more}


def whole(body: Any, status: int = 200, kind: str = "application/json", **more: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": kind, **more}
    return lambda request: httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def part(block: dict[str, Any], role: str = "user") -> list[Any]:
    return [{"role": role, "content": [block]}]


COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "ja"},
        }
    ],
}

STATEFUL: list[tuple[str, str, dict[str, Any], Feature]] = [
    ("openai", CHAT, chat(store=True), Feature.STORE),
    ("openai", CHAT, chat(store="true"), Feature.STORE),
    ("openai", CHAT, chat(store=1), Feature.STORE),
    ("openai", CHAT, chat(metadata={"a": "b"}), Feature.STORE),
    ("openai", CHAT, chat(modalities=["text", "audio"]), Feature.STORE),
    ("openai", CHAT, chat(audio={"voice": "x", "format": "wav"}), Feature.STORE),
    ("openai", CHAT, chat(web_search_options={"x": 1}), Feature.SERVER_TOOLS),
    ("openai", CHAT, chat(prompt_cache_key="me"), Feature.PROMPT_CACHING),
    ("openai", CHAT, chat(prompt_cache_retention="24h"), Feature.PROMPT_CACHING),
    ("openai", CHAT, chat(prompt_cache_retention="in-memory"), Feature.PROMPT_CACHING),
    ("openai", CHAT, chat(prompt_cache_options={"ttl": "12h"}), Feature.PROMPT_CACHING),
    ("openai", CHAT, chat(tools=[{"type": "web_search"}]), Feature.SERVER_TOOLS),
    ("openai", CHAT, chat(tools=[{"type": "something_new"}]), Feature.SERVER_TOOLS),
    (
        "openai",
        CHAT,
        chat() | {"messages": part({"type": "file", "file": {"file_id": "file-1"}})},
        Feature.FILES,
    ),
    (
        "openai",
        CHAT,
        chat()
        | {"messages": part({"type": "image_url", "image_url": {"url": "https://a.example/1"}})},
        Feature.MEDIA_URLS,
    ),
    (
        "openai",
        CHAT,
        chat() | {"messages": part({"type": "image_url", "image_url": "HTTP://a.example/1"})},
        Feature.MEDIA_URLS,
    ),
    (
        "openai",
        CHAT,
        chat() | {"messages": part({"type": "image_url", "image_url": " data:,x"})},
        Feature.MEDIA_URLS,
    ),
    (
        "openai",
        CHAT,
        chat()
        | {
            "messages": part(
                {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
            )
        },
        Feature.PROMPT_CACHING,
    ),
    (
        "openai",
        CHAT,
        chat() | {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        Feature.STORE,
    ),
    ("openai", RESPONSES, responses(store=True), Feature.STORE),
    ("openai", RESPONSES, responses(previous_response_id="resp_1"), Feature.STORE),
    ("openai", RESPONSES, responses(prompt={"id": "pmpt_1"}), Feature.STORE),
    ("openai", RESPONSES, responses(context_management=[{"type": "compaction"}]), Feature.STORE),
    ("openai", RESPONSES, responses([{"type": "item_reference", "id": "msg_1"}]), Feature.STORE),
    ("openai", RESPONSES, responses(conversation="conv_1"), Feature.ASSISTANTS),
    ("openai", RESPONSES, responses(conversation={"id": "conv_1"}), Feature.ASSISTANTS),
    ("openai", RESPONSES, responses(background=True), Feature.BATCH),
    *(
        ("openai", RESPONSES, responses(tools=[{"type": kind}]), Feature.SERVER_TOOLS)
        for kind in (
            "web_search", "web_search_preview", "Web_Search", "file_search", "code_interpreter",
            "computer_use_preview", "image_generation", "mcp", "MCP", "shell", "tool_search",
            "local_shell", "namespace", "apply_patch", "programmatic_tool_calling",
        )
    ),
    (
        "openai",
        RESPONSES,
        responses(tools=[{"type": "function", "name": "a", "allowed_callers": ["programmatic"]}]),
        Feature.SERVER_TOOLS,
    ),
    (
        "openai",
        RESPONSES,
        responses(part({"type": "input_file", "file_id": "file-1"})),
        Feature.FILES,
    ),
    (
        "openai",
        RESPONSES,
        responses(part({"type": "input_file", "file_url": "https://a.example"})),
        Feature.MEDIA_URLS,
    ),
    (
        "openai",
        RESPONSES,
        responses(part({"type": "input_image", "image_url": "https://a.example"})),
        Feature.MEDIA_URLS,
    ),
    (
        "openai",
        RESPONSES,
        responses([{"type": "function_call_output", "call_id": "c", "output": [
            {"type": "input_file", "file_id": "file-1"}]}]),
        Feature.FILES,
    ),
    ("anthropic", MESSAGES, messages(cache_control={"type": "ephemeral"}), Feature.PROMPT_CACHING),
    (
        "anthropic",
        MESSAGES,
        messages()
        | {
            "messages": part(
                {
                    "type": "text",
                    "text": "x",
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                }
            )
        },
        Feature.PROMPT_CACHING,
    ),
    (
        "anthropic",
        MESSAGES,
        messages()
        | {
            "messages": part(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "x", "cache_control": {"type": "e"}}],
                }
            )
        },
        Feature.PROMPT_CACHING,
    ),
    (
        "anthropic",
        MESSAGES,
        messages(system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]),
        Feature.PROMPT_CACHING,
    ),
    (
        "anthropic",
        MESSAGES,
        messages(tools=[{"name": "a", "input_schema": {}, "cache_control": {"type": "e"}}]),
        Feature.PROMPT_CACHING,
    ),
    ("anthropic", MESSAGES, messages(container="c_1"), Feature.FILES),
    ("anthropic", MESSAGES, messages(container={"skills": [{"id": "s"}]}), Feature.FILES),
    ("anthropic", MESSAGES, messages(mcp_servers=[{"url": "x"}]), Feature.SERVER_TOOLS),
    ("anthropic", MESSAGES, messages(context_management={"edits": [1]}), Feature.STORE),
    *(
        ("anthropic", MESSAGES, messages(tools=[{"type": kind, "name": "x"}]), Feature.SERVER_TOOLS)
        for kind in (
            "web_search_20250305", "web_fetch_20260318", "code_execution_20260521",
            "computer_20251124", "tool_search_tool_bm25_20251119", "mcp_toolset",
            "anything_20990101",
        )
    ),
    (
        "anthropic",
        MESSAGES,
        messages()
        | {"messages": part({"type": "image", "source": {"type": "file", "file_id": "f"}})},
        Feature.FILES,
    ),
    (
        "anthropic",
        MESSAGES,
        messages() | {"messages": part({"type": "container_upload", "file_id": "f"})},
        Feature.FILES,
    ),
    (
        "anthropic",
        MESSAGES,
        messages()
        | {"messages": part({"type": "document", "source": {"type": "url", "url": "https://a"}})},
        Feature.MEDIA_URLS,
    ),
    (
        "anthropic",
        MESSAGES,
        messages() | {"messages": part({"type": "web_search_tool_result", "content": []})},
        Feature.SERVER_TOOLS,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "path", "body", "feature"), STATEFUL)
async def test_what_would_be_kept_is_refused_by_the_features_name(
    provider: str, path: str, body: dict[str, Any], feature: Feature
) -> None:
    with pytest.raises(InputError) as caught:
        await send(Wire(), path, body, route(provider))
    assert feature.value in caught.value.message
    assert feature.value in caught.value.hint and "stateful" in caught.value.hint


@pytest.mark.parametrize(("provider", "path", "body", "feature"), STATEFUL)
async def test_what_a_policy_names_passes_the_guard(
    provider: str, path: str, body: dict[str, Any], feature: Feature
) -> None:
    refusal = {"error": {"type": "x_error", "message": "no"}}
    wire = Wire(whole(refusal, 400))
    await send(wire, path, body, route(provider, rules=policy(feature)))
    assert len(wire.requests) == 1
    others = frozenset(Feature) - {feature}
    with pytest.raises(InputError):
        await send(Wire(), path, body, route(provider, rules=policy(*others)))


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        (CHAT, b'{"messages": [], "store": false, "store": true}'),
        (CHAT, b'{"messages": [], "store": true, "store": false}'),
        (CHAT, b'{"messages": [], "\\u0073tore": true}'),
        (CHAT, b'{"messages": [], "Store": true}'),
        (CHAT, b'{"messages": [], "STORE": true}'),
        (CHAT, b'{"messages": [], " store": true}'),
        (CHAT, b'{"messages": [], "store\\u0000": true}'),
        (CHAT, json.dumps({"messages": [], FULLWIDTH_STORE: True}).encode()),
        (CHAT, json.dumps({"messages": [], LONG_S_STORE: True}).encode()),
        (CHAT, b'{"messages": [], "extra_body": {"store": true}}'),
        (CHAT, b'{"messages": [{"role": "user", "content": "x", "store": true}]}'),
        (CHAT, b'{"messages": [{"role": "user", "content": {"file_id": "f"}}]}'),
        (CHAT, b'{"messages": {"0": {"role": "user"}}}'),
        (CHAT, b'{"messages": [[{"role": "user", "content": "x"}]]}'),
        (CHAT, b'{"messages": [], "temperature": {"store": true}}'),
        (CHAT, b'{"messages": [], "stop": [{"file_id": "f"}]}'),
        (CHAT, b'{"messages": [{"role": "user", "content": [{"type": "text", "text": []}]}]}'),
        (CHAT, b'{"messages": [{"role": "user", "content": [{"type": "TEXT", "text": "x"}]}]}'),
        (CHAT, b'{"messages": [{"role": "user", "content": [{"text": "x"}]}]}'),
        (CHAT, b'{"messages": [], "tools": [{"function": {"name": "x"}}]}'),
        (CHAT, b'{"messages": [], "moderation": {"model": "x"}}'),
        (CHAT, b'{"messages": [], "n": 1e999}'),
        (CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}'),
        (CHAT, b"[" * 5000 + b"]" * 5000),
        (CHAT, b'[{"messages": []}]'),
        (CHAT, b"\xff\xfe{}"),
        (CHAT, b""),
        ("/v1/completions", b'{"prompt": [1, 2, 3]}'),
        ("/v1/completions", b'{"prompt": [[1, 2], [3]]}'),
        ("/v1/completions", b'{"prompt": "x", "store": true}'),
        ("/v1/embeddings", b'{"input": [[15496, 995]]}'),
        ("/v1/embeddings", b'{"input": {"file_id": "f"}}'),
        (RESPONSES, b'{"input": [{"type": "message", "content": "x", "x": 1}]}'),
        (RESPONSES, b'{"input": [{"type": "computer_call_output", "call_id": "x"}]}'),
        (RESPONSES, b'{"input": [{"type": "compaction", "encrypted_content": "x"}]}'),
        (RESPONSES, b'{"input": "x", "moderation": {"model": "omni"}}'),
    ],
)  # fmt: skip
async def test_odd_spellings_and_places_do_not_get_past(path: str, raw: bytes) -> None:
    body = raw.replace(b"{", b'{"model": "gpt-6.2-sol", ', 1) if raw.startswith(b'{"') else raw
    with pytest.raises(InputError):
        await send(Wire(), path, body)


@pytest.mark.parametrize(
    ("path", "feature"),
    [
        ("/v1/responses/resp_1", Feature.STORE),
        ("/v1/responses/resp_1/input_items", Feature.STORE),
        ("/v1/responses/", Feature.STORE),
        ("/v1/chat/completions/chatcmpl-1", Feature.STORE),
        ("/v1/evals", Feature.STORE),
        ("/v1/files", Feature.FILES),
        ("/v1/Files", Feature.FILES),
        ("/v1/files/file-1/content", Feature.FILES),
        ("/v1/uploads", Feature.FILES),
        ("/v1/containers/c/files", Feature.FILES),
        ("/v1/vector_stores", Feature.FILES),
        ("/v1/fine_tuning/jobs", Feature.FILES),
        ("/v1/skills", Feature.FILES),
        ("/v1/assistants", Feature.ASSISTANTS),
        ("/v1/threads/t/runs", Feature.ASSISTANTS),
        ("/v1/conversations", Feature.ASSISTANTS),
        ("/v1/batches", Feature.BATCH),
        ("/v1/messages/batches", Feature.BATCH),
        ("/v1/messages/count_tokens", None),
        ("/v1/images/generations", None),
        ("/v1/audio/transcriptions", None),
        ("/v1/models/gpt-6.2-sol", None),
        ("/v1/chat/completions/../files", None),
        ("//v1/chat/completions", None),
        ("/v1/chat%2fcompletions", None),
        ("/", None),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_other_paths_are_refused_whatever_the_policy_names(
    method: str, path: str, feature: Feature | None
) -> None:
    everything = route(rules=policy(*Feature))
    with pytest.raises(InputError) as caught:
        await send(Wire(), path, {}, everything, method)
    if feature is not None:
        assert feature.value in caught.value.message


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_and_queries_are_refused(method: str) -> None:
    with pytest.raises(InputError):
        await send(Wire(), CHAT, chat(), method=method)
    with pytest.raises(InputError):
        await send(Wire(), f"{CHAT}?store=true", chat())


async def test_every_request_asks_for_no_storage_and_carries_nothing_else() -> None:
    wire = Wire(whole(COMPLETION))
    body = chat(user="anna", safety_identifier="anna@example.org", store=False)
    headers = {
        "authorization": "Bearer the client's own",
        "cookie": "a=b",
        "user-agent": "Anna's laptop",
        "openai-organization": "org",
        "x-forwarded-for": "10.0.0.1",
    }
    extensions = {"sni_hostname": "evil.example", "target": b"/v1/files"}
    await send(wire, CHAT, body, headers=headers, extensions=extensions)
    (sent,) = wire.requests
    assert sent.url == "https://api.openai.com/v1/chat/completions"
    assert set(sent.headers) == {
        "host",
        "accept",
        "content-type",
        "authorization",
        "content-length",
    }
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["host"] == "api.openai.com"
    assert sent.extensions == {}
    told = json.loads(sent.content)
    assert told["store"] is False
    assert told["prompt_cache_options"] == {"mode": "explicit"}
    assert not {"user", "safety_identifier"} & set(told)
    assert b"anna" not in sent.content.lower()


async def test_a_claude_request_names_its_version_and_nobody() -> None:
    answered = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "c",
        "content": [{"type": "text", "text": "ja"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    wire = Wire(whole(answered))
    await send(wire, MESSAGES, messages(metadata={"user_id": "anna"}), route("anthropic"))
    await send(wire, CHAT, chat(user="anna") | {"model": MODELS["anthropic"]}, route("anthropic"))
    for sent in wire.requests:
        assert sent.headers["anthropic-version"] == "2026-10-21"
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert b"anna" not in sent.content


async def test_a_model_that_is_not_set_up_is_not_asked_for() -> None:
    for model in ("gpt-4.1", "../files", CANARY, ["gpt-6.2-sol"], {"a": 1}, 3):
        with pytest.raises(InputError) as caught:
            await send(Wire(), CHAT, chat() | {"model": model})
        assert CANARY not in caught.value.message + caught.value.hint
    wire = Wire(whole(COMPLETION))
    await send(wire, CHAT, {k: v for k, v in chat().items() if k != "model"})
    assert json.loads(wire.requests[0].content)["model"] == "gpt-6.2-sol"


# What is personal


async def test_nothing_is_sent_where_personal_data_may_not_leave() -> None:
    found = Pseudonymiser(ScriptedDetector({"Anna": Kind.PERSON}))
    rules = policy(mode=Mode.REFUSE)
    with pytest.raises(PolicyRefusal):
        await send(Wire(), CHAT, chat("ask Anna"), route(rules=rules, pseudonyms=found))
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(MalformedError):
        await send(
            Wire(),
            CHAT,
            chat() | {"messages": [{"role": "user", "content": picture}]},
            route(rules=policy(mode=Mode.REPLACE), pseudonyms=found),
        )


async def test_what_left_is_what_the_provider_got() -> None:
    wire = Wire(whole(COMPLETION))
    found = Pseudonymiser(ScriptedDetector({"Anna": Kind.PERSON}))
    to = route(rules=policy(mode=Mode.REPLACE), pseudonyms=found)
    response = await send(wire, CHAT, chat("ask Anna"), to)
    left = response.extensions["left"]
    assert isinstance(left, Left)
    assert left.body == wire.requests[0].content and b"Anna" not in left.body
    assert left.replaced == {Kind.PERSON: 1}
    wire.reply = whole({"error": {}}, 500)
    assert (await send(wire, CHAT, chat("ask Anna"), to)).extensions["left"].body


# Hostile providers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
async def test_no_redirect_is_followed(status: int) -> None:
    wire = Wire(whole(b"", status, location="https://evil.example/"))
    with pytest.raises(PeerError, match="redirect"):
        await send(wire, CHAT, chat())
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("reply", "streamed"),
    [
        (whole(COMPLETION, kind="text/html"), False),
        (whole(COMPLETION, kind=""), False),
        (whole(COMPLETION, kind="text/event-stream"), False),
        (whole(COMPLETION), True),
        (whole(b"{", kind="application/json"), False),
        (whole(b"[]"), False),
        (whole(b'"' + CANARY.encode() + b'"'), False),
        (whole(b"[" * 100_000), False),
        (whole(b"\xff"), False),
        (whole(COMPLETION, **{"content-encoding": "gzip"}), False),
        (whole(b"", 204), False),
        (whole(COMPLETION, 202), False),
        (whole(COMPLETION, 999), False),
    ],
)
async def test_an_answer_of_another_kind_is_an_error(reply: Any, streamed: bool) -> None:
    with pytest.raises(PeerError) as caught:
        await send(Wire(reply), CHAT, chat(stream=streamed))
    assert CANARY not in caught.value.message


class Drip(httpx.AsyncByteStream):
    """A body that goes on, slowly or for ever."""

    def __init__(self, pieces: list[bytes], then: Callable[[], Awaitable[None]] | None) -> None:
        self.pieces = pieces
        self.then = then
        self.closed = False
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.given += len(piece)
            yield piece
        while self.then is not None:
            await self.then()
            self.given += 1 << 20
            yield b" " * (1 << 20)

    async def aclose(self) -> None:
        self.closed = True


def dripping(drip: Drip, kind: str, status: int = 200) -> Any:
    return lambda request: httpx.Response(status, headers={"content-type": kind}, stream=drip)


async def at_once() -> None:
    await asyncio.sleep(0)


async def never() -> None:
    await asyncio.sleep(3600)


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "MAX_WHOLE", 4 << 20)
    monkeypatch.setattr(answer_module, "MAX_STREAM", 4 << 20)
    drip = Drip([b"{"], at_once)
    with pytest.raises(OversizeError):
        await send(Wire(dripping(drip, "application/json")), CHAT, chat())
    assert drip.closed and drip.given < 8 << 20
    # Comments without end, each line short enough.
    events = Drip([b": x\n\n" * 100_000] * 12, None)
    with pytest.raises(OversizeError):
        response = await send(Wire(dripping(events, "text/event-stream")), CHAT, chat(stream=True))
        await response.aread()
    # One event without end.
    events = Drip([b"data: "], at_once)
    with pytest.raises(OversizeError):
        response = await send(Wire(dripping(events, "text/event-stream")), CHAT, chat(stream=True))
        await response.aread()


async def test_an_answer_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "_WHOLE_S", 0.05)
    monkeypatch.setattr(answer_module, "_FAILURE_S", 0.05)
    drip = Drip([b"{"], never)
    with pytest.raises(PeerError, match="did not send its answer within"):
        await send(Wire(dripping(drip, "application/json")), CHAT, chat())
    assert drip.closed
    drip = Drip([b'{"error": '], never)
    response = await send(Wire(dripping(drip, "application/json", 500)), CHAT, chat())
    assert response.status_code == 500 and drip.closed
    assert "OpenAI failed" in json.loads(await response.aread())["error"]["message"]


async def test_a_stream_that_goes_on_after_its_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_module, "_REST_S", 0.05)
    events = [b'data: {"choices": []}\n\ndata: [DONE]\n\ndata: {"late": 1}\n\n']
    for then in (never, at_once):
        drip = Drip(events, then)
        response = await send(Wire(dripping(drip, "text/event-stream")), CHAT, chat(stream=True))
        assert (await response.aread()).endswith(b"data: [DONE]\n\n")
        await response.aclose()
        assert drip.closed


def told(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
STREAMS: dict[tuple[str, str], list[bytes]] = {
    ("openai", CHAT): [
        *(
            f"data: {json.dumps({**CHUNK, 'choices': [{'index': 0, **choice}]})}\n\n".encode()
            for choice in (
                {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
                {"delta": {"content": "ja [DONE]"}, "finish_reason": None},
                {"delta": {}, "finish_reason": "stop"},
            )
        ),
        b"data: [DONE]\n\n",
    ],
    ("openai", RESPONSES): [
        told("response.created", response={"status": "in_progress"}),
        told("response.output_text.delta", delta="response.completed", item_id="a"),
        told("response.completed", response={"status": "completed"}),
    ],
    ("anthropic", MESSAGES): [
        told("message_start", message={"id": "m", "usage": {"input_tokens": 1}}),
        told("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        told("content_block_delta", index=0, delta={"type": "text_delta", "text": "message_stop"}),
        told("content_block_stop", index=0),
        told("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1}),
        told("message_stop"),
    ],
}
STREAMS["openai", MESSAGES] = STREAMS["openai", CHAT]
STREAMS["anthropic", CHAT] = STREAMS["anthropic", MESSAGES]


def asking(provider: str, path: str, text: str = "x") -> dict[str, Any]:
    body = {CHAT: chat, MESSAGES: messages, RESPONSES: responses}[path](text, stream=True)
    return body | {"model": MODELS[provider]}


@pytest.mark.parametrize(("provider", "path"), STREAMS)
async def test_a_stream_that_breaks_off_is_an_error_wherever_it_does(
    provider: str, path: str
) -> None:
    events = STREAMS[provider, path]
    body = asking(provider, path)
    for cut in range(len(events)):
        content = b"".join(events[:cut])
        wire = Wire(whole(content, kind="text/event-stream"))
        response = await send(wire, path, body, route(provider))
        got = b""
        with pytest.raises(TruncatedError):
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                got += chunk
        for mark in (b"data: [DONE]", b"event: message_stop", b"event: response.completed"):
            assert mark not in got
    wire = Wire(whole(b"".join(events), kind="text/event-stream; charset=utf-8"))
    response = await send(wire, path, body, route(provider))
    await response.aread()


@pytest.mark.parametrize(("provider", "path"), STREAMS)
@pytest.mark.parametrize("error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout])
async def test_a_connection_that_breaks_is_an_error(
    provider: str, path: str, error: type[httpx.HTTPError]
) -> None:
    async def broken() -> None:
        raise error(f"{KEY} {CANARY}")

    drip = Drip(STREAMS[provider, path][:2], broken)
    wire = Wire(dripping(drip, "text/event-stream"))
    response = await send(wire, path, asking(provider, path), route(provider))
    with pytest.raises(TruncatedError) as caught:
        await response.aread()
    await response.aclose()
    assert drip.closed
    assert KEY not in caught.value.message and CANARY not in caught.value.message


QUOTES = [
    f"Invalid prompt: '{CANARY}'",
    CANARY,
    CANARY.upper(),
    f"messages[0].content: {CANARY} is not allowed",
    f"x{'y' * 5000}",
    f"line\nbreak {CANARY}",
    f"\x1b[2J{CANARY}",
    "\u202egnirts",
    None,
    {"text": CANARY},
    [CANARY],
    7,
]


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("place", ["message", "type", "code", "param", "error", "detail"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_an_error_never_quotes_the_prompt(provider: str, place: str, quote: Any) -> None:
    body: Any = {"error": {"type": "invalid_request_error", "message": "no", place: quote}}
    if place in ("error", "detail"):
        body = {place: quote, "message": quote}
    wire = Wire(whole(body, 400))
    path = CHAT if provider == "openai" else MESSAGES
    asked = asking(provider, path, f"my secret word is {CANARY}")
    response = await send(wire, path, asked, route(provider))
    content = (await response.aread()).decode()
    assert CANARY not in content.lower()
    assert len(content) < 600 and "\\n" not in content and "\\u001b" not in content
    assert response.status_code == 400
    assert "refused the request" in json.loads(content)["error"]["message"]


@pytest.mark.parametrize(("provider", "path"), STREAMS)
async def test_an_error_within_a_stream_quotes_nothing_and_ends_it(
    provider: str, path: str
) -> None:
    failed = told("error", error={"type": "overloaded_error", "message": CANARY}, message=CANARY)
    if path == RESPONSES:
        failed = told("error", code="x", message=CANARY, param=CANARY)
    events = [*STREAMS[provider, path][:2], failed, *STREAMS[provider, path][2:]]
    wire = Wire(whole(b"".join(events), kind="text/event-stream"))
    asked = asking(provider, path, f"it is {CANARY}")
    response = await send(wire, path, asked, route(provider))
    got = b""
    with pytest.raises(TruncatedError) as caught:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            got += chunk
    assert b"OpenAI failed" in got or b"Anthropic failed" in got
    assert CANARY.encode() not in got and CANARY not in caught.value.message


async def test_a_failed_response_quotes_nothing() -> None:
    error = {"code": "server_error", "message": f"could not say {CANARY}"}
    events = [
        STREAMS["openai", RESPONSES][0],
        told("response.failed", response={"status": "failed", "error": error}),
    ]
    wire = Wire(whole(b"".join(events), kind="text/event-stream"))
    response = await send(wire, RESPONSES, asking("openai", RESPONSES, CANARY))
    content = await response.aread()
    assert CANARY.encode() not in content and b"event: response.failed" in content


async def test_useful_words_of_an_error_pass() -> None:
    said = "This model's maximum context length is 128000 tokens"
    error = {"type": "invalid_request_error", "code": "context_length_exceeded", "message": said}
    wire = Wire(whole({"error": {**error, "param": "messages[3].content"}}, 400))
    response = await send(wire, CHAT, chat("zebra"))
    message = json.loads(await response.aread())["error"]["message"]
    assert said in message and "context_length_exceeded" in message
    assert "field messages[3].content" in message


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve raw bytes on a free port of loopback, one connection at a time."""
    problems: list[BaseException] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                await serve(reader, writer)
        except BaseException as error:
            problems.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("where", ["head", "line"])
async def test_a_head_of_a_hundred_megabytes_is_not_read(where: str) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 " if where == "line" else b"HTTP/1.1 200 OK\r\nx-a: ")
        for _ in range(100):
            writer.write(b"a" * (1 << 20))
            await writer.drain()
            sent += 1 << 20

    async with listening(flood) as url, httpx.AsyncHTTPTransport() as inner:
        transport = route(url=url).transport(None, inner)  # type: ignore[arg-type]
        asked = httpx.Request("POST", f"http://x{CHAT}", content=json.dumps(chat()))
        with pytest.raises(PeerError, match="could not be reached"):
            await transport.handle_async_request(asked)
    assert sent < 50 << 20


# Secrets


async def test_no_secret_is_ever_shown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def refused(request: httpx.Request) -> httpx.Response:
        text = f"Incorrect API key provided: {request.headers['authorization']}"
        return whole({"error": {"message": text, "type": "x", "code": KEY}}, 401)(request)  # type: ignore[no-any-return]

    to = route()
    shown += [repr(to), str(to), repr(to._credentials), repr(to._desk)]
    for status in (400, 401, 403, 500):
        wire = Wire(
            lambda request, status=status: httpx.Response(  # type: ignore[misc]
                status, stream=refused(request).stream
            )
        )
        response = await send(wire, CHAT, chat(), to)
        shown.append((await response.aread()).decode())

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route for {request.headers['authorization']}")

    with pytest.raises(PeerError) as caught:
        await send(Wire(broken), CHAT, chat(), to)
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), str(error), getattr(error, "hint", "")]
        error = error.__cause__
    for bad in ("", " ", f"{KEY}\r\nx-a: b", f"{KEY} {KEY}", "\u00e9" + KEY):
        monkeypatch.setenv("OPENAI_API_KEY", bad)
        with pytest.raises(InputError) as wrong:
            await send(Wire(), CHAT, chat(), to)
        shown += [repr(wrong.value), wrong.value.message, wrong.value.hint]
        assert "OPENAI_API_KEY" in wrong.value.message + wrong.value.hint
    assert "the key in OPENAI_API_KEY (401)" in " ".join(shown)
    for text in [*shown, caplog.text]:
        assert KEY not in text


async def test_errors_never_hold_the_prompt() -> None:
    """Every refusal of this file, with a canary wherever a text can stand."""
    broken: list[PrivityError] = []
    bodies: list[Any] = [
        chat(CANARY, **{CANARY: 1}),
        chat(CANARY, tools=[{"type": CANARY}]),
        chat(CANARY, stop=[{CANARY: CANARY}]),
        chat(CANARY, metadata={CANARY: CANARY}),
        chat() | {"messages": [{"role": CANARY, "content": {CANARY: CANARY}}]},
        chat() | {"messages": [{"role": "user", "content": [{"type": CANARY}]}]},
        chat() | {"messages": [{"role": "user", CANARY: CANARY}]},
        f'{{"{CANARY}": 1, "{CANARY}": 2}}'.encode(),
        f"{CANARY}".encode(),
    ]
    digits = CANARY + "7"
    for body in bodies:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        with pytest.raises(InputError) as caught:
            await send(Wire(), CHAT, content.replace(CANARY.encode(), digits.encode()))
        broken.append(caught.value)
    with pytest.raises(InputError) as caught:
        await send(Wire(), f"/v1/{digits}", chat())
    broken.append(caught.value)
    for error in broken:
        assert digits not in error.message + error.hint + repr(error)
