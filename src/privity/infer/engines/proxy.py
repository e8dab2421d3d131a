"""Serves an engine's ``/v1`` to callers, each kept apart from the others.

A small ASGI app. Answers stream through as they come; a caller that leaves ends its generation.
Only what the OpenAI API defines is reached, not an engine's own endpoints, and of a request only
its method, path, content type and body.
"""

from __future__ import annotations

import json
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
from anyio import to_thread

from privity.errors import EngineError, MalformedError, MissingDependency
from privity.infer.engines.engine import Engine
from privity.infer.engines.isolation import MAX_REQUEST, Isolated, fields_for, isolate
from privity.infer.engines.usage import UsageReader
from privity.infer.loopback import is_loopback
from privity.receipt import Price
from privity.seal.asgi import Receive, Scope, Send, answer
from privity.statement import Model

__all__ = ["SERVED", "EngineProxy", "Served"]

logger = logging.getLogger("privity.engine")

SERVED = "privity.served"
"""Key of the ASGI scope under which a caller may put a `Served` for the proxy to fill."""

# All that is asked of an engine. Others of its paths keep what they are given, change what it
# serves, or are not known to us.
_ASKED = frozenset(
    (
        *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"),
        *("/v1/messages", "/v1/messages/count_tokens"),
        *("/v1/rerank", "/v1/reranking", "/v1/score"),
    )
)
_AT_ONCE = 64 << 10  # a longer request is parsed beside the event loop
_PARSERS = 2
_CONNECT_S = 10.0
_JSON = (b"content-type", b"application/json")


@dataclass
class Served:
    """What is known of one answer; unknown as long as it is None.

    Attributes:
        price: what it cost, where something is asked for.
        trailers: fields to send in the sealed trailer, beside the receipt.
    """

    model: Model | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    price: Price | None = None
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)


