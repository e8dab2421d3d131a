"""A route served on loopback, for stock clients; and doubles of what replaces personal data."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from privity.errors import PrivityError
from privity.infer.routes.zero_retention import Left
from privity.policy import Kind, Mode


@dataclass
class Unchanged:
    """Restores nothing."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""


class Renaming:
    """Restores one name, holding back all until the end."""

    def __init__(self, swaps: Mapping[str, str]) -> None:
        self._swaps = swaps
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        self._held += chunk
        return b""

    def end(self) -> bytes:
        text = self._held.decode()
        for original, standin in self._swaps.items():
            text = text.replace(standin, original)
        return text.encode()


@dataclass(frozen=True)
class DoubleDeparture:
    """What a double lets leave."""

    body: dict[str, Any]
    swaps: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[Kind, int] = field(default_factory=dict)
    kept: Mapping[Kind, int] = field(default_factory=dict)
    spans: tuple[Any, ...] = ()

    def answer(self, media_type: str) -> Any:
        return Renaming(self.swaps) if self.swaps else Unchanged()


class Double:
    """In place of the pseudonymiser: replaces the names it is given, or nothing."""

    def __init__(self, swaps: Mapping[str, str] | None = None) -> None:
        self.swaps = swaps or {}
        self.modes: list[Mode] = []

    def examine(self, path: str, body: Mapping[str, Any]) -> Mapping[Kind, int]:
        return {}

    def replace(self, path: str, body: Mapping[str, Any], mode: Mode) -> DoubleDeparture:
        self.modes.append(mode)
        text = json.dumps(body)
        for original, standin in self.swaps.items():
            text = text.replace(original, standin)
        count = {Kind.PERSON: len(self.swaps)} if self.swaps else {}
        return DoubleDeparture(json.loads(text), self.swaps, count)


class Front:
    """Serves a route's transport to stock clients, as the device's endpoint does.

    The inner transport is closed with the app.

    Attributes:
        left: what left for each answered request.
        errors: what was raised for the others.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, inner: httpx.AsyncBaseTransport
    ) -> None:
        self.transport = transport
        self._inner = inner
        self.left: list[Left] = []
        self.errors: list[PrivityError] = []
        self.app = Starlette(
            routes=[Route("/{path:path}", self._serve, methods=["GET", "POST", "DELETE"])],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        await self._inner.aclose()

    async def _serve(self, request: Request) -> Response:
        asked = httpx.Request(
            request.method,
            f"https://enclave.privity{request.url.path}",
            headers=[
                (name, value)
                for name, value in request.headers.items()
                if name in ("accept", "content-type")
            ],
            content=await request.body(),
        )
        try:
            response = await self.transport.handle_async_request(asked)
        except PrivityError as error:
            self.errors.append(error)
            return JSONResponse({"error": {"message": error.message}}, 400)
        if "left" in response.extensions:
            self.left.append(copy.copy(response.extensions["left"]))
        headers = dict(response.headers)
        return StreamingResponse(self._stream(response), response.status_code, headers)

    async def _stream(self, response: httpx.Response) -> AsyncIterator[bytes]:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            async for chunk in response.stream:
                yield chunk
        finally:
            await response.aclose()
