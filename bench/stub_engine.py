"""A stub engine for load: emits OpenAI-shaped SSE tokens at a set rate, as cheaply as it can.

Not a model and not a test double: it exists so that the machine's cores go to what is measured.
Run as ``python bench/stub_engine.py --rate 100 --tokens 500``; it prints its URL and serves
``POST`` on any path until it is stopped. ``rate`` is tokens per second *per stream* (0: as fast as
the reader takes them).
"""

from __future__ import annotations

import argparse
import asyncio
import time

EVENT = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" token"}}],'
    b'"created":1700000000,"id":"chatcmpl-stubstubstubstubstubstubstubstub","model":"stub",'
    b'"system_fingerprint":"b0-stub","object":"chat.completion.chunk"}\n\n'
)
DONE = b"data: [DONE]\n\n"
MODELS = b'{"object":"list","data":[{"id":"stub","object":"model","owned_by":"stub"}]}'
LISTED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(MODELS),
    MODELS,
)
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def http_chunk(data: bytes) -> bytes:
    """Frame ``data`` as one HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(rate: float, tokens: int, burst: int) -> asyncio.Server:
    """Start the stub on a free loopback port; each stream gets ``tokens`` tokens."""
    event = http_chunk(EVENT) * burst

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                if await _read_request(reader) == b"GET":
                    writer.write(LISTED)
                    continue
                writer.write(HEAD)
                began = time.monotonic()
                for sent in range(0, tokens, burst):
                    if rate:
                        wait = began + sent / rate - time.monotonic()
                        if wait > 0.0005:
                            await asyncio.sleep(wait)
                    writer.write(event)
                    await writer.drain()
                writer.write(http_chunk(DONE) + b"0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the reader left; nothing to account for
        finally:
            writer.close()

    return await asyncio.start_server(stream, "127.0.0.1", 0, backlog=4096)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request to its end; return its method."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if b"content-length:" in lowered:
        length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
    elif b"transfer-encoding: chunked" in lowered:
        while int(await reader.readline(), 16):
            await reader.readuntil(b"\r\n")
        await reader.readline()
    return head.split(b" ", 1)[0]


async def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0, help="tokens/s per stream; 0 = unbounded")
    parser.add_argument("--tokens", type=int, default=500, help="tokens per stream")
    parser.add_argument("--burst", type=int, default=1, help="tokens per write")
    options = parser.parse_args()
    server = await serve(options.rate, options.tokens, options.burst)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
