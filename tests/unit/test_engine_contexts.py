"""Health, contexts and abilities of engines, from answers in the form each documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from privity.errors import EngineError
from privity.infer.engines.asking import MAX_ANSWER
from privity.infer.engines.describe import Facts, State, describe, health, offers
from privity.infer.engines.openai_server import OpenAIServer

Handler = Callable[[httpx.Request], httpx.Response]


def serving(answers: Mapping[str, Any], posts: Mapping[str, int] | None = None) -> Handler:
    """Return a handler that serves JSON by path, and statuses for what is posted."""

    def handler(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "POST":
            return httpx.Response((posts or {}).get(path, 404), json={})
        if path not in answers:
            return httpx.Response(404, json={"error": "no such page"})
        found = answers[path]
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    return handler


async def started(handler: Handler) -> OpenAIServer:
    server = OpenAIServer("http://127.0.0.1:1", transport=httpx.MockTransport(handler))
    await server.start()
    return server


def listing(owner: str, *entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": [{"owned_by": owner, **entry} for entry in entries]}


@pytest.mark.anyio
async def test_vllm_says_its_context_in_the_list_of_its_models() -> None:
    """As vLLM documents /v1/models, /version and /health."""
    answers = {
        "/v1/models": listing("vllm", {"id": "qwen", "max_model_len": 32768}),
        "/version": {"version": "0.11.0"},
        "/health": {},
    }
    engine = await started(serving(answers))
    assert await describe(engine) == (Facts("qwen", 32768),)
    report = await health(engine)
    assert (report.kind, report.state, report.version) == ("vllm", State.READY, "0.11.0")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (
            "/api/v0/models",
            {
                "object": "list",
                "data": [
                    {
                        "id": "see",
                        "type": "vlm",
                        "state": "loaded",
                        "max_context_length": 32768,
                        "loaded_context_length": 4096,
                        "capabilities": ["tool_use"],
                    },
                    {"id": "embed", "type": "embeddings", "max_context_length": 2048},
                ],
            },
        ),
        (
            "/api/v1/models",
            {
                "models": [
                    {
                        "key": "see",
                        "type": "llm",
                        "loaded_instances": [{"id": "see", "config": {"context_length": 4096}}],
                        "max_context_length": 32768,
                        "capabilities": {"vision": True, "trained_for_tool_use": True},
                    },
                    {
                        "key": "embed",
                        "type": "embedding",
                        "loaded_instances": [],
                        "max_context_length": 2048,
                    },
                ]
            },
        ),
    ],
)
async def test_lm_studio_says_what_is_loaded_with_which_context(path: str, answer: Any) -> None:
    """As LM Studio documents its REST API, in both of its versions."""
    listed = listing("organization_owner", {"id": "see"}, {"id": "embed"})
    engine = await started(serving({"/v1/models": listed, path: answer}))
    see, embed = await describe(engine)
    assert (see.context, see.trained) == (4096, 32768)
    assert see.can == {"chat", "vision", "tools"}
    assert see.note == "it reads 4,096 of 32,768 tokens; LM Studio's settings raise that"
    assert (embed.context, embed.trained, embed.can) == (None, 2048, {"embeddings"})
    assert "once it is loaded" in embed.note


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "embeds"), [(400, True), (501, False)])
async def test_llama_server_says_it_in_its_properties(status: int, embeds: bool) -> None:
    """As llama.cpp's server documents /props; tests/interop asks a real one."""
    meta = {"n_ctx_train": 131072}
    props = {
        "default_generation_settings": {"n_ctx": 8192},
        "chat_template_caps": {"supports_tools": True},
        "modalities": {"vision": True},
        "build_info": "b7000-abc",
    }
    answers = {
        "/v1/models": listing("llamacpp", {"id": "m", "meta": meta}),
        "/props": props,
        "/health": {"status": "ok"},
    }
    engine = await started(serving(answers, {"/v1/embeddings": status}))
    can = {"chat", "tools", "vision"} | ({"embeddings"} if embeds else set())
    assert await describe(engine) == (Facts("m", 8192, 131072, frozenset(can)),)
    assert (await health(engine)).version == "b7000-abc"


@pytest.mark.anyio
async def test_a_llama_server_that_hides_its_properties_still_has_its_list() -> None:
    entry = {"id": "m", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}
    engine = await started(serving({"/v1/models": listing("llamacpp", entry)}))
    assert await describe(engine) == (Facts("m", 4096, 8192),)


@pytest.mark.anyio
async def test_an_engine_that_loads_says_so() -> None:
    loading = httpx.Response(503, json={"error": {"message": "Loading model", "code": 503}})
    engine = await started(
        serving({"/v1/models": listing("llamacpp", {"id": "m"}), "/health": loading})
    )
    report = await health(engine)
    assert report.state is State.LOADING
    assert report.problem is not None and "loads" in report.problem.message


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 404])
async def test_an_engine_that_is_not_well_says_so(status: int) -> None:
    ill = httpx.Response(status, json={})
    engine = await started(serving({"/v1/models": listing("vllm", {"id": "m"}), "/health": ill}))
    assert (await health(engine)).state is State.SILENT


@pytest.mark.anyio
async def test_an_engine_that_does_not_answer_is_silent_and_raises_nothing() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    engine = OpenAIServer("http://127.0.0.1:1", transport=httpx.MockTransport(refuse))
    report = await health(engine)
    assert report.state is State.SILENT and isinstance(report.problem, EngineError)


@pytest.mark.anyio
async def test_what_an_engine_does_not_say_stays_unknown() -> None:
    engine = await started(serving({"/v1/models": listing("someone", {"id": "gpt-oss-120b"})}))
    (offer,) = await offers(engine, "shed")
    assert (offer.name, offer.context, offer.can) == ("local/shed/gpt-oss-120b", None, frozenset())


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, -1, True, 2.5, "4096", 1 << 41, None, [], {}])
async def test_a_context_that_is_no_number_of_tokens_counts_as_unsaid(size: Any) -> None:
    entry = {"id": "m", "max_model_len": size, "meta": size}
    engine = await started(serving({"/v1/models": listing("vllm", entry)}))
    assert await describe(engine) == (Facts("m"),)


@pytest.mark.anyio
async def test_an_endless_answer_is_left() -> None:
    sent = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1 << 16
                yield b" " * (1 << 16)

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    with pytest.raises(EngineError, match="does not answer as"):
        await started(handler)
    assert MAX_ANSWER < sent <= MAX_ANSWER + (2 << 16)
