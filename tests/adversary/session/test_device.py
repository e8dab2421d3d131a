"""The daemon: who may call it, what it passes on, and how it says that something failed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from privity.errors import AdmissionError
from privity.node.access import AccessControl, load_or_create_token
from privity.node.device import DeviceApp, token_path
from privity.seal.transport import Shape

TOKEN = "t" * 43
ORIGIN = "http://localhost:3000"
CANARY = "canary-7f1c"


class Daemon:
    def __init__(self, world: Any, **options: Any) -> None:
        self.world = world
        self.transport = world.transport(**options)
        self.access = AccessControl(TOKEN, frozenset({ORIGIN}))
        self.served = world.serve(DeviceApp(self.transport, self.access))
        self.http = httpx.Client(
            base_url=self.served.url,
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=15,
            trust_env=False,
        )
        world.stack.callback(self.http.close)

    def chat(self, model: str = "tokens-3", **more: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=self.body(model, **more))

    def body(self, model: str, **more: Any) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": CANARY}], **more}

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/privity/state").json()
        return found

    def settled(self) -> str:
        """Wait until no job runs, and return the outcome of the last."""
        deadline = time.monotonic() + 60
        while self.transport.journal.running and time.monotonic() < deadline:
            time.sleep(0.01)
        record = self.world.store.get("last")[1].record
        outcome: str = record["credentialSubject"]["outcome"]
        return outcome


@pytest.fixture
def daemon(world: Any) -> Iterator[Daemon]:
    yield Daemon(world)


@pytest.fixture(scope="module")
def shared_daemon(shared_world: Any) -> Daemon:
    return Daemon(shared_world)


@pytest.fixture
def door(shared_daemon: Daemon) -> Daemon:
    """A daemon others use too; nothing has been asked of its enclave yet."""
    shared_daemon.world.enclave.seen.clear()
    return shared_daemon


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code", "hint"} <= set(error)
    assert error["type"] == "privity_error"
    return error


# Who may call


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"],
)
@pytest.mark.parametrize("path", ["/v1/models", "/privity/state", "/"])
def test_without_the_token_nothing_is_served(
    door: Daemon, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    response = httpx.get(door.served.url + path, headers=headers, trust_env=False)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert error_of(response)["code"] == "token_required"
    assert door.world.enclave.seen == []


def test_the_token_may_not_be_sent_twice(door: Daemon) -> None:
    headers = [("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")]
    response = httpx.get(door.served.url + "/v1/models", headers=headers, trust_env=False)
    assert response.status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:8484",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "127.0.0.1@attacker.example",
        "127.0.0.1:8484:1",
        "[::1",
        "[::1]x",
        "192.168.1.7",
        "0.0.0.0",  # noqa: S104 - a host header, not an address to bind
        "2130706433",
        "",
    ],
)
def test_a_request_addressed_elsewhere_is_refused(door: Daemon, host: str) -> None:
    response = door.http.get("/v1/models", headers={"host": host})
    assert response.status_code == 403
    assert error_of(response)["code"] == "host_not_loopback"
    assert door.world.enclave.seen == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8484", "[::1]:8484"])
def test_each_name_of_loopback_is_served(door: Daemon, host: str) -> None:
    assert door.http.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://attacker.example", "null", "http://localhost:3001", f"{ORIGIN}.x", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_web_page_that_was_not_allowed_is_refused(door: Daemon, method: str, origin: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    response = door.http.request(method, "/v1/models", headers=headers)
    assert response.status_code == 403
    assert error_of(response)["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in response.headers
    assert door.world.enclave.seen == []


def test_an_allowed_page_gets_its_preflight_without_and_its_answer_with_the_token(
    door: Daemon,
) -> None:
    asking = {"origin": ORIGIN, "access-control-request-method": "POST"}
    url = door.served.url + "/v1/chat/completions"
    preflight = httpx.options(url, headers=asking, trust_env=False)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    without = httpx.post(url, headers={"origin": ORIGIN}, json={}, trust_env=False)
    assert without.status_code == 401
    response = door.http.get("/v1/models", headers={"origin": ORIGIN})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["vary"] == "origin"


def test_the_token_file_is_private_and_kept(tmp_path: Path) -> None:
    path = token_path(tmp_path)
    token = load_or_create_token(path)
    assert len(token) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_token(path) == token
    assert token not in repr(AccessControl(token))


# What passes


def test_a_streamed_chat_passes_token_by_token(world: Any) -> None:
    daemon = Daemon(world, shape=Shape(cadence_ms=None))  # with ticks, quick tokens leave together
    body = daemon.body("tokens-5", stream=True)
    with daemon.http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream"
        pieces = list(response.iter_raw())
    assert len(pieces) >= 4
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
    assert response.headers["privity-receipt-id"] in list(daemon.world.store.ids())
    assert daemon.settled() == "complete"


def test_a_whole_answer_and_a_list_of_models_pass(daemon: Daemon) -> None:
    response = daemon.chat()
    assert response.json()["choices"][0]["message"]["content"] == "all of it"
    assert daemon.settled() == "complete"
    assert daemon.http.get("/v1/models").json()["data"][0]["id"] == "scripted"


def test_the_local_token_does_not_leave_the_device(daemon: Daemon) -> None:
    daemon.chat()
    daemon.http.get("/v1/models?x=1")
    seen = json.dumps([request["headers"] for request in daemon.world.enclave.seen])
    assert TOKEN not in seen
    assert "authorization" not in seen


def test_an_error_of_the_engine_passes_as_it_is(daemon: Daemon) -> None:
    response = daemon.chat("refuse")
    assert response.status_code == 400
    assert response.json() == {"error": {"message": "too long", "code": "length"}}


def test_there_is_nothing_else(daemon: Daemon) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/v1"),
        ("PUT", "/v1/x"),
        ("POST", "/privity/state"),
    ):
        response = daemon.http.request(method, path)
        assert response.status_code == 404
        assert error_of(response)["code"] == "not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../api/delete",
        "/v1/..",
        "/v1/./models",
        "/v1/%2e%2e/api/delete",
        "/v1/%2E./api/delete",
        "/v1/x/..%2f../api",
        "/v1/..%5capi",
        "/v1/%252e%252e/api",
        "/v1/..;x/api",
        "/%76%31/models",
    ],
)
def test_a_path_that_leaves_v1_by_dots_is_nothing(door: Daemon, path: str) -> None:
    # By a socket: clients resolve the dots themselves.
    with socket.create_connection(("127.0.0.1", door.served.port), timeout=5) as connection:
        head = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
        connection.sendall(f"{head}connection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"not_found" in answer
    assert door.world.enclave.seen == []


# How it says that something failed


def test_a_refusal_by_the_policy_is_403_and_says_what_would_allow_it(world: Any) -> None:
    response = Daemon(world, policy="confidential").chat()
    assert response.status_code == 403
    assert response.headers["x-should-retry"] == "false"
    error = error_of(response)
    assert error["code"] == "policy_refused"
    assert "dev" in error["report"]["presets_that_allow"]
    assert error["hint"]
    assert world.enclave.seen == []


def test_evidence_that_does_not_verify_is_502_with_its_check(world: Any) -> None:
    response = Daemon(world, root="did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp").chat()
    assert response.status_code == 502
    error = error_of(response)
    assert (error["code"], error["check"]) == ("evidence_not_verified", "endorsement root")


def test_an_enclave_that_is_gone_is_503_and_found_again(world: Any) -> None:
    world.enclave.refuse_statements = True
    daemon = Daemon(world)
    response = daemon.chat()
    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "true"
    assert error_of(response)["code"] == "enclave_unavailable"
    world.enclave.refuse_statements = False
    assert daemon.chat().status_code == 200


def test_a_minute_that_is_used_up_is_429_and_says_when_the_next_begins(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: object) -> httpx.Response:
        raise AdmissionError("used up", check="rate", retry_after_s=23)

    monkeypatch.setattr(daemon.transport, "handle_async_request", refused)
    response = daemon.chat()
    assert (response.status_code, response.headers["retry-after"]) == (429, "23")
    assert response.headers["x-should-retry"] == "true"


def test_a_relay_that_died_is_502_and_the_daemon_recovers(daemon: Daemon) -> None:
    assert daemon.chat().status_code == 200
    port = daemon.world.relay.port
    daemon.world.relay.stop()
    response = daemon.chat()
    assert response.status_code == 502
    assert error_of(response)["code"] == "peer_unreachable"
    assert daemon.settled() == "failed"
    from privity.node.relay import relay_app

    relay = relay_app({"stub": daemon.world.served.url})
    daemon.world.relay = type(daemon.world.relay)(relay, port)
    assert daemon.chat().status_code == 200


def test_an_enclave_that_restarted_is_verified_anew(daemon: Daemon) -> None:
    assert daemon.chat().status_code == 200
    daemon.world.restart_enclave()
    assert daemon.chat().status_code == 200
    assert daemon.settled() == "complete"


def test_a_whole_answer_without_its_receipt_is_an_error_and_not_an_answer(daemon: Daemon) -> None:
    daemon.world.enclave.spoil = lambda job: None
    response = daemon.chat()
    assert response.status_code == 502
    error = error_of(response)
    assert (error["code"], error["check"]) == ("receipt_not_verified", "receipt present")
    assert "all of it" not in response.text
    assert daemon.settled() == "failed"


@pytest.mark.parametrize("failure", ["crash", "no receipt", "enclave dies", "relay dies"])
def test_a_broken_stream_says_so_and_never_ends_clean(daemon: Daemon, failure: str) -> None:
    if failure == "no receipt":
        daemon.world.enclave.spoil = lambda job: None
    model = {"crash": "crash", "no receipt": "tokens-3"}.get(failure, "hang")
    body = daemon.body(model, stream=True)
    got = b""
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        with daemon.http.stream("POST", "/v1/chat/completions", json=body) as response:
            for piece in response.iter_raw():
                got += piece
                if failure == "enclave dies":
                    daemon.world.served.cut()
                elif failure == "relay dies":
                    daemon.world.relay.cut()
    *_, last, end = got.split(b"\n\n")
    assert end == b""
    error = json.loads(last.removeprefix(b"event: error\ndata: "))["error"]
    expected = "receipt_not_verified" if failure == "no receipt" else "answer_truncated"
    assert error["code"] == expected
    assert b"[DONE]" not in got
    assert daemon.settled() == ("failed" if failure == "no receipt" else "interrupted")


def test_a_client_that_hangs_up_stops_the_engine(daemon: Daemon) -> None:
    body = daemon.body("hang", stream=True)
    with daemon.http.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.iter_raw()
        next(pieces)
        (stream,) = daemon.state()["streams"]
        assert stream["outcome"] == "unfinished"
    assert daemon.world.enclave.cancelled.wait(60)
    assert daemon.settled() == "interrupted"


def test_a_client_that_hangs_up_while_it_waits_stops_the_engine(daemon: Daemon) -> None:
    body = json.dumps(daemon.body("hang", stream=True)).encode()
    with socket.create_connection(("127.0.0.1", daemon.served.port)) as client:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            f"authorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        while not daemon.world.enclave.seen:
            time.sleep(0.01)
    assert daemon.world.enclave.cancelled.wait(60)
    assert daemon.settled() == "interrupted"


def test_a_request_cut_short_is_not_sent(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.served.port)) as client:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            f"authorization: Bearer {TOKEN}\r\ncontent-length: 1000\r\n\r\nhalf"
        )
        client.sendall(head.encode())
        time.sleep(0.1)
    time.sleep(0.2)
    assert daemon.world.enclave.seen == []
    assert list(daemon.world.store.ids()) == []


# Live state


def test_the_state_counts_and_never_quotes(daemon: Daemon) -> None:
    daemon.chat()
    daemon.chat("tokens-3", stream=True)
    daemon.chat("refuse")
    response = daemon.http.get("/privity/state")
    state = response.json()
    assert state["policy"] == "dev"
    assert state["route"]["status"] == "ready"
    assert state["route"]["enclave"]["dev"] is True
    assert state["route"]["enclave"]["label"].startswith("dev: plain software")
    assert state["totals"] == {"complete": 2, "failed": 1, "interrupted": 0}
    assert [job["outcome"] for job in state["recent"]] == ["failed", "complete", "complete"]
    assert state["recent"][1]["model"] == "tokens-3"
    assert state["recent"][1]["bytes"] > 0
    assert state["streams"] == []
    for word in (CANARY, "all of it", "word0", TOKEN):
        assert word not in response.text


def test_the_state_of_a_refused_route_says_why(world: Any) -> None:
    daemon = Daemon(world, policy="confidential")
    daemon.chat()
    route = daemon.state()["route"]
    assert route["status"] == "refused by policy"
    assert route["problem"]["kind"] == "PolicyRefusal"
    assert route["problem"]["hint"]


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/\xff\xfe",
        b"/v1/%zz",
        b"/v1/a|b\\c^`{}",
        b"/v1/x?q=\xff|",
        b"/v1//x",
        b"/v1/" + b"a" * 5000,
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_odd_address_is_answered_and_not_a_crash(
    door: Daemon, method: bytes, target: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", door.served.port)) as client:
        client.settimeout(10)
        head = b" HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer " + TOKEN.encode()
        body = b'{"model": "tokens-2"}' if method == b"POST" else b""
        length = b"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        client.sendall(method + b" " + target + head + length + body)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    status = int(answer.split(b" ", 2)[1])
    assert status in (200, 400, 404)


@pytest.mark.anyio
async def test_renewing_that_ends_is_told(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    transport = world.transport()

    async def broken() -> None:
        raise TypeError(CANARY)

    transport.ladder.keep_fresh = broken
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, str]:
        await anyio.sleep(0.01)  # as long as a server takes, so that the task has run
        return events.pop(0)

    async def send(event: Any) -> None: ...

    await DeviceApp(transport, AccessControl(TOKEN))({"type": "lifespan"}, receive, send)
    assert "TypeError" in caplog.text and CANARY not in caplog.text
