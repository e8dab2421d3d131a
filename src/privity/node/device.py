"""Floor 5: the device daemon: an OpenAI-compatible endpoint on loopback, private behind it.

Any program that speaks the OpenAI API works by changing its base URL and key. The daemon checks
who calls, has the policy admit the route, seals, streams, and keeps the receipts.

It speaks raw ASGI, because every token passes here. A stream that breaks off says so: the client
gets an error event, and then the connection ends without the end mark of its encoding, so that no
client can take what it has for the whole answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx

from privity.errors import EvidenceError, PeerError, PrivityError
from privity.infer.session import REPLAYABLE_BYTES, PrivateTransport
from privity.infer.shapes.errors import own_error
from privity.node import api_error
from privity.node.access import (
    AccessControl,
    AccessRefused,
    cors_headers,
    is_preflight,
    load_or_create_token,
)
from privity.node.live import live_state
from privity.seal.asgi import Receive, Scope, Send, answer

__all__ = ["DeviceApp", "load_or_create_token", "token_path"]

logger = logging.getLogger("privity.device")

RawHeaders = list[tuple[bytes, bytes]]

_HELD_BYTES = 1 << 20
_TIMEOUT = httpx.Timeout(600, connect=10).as_dict()
_JSON = (b"content-type", b"application/json")
_METHODS = ("GET", "HEAD", "POST", "DELETE")


def token_path(folder: Path) -> Path:
    """Return where the daemon's token lies in a privity home."""
    return folder / "token"


class DeviceApp:
    """The daemon as an ASGI app.

    Args:
        transport: runs the jobs; closed when the app's lifespan ends.
        access: decides who may call.
        hinted: what whoever called is told in place of an error's hint: only who started the daemon
            knows under which policy, and how a command is told of it.
    """

    def __init__(
        self,
        transport: PrivateTransport,
        access: AccessControl,
        *,
        hinted: Callable[[str], str] = lambda hint: hint,
    ) -> None:
        self.transport = transport
        self._access = access
        self._hinted = hinted
        self._fresh: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # a WebSocket handshake: there is nothing for it here
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        _quiet_server_log()
        # Found and verified before the first prompt needs it, and kept so.
        self._fresh = asyncio.create_task(self.transport.ladder.keep_fresh())
        self._fresh.add_done_callback(_say_if_it_failed)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._fresh.cancel()
        await asyncio.gather(self._fresh, return_exceptions=True)
        await self.transport.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: RawHeaders = scope["headers"]
        cors: RawHeaders = []
        try:
            origin = self._access.admit_origin(headers)
            if origin is not None and is_preflight(scope["method"], headers):
                await answer(send, 204, cors_headers(origin, preflight=True), b"")
                return
            cors = cors_headers(origin)
            self._access.admit_token(headers)
        except AccessRefused as refused:
            body = own_error(refused.message, refused.code, refused.hint)
            extra = [(b"www-authenticate", b"Bearer")] if refused.status == 401 else []
            await answer(send, refused.status, [_JSON, *extra, *cors], body)
            return
        await self._serve(scope, receive, send, cors)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, cors: RawHeaders) -> None:
        path: str = scope["path"]
        if path.startswith("/v1/") and scope["method"] in _METHODS and _is_plain(scope):
            await _Exchange(self.transport, scope, receive, send, cors, self._hinted).run()
        elif path == "/privity/state" and scope["method"] == "GET":
            body = json.dumps(live_state(self.transport, hinted=self._hinted)).encode()
            await answer(send, 200, [_JSON, (b"cache-control", b"no-store"), *cors], body)
        else:
            body = own_error(
                "there is nothing at this address",
                "not_found",
                "the API is under /v1, the daemon's state at /privity/state",
            )
            await answer(send, 404, [_JSON, *cors], body)


