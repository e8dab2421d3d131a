"""What we send beside what the providers' own SDKs send for the same call, and their types."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, urlsplit

import anthropic
import httpx
import httpx2
import openai
import pytest
import typing_extensions
from anthropic.types import message_create_params
from anthropic.types.content_block_param import ContentBlockParam
from anthropic.types.tool_union_param import ToolUnionParam
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.chat.chat_completion_content_part_param import ChatCompletionContentPartParam
from openai.types.responses import response_create_params
from openai.types.responses.response_input_param import ResponseInputParam
from openai.types.responses.tool_param import ToolParam

from privity.errors import InputError
from privity.infer.peers import ProviderPeer
from privity.infer.providers.desk import Desk
from privity.infer.providers.guard import check
from privity.infer.providers.profile import load_profile
from privity.infer.providers.shapes import DROPPED, GRAMMARS, REFUSED
from privity.infer.routes.zero_retention import zero_retention_route
from privity.infer.shapes.paths import SHAPES
from privity.policy import Feature, Policy
from providers.front import Double

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789"
AZURE = "https://me.openai.azure.com"
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
TURNS: Any = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "Wetter in München?"}]},
]
CHAT: dict[str, Any] = {
    "model": "gpt-6.2-sol",
    "messages": TURNS,
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}],
    "tool_choice": "auto",
    "max_completion_tokens": 50,
    "stream": True,
    "stream_options": {"include_usage": True},
}
MESSAGES: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 50,
    "system": "be brief",
    "messages": [{"role": "user", "content": "Wetter in München?"}],
    "tools": [{"name": "weather", "input_schema": TOOL}],
    "stream": True,
}
RESPONSES: dict[str, Any] = {
    "model": "gpt-6.2-sol",
    "instructions": "be brief",
    "input": "Wetter?",
    "reasoning": {"effort": "low"},
    "stream": True,
}
EMBEDDINGS: dict[str, Any] = {
    "model": "gpt-6.2-sol",
    "input": ["a", "b"],
    "encoding_format": "float",
}
COMPLETIONS: dict[str, Any] = {"model": "gpt-6.2-sol", "prompt": "a", "max_tokens": 3}
OURS = {"store": False, "prompt_cache_options": {"mode": "explicit"}}

Call = dict[str, Any]


def _stock(calls: list[Call]) -> httpx2.Client:
    def handle(request: httpx2.Request) -> httpx2.Response:
        calls.append(_call(request))
        return httpx2.Response(400, json={"error": {"message": "captured"}})

    return httpx2.Client(transport=httpx2.MockTransport(handle))


def _call(request: Any) -> Call:
    url = urlsplit(str(request.url))
    names = ("authorization", "api-key", "x-api-key", "anthropic-version")
    return {
        "method": request.method,
        "where": (url.scheme, url.netloc, url.path),
        "query": parse_qs(url.query),
        "headers": {name: request.headers[name] for name in names if name in request.headers},
        "type": request.headers["content-type"],
        "body": json.loads(request.read()),
    }


async def _ours(peer: ProviderPeer, path: str, body: Any, monkeypatch: pytest.MonkeyPatch) -> Call:
    profile, calls = load_profile(peer.profile), []
    monkeypatch.setenv(profile.key_env, KEY)

    async def handle(request: httpx.Request) -> httpx.Response:
        calls.append(_call(request))
        return httpx.Response(400, json={})

    route = zero_retention_route(
        peer,
        profile,
        policy=Policy.load("dev"),
        pseudonyms=lambda: Double(),  # type: ignore[arg-type,return-value]
    )
    transport = route.transport(None, httpx.MockTransport(handle))  # type: ignore[arg-type]
    await transport.handle_async_request(httpx.Request("POST", f"http://x{path}", json=body))
    return calls[0]


def _openai(client: openai.OpenAI, path: str, body: Any) -> None:
    ask: Any = {
        "/v1/chat/completions": client.chat.completions.create,
        "/v1/responses": client.responses.create,
        "/v1/embeddings": client.embeddings.create,
        "/v1/completions": client.completions.create,
    }[path]
    with pytest.raises(openai.BadRequestError):
        ask(**body)


def _same(ours: Call, stock: Call, flags: dict[str, Any]) -> None:
    assert {**ours, "body": None} == {**stock, "body": None}
    assert ours["body"] == {**stock["body"], **flags}


OPENAI_CALLS = [
    ("/v1/chat/completions", CHAT, OURS),
    ("/v1/responses", RESPONSES, OURS),
    ("/v1/embeddings", EMBEDDINGS, {}),
    ("/v1/completions", COMPLETIONS, {}),
]
STORED = {"store": False}


@pytest.mark.parametrize(("path", "body", "flags"), OPENAI_CALLS)
async def test_openai_is_asked_as_its_sdk_asks(
    path: str, body: Any, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Call] = []
    with openai.OpenAI(api_key=KEY, http_client=_stock(calls)) as client:
        _openai(client, path, body)
    _same(await _ours(ProviderPeer("o", "openai"), path, body, monkeypatch), calls[0], flags)


@pytest.mark.parametrize(
    ("path", "body", "flags"),
    [
        ("/v1/chat/completions", CHAT, {}),
        ("/v1/responses", RESPONSES, STORED),
        ("/v1/embeddings", EMBEDDINGS, {}),
        ("/v1/completions", COMPLETIONS, {}),
    ],
)
@pytest.mark.parametrize("token", [False, True])
async def test_azure_is_asked_by_version_as_its_sdk_asks(
    token: bool, path: str, body: Any, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Call] = []
    auth: Any = {"azure_ad_token": KEY} if token else {"api_key": KEY}
    settings: Any = {"azure_endpoint": AZURE, "api_version": "2024-10-21", **auth}
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with openai.AzureOpenAI(**settings, http_client=_stock(calls)) as client:
        _openai(client, path, body | {"model": "my-sol"})
    peer = ProviderPeer(
        "z",
        "azure-openai",
        AZURE,
        deployments={"gpt-6.2-sol": "my-sol"},
        api_version="2024-10-21",
        token_command=("printf", KEY) if token else (),
    )
    _same(await _ours(peer, path, body, monkeypatch), calls[0], flags)


@pytest.mark.parametrize(
    ("path", "body", "flags"),
    [
        ("/v1/chat/completions", CHAT, STORED),
        ("/v1/responses", RESPONSES, STORED),
        ("/v1/embeddings", EMBEDDINGS, {}),
    ],
)
async def test_azures_v1_surface_is_asked_as_the_sdk_asks(
    path: str, body: Any, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a token, as Azure's own examples have it; a key goes in Azure's own header.
    calls: list[Call] = []
    base = f"{AZURE}/openai/v1/"
    with openai.OpenAI(api_key=KEY, base_url=base, http_client=_stock(calls)) as client:
        _openai(client, path, body | {"model": "my-sol"})
    settings: Any = {"url": base, "deployments": {"gpt-6.2-sol": "my-sol"}}
    peer = ProviderPeer("z", "azure-openai", token_command=("printf", KEY), **settings)
    _same(await _ours(peer, path, body, monkeypatch), calls[0], flags)
    peer = ProviderPeer("z", "azure-openai", **settings)
    assert (await _ours(peer, path, body, monkeypatch))["headers"] == {"api-key": KEY}


async def test_anthropic_is_asked_as_its_sdk_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Call] = []
    with anthropic.Anthropic(api_key=KEY, http_client=_stock(calls)) as client:
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(**MESSAGES)
    peer = ProviderPeer("a", "anthropic")
    _same(await _ours(peer, "/v1/messages", MESSAGES, monkeypatch), calls[0], {})


# The types of the SDKs

PARAMS = {
    "chat": chat_params.CompletionCreateParams,
    "responses": response_create_params.ResponseCreateParams,
    "completions": completion_create_params.CompletionCreateParams,
    "embeddings": embedding_create_params.EmbeddingCreateParams,
    "messages": message_create_params.MessageCreateParams,
}
# Fields of an older API version, or of a beta, which the SDK's stable types do not have.
NOT_IN_THE_SDK = {
    "messages": {"temperature", "top_p", "top_k", "context_management", "mcp_servers"},
}


def _dicts(hint: Any) -> list[Any]:
    """Return all TypedDicts of a union."""
    if typing_extensions.is_typeddict(hint):
        return [hint]
    return [found for one in get_args(hint) for found in _dicts(one)]


def _kinds(hint: Any) -> set[str]:
    """Return what the ``type`` of a union's members can be."""
    kinds: set[str] = set()
    for one in _dicts(hint):
        inner = get_type_hints(one, include_extras=True).get("type")
        while get_args(inner) and get_origin(inner) not in (None,):
            literal = [arg for arg in get_args(inner) if isinstance(arg, str)]
            if literal:
                kinds.update(literal)
                break
            inner = get_args(inner)[0]
    return kinds


