"""Two relays in a row: what the first, the second and both ends learn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from keys import Published
from privity.seal.hops import exit_url
from privity.seal.key_config import KEYS_TYPE
from privity.seal.transport import SealedTransport, SyncTransport
from privity.statement import PATH as STATEMENT_PATH
from two_hops import (
    ADMISSION,
    ANSWER,
    PLAIN,
    QUERY_PROOF,
    QUESTION,
    SECOND,
    STATEMENT,
    TARGET,
    Chain,
    Enclave,
    ask,
    chain,
    settled,
    warm,
)
from wire import Wire

Serve = Callable[[Any], str]
NONCE = "N" * 43

pytestmark = pytest.mark.anyio


async def test_the_chain_carries_question_answer_keys_and_statement(
    serve: Serve, tmp_path: Path
) -> None:
    enclave = Enclave()
    async with chain(serve, enclave, tmp_path) as laid:
        assert (await ask(laid)).content == ANSWER * 3
        path = laid.path()
        keys = await path.handle_async_request(httpx.Request("GET", exit_url(TARGET)))
        assert await keys.aread() == laid.keys.configs_bytes
        assert keys.headers["content-type"] == KEYS_TYPE
        url = f"{exit_url(TARGET)}{STATEMENT_PATH}?nonce={NONCE}"
        statement = await path.handle_async_request(httpx.Request("GET", url))
        assert (statement.status_code, await statement.aread()) == (200, STATEMENT)
    assert enclave.asked == [QUESTION]


async def test_the_first_relay_learns_no_gateway_and_no_content(
    serve: Serve, tmp_path: Path
) -> None:
    async with chain(serve, Enclave(), tmp_path) as laid:
        await ask(laid)
        for path in ("", f"{STATEMENT_PATH}?nonce={NONCE}"):
            request = httpx.Request("GET", exit_url(TARGET) + path)
            await (await laid.path().handle_async_request(request)).aread()
        gateway = httpx.URL(laid.exit_wire.url).netloc
        hidden = (QUESTION, ANSWER, TARGET.encode(), gateway, ADMISSION.encode(), NONCE.encode())
        seen = laid.client_wire.both + laid.middle_wire.both
        for secret in (*hidden, QUERY_PROOF.encode(), STATEMENT, laid.keys.configs_bytes):
            assert secret not in seen
        # It is the wire that was used, and where the seal ends the same search finds them.
        assert f"POST /{SECOND} ".encode() in laid.client_wire.up
        for shown in (gateway, ADMISSION.encode(), QUERY_PROOF.encode(), NONCE.encode()):
            assert shown in laid.exit_wire.up
        assert laid.keys.configs_bytes in laid.exit_wire.down
        assert QUESTION not in laid.exit_wire.up


async def test_sizes_of_keys_and_statements_show_the_first_relay_a_bucket(
    serve: Serve, tmp_path: Path
) -> None:
    async def down(app: Any) -> int:
        async with chain(serve, app, tmp_path) as laid:
            path = laid.path(keys=await warm(laid))
            before = len(laid.client_wire.down)
            url = f"{exit_url(TARGET)}{STATEMENT_PATH}?nonce={NONCE}"
            await (await path.handle_async_request(httpx.Request("GET", url))).aread()
            await settled(laid.client_wire)
            return len(laid.client_wire.down) - before

    def stating(size: int) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"s" * size})

        return app

    small, larger, large = [await down(stating(size)) for size in (9000, 15000, 60000)]
    assert small == larger
    assert large > small + 40000


async def test_the_second_relay_and_the_gateway_learn_no_client_address(
    serve: Serve, tmp_path: Path
) -> None:
    enclave = Enclave()
    async with chain(serve, enclave, tmp_path) as laid:
        for _ in range(3):
            await ask(laid)
        theirs = {str(port).encode() for port in laid.client_wire.ports}
        assert len(theirs) == 6  # a connection for each, and for the keys of each client
        assert not set(laid.client_wire.ports) & set(laid.middle_wire.ports)
        assert not set(laid.client_wire.ports) & set(laid.exit_wire.ports)
        # Beyond the first relay all clients share connections.
        assert len(set(laid.exit_wire.ports)) == 1
        for wire in (laid.middle_wire, laid.exit_wire):
            for head in wire.heads():
                fields = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
                assert not fields & {b"forwarded", b"x-forwarded-for", b"via", b"x-real-ip"}
    assert set(enclave.clients) == {None}  # inside the seal


async def test_neither_relay_sees_the_header_of_the_other(serve: Serve, tmp_path: Path) -> None:
    telling = {"user-agent": "canary-agent", "cookie": "canary-cookie", "x-canary": "canary-x"}

    class Chatty(httpx.AsyncBaseTransport):
        """Connections of software that names itself at every hop."""

        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self._inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.headers.update(telling)
            return await self._inner.handle_async_request(request)

    enclave = Enclave()
    async with chain(serve, enclave, tmp_path) as laid, httpx.AsyncHTTPTransport() as bare:
        inner = Chatty(bare)
        path = Chatty(laid.path(inner=inner))
        url = exit_url(TARGET)
        transport = SealedTransport(_published(laid), url, inner=path, shape=PLAIN)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.post("https://enclave.test/ask", content=QUESTION)
        assert b"canary-agent" in laid.client_wire.up  # these connections do say it
        for wire in (laid.middle_wire, laid.exit_wire):
            assert wire.heads()
            for word in telling.values():
                assert word.encode() not in wire.up
        assert laid.exit_wire.heads() == [
            b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nHost: "
            + httpx.URL(laid.exit_wire.url).netloc
            + b"\r\ncontent-type: message/ohttp-chunked-req\r\naccept: message/ohttp-chunked-res"
            + f"\r\ncontent-length: {_length(laid.exit_wire)}".encode()
            + b"\r\nincremental: ?1"
            + f"\r\nprivity-admission: {ADMISSION}".encode()
            + f"\r\nprivity-query-proof: {QUERY_PROOF}".encode()
        ]


def _length(wire: Wire) -> int:
    head = wire.heads()[0]
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def _published(laid: Chain) -> Any:
    return Published(laid.keys)


async def test_every_client_sends_the_same_head(serve: Serve, tmp_path: Path) -> None:
    """Two libraries, blocking or not, another process: the words on the wire are these."""
    async with chain(serve, Enclave(), tmp_path) as laid:
        await ask(laid)  # httpx, asynchronous
        with httpx.Client(transport=SyncTransport(laid.transport(PLAIN))) as blocking:
            await asyncio.to_thread(
                blocking.post, "https://enclave.test/ask", content=QUESTION, headers={"x-a": "b"}
            )
        http = httpx.AsyncClient(transport=laid.transport(PLAIN))
        async with openai.AsyncOpenAI(
            api_key="canary-key", base_url="https://enclave.test/v1", http_client=http
        ) as sdk:
            await sdk.with_options(max_retries=0).chat.completions.create(
                model="m", messages=[{"role": "user", "content": "canary-question-7f3a"}]
            )
        await asyncio.to_thread(_ask_elsewhere, laid)
        near = [head for head in laid.client_wire.heads() if head.startswith(b"POST")]
        host = httpx.URL(laid.client_wire.url).netloc
        assert len(near) == 4
        assert {_without_length(head) for head in near} == {
            b"POST /canary-second HTTP/1.1\r\nhost: " + host + b"\r\n"
            b"content-type: message/ohttp-chunked-req\r\naccept: message/ohttp-chunked-res\r\n"
            b"incremental: ?1\r\ncontent-length: N\r\nconnection: close"
        }
        fetched = [head for head in laid.client_wire.heads() if head.startswith(b"GET")]
        assert set(fetched) == {
            b"GET /canary-second HTTP/1.1\r\nhost: " + host + b"\r\n"
            b"accept: application/ohttp-keys\r\nconnection: close"
        }
        assert len({_without_length(head) for head in laid.exit_wire.heads()}) == 1
        assert len(laid.exit_wire.heads()) == 4
        assert b"canary-key" not in laid.client_wire.up + laid.exit_wire.up


def _without_length(head: bytes) -> bytes:
    before, name, rest = head.lower().partition(b"content-length: ")
    start = len(before + name)
    return head[:start] + b"N" + head[start:][rest.find(b"\r\n") :]


ELSEWHERE = """
import asyncio, json, sys
import httpx
sys.path.insert(0, sys.argv[1])
from two_hops import Admitting, SECOND, TARGET
from privity.seal.connections import Connections
from privity.seal.hops import RelayKeys, exit_url, through_relay
from privity.seal.key_config import parse_configs, preferred
from privity.seal.transport import SealedTransport
class Keys:
    async def current(self):
        return preferred(parse_configs(bytes.fromhex(sys.argv[4])))
