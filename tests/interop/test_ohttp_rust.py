"""Our gateway and client against the Rust `ohttp` and `bhttp` crates, both ways, over HTTP."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from privity.hazmat.hpke import KEMS
from privity.seal import ohttp
from privity.seal.binary_http import Decoder, RequestHead, encode_request
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys, KeyConfig, parse_configs, preferred
from privity.seal.transport import SealedTransport, Shape

CRATE = Path(__file__).parent / "rust"
KEM_IDS = {"x25519": 0x0020, "xwing": 0x647A}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def rust() -> Path:
    """Build the harness; skip where there is no cargo or the crates cannot be had."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed, so the Rust implementation cannot be built")
    fetched = subprocess.run([cargo, "fetch", "--locked"], cwd=CRATE, capture_output=True)
    if fetched.returncode:
        pytest.skip("the crates of the Rust implementation cannot be fetched")
    build = [cargo, "build", "--release", "--locked", "--offline", "--quiet"]
    subprocess.run(build, cwd=CRATE, check=True)
    return CRATE / "target" / "release" / "privity-interop"


@pytest.fixture(params=["x25519", "xwing"])
def kem(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rust_server(rust: Path, kem: str) -> Iterator[str]:
    process = subprocess.Popen([rust, "server", kem], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was asked, in pieces and with a trailer."""
    request = Request(scope, receive)
    content = await request.body()
    headers = [
        (b"x-asked", f"{request.method} {request.url}".encode()),
        (b"x-interop", request.headers["x-interop"].encode()),
    ]
    start = {"type": "http.response.start", "status": 201, "headers": headers, "trailers": True}
    await send(start)
    for at in range(0, len(content), 10_000):
        piece = content[at : at + 10_000]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    digest = hashlib.sha256(content).hexdigest().encode()
    await send({"type": "http.response.trailers", "headers": [(b"x-digest", digest)]})


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\xff" * 60_000], ids=len)
@pytest.mark.parametrize(("form", "pieces"), [("plain", 1), ("chunked", 1), ("chunked", 7)])
def test_rust_client_is_served_by_our_gateway(
    rust: Path, kem: str, form: str, pieces: int, content: bytes, serve: Callable[[Any], str]
) -> None:
    keys = GatewayKeys.generate([KEMS[KEM_IDS[kem]]])
    url = serve(Gateway(inner, keys)) + GATEWAY_PATH

    done = subprocess.run(
        [rust, "client", url, form, kem, str(pieces)],
        input=content,
        capture_output=True,
        check=True,
        timeout=30,
    )

    answer = json.loads(done.stdout)
    assert answer["status"] == 201
    assert answer["headers"]["x-asked"] == "POST https://interop.example/echo?q=1"
    assert answer["headers"]["x-interop"] == "rust"
    assert bytes.fromhex(answer["content"]) == content
    assert answer["trailers"]["x-digest"] == hashlib.sha256(content).hexdigest()


class Published:
    """The key configurations a server publishes, believed without a statement."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def current(self) -> KeyConfig:
        async with httpx.AsyncClient() as client:
            answer = await client.get(self.url)
        return preferred(parse_configs(answer.content))

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        raise AssertionError("the server holds its key")


@pytest.mark.anyio
@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\xff" * 60_000], ids=len)
async def test_our_client_is_served_by_rust_server(
    rust_server: str, content: bytes, pad: bool
) -> None:
    transport = SealedTransport(Published(rust_server), rust_server, shape=Shape(pad_requests=pad))
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.post(
            "https://interop.example/echo?q=1", content=content, headers={"x-interop": "python"}
        )

    assert answer.status_code == 201
    assert answer.headers["x-method"] == "POST"
    assert answer.headers["x-authority"] == "interop.example"
    assert answer.headers["x-path"] == "/echo?q=1"
    assert answer.headers["x-interop"] == "python"
    assert answer.content == content
    sealed = answer.extensions["sealed"]
    assert sealed.ended
    assert sealed.records is None  # the server does not know them
    assert sealed.trailers == {b"x-length": b"%d" % len(content)}


def test_our_plain_request_is_served_by_rust_server(rust_server: str) -> None:
    config = preferred(parse_configs(httpx.get(rust_server).content))
    head = RequestHead("PUT", "https", "interop.example", "/plain", ((b"x-interop", b"python"),))
    sealed, opener = ohttp.encapsulate_request(config, encode_request(head, b"content"))

    answer = httpx.post(rust_server, content=sealed, headers={"content-type": ohttp.REQUEST_TYPE})

    decoder = Decoder("response")
    events = decoder.feed(opener.open(answer.content)) + decoder.finish()
    assert answer.headers["content-type"] == ohttp.RESPONSE_TYPE
    response, content, trailers = events
    assert response.status == 201
    assert (b"x-method", b"PUT") in response.headers
    assert content.data == b"content"
    assert trailers.fields == ((b"x-length", b"7"),)


def test_rust_client_reads_an_answer_without_content(
    rust: Path, serve: Callable[[Any], str]
) -> None:
    async def empty(scope: Any, receive: Any, send: Any) -> None:
        await Response(status_code=204)(scope, receive, send)

    url = serve(Gateway(empty, GatewayKeys.generate())) + GATEWAY_PATH
    done = subprocess.run(
        [rust, "client", url, "chunked", "xwing", "1"], input=b"x", capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {
        "status": 204,
        "headers": {},
        "content": "",
        "trailers": {},
    }
