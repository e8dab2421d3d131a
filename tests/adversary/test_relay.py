"""What a gateway can learn through a relay, asserted on the very bytes it receives."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from privity.errors import InputError
from privity.node.relay import RelayLimits, relay_app
from privity.seal import problem

NONCE = "A" * 43
SEALED = {"content-type": "message/ohttp-chunked-req"}

# Whatever a client could send that says who it is; none of it may pass.
TELLING = {
    "user-agent": "canary-agent/1.0",
    "cookie": "canary-cookie",
    "authorization": "Bearer canary-token",
    "x-forwarded-for": "203.0.113.9",
    "forwarded": "for=203.0.113.9",
    "via": "1.1 canary-proxy",
    "accept-language": "canary-language",
    "accept-encoding": "gzip, canary",
    "referer": "https://canary.example/",
    "x-canary": "1",
    "traceparent": "00-canary",
    "accept": "text/canary",
}


class Target:
    """A server that keeps every byte it receives, and answers what it is told to."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                data = b""
                while not re.search(rb"\r\n0\r\n\r\n$|^GET .*\r\n\r\n$", data, re.S):
                    if b"content-length" in data and data.endswith(b"sealed"):
                        break
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    data += piece
                self.received.append(data)
                connection.sendall(self.answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)


@pytest.fixture
def target() -> Iterator[Target]:
    server = Target(
        b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\ncache-control: no-store\r\n"
        b"set-cookie: tracking=1\r\nserver: canary-server\r\nx-extra: 1\r\nlocation: /x\r\n"
        b"alt-svc: canary\r\ncontent-length: 6\r\nconnection: close\r\n\r\nanswer"
    )
    yield server
    server.close()


def lines(request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    pairs = (field.split(b": ", 1) for field in fields)
    return first, {name.lower(): value for name, value in pairs}, body


def test_gateway_receives_a_fixed_head_and_the_sealed_body(
    target: Target, serve: Callable[[Any], str]
) -> None:
    relay = serve(relay_app({"one": target.url}))
    answer = httpx.post(
        f"{relay}/one?canary=1", content=iter([b"sea", b"led"]), headers={**TELLING, **SEALED}
    )
    assert answer.content == b"answer"
    first, fields, body = lines(target.received[0])
    assert first == b"POST /.well-known/ohttp-gateway HTTP/1.1"
    assert fields == {
        b"host": target.url.removeprefix("http://").encode(),
        b"content-type": b"message/ohttp-chunked-req",
        b"accept": b"message/ohttp-chunked-res",
        b"incremental": b"?1",
        b"transfer-encoding": b"chunked",
    }
    assert re.sub(rb"\r\n|^\d+|(?<=\n)\d+(?=\r)", b"", body) == b"sealed"
    assert b"canary" not in target.received[0]
    assert b"203.0.113.9" not in target.received[0]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/one", b"GET /.well-known/ohttp-gateway HTTP/1.1"),
        (
            f"/one/.well-known/privity/statement?nonce={NONCE}",
            f"GET /.well-known/privity/statement?nonce={NONCE} HTTP/1.1".encode(),
        ),
    ],
)
def test_keys_and_statement_are_fetched_with_a_fixed_head(
    target: Target, serve: Callable[[Any], str], path: str, asked: bytes
) -> None:
    answer = httpx.get(serve(relay_app({"one": target.url})) + path, headers=TELLING)
    assert answer.content == b"answer"
    first, fields, body = lines(target.received[0])
    assert (first, set(fields), body) == (asked, {b"host", b"accept"}, b"")
    assert b"canary" not in target.received[0]


def test_client_receives_two_header_fields_of_the_gateway_at_most(
    target: Target, serve: Callable[[Any], str]
) -> None:
    answer = httpx.post(
        serve(relay_app({"one": target.url})) + "/one", content=b"sealed", headers=SEALED
    )
    own = {"date", "server", "transfer-encoding"}  # of the relay's own server
    assert set(answer.headers) - own == {"content-type", "cache-control"}
    assert answer.headers["server"] != "canary-server"


