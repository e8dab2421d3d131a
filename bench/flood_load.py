"""Sends the requests in a file to a server at a steady rate; prints what came back, as JSON.

An empty line says that it begins.

Responses are counted by their status lines and not read further, so that this costs little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from pathlib import Path

STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
TICK_S = 0.005


class Connection(asyncio.Protocol):
    """Counts the answers of one connection."""

    def __init__(self, seen: Counter[str]) -> None:
        self.seen = seen
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Count the status lines; the last bytes may hold half of one."""
        data = self._rest + data
        end = 0
        for found in STATUS.finditer(data):
            self.seen[found[1].decode()] += 1
            end = found.end()
        self._rest = data[max(end, len(data) - 11) :]


async def load(options: argparse.Namespace) -> Counter[str]:
    """Send at the rate for the time."""
    blob = Path(options.requests).read_bytes()
    size = options.size
    requests = [blob[at : at + size] for at in range(0, len(blob), size)]
    seen: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(options.connections):
        transport, _protocol = await loop.create_connection(
            lambda: Connection(seen), "127.0.0.1", options.port, local_addr=(options.source, 0)
        )
        connections.append(transport)
    print(flush=True)  # it begins
    sent, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < options.seconds:
        while sent < elapsed * options.rate:
            connections[sent % len(connections)].write(requests[sent % len(requests)])
            sent += 1
        await asyncio.sleep(TICK_S)
    await asyncio.sleep(0.3)
    seen["sent"] = sent
    for transport in connections:
        transport.close()
    return seen


def main() -> None:
    """Run, and say what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("requests", help="file of HTTP requests, all of one size")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--source", default="127.0.0.2", help="address to send from")
    options = parser.parse_args()
    before = time.process_time()
    seen = asyncio.run(load(options))
    print(json.dumps({**seen, "processor_s": time.process_time() - before}))


if __name__ == "__main__":
    main()
