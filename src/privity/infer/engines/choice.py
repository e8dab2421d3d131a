"""Which engine to use where the person named one, or none."""

from __future__ import annotations

from privity.infer.engines.discover import discover
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine
from privity.infer.engines.openai_server import OpenAIServer

__all__ = ["find_engine"]


async def find_engine(url: str | None = None, *, api_key: str | None = None) -> Engine:
    """Return the engine at ``url``; without one, an engine that runs, else the embedded one.

    It is not started yet.

    Args:
        url: base URL of an OpenAI-compatible server, with or without ``/v1``.
        api_key: its key, if it wants one.

    Raises:
        InputError: not an http URL.
    """
    if url is not None:
        return OpenAIServer(url, api_key=api_key)
    for server in await discover():
        if server.models:
            return server
    return EmbeddedEngine()
