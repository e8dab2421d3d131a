"""The peer of the gateway benches: a plain Starlette reverse proxy, as its documentation leads to.

Run as ``uvicorn``-served factory by `gateway_load.py`: forwards every POST to ``$ENGINE`` with one
shared httpx client and streams the answer back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


def application() -> Starlette:
    """Return the proxy to ``$ENGINE``."""
    client = httpx.AsyncClient(
        base_url=os.environ["ENGINE"],
        limits=httpx.Limits(max_connections=None),
        timeout=None,  # noqa: S113 - the load generator bounds every run
    )

    async def forward(request: Request) -> StreamingResponse:
        upstream = client.build_request(
            "POST",
            request.url.path,
            headers={"content-type": request.headers["content-type"]},
            content=await request.body(),
        )
        answer = await client.send(upstream, stream=True)
        return StreamingResponse(
            answer.aiter_raw(),
            status_code=answer.status_code,
            headers={"content-type": answer.headers["content-type"]},
            background=BackgroundTask(answer.aclose),
        )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])], lifespan=lifespan)
