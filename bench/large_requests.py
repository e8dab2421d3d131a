"""Large requests that do little but cost: how long reading one keeps all others waiting.

The longest pause of the enclave's event loop while one request is read and rewritten, of the
largest size there is and full of one thing, or with as many parts as are taken. The peer is
Python's own `json.loads` of the same bytes on the event loop, as most servers do it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import httpx

from measure import Report, title
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.isolation import MAX_REQUEST
from privity.infer.engines.proxy import EngineProxy
from privity.statement import Model

PATH = "/v1/chat/completions"
RUNS = 5


def main() -> None:
    """Print and record the figures."""
    title("large requests: how long others wait")
    report = Report("large_requests")
    for what, (body, status) in bodies().items():
        answers: set[int] = set()
        serve = partial(_through_proxy, answers)
        ours = statistics.median(anyio.run(longest_pause, serve, body) for _ in range(RUNS))
        peer = statistics.median(anyio.run(longest_pause, _plainly, body) for _ in range(RUNS))
        if answers != {status}:
            raise RuntimeError(f"{what}: answered {answers}, not {status}")
        report.add(
            f"{what}, {len(body) / 2**20:.1f} MiB",
            f"{ours * 1e3:.0f} ms json.loads {peer * 1e3:.0f} ms ratio {ours / peer:.2f}",
            ours_s=ours,
            peer_s=peer,
            ratio=ours / peer,
        )
    report.write()


def bodies() -> dict[str, tuple[bytes, int]]:
    """Return the requests with their status: the slowest that is taken, five that are refused."""
    members = b",".join(b'"k%d":{"n":%b}' % (i, b"9" * 100) for i in range(90_000))
    taken = b'{"prompt":{%b},"more":[%b]}' % (members, b",".join([b"1"] * 300_000))
    parts = {
        "objects": b"{}",
        "lists": b"[]",
        "items": b"1",
        "members": b'{"a":1}',
        "digits": b"9" * 4200,
    }
    filled = {
        name: b'{"prompt":[' + b",".join([part] * ((MAX_REQUEST - 100) // (len(part) + 1))) + b"]}"
        for name, part in parts.items()
    }
    refused = {name: (body, 400) for name, body in filled.items()}
    return {"as many parts as may be": (taken, 200), **refused}


async def longest_pause(serve: Callable[[bytes], Awaitable[None]], body: bytes) -> float:
    """Return the longest time in seconds for which nothing else ran on the event loop."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await anyio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await anyio.sleep(0.01)
        await serve(body)
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    return longest


async def _plainly(body: bytes) -> None:
    try:
        json.loads(body)
    except ValueError:  # a number of more digits than Python reads
        return


async def _through_proxy(answers: set[int], body: bytes) -> None:
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answers.add(message["status"])

    engine = EngineProxy(_NoEngine(), transport=httpx.MockTransport(_answer))
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b""}
    await engine(scope, receive, send)


def _answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(b"{}"))


class _NoEngine(Engine):
    """Takes whatever is asked; the transport answers in its place."""

    kind = "llama-server"
    base_url = "http://127.0.0.1:9"
    headers: dict[str, str] = {}  # noqa: RUF012 -- an instance attribute of `Engine`
    models = (Model("tiny", None, "script 1"),)
    prefix_cache = PrefixCache.OFF

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...


if __name__ == "__main__":
    main()