async def main():
    url, digest = sys.argv[2], bytes.fromhex(sys.argv[3])
    inner = Connections()
    keys = RelayKeys(inner, url, SECOND, digest)
    path = Admitting(through_relay(inner, url, SECOND, keys, TARGET))
    transport = SealedTransport(Keys(), exit_url(TARGET), inner=path)
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.post("https://enclave.test/ask", json={"q": "another"})
        print(answer.status_code)
asyncio.run(main())
"""


def _ask_elsewhere(laid: Chain) -> None:
    tests = str(Path(__file__).parents[1])
    assert laid.second.keys_digest is not None
    known = (laid.second.keys_digest.hex(), laid.keys.configs_bytes.hex())
    command = [sys.executable, "-c", ELSEWHERE, tests, laid.client_wire.url, *known]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "200\n", done.stderr


async def test_each_exchange_has_a_connection_of_its_own(serve: Serve, tmp_path: Path) -> None:
    async with chain(serve, Enclave(), tmp_path) as laid:
        transport = laid.transport(PLAIN, keys=await warm(laid))
        before = len(laid.client_wire.ports)
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(3):
                await client.post("https://enclave.test/ask", content=QUESTION)
        assert len(set(laid.client_wire.ports[before:])) == 3
    async with chain(serve, Enclave(), tmp_path, one_connection_each=False) as laid:
        async with httpx.AsyncClient(transport=laid.transport(PLAIN)) as client:
            for _ in range(3):
                await client.post("https://enclave.test/ask", content=QUESTION)
        assert len(laid.client_wire.ports) == 1


async def test_a_streamed_body_passes_as_it_comes(serve: Serve, tmp_path: Path) -> None:
    enclave = Enclave()
    go = threading.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield QUESTION * 100
        go.set()

    async with chain(serve, enclave, tmp_path) as laid:
        assert (await ask(laid, body())).content == ANSWER * 3
    assert go.is_set()
    assert enclave.asked == [QUESTION * 4000]
