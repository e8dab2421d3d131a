"""An enclave under the tests' control: real keys, seals, evidence and receipts; a scripted engine.

It can be told to misbehave in each way a device must notice. The model named in a request is the
script: ``tokens-5`` streams five tokens, ``hang`` stops after two and never goes on, and so on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import uvicorn

from privity.attest.evidence_dev import DevQuoter, DevRoot
from privity.attest.publish import build_statement
from privity.attest.trust import Trust
from privity.identity.keys import SigningKey
from privity.infer.journal import Journal
from privity.infer.ladder import Ladder
from privity.infer.peers import EnclavePeer
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.confidential import discover
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.session import PrivateTransport
from privity.node.relay import relay_app
from privity.policy import Policy
from privity.receipt import (
    RECEIPT_TRAILER,
    SALT_HEADER,
    BodyDigest,
    EvidenceRef,
    JobReceipt,
    Outcome,
    decode_salt,
    encode_trailer,
    issue_receipt,
)
from privity.seal.gateway import Gateway
from privity.seal.key_config import GatewayKeys
from privity.seal.transport import Shape, default_pool
from privity.statement import MEDIA_TYPE, PATH, Keyset, Model

MODEL = Model("scripted", None, "stub 1")
SCRIPTS = ("hang", "crash", "refuse", "m", *(f"tokens-{number}" for number in range(20)))
MODELS = (MODEL, *(Model(name, None, "stub 1") for name in SCRIPTS))


class Served:
    """An ASGI app on a real loopback socket, in a thread; stops as a killed process would."""

    def __init__(self, app: Any, port: int = 0) -> None:
        # The protocol is named, for asyncio switches Nagle off only where it sees TCP.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            app,
            log_level="critical",
            lifespan="on",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            threading.Event().wait(0.005)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def cut(self) -> None:
        """Abort every connection, as the death of the process would."""
        for connection in list(self._server.server_state.connections):
            loop = self._server.servers[0].get_loop()
            loop.call_soon_threadsafe(connection.transport.abort)

    def stop(self) -> None:
        self.cut()
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


class StubEnclave:
    """One enclave: its keys, its statement, its scripted engine."""

    def __init__(self, root: DevRoot) -> None:
        self.keys = GatewayKeys.generate()
        self.signing = SigningKey.generate()
        self.quoter = DevQuoter(root, now=datetime.now(UTC), measurement="sha256:" + "0" * 64)
        self.seen: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self.spoil: Callable[[JobReceipt], JobReceipt | None] = lambda job: job
        self.sign_with: SigningKey | None = None
        self.refuse_statements = False
        self.head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self.statements = 0

    @property
    def keyset(self) -> Keyset:
        return Keyset(self.keys.configs_bytes, self.signing.did, MODELS)

    @property
    def app(self) -> Gateway:
        return Gateway(self._inner, self.keys, outer=self._outer)

    async def _outer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != PATH or self.refuse_statements:
            await _send_whole(send, 404, b"")
            return
        self.statements += 1
        text = parse_qs(scope["query_string"].decode())["nonce"][0]
        nonce = base64.urlsafe_b64decode(text + "=")
        statement = build_statement(self.keyset, [self.quoter], now=datetime.now(UTC), nonce=nonce)
        await _send_whole(send, 200, statement.to_bytes(), MEDIA_TYPE)

    async def _inner(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = await _body(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append({"path": scope["path"], "headers": headers, "body": body})
        salt = decode_salt(headers[SALT_HEADER]) if SALT_HEADER in headers else None
        answer = _Answer(self, send, body, salt)
        try:
            await _engine(scope["path"], body, answer)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class _Answer:
    """Sends an answer of the scripted engine and signs for it."""

    def __init__(self, enclave: StubEnclave, send: Any, body: bytes, salt: bytes | None) -> None:
        self._enclave, self._send, self._salt = enclave, send, salt
        named = json.loads(body).get("model", MODEL.id) if body else None
        self._model = next((model for model in MODELS if model.id == named), None)
        self._request = BodyDigest("request", salt).update(body) if salt else None
        self._answer = BodyDigest("answer", salt) if salt else None
        self._status = 0

    async def start(self, status: int, media_type: str) -> None:
        self._status = status
        headers = [(b"content-type", media_type.encode())]
        if self._enclave.head is not None:  # whatever else the enclave would have the client obey
            status, more = self._enclave.head
            self._status = status
            headers += more
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": headers,
                "trailers": self._salt is not None,
            }
        )

    async def body(self, data: bytes, *, more: bool = True) -> None:
        if self._answer is not None:
            self._answer.update(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        if not more and self._salt is not None:
            fields = self._trailers()
            await self._send({"type": "http.response.trailers", "headers": fields})

    def _trailers(self) -> list[tuple[bytes, bytes]]:
        assert self._request is not None and self._answer is not None
        now = datetime.now(UTC)
        evidence = (EvidenceRef("dev", "sha256:" + "1" * 64),)
        job = JobReceipt(
            model=self._model,
            request=self._request.digest(),
            answer=self._answer.digest(),
            status=self._status,
            prompt_tokens=3,
            completion_tokens=None,
            keyset=self._enclave.keyset.digest,
            evidence=evidence,
            started=now,
            ended=now,
            outcome=Outcome.COMPLETE if self._status < 400 else Outcome.FAILED,
        )
        spoilt = self._enclave.spoil(job)
        if spoilt is None:
            return []
        document = issue_receipt(spoilt, self._enclave.sign_with or self._enclave.signing)
        return [(RECEIPT_TRAILER.encode(), encode_trailer(document))]


async def _engine(path: str, body: bytes, answer: _Answer) -> None:
    if path == "/v1/models":
        await answer.start(200, "application/json")
        await answer.body(b'{"object": "list", "data": [{"id": "scripted"}]}', more=False)
        return
    if not body:
        await answer.start(404, "application/json")
        await answer.body(b"{}", more=False)
        return
    request = json.loads(body)
    script = request.get("model", "tokens-3")
    if script == "refuse":
        await answer.start(400, "application/json")
        await answer.body(b'{"error": {"message": "too long", "code": "length"}}', more=False)
    elif request.get("stream"):
        await _stream(script, answer)
    else:
        await answer.start(200, "application/json")
        whole = {"role": "assistant", "content": "all of it"}
        data = {"id": "1", "object": "chat.completion", "created": 1, "model": script}
        data["choices"] = [{"index": 0, "message": whole, "finish_reason": "stop"}]
        await answer.body(json.dumps(data).encode(), more=False)


async def _stream(script: str, answer: _Answer) -> None:
    await answer.start(200, "text/event-stream")
    for number in range(int(script.partition("-")[2] or 3)):
        delta = {"role": "assistant", "content": f"word{number} "}
        data = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": script}
        data["choices"] = [{"index": 0, "delta": delta, "finish_reason": None}]
        await answer.body(b"data: " + json.dumps(data).encode() + b"\n\n")
        if number == 1 and script == "hang":
            await asyncio.sleep(60)
        if number == 1 and script == "crash":
            raise RuntimeError("the engine died")
        await asyncio.sleep(0.002)
    await answer.body(b"data: [DONE]\n\n", more=False)


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _send_whole(send: Any, status: int, body: bytes, kind: str = "text/plain") -> None:
    headers = [(b"content-type", kind.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


class World:
    """A root, an enclave behind a relay, and devices that talk to it."""

    def __init__(self, folder: Path) -> None:
        self.root = DevRoot.generate()
        self.enclave = StubEnclave(self.root)
        self.served = Served(self.enclave.app)
        self.relay = Served(relay_app({"stub": self.served.url}))
        self.peer = EnclavePeer(self.served.url, self.relay.url + "/stub")
        self.store = ReceiptStore(folder / "receipts")
        self.device_key = SigningKey.generate()
        self.stack = contextlib.ExitStack()

    def transport(
        self,
        *,
        policy: str = "dev",
        max_age: float = 300,
        root: str | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
        shape: Shape | None = None,
    ) -> PrivateTransport:
        inner = inner or default_pool()
        trust = Trust(dev_roots=(root or self.root.did,))

        async def find() -> Any:
            return await discover(self.peer, trust, inner, shape=shape)

        keeper = RouteKeeper(find, Policy.load(policy), max_age=max_age)
        return PrivateTransport(Ladder.of(keeper), Journal(self.store, self.device_key), inner)

    def serve(self, app: Any) -> Served:
        served = Served(app)
        self.stack.callback(served.stop)
        return served

    def restart_enclave(self) -> None:
        """Kill the enclave and start another with fresh keys on the same port."""
        self.served.stop()
        self.enclave = StubEnclave(self.root)
        self.served = Served(self.enclave.app, self.served.port)

    def close(self) -> None:
        self.stack.close()
        self.relay.stop()
        self.served.stop()


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for tests that only knock at the door: making one takes half a second."""
    world = World(tmp_path_factory.mktemp("shared"))
    yield world
    world.close()


@pytest.fixture
def world(privity_home: Path) -> Iterator[World]:
    world = World(privity_home)
    yield world
    world.close()