@pytest.mark.parametrize("shape", sorted(PARAMS))
def test_every_field_of_the_sdks_is_placed(shape: str) -> None:
    known = {name for one in _dicts(PARAMS[shape]) for name in get_type_hints(one)}
    placed = set(GRAMMARS[shape].fields) | DROPPED[shape] | REFUSED[shape]
    assert known - placed == set(), "new in the SDK: decide, and write it down"
    assert placed - known == NOT_IN_THE_SDK.get(shape, set())


@pytest.mark.parametrize(
    ("shape", "hint", "wrap", "passes"),
    [
        (
            "chat",
            ChatCompletionContentPartParam,
            lambda one: {"messages": [{"role": "user", "content": [one]}]},
            {"text", "image_url", "input_audio", "file"},
        ),
        (
            "responses",
            ResponseInputParam,
            lambda one: {"input": [one]},
            {
                "message",
                "function_call",
                "function_call_output",
                "custom_tool_call",
                "custom_tool_call_output",
                "reasoning",
            },
        ),
        ("responses", ToolParam, lambda one: {"tools": [one]}, {"function", "custom"}),
        (
            "messages",
            ContentBlockParam,
            lambda one: {"messages": [{"role": "user", "content": [one]}]},
            {
                "text",
                "image",
                "document",
                "search_result",
                "thinking",
                "redacted_thinking",
                "tool_use",
                "tool_result",
            },
        ),
        (
            "messages",
            ToolUnionParam,
            lambda one: {"tools": [one]},
            {
                "custom",
                "bash_20250124",
                "memory_20250818",
                "text_editor_20250124",
                "text_editor_20250429",
                "text_editor_20250728",
            },
        ),
    ],
    ids=["chat-parts", "responses-items", "responses-tools", "messages-blocks", "messages-tools"],
)
def test_every_kind_of_the_sdks_passes_or_is_refused(
    shape: str, hint: Any, wrap: Any, passes: set[str]
) -> None:
    kinds = _kinds(hint)
    assert passes <= kinds and len(kinds) >= len(passes)
    for kind in kinds:
        if kind in passes:
            check(shape, wrap({"type": kind}))
            continue
        with pytest.raises(InputError):
            check(shape, wrap({"type": kind}))


