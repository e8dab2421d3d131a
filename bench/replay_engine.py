"""An engine that says again what the real model said, at the times at which it said it.

For `traffic.py`: one recording, replayed through the real enclave once for each way of shaping.
Run as ``python bench/replay_engine.py TRACES``; it prints its URL. A request whose last message is
the text of a recorded question gets that answer, byte for byte, in real time; but it begins when
`Trace.first` says.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from stub_engine import HEAD, LISTED, http_chunk
from traffic_traces import Trace, load_traces


async def serve(traces: dict[str, Trace]) -> asyncio.Server:
    """Start the server on a free loopback port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    writer.write(LISTED)
                    await writer.drain()
                    continue
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                await _replay(traces[body["messages"][-1]["content"]], writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the reader left
        finally:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)


async def _replay(trace: Trace, writer: asyncio.StreamWriter) -> None:
    began = time.monotonic()
    writer.write(HEAD)
    for at, data in trace.messages:
        wait = began + trace.first + at - time.monotonic()
        if wait > 0.0005:
            await asyncio.sleep(wait)
        writer.write(http_chunk(data))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def main() -> None:
    """Serve until stopped."""
    server = await serve(load_traces(Path(sys.argv[1])))
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