class _Refused(Exception):
    """The request is answered with an error of our own, in the shape callers know."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        kind = "invalid_request_error" if status < 500 else "engine_error"
        self.body = json.dumps(
            {"error": {"message": message, "type": kind, "param": None, "code": code}}
        ).encode()


class _CallerGone(Exception):
    """The caller left before its answer was complete."""


class EngineProxy:
    """An engine as an ASGI app.

    Args:
        engine: started by whoever owns it, before the first request.
        transport: how to reach it; by default directly, whatever proxies the environment names.

    Guarantees:
        Only the paths of `_ASKED` are reached, without a query, and no field by which a caller
        could steer a cache or a slot passes (tests/adversary/test_engine_steering.py). A caller
        that leaves frees its place in the engine (`test_generation_stops_when_the_caller_leaves`).
    """

    def __init__(
        self, engine: Engine, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._engine = engine
        self._pool: httpx.AsyncBaseTransport | None = transport
        self._parsers = anyio.CapacityLimiter(_PARSERS)

    async def aclose(self) -> None:
        """Close its connections; the engine is its owner's to close."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            raise RuntimeError("an engine is served over HTTP alone")
        served = scope.get(SERVED) or Served()
        try:
            await self._serve(scope, receive, send, served)
        except _Refused as refused:
            await answer(send, refused.status, [_JSON], refused.body)
        except _CallerGone:
            pass  # there is nobody to tell

    async def _serve(self, scope: Scope, receive: Receive, send: Send, served: Served) -> None:
        path: str = scope["path"]
        if scope["method"] == "GET":
            await self._list(path, send)
        elif scope["method"] == "POST":
            if path not in _ASKED:
                raise _Refused(404, "not_served", "inference alone is served, below /v1")
            await self._forward(scope, receive, send, served, await self._request(scope, receive))
        else:
            raise _Refused(405, "method_not_allowed", "GET and POST are served")

    async def _request(self, scope: Scope, receive: Receive) -> Isolated:
        """Read the request, and take out what could steer or betray others."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerGone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_REQUEST:
                raise _Refused(
                    413, "request_too_large", f"a request has at most {MAX_REQUEST >> 20} MiB"
                )
        try:
            if len(body) <= _AT_ONCE:
                return isolate(bytes(body), scope["path"])
            return await to_thread.run_sync(
                isolate, bytes(body), scope["path"], limiter=self._parsers
            )
        except MalformedError as error:
            raise _Refused(400, "invalid_request", error.message) from None

    async def _list(self, path: str, send: Send) -> None:
        """Say what there is, in the engine's stead: ids without paths of this machine."""
        entries = [
            {"id": model.id, "object": "model", "created": 0, "owned_by": model.engine}
            for model in (self._engine.models if self._engine.serving else ())
        ]
        listing: dict[str, Any] = {"object": "list", "data": entries}
        if path != "/v1/models":
            prefix, _, wanted = path.partition("/v1/models/")
            if prefix or not wanted:
                raise _Refused(404, "not_served", "of what can be read, only models are served")
            chosen = [entry for entry in entries if entry["id"] == wanted]
            if not chosen:
                raise self._no_model(wanted)
            listing = chosen[0]
        await answer(send, 200, [_JSON], json.dumps(listing).encode())

    async def _forward(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        served: Served,
        request: Isolated,
    ) -> None:
        """Ask the engine, and end that when the caller leaves."""
        served.model = self._model(request)
        gone = False
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                nonlocal gone
                while (await receive())["type"] != "http.disconnect":
                    pass
                gone = True
                group.cancel_scope.cancel()

            group.start_soon(watch)
            # A task group gathers errors; ours goes on alone.
            refused: _Refused | EngineError | None = None
            try:
                await self._exchange(scope, send, served, request)
            except (_Refused, EngineError) as error:
                refused = error
            group.cancel_scope.cancel()
        if gone:
            raise _CallerGone
        if refused is not None:
            raise refused

    async def _exchange(self, scope: Scope, send: Send, served: Served, request: Isolated) -> None:
        async with AsyncExitStack() as stack:
            fields = fields_for(self._engine.kind)
            try:
                turn = self._engine.turn(wide=request.wide)
                fields.update(await stack.enter_async_context(turn))
            except (EngineError, MissingDependency) as error:
                raise _Refused(502, "engine_unavailable", error.message) from None
            if request.model is None and served.model is not None:
                fields["model"] = served.model.id
            response = await self._ask(scope, request.encode(fields))
            stack.push_async_callback(response.aclose)
            await self._pass_on(response, send, served)

    async def _ask(self, scope: Scope, content: bytes) -> httpx.Response:
        headers = {**self._engine.headers, "accept-encoding": "identity"}
        headers["content-type"] = "application/json"
        accept = _header(scope, b"accept")
        if accept:
            headers["accept"] = accept
        target = httpx.URL(self._engine.base_url)
        url = target.copy_with(path=target.path.rstrip("/") + scope["path"])
        request = httpx.Request(
            "POST",
            url,
            headers=headers,
            content=content,
            extensions={"timeout": httpx.Timeout(None, connect=_CONNECT_S).as_dict()},
        )
        try:
            # Not through a client of httpx: that one logs where requests go.
            return await self._open().handle_async_request(request)
        except httpx.HTTPError as error:
            logger.warning("the engine did not answer: %s", type(error).__name__)
            raise _Refused(
                502, "engine_unavailable", f"the {self._engine.kind} engine did not answer"
            ) from None

    async def _pass_on(self, response: httpx.Response, send: Send, served: Served) -> None:
        headers = [
            (name.encode(), response.headers[name].encode("latin-1"))
            for name in ("content-type", "retry-after")
            if name in response.headers
        ]
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": headers}
        )
        usage = UsageReader()
        try:
            async for data in response.aiter_raw():
                usage.feed(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except httpx.HTTPError as error:
            # Not an end: what was sent must not be taken for the whole answer.
            raise EngineError(f"the engine broke off: {type(error).__name__}") from None
        finally:
            # Also of an answer that breaks off: what was counted until then.
            usage.done()
            served.prompt_tokens = usage.prompt_tokens
            served.completion_tokens = usage.completion_tokens
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _model(self, request: Isolated) -> Model | None:
        """Return the model a request is for: the first, where it names none."""
        models = self._engine.models
        if request.model is None:
            if not models:
                return None
            return models[0]
        for model in models:
            if model.id == request.model:
                return model
        raise self._no_model(request.model)

    def _no_model(self, wanted: str) -> _Refused:
        there = ", ".join(model.id for model in self._engine.models[:8]) or "none"
        return _Refused(
            404, "model_not_found", f"there is no model {wanted[:64]!r} here; there is: {there}"
        )

    def _open(self) -> httpx.AsyncBaseTransport:
        if self._pool is None:
            # On loopback every request gets a connection of its own: llama.cpp closes idle ones
            # after a few seconds, and a request that meets such an end cannot be told from one
            # that was lost half-way. A connection there costs less than a tenth of a millisecond.
            host = urlsplit(self._engine.base_url).hostname or ""
            kept = 0 if is_loopback(host) else 20
            self._pool = httpx.AsyncHTTPTransport(
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept),
                trust_env=False,
            )
        return self._pool


def _header(scope: Scope, name: bytes) -> str:
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return values[0].decode("latin-1") if values else ""