def test_what_we_add_is_what_the_sdks_know() -> None:
    from sdk_types import chat_request, messages_request

    for provider, path, body, types in (
        ("openai", "/v1/chat/completions", CHAT, chat_request()),
        ("anthropic", "/v1/messages", MESSAGES, messages_request()),
        ("anthropic", "/v1/chat/completions", CHAT, messages_request()),
        ("openai", "/v1/messages", MESSAGES, chat_request()),
    ):
        desk = Desk(ProviderPeer("p", provider), load_profile(provider))
        model = {"model": desk.models[0].id}
        sent = desk.outgoing(path, desk.examine(path, body | model))
        types.validate_python(json.loads(sent.content))


def test_a_feature_that_is_allowed_in_messages_is_not_lost_in_translation() -> None:
    """What a translation cannot say is refused, or is only a hint to save work."""
    desk = Desk(ProviderPeer("a", "anthropic"), load_profile("anthropic"), frozenset(Feature))
    body = CHAT | {"model": "claude-opus-5-5"}
    for more in ({"store": True}, {"metadata": {"a": "b"}}, {"web_search_options": {"x": 1}}):
        with pytest.raises(InputError):
            desk.outgoing("/v1/chat/completions", desk.examine("/v1/chat/completions", body | more))


def test_every_served_path_has_a_grammar() -> None:
    assert set(SHAPES.values()) == set(GRAMMARS) == set(DROPPED) == set(REFUSED)