def test_clients_share_one_connection_to_the_gateway(serve: Callable[[Any], str]) -> None:
    ports = set()

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        ports.add(scope["client"][1])
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    relay = serve(relay_app({"one": serve(gateway)}))
    for _ in range(3):  # each from a connection of its own
        assert httpx.post(f"{relay}/one", content=b"x", headers=SEALED).content == b"x"
    assert len(ports) == 1


def test_relay_logs_nothing_of_a_client(
    target: Target, serve: Callable[[Any], str], caplog: pytest.LogCaptureFixture
) -> None:
    relay = serve(relay_app({"one": target.url}))
    logged = logging.getLogger()
    with caplog.at_level(logging.DEBUG):
        with socket.create_connection(("127.0.0.1", int(relay.rpartition(":")[2]))) as client:
            port = client.getsockname()[1]
            client.sendall(
                b"POST /one HTTP/1.1\r\nhost: x\r\nuser-agent: canary-agent\r\n"
                b"content-type: message/ohttp-chunked-req\r\ncontent-length: 6\r\n\r\nsealed"
            )
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        logged.debug("this is how a log line would be found: port %s", 1)
    assert "port 1" in caplog.text
    ours = [record for record in caplog.records if record.name.startswith("privity")]
    assert ours == []
    assert "canary-agent" not in caplog.text
    assert f":{port}" not in caplog.text


OPEN_PROXY = [
    ("POST", "/other"),
    ("POST", "/"),
    ("POST", ""),
    ("POST", "/one/"),
    ("POST", "/one/v1/chat/completions"),
    ("POST", "/one/../other"),
    ("POST", "/one/.well-known/ohttp-gateway"),
    ("POST", "/http://127.0.0.1/"),
    ("POST", "//127.0.0.1/one"),
    ("POST", "/one%2f..%2fsecret"),
    ("POST", "/one/.well-known/privity/statement"),
    ("GET", "/one/"),
    ("GET", "/one/healthz"),
    ("GET", "/one/.well-known/ohttp-gateway"),
    ("GET", "/one/.well-known/privity/statement"),
    ("GET", f"/one/.well-known/privity/statement?nonce={NONCE}&x=1"),
    ("GET", f"/one/.well-known/privity/statement?nonce={NONCE}="),
    ("GET", f"/one/.well-known/privity/statement?nonce={NONCE[1:]}"),
    ("GET", f"/one/.well-known/privity/statement?nonce={NONCE[2:]}%0a"),
    ("GET", f"/one/.well-known/privity/other?nonce={NONCE}"),
    ("PUT", "/one"),
    ("DELETE", "/one"),
    ("HEAD", "/one"),
    ("OPTIONS", "/one"),
]


@pytest.mark.parametrize(("method", "path"), OPEN_PROXY)
def test_relay_is_no_open_proxy(
    target: Target, serve: Callable[[Any], str], method: str, path: str
) -> None:
    relay = serve(relay_app({"one": target.url}))
    port = int(relay.rpartition(":")[2])
    request = f"{method} {path or '*'} HTTP/1.1\r\nhost: {target.url[7:]}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            request.encode() + b"content-type: message/ohttp-chunked-req\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        answer = client.makefile("rb").read()
    assert answer.split(b" ")[1] in (b"400", b"404", b"405")
    assert target.received == []


