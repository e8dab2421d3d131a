"""Attacks on the zero-retention route by callers that have things kept, and by what is personal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from privity.errors import InputError, PolicyRefusal, PrivityError
from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser
from privity.infer.routes.zero_retention import Left
from privity.policy import Feature, Kind, Mode
from providers.standin import KEY
from scripted_detector import ScriptedDetector
from zero_retention import (
    CANARY,
    CHAT,
    COMPLETION,
    MESSAGES,
    MODELS,
    RESPONSES,
    Wire,
    chat,
    messages,
    part,
    policy,
    responses,
    route,
    send,
    set_keys,
    whole,
)

pytestmark = pytest.mark.anyio

FULLWIDTH_STORE = "\uff53\uff54\uff4f\uff52\uff45"
LONG_S_STORE = "\u017ftore"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(monkeypatch)


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
    with pytest.raises(InputError):
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
