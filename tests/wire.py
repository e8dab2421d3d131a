"""A stretch of network between two hops that keeps what passes, and can be cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

_START = re.compile(rb"(?:POST|GET) /[!-~]* HTTP/1\.1\r\n")


async def pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    let_through: Callable[[bytes], bytes] = bytes,
) -> None:
    """Carry one direction to its end, or until less of a piece is let through than came."""
    try:
        while data := await reader.read(65536):
            passed = let_through(data)
            writer.write(passed)
            await writer.drain()
            if len(passed) < len(data):
                break
    except OSError:
        pass  # one end is gone, so the other goes too
    writer.close()


@dataclass
class Wire:
    """Carries bytes between two hops and keeps them; cuts the way down after so many."""

    far: str
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)
    ports: list[int] = field(default_factory=list)
    cut_after: int | None = None
    url: str = ""

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        tasks: set[asyncio.Task[Any]] = set()
        ends: list[asyncio.StreamWriter] = []

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.ports.append(writer.get_extra_info("peername")[1])
            ends.append(writer)
            far = httpx.URL(self.far)
            far_reader, far_writer = await asyncio.open_connection(far.host, far.port)
            ends.append(far_writer)
            if not server.is_serving():
                far_writer.transport.abort()
            await asyncio.gather(
                pump(reader, far_writer, self._upwards), pump(far_reader, writer, self._downwards)
            )

        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for end in ends:
                end.transport.abort()
            await asyncio.gather(*tasks)
            await asyncio.sleep(0)  # for what was aborted to be closed

    def _upwards(self, data: bytes) -> bytes:
        self.up += data
        return data

    def _downwards(self, data: bytes) -> bytes:
        self.down += data
        over = len(self.down) - self.cut_after if self.cut_after else 0
        return data[: max(len(data) - max(over, 0), 0)]

    @property
    def both(self) -> bytes:
        return bytes(self.up + self.down)

    def heads(self) -> list[bytes]:
        """Return the header sections of the requests that passed."""
        starts = [found.start() for found in _START.finditer(self.up)]
        return [bytes(self.up[at : self.up.index(b"\r\n\r\n", at)]) for at in starts]
