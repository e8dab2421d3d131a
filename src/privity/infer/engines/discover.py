"""Finds engines that run on this device, at the ports they usually take; loopback alone.

It is done where somebody asks for it by name: whoever came first to a port, another user among
them, answers there. What is found has been asked its kind, its release and its models, and nothing
of a job.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from privity.errors import EngineError
from privity.infer.engines.openai_server import OpenAIServer

__all__ = ["USUAL_PORTS", "discover"]

USUAL_PORTS: Mapping[str, int] = {
    "ollama": 11434,
    "lm-studio": 1234,
    "vllm": 8000,
    "llama-server": 8080,
}
"""Where each listens unless told otherwise. These ports are common: what answers is asked too."""

_TIMEOUT_S = 0.5


async def discover(
    ports: Mapping[str, int] = USUAL_PORTS, *, timeout_s: float = _TIMEOUT_S
) -> tuple[OpenAIServer, ...]:
    """Return the engines that answer, in the order of ``ports``, all asked at once.

    Args:
        ports: the port of each kind of engine.
        timeout_s: seconds to wait for each.
    """
    found: dict[str, OpenAIServer] = {}

    async def probe(kind: str, port: int) -> None:
        server = OpenAIServer(f"http://127.0.0.1:{port}", timeout_s=timeout_s)
        try:
            with anyio.fail_after(2 * timeout_s):
                await server.start()
        except (EngineError, TimeoutError):
            return  # nothing there, or something else: both are usual
        found[kind] = server

    async with anyio.create_task_group() as group:
        for kind, port in ports.items():
            group.start_soon(probe, kind, port)
    return tuple(found[kind] for kind in ports if kind in found)