@pytest.mark.parametrize(
    "start", [b"POST http://%s/one", b"GET http://%s/", b"CONNECT %s", b"POST http://%s/other"]
)
def test_absolute_targets_of_a_request_are_not_followed(
    serve: Callable[[Any], str], start: bytes
) -> None:
    victim = Target(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nvictim")
    try:
        host = victim.url[7:].encode()
        relay = serve(relay_app({"two": "http://127.0.0.1:9"}))
        with socket.create_connection(("127.0.0.1", int(relay.rpartition(":")[2]))) as client:
            client.sendall(
                start % host + b" HTTP/1.1\r\nhost: " + host + b"\r\ncontent-type: "
                b"message/ohttp-req\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            answer = client.makefile("rb").read()
        assert b"victim" not in answer
        assert victim.received == []
    finally:
        victim.close()


@pytest.mark.parametrize("kind", ["", "application/json", "message/ohttp-res", "text/plain"])
def test_only_sealed_media_types_pass(
    target: Target, serve: Callable[[Any], str], kind: str
) -> None:
    relay = serve(relay_app({"one": target.url}))
    answer = httpx.post(f"{relay}/one", content=b"{}", headers={"content-type": kind})
    assert (answer.status_code, answer.content) == (415, problem.NOT_SEALED.body)
    assert target.received == []


def test_redirects_are_not_followed(serve: Callable[[Any], str]) -> None:
    victim = Target(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nvictim")
    moved = b"HTTP/1.1 307 x\r\nlocation: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    first = Target(moved % victim.url.encode())
    try:
        relay = serve(relay_app({"one": first.url}))
        answer = httpx.post(f"{relay}/one", content=b"sealed", headers=SEALED)
        assert answer.status_code == 307
        assert "location" not in answer.headers
        assert victim.received == []
    finally:
        victim.close()
        first.close()


def test_proxy_settings_of_the_environment_are_not_followed(
    target: Target, serve: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    relay = serve(relay_app({"one": target.url}))
    client = httpx.Client(trust_env=False)
    with client:
        answer = client.post(f"{relay}/one", content=b"sealed", headers=SEALED)
    assert answer.content == b"answer"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("", "http://127.0.0.1:1"),
        ("a/b", "http://127.0.0.1:1"),
        ("..", "http://127.0.0.1:1"),
        ("a", "ftp://127.0.0.1"),
        ("a", "file:///etc/passwd"),
        ("a", "http://"),
        ("a", "http://127.0.0.1/?q=1"),
        ("a", "http://127.0.0.1/#f"),
        ("a", "http://user:secret@127.0.0.1/"),
        ("a", "not a url"),
        ("a", "http://[::1"),
    ],
)
def test_what_cannot_be_a_target_is_refused(name: str, url: str) -> None:
    with pytest.raises(InputError, match="target"):
        relay_app({name: url})


def test_a_hostile_gateway_reaches_no_browser(serve: Callable[[Any], str]) -> None:
    page = b"<script>alert(1)</script>"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n"
    hostile = Target(head % len(page) + page)
    try:
        relay = serve(relay_app({"one": hostile.url}))
        answer = httpx.post(f"{relay}/one", content=b"sealed", headers=SEALED)
        assert answer.headers["content-type"] == "application/octet-stream"
    finally:
        hostile.close()


def test_a_gateway_cannot_flood_a_client(serve: Callable[[Any], str]) -> None:
    flood = Target(b"HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n" + bytes(400_000))
    try:
        relay = serve(relay_app({"one": flood.url}, RelayLimits(response_bytes=1000)))
        with pytest.raises(httpx.RemoteProtocolError):  # cut off, not ended
            httpx.post(f"{relay}/one", content=b"sealed", headers=SEALED)
    finally:
        flood.close()


@pytest.mark.parametrize("status", [101, 199, 600, 999])
def test_a_gateway_cannot_break_the_relay_with_an_odd_status(
    serve: Callable[[Any], str], status: int
) -> None:
    class Odd(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(status, content=b"x")

    relay = serve(relay_app({"one": "http://gateway.test"}, transport=Odd()))
    answer = httpx.post(f"{relay}/one", content=b"sealed", headers=SEALED)
    assert answer.status_code == problem.UNREACHABLE.status
    assert answer.content == problem.UNREACHABLE.body
