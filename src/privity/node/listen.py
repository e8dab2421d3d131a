"""Floor 5: how a role listens: one uvicorn server on a socket of its own, silent about requests.

No access log, no server name in answers, no forwarded-for headers believed. The socket is bound
before the server starts, so that a role on port 0 can say where it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from privity.errors import InputError, PrivityError
from privity.seal.asgi import Receive, Scope, Send

__all__ = ["bind", "end_with_stdin", "serve_app"]

_GRACE_S = 3
_HEAD_S = 20.0


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket on ``host``; port 0 takes a free one.

    Raises:
        InputError: the address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio turns Nagle's delay off only where it sees TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen on {host}:{port}: {reason}",
            hint="another program may hold the port; port 0 takes a free one",
        ) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the http URL of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_app(
    app: Any,
    sock: socket.socket,
    *,
    on_ready: Callable[[str], None],
    backlog: int = 1024,
) -> None:
    """Serve an ASGI app until SIGINT or SIGTERM, then close its connections and return.

    Args:
        app: the role; where it has a ``failure``, that is why it did not start.
        sock: from `bind`; closed on the way out.
        on_ready: called with the URL once the app's start-up is done and requests are answered.
        backlog: connections the system may queue.

    Raises:
        PrivityError: the app's own ``failure``.
        InputError: the app refused to start without one; its reason is in the message, and nowhere
            else.

    Guarantees:
        Whoever does not finish the head of a request loses the connection
        (tests/unit/test_listen.py::test_a_head_that_does_not_come_is_not_waited_for).
        What the app opened is closed before the server leaves
        (tests/unit/test_listen.py::test_what_an_app_opened_is_closed_before_its_server_leaves).
    """
    reasons: list[str] = []
    config = uvicorn.Config(
        _listened_to(app, reasons),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=backlog,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
        http=_Protocol,
    )
    server = _Server(config, lambda: on_ready(url_of(sock)))
    refusal = _Refusal(server)
    log = logging.getLogger("uvicorn.error")
    log.addFilter(refusal)
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        return  # uvicorn raises the signal again after its own orderly end
    except SystemExit:
        if server.started:
            raise
        # uvicorn leaves the process where the app refused to start; only `cli` may do that
        failure = getattr(app, "failure", None)
        raise (failure if isinstance(failure, PrivityError) else _refused(reasons)) from None
    finally:
        log.removeFilter(refusal)
        sock.close()


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 with an end to waiting: uvicorn has none for a head that does not come.

    A connection is closed when the head of its next request is not whole in `_HEAD_S`.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._stop()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop()
        self._timer = self.loop.call_later(_HEAD_S, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._on_ready()


class _Refusal(logging.Filter):
    """Holds back what the server says of a start that was refused: the error is to say it, once."""

    def __init__(self, server: uvicorn.Server) -> None:
        super().__init__()
        self._server = server

    def filter(self, record: logging.LogRecord) -> bool:
        # A traceback is of a bug, and stays where it is.
        return bool(self._server.started or record.levelno < logging.ERROR or record.exc_info)


def _listened_to(app: Any, reasons: list[str]) -> Any:
    """Return the app with an ear for why it does not start, whatever the server's log is set to.

    The word that it has ended is passed on when it has: the server leaves at that word, and what
    the app still had to close would be cancelled in the middle.
    """

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        last: list[dict[str, Any]] = []

        async def hear(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.failed" and message.get("message"):
                reasons.append(message["message"])
            if message["type"] == "lifespan.startup.complete":
                await send(message)
            else:
                last.append(message)

        await app(scope, receive, hear)
        for message in last:
            await send(message)

    return watched


def _refused(reasons: list[str]) -> InputError:
    if not reasons:
        return InputError("the server's start-up failed", hint="its messages are above")
    return InputError(f"the server's start-up failed: {'; '.join(reasons)}")


def end_with_stdin() -> None:
    """End this process, as SIGTERM would, when its standard input ends.

    For a role that another process started: see `privity.node.role_process`.
    """
    threading.Thread(target=_await_end, name="lifeline", daemon=True).start()


def _await_end() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
