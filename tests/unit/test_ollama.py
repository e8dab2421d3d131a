"""Ollama's own API, from exchanges recorded from a real one; tests/interop asks one that runs."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.errors import EngineError, InputError
from privity.infer.engines import ollama
from privity.infer.engines.describe import describe
from privity.infer.engines.ollama import Progress, check_name, is_elsewhere, read_shown
from privity.infer.engines.openai_server import OpenAIServer

RECORDED = Path(__file__).parents[1] / "recorded" / "ollama"
WEIGHTS = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def recorded(*names: str) -> list[dict[str, Any]]:
    """Return the exchanges of files of the folder; the first file that has a path counts."""
    return [
        one
        for name in names
        for one in json.loads((RECORDED / f"{name}.json").read_text())["exchanges"]
    ]


def replay(exchanges: list[dict[str, Any]]) -> OpenAIServer:
    """Return an engine that answers as was recorded, and to nothing else."""

    def handler(request: httpx.Request) -> httpx.Response:
        fields = json.loads(request.content) if request.content else None
        for one in exchanges:
            asked = one["request"] or {}
            same = fields is None or asked.get("model") == fields.get("model")
            if (one["method"], one["path"]) == (request.method, request.url.path) and same:
                break
        else:
            return httpx.Response(404, json={"error": "not recorded"})
        if "lines" in one:
            text = "".join(json.dumps(line) + "\n" for line in one["lines"])
            return httpx.Response(one["status"], text=text)
        return httpx.Response(one["status"], json=one["body"])

    return OpenAIServer("http://127.0.0.1:1", transport=httpx.MockTransport(handler))


async def pulled(engine: OpenAIServer, name: str) -> list[Progress]:
    async with engine.questions() as ask, aclosing(ollama.pull(ask, name)) as steps:
        return [step async for step in steps]


def test_each_recording_says_where_it_is_from() -> None:
    files = list(RECORDED.glob("*.json"))
    assert len(files) >= 7
    for file in files:
        assert json.loads(file.read_text())["source"].startswith("recorded from a real Ollama ")


@pytest.mark.anyio
async def test_its_models_and_the_context_it_assumes() -> None:
    engine = replay(recorded("one_model"))
    await engine.start()
    assert (engine.kind, engine.version) == ("ollama", "0.17.4")
    (facts,) = await describe(engine)
    assert (facts.id, facts.context, facts.trained) == ("smollm2:latest", 4096, 8192)
    assert facts.can == {"chat"}
    assert facts.note.startswith("assumed until it is loaded")


@pytest.mark.anyio
async def test_the_context_of_a_loaded_model_is_the_one_it_runs_with() -> None:
    engine = replay(recorded("loaded", "one_model"))
    await engine.start()
    (facts,) = await describe(engine)
    assert facts.context == 4096
    assert facts.note.startswith("it reads 4,096 of 8,192 tokens, and drops the beginning")


@pytest.mark.anyio
async def test_an_ollama_without_any_model_is_known_all_the_same() -> None:
    engine = replay(recorded("empty", "one_model"))
    await engine.start()
    assert (engine.kind, engine.models) == ("ollama", ())
    assert await describe(engine) == ()


@pytest.mark.anyio
async def test_a_forwarded_model_is_not_a_local_one() -> None:
    engine = replay(recorded("forwarded", "one_model"))
    await engine.start()
    assert [one.id for one in engine.models] == ["smollm2:latest"]
    assert [(one.id, one.elsewhere) for one in engine.forwarded] == [
        ("big:latest", "http://127.0.0.1:9")
    ]
    assert [one.id for one in await describe(engine)] == ["smollm2:latest"]
    assert engine.has("smollm2") and engine.has("SmolLM2:latest")
    for name in ("big", "big:latest", "BIG", "qwen3:cloud", "gpt-oss:120b-cloud", ""):
        assert not engine.has(name)


@pytest.mark.anyio
async def test_an_ollama_that_hides_which_models_it_forwards_is_not_used() -> None:
    engine = replay([one for one in recorded("one_model") if one["path"] != "/api/tags"])
    with pytest.raises(EngineError):
        await engine.start()


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [
        ("gpt-oss:120b-cloud", True),
        ("qwen3:cloud", True),
        ("QWEN3:Cloud", True),
        ("cloud", True),
        ("llama3.2:3b", False),
        ("cloudy:7b", False),
    ],
)
def test_names_that_say_that_they_are_served_elsewhere(name: str, elsewhere: bool) -> None:
    assert is_elsewhere(name) is elsewhere


@pytest.mark.parametrize(
    ("parameters", "version", "context", "assumed"),
    [
        ("num_ctx                        16384", "0.17.4", 16384, False),
        ("num_ctx                        999999", "0.17.4", 131072, False),
        ('stop    "x"\nnum_ctx   2048\ntop_k  3', "0.17.4", 2048, False),
        ("", "0.17.4", 4096, True),
        ("", "0.6.6", 2048, True),
        ("", "0.6.7", 4096, True),
        ("", "unheard of", 4096, True),
        ("num_ctx   0", "0.17.4", 4096, True),
    ],
)
def test_the_context_follows_what_is_set(
    parameters: str, version: str, context: int, assumed: bool
) -> None:
    info = {"general.architecture": "llama", "llama.context_length": 131072}
    answer = {"model_info": info, "parameters": parameters, "capabilities": ["completion", "tools"]}
    shown = read_shown(answer, in_use=None, version=version)
    assert (shown.context, shown.trained, shown.can) == (context, 131072, {"chat", "tools"})
    assert shown.note.startswith("assumed") is assumed
    assert read_shown(answer, in_use=777, version=version).context == 777


@pytest.mark.anyio
async def test_a_pull_tells_its_progress_to_the_end() -> None:
    exchanges = recorded("pull")
    steps = await pulled(replay(exchanges), exchanges[0]["request"]["model"])
    assert steps[0].status == "pulling manifest" and steps[-1].status == "success"
    done = [step.completed for step in steps if step.digest == WEIGHTS]
    assert done == sorted(done) and done[-1] == 98362432


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        ("pull_absent", "there is no such model"),
        ("pull_unreachable", "does not reach its registry"),
    ],
)
async def test_a_pull_that_fails_says_why(recording: str, reason: str) -> None:
    exchanges = recorded(recording)
    with pytest.raises(EngineError, match=reason) as caught:
        await pulled(replay(exchanges), exchanges[0]["request"]["model"])
    assert caught.value.hint


def answering(body: bytes, status: int = 200) -> OpenAIServer:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    return OpenAIServer("http://127.0.0.1:1", transport=transport)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error":"write blobs/x: no space left on device"}', "no space left for it"),
        (b'{"error":"pull model manifest: 412: requires a newer version of Ollama"}', "newer"),
        (
            b'{"error":"something\\u001b[31m new"}',
            "Ollama answers: something\N{REPLACEMENT CHARACTER}",
        ),
        (b'{"error":7}', "nothing that says why"),
        (b"<html>", "does not answer as"),
        (b"[1]", "does not answer as"),
    ],
)
async def test_what_an_ollama_answers_to_a_pull_is_said_in_words(body: bytes, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        await pulled(answering(body), "tiny")


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b'{"status":"pulling manifest"}\n', b'{"status":7}\n'])
async def test_a_pull_that_breaks_off_is_no_success(body: bytes) -> None:
    with pytest.raises(EngineError, match="broke off"):
        await pulled(answering(body), "tiny")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("llama3.2:3b", ""),
        ("someone/model:q4", ""),
        ("hf.co/someone/model:Q4_K_M", "hf.co"),
        ("localhost:5000/a/b", "localhost:5000"),
    ],
)
def test_where_a_model_would_come_from(name: str, host: str) -> None:
    assert check_name(name) == host


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "../x", "a\nb", "http://h/x", "x" * 300, "q:cloud"]
)
def test_what_is_no_name_of_a_model_to_pull_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        check_name(name)
