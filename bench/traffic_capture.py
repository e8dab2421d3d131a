"""What an observer sees of each recorded answer as it passes through the real stack.

Three processes of ours stand between: the enclave role as it is served, with the replay engine
behind it, and a relay. The device is here: its sealed transport, and below that a tap that notes
when how many bytes were read from the connection to the relay. Many answers pass at one time.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from measure import child
from privity.receipt import SALT_HEADER, encode_salt, new_salt
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.key_config import KeyConfig, parse_configs, preferred
from privity.seal.transport import SealedTransport, Shape
from roles import OneKey, sealed_path
from traffic_traces import Trace

__all__ = ["Capture", "Stack", "capture", "stack"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Capture:
    """One answer, as it passed.

    Attributes:
        seen: seconds from the first byte, and bytes, of each read.
        first: seconds by which its first token came later than the engine gave it.
        total: seconds by which its end came later than the engine's.
    """

    seen: list[tuple[float, int]]
    first: float
    total: float


@dataclass(frozen=True)
class Stack:
    """Where the running processes are.

    Attributes:
        relay: the relay's resource for the enclave.
        keys: the enclave's key.
    """

    relay: str
    keys: KeyConfig


@contextmanager
def stack(traces: Path, folder: Path) -> Iterator[Stack]:
    """Run the replay engine, an enclave before it and a relay before that."""
    with ExitStack() as running:
        engine = running.enter_context(child(str(HERE / "replay_engine.py"), str(traces)))
        # A recording has no cache to share, but cannot say so.
        path = running.enter_context(sealed_path(folder, engine, "--unsafe-shared-cache"))
        published = httpx.get(f"{path.enclave}{GATEWAY_PATH}").content
        yield Stack(path.relay, preferred(parse_configs(published)))


def capture(
    traces: Sequence[Trace], shape: Shape, there: Stack, kept: Path, *, at_once: int
) -> list[Capture]:
    """Return what passes of each trace; from ``kept``, where that was captured before."""
    if kept.is_file():
        found = [
            Capture([(at, size) for at, size in seen], first, total)
            for seen, first, total in json.loads(kept.read_text())
        ]
        if len(found) == len(traces):
            return found
    found = asyncio.run(_capture(traces, shape, there, at_once))
    kept.write_text(json.dumps([list(asdict(one).values()) for one in found]))
    return found


async def _capture(
    traces: Sequence[Trace], shape: Shape, there: Stack, at_once: int
) -> list[Capture]:
    places = asyncio.Semaphore(at_once)
    found: dict[int, Capture] = {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=at_once)
    async with httpx.AsyncHTTPTransport(limits=limits, trust_env=False) as pool:

        async def one(number: int) -> None:
            async with places:
                found[number] = await _pass(traces[number], shape, there, pool)

        # In another order than they are judged in, so that no topic has the quieter moments.
        order = list(range(len(traces)))
        random.Random(7).shuffle(order)
        await asyncio.gather(*map(one, order))
    return [found[number] for number in range(len(traces))]


async def _pass(
    trace: Trace, shape: Shape, there: Stack, pool: httpx.AsyncHTTPTransport
) -> Capture:
    tap = _Tap(pool)
    transport = SealedTransport(OneKey(there.keys), there.relay, inner=tap, shape=shape)
    body = {"messages": [{"role": "user", "content": trace.question.key}], "stream": True}
    first = 0.0
    answer = bytearray()
    async with httpx.AsyncClient(transport=transport, timeout=120) as client:
        began = time.perf_counter()
        async with client.stream(
            "POST",
            "https://enclave.privity/v1/chat/completions",
            json=body,
            headers={SALT_HEADER: encode_salt(new_salt())},
        ) as response:
            async for piece in response.aiter_raw():
                answer += piece
                if not first and b'"content":"' in answer:
                    first = time.perf_counter() - began
        total = time.perf_counter() - began
    if bytes(answer) != b"".join(data for _, data in trace.messages):
        raise RuntimeError("the answer is not the one that was recorded")
    beginning = tap.seen[0][0]
    seen = [(round(at - beginning, 6), size) for at, size in tap.seen]
    return Capture(seen, first - trace.first, total - trace.first - trace.seconds)


class _Tap(httpx.AsyncBaseTransport):
    """Notes when how much of an answer is read from the connection."""

    def __init__(self, pool: httpx.AsyncHTTPTransport) -> None:
        self._pool = pool
        self.seen: list[tuple[float, int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._pool.handle_async_request(request)
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the pool is asynchronous")
        stream = _Tapped(response.stream, self.seen)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)


class _Tapped(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, seen: list[tuple[float, int]]) -> None:
        self._inner = inner
        self._seen = seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._seen.append((time.perf_counter(), len(piece)))
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
