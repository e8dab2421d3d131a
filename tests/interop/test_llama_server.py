"""Against llama.cpp's own server, as the wheel of xllamacpp has it, in the open, without a key.

It is the code that the program ``llama-server`` is made of; no package registry was found to
have that program itself. The embedded engine is the same server, started by privity.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from privity.errors import MissingDependency
from privity.infer.engines.describe import State, describe, embedded_offer, health, offers
from privity.infer.engines.discover import discover
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.weights import find_default

pytestmark = pytest.mark.slow
CONTEXT, TRAINED = 512, 8192
PROGRAM = f"""
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.model_alias = sys.argv[1], {{"small"}}
p.n_ctx, p.n_parallel, p.fit_params, p.warmup, p.verbosity = {2 * CONTEXT}, 2, False, False, -1
p.kv_unified = False
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    try:
        path = find_default().path
    except MissingDependency as error:
        pytest.skip(f"{error.message} ({error.hint})")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            assert url.startswith("http://127.0.0.1:")
            yield url
        finally:
            process.kill()


@pytest.mark.anyio
async def test_its_kind_context_and_abilities_are_known(server_url: str) -> None:
    (server,) = await discover({"llama-server": int(server_url.rpartition(":")[2])}, timeout_s=10)
    assert server.kind == "llama-server"
    report = await health(server)
    assert report.state is State.READY and report.version
    (facts,) = await describe(server)
    assert (facts.id, facts.context, facts.trained) == ("small", CONTEXT, TRAINED)
    assert "chat" in facts.can and "embeddings" not in facts.can  # it was not started for those
    (offer,) = await offers(server, "mine")
    assert (offer.name, offer.context) == ("local/mine/small", CONTEXT)


@pytest.mark.anyio
async def test_it_refuses_a_prompt_beyond_its_context_in_words(server_url: str) -> None:
    """Where Ollama would cut it in silence: so nothing is noted of its context."""
    message = {"role": "user", "content": "one two three " * CONTEXT}
    async with httpx.AsyncClient(base_url=server_url, timeout=60, trust_env=False) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": [message]})
    assert answer.status_code == 400 and "context" in answer.text
    engine = OpenAIServer(server_url)
    await engine.start()
    assert [one.note for one in await describe(engine)] == [""]


@pytest.mark.anyio
async def test_the_embedded_engine_offers_what_was_said_before_it_ran() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    try:
        foretold = embedded_offer("embedded")
    except MissingDependency as error:
        pytest.skip(f"{error.message} ({error.hint})")
    engine = EmbeddedEngine()
    try:
        await engine.start()
        assert (await health(engine)).state is State.READY
        assert await offers(engine, "embedded") == (foretold,)
    finally:
        await engine.aclose()
