"""How a role listens: where it says it is, what it refuses, how it ends."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from privity.errors import InputError, PeerError, PrivityError
from privity.node.listen import bind, serve_app, url_of
from privity.seal.asgi import open_with_server

RELAY = [sys.executable, "-m", "privity.cli", "serve", "relay", "--target", "a=http://127.0.0.1:1"]


@pytest.fixture
def relay() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process = subprocess.Popen(
        [*RELAY, "--lifeline"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["ready"] is True
    assert ready["pid"] == process.pid
    yield process, ready["url"]
    process.kill()
    process.communicate()


def test_a_free_port_is_taken_and_told() -> None:
    with bind("127.0.0.1", 0) as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_an_address_of_version_6_is_bracketed() -> None:
    try:
        sock = bind("::1", 0)
    except InputError:
        pytest.skip("this machine has no IPv6 loopback")
    with sock:
        assert url_of(sock) == f"http://[::1]:{sock.getsockname()[1]}"


@pytest.mark.parametrize("host", ["192.0.2.1", "no address"])
def test_an_address_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="cannot listen on"):
        bind(host, 0)


def test_a_port_that_is_taken_is_refused() -> None:
    with bind("127.0.0.1", 0) as sock, pytest.raises(InputError, match="port 0 takes a free one"):
        try:
            bind("127.0.0.1", sock.getsockname()[1])
        except InputError as error:
            raise InputError(error.hint) from error


def test_a_role_answers_once_it_says_so_and_names_no_server(
    relay: tuple[subprocess.Popen[bytes], str],
) -> None:
    _, url = relay
    answer = httpx.get(f"{url}/nobody", trust_env=False)
    assert answer.status_code == 404
    assert "server" not in answer.headers
    assert "date" not in answer.headers


def test_a_role_ends_with_its_lifeline_and_says_nothing_of_requests(
    relay: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, url = relay
    httpx.get(f"{url}/canary-path", trust_env=False)
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    out, err = process.communicate(timeout=10)
    assert out == b""
    assert err == b""


def test_a_target_that_is_none_is_a_usage_error() -> None:
    for target in ("enclave", "a=ftp://127.0.0.1"):
        command = [*RELAY[:-1], target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")


async def _refuses(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no model here"})


async def _breaks(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError("a bug")


def test_a_start_that_was_refused_is_told_by_the_error_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="uvicorn.error")
    with pytest.raises(InputError, match="no model here"):
        serve_app(_refuses, bind("127.0.0.1", 0), on_ready=pytest.fail)
    assert caplog.messages == []


class _Fails:
    """An app that has something to open, which fails."""

    def __init__(self) -> None:
        self.failure: PrivityError | None = None
        self.closed = 0

    async def open(self) -> None:
        raise PeerError("no log answers", hint="look at it")

    async def aclose(self) -> None:
        self.closed += 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await open_with_server(self, receive, send)


def test_a_role_that_cannot_open_is_closed_and_says_why_with_its_hint() -> None:
    app = _Fails()
    with pytest.raises(PeerError, match="no log answers") as caught:
        serve_app(app, bind("127.0.0.1", 0), on_ready=pytest.fail)
    assert caught.value.hint == "look at it" and app.closed == 1


def test_a_start_that_broke_leaves_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="uvicorn.error")
    with pytest.raises(InputError, match="start-up failed"):
        serve_app(_breaks, bind("127.0.0.1", 0), on_ready=pytest.fail)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_an_enclave_that_cannot_start_gives_its_reason_once() -> None:
    enclave = [sys.executable, "-m", "privity.cli", "serve", "enclave"]
    command = [*enclave, "--engine", "http://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.count("did not answer") == 1, done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert (error.partition(":")[0], hint.partition(":")[0]) == ("error", "hint")
    assert "Application" not in done.stderr


CLOSES = """
import asyncio, contextlib, signal, sys
import privity.node.listen as listen
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

@contextlib.asynccontextmanager
async def opened():
    yield
    await asyncio.sleep(0.3)
    print("closed", flush=True)

async def app(scope, receive, send):
    async with opened():
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

sock = listen.bind("127.0.0.1", 0)
listen.serve_app(app, sock, on_ready=lambda url: print(url, flush=True))
"""


def test_what_an_app_opened_is_closed_before_its_server_leaves() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLOSES], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline().startswith("http")
            process.terminate()
            out, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out, said) == (143, "closed\n", "")


HASTY = """
import privity.node.listen as listen
from privity.node.relay import relay_app
listen._HEAD_S = 0.3
sock = listen.bind("127.0.0.1", 0)
listen.end_with_stdin()
app = relay_app({"a": "http://127.0.0.1:1"})
listen.serve_app(app, sock, on_ready=lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("begun", [b"", b"GET /nobody HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(begun: bytes) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HASTY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        url = httpx.URL(process.stdout.readline().decode().strip())
        with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
            # A request that is whole is answered, and the next on its connection is not.
            connection.sendall(b"GET /nobody HTTP/1.1\r\nHost: a\r\n\r\n" if begun else b"")
            connection.sendall(begun)
            got = b""
            while piece := connection.recv(4096):
                got += piece
        assert got.startswith(b"HTTP/1.1 404") is bool(begun)
    finally:
        process.kill()
        process.communicate()