class _Exchange:
    """One request of a local client, and the stream of its answer."""

    def __init__(
        self,
        transport: PrivateTransport,
        scope: Scope,
        receive: Receive,
        send: Send,
        cors: RawHeaders,
        hinted: Callable[[str], str],
    ) -> None:
        self._transport = transport
        self._scope = scope
        self._receive = receive
        self._send = send
        self._cors = cors
        self._hinted = hinted
        self._started = False
        self._events = False
        self._body_done = asyncio.Event()

    async def run(self) -> None:
        """Serve until the answer ends, or the client leaves: then the job is cancelled."""
        serving = asyncio.create_task(self._serve())
        leaving = asyncio.create_task(self._client_left())
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leaving, serving):
                task.cancel()
            await asyncio.gather(leaving, serving, return_exceptions=True)
        if not serving.cancelled() and (error := serving.exception()) is not None:
            raise error

    async def _client_left(self) -> None:
        await self._body_done.wait()
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def _serve(self) -> None:
        ladder = self._transport.ladder
        try:
            if ladder.takes_all:  # else what a request is for decides what it may take
                await ladder.current()
        except PrivityError as error:
            await self._refuse(error, *_route_error(error))
            return
        try:
            await self._relay_answer()
        except PrivityError as error:
            await self._break_off(error)
        except httpx.HTTPError as error:
            # What no transport translated is still a peer that failed, and no prompt is in it.
            await self._break_off(PeerError(f"the exchange failed: {type(error).__name__}"))

    async def _relay_answer(self) -> None:
        request = httpx.Request(
            self._scope["method"],
            httpx.URL("http://device").copy_with(raw_path=_raw_path(self._scope)),
            headers=self._scope["headers"],
            content=await self._content(),
            extensions={"timeout": _TIMEOUT},
        )
        response = await self._transport.handle_async_request(request)
        try:
            kind = response.headers.get("content-type", "")
            self._events = kind.startswith("text/event-stream")
            await (self._stream(response) if self._events else self._whole(response))
        finally:
            await response.aclose()

    async def _stream(self, response: httpx.Response) -> None:
        """Pass each piece on as it comes."""
        await self._start(response)
        send = self._send
        async for chunk in _pieces(response):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _whole(self, response: httpx.Response) -> None:
        """Pass an answer on once it is whole, so that what is wrong with it has its own status.

        One too large for that streams, and can only be broken off.
        """
        held = bytearray()
        async for chunk in _pieces(response):
            held += chunk
            if not self._started and len(held) <= _HELD_BYTES:
                continue
            await self._start(response)
            await self._send({"type": "http.response.body", "body": bytes(held), "more_body": True})
            held.clear()
        await self._start(response)
        body = {"type": "http.response.body", "body": bytes(held), "more_body": False}
        await self._send(body)

    async def _start(self, response: httpx.Response) -> None:
        if self._started:
            return
        self._started = True
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        await self._send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": [*headers, *self._cors],
            }
        )

    async def _break_off(self, error: PrivityError) -> None:
        """Tell the client what failed; once the answer has begun, end it so that it cannot pass."""
        if not self._started:
            await self._refuse(error, *api_error.error_status(error))
        elif self._events:
            event = api_error.error_event(error, hinted=self._hinted)
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
        # Returning without the last body message has the server close the connection unfinished.

    async def _refuse(self, error: PrivityError, status: int, code: str) -> None:
        headers = [_JSON, *api_error.retry_headers(error), *self._cors]
        body = api_error.describe(error, code, hinted=self._hinted)
        await answer(self._send, status, headers, body)

    async def _content(self) -> bytes | AsyncIterator[bytes]:
        read = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise PeerError("the client left before its request was whole")
            read += message.get("body", b"")
            if not message.get("more_body", False):
                self._body_done.set()
                return bytes(read)
            if len(read) > REPLAYABLE_BYTES:  # too large to be sealed twice: it leaves as it comes
                return self._rest(bytes(read))

    async def _rest(self, read: bytes) -> AsyncIterator[bytes]:
        yield read
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise PeerError("the client left before its request was whole")
            more = message.get("more_body", False)
            yield message.get("body", b"")
        self._body_done.set()


def _quiet_server_log() -> None:
    """Keep the server from reporting each answer that was broken off on purpose."""
    logging.getLogger("uvicorn.error").addFilter(_not_broken_off)


def _not_broken_off(record: logging.LogRecord) -> bool:
    return "without completing response" not in record.getMessage()


def _say_if_it_failed(fresh: asyncio.Task[None]) -> None:
    if not fresh.cancelled() and (error := fresh.exception()) is not None:
        logger.error("routes are no longer renewed: %s", type(error).__name__)


def _route_error(error: PrivityError) -> tuple[int, str]:
    """Return status and code of a route that cannot be had; an enclave that is gone may return."""
    if isinstance(error, PeerError) and not isinstance(error, EvidenceError):
        return 503, "enclave_unavailable"
    return api_error.error_status(error)


def _raw_path(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _is_plain(scope: Scope) -> bool:
    """Tell whether the path as it was sent stays under /v1, however who gets it resolves dots.

    Some decode a percent sign twice, and some take a backslash for a slash.
    """
    path = _raw_path(scope).partition(b"?")[0]
    if not path.startswith(b"/v1/"):
        return False
    for _ in range(3):
        segments = path.replace(b"\\", b"/").split(b"/")
        # A parameter such as `..;x` is cut off by some before the dots are resolved.
        if any(one.partition(b";")[0] in (b".", b"..") for one in segments):
            return False
        path = unquote_to_bytes(path)
    return True


def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise PeerError("the answer cannot be streamed")
    return aiter(response.stream)
