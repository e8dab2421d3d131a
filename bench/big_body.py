"""A 1 GiB body through the seal, up and down: flat memory; throughput beside the same unsealed.

A server in a process of its own (the gateway in front of an application that swallows an upload or
streams a download), a client in this one. Peak resident memory of both is read from the system.
The peer is the same application and client without the seal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import httpx

from measure import Report, title
from privity.node.listen import bind, serve_app
from privity.seal.asgi import Message, Receive, Scope, Send
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys, parse_configs, preferred
from privity.seal.transport import SealedTransport, Shape
from roles import OneKey

BLOCK = bytes(64 * 1024)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Swallow an upload and say its size and this process's peak memory; or stream a download."""
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    start: Message = {"type": "http.response.start", "status": 200, "headers": []}
    if scope["method"] == "POST":
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = json.dumps({"size": size, "peak_kib": peak_kib()}).encode()
        await send(start)
        await send({"type": "http.response.body", "body": body})
        return
    await send(start)
    for _ in range(int(scope["path"].rpartition("/")[2]) // len(BLOCK)):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def peak_kib() -> int:
    """Return the most resident memory this process ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def upload(client: httpx.AsyncClient, url: str, size: int) -> tuple[float, int]:
    """Send ``size`` bytes; return seconds, and the server's peak in KiB."""

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(size // len(BLOCK)):
            yield BLOCK

    began = time.perf_counter()
    answer = (await client.post(f"{url}/upload", content=blocks())).json()
    if answer["size"] != size:
        raise RuntimeError(f"{answer['size']} bytes of {size} came")
    return time.perf_counter() - began, int(answer["peak_kib"])


async def download(client: httpx.AsyncClient, url: str, size: int) -> float:
    """Receive ``size`` bytes; return seconds."""
    began, came = time.perf_counter(), 0
    async with client.stream("GET", f"{url}/download/{size}") as response:
        async for data in response.aiter_raw():
            came += len(data)
    if came != size:
        raise RuntimeError(f"{came} bytes of {size} came")
    return time.perf_counter() - began


async def measure(report: Report, url: str, size: int) -> None:
    """Run both ways, unsealed and sealed, and report."""
    async with httpx.AsyncClient(timeout=300) as plain:
        config = preferred(parse_configs((await plain.get(url + GATEWAY_PATH)).content))
        shape = Shape(records=None, cadence_ms=None)
        transport = SealedTransport(OneKey(config), url + GATEWAY_PATH, shape=shape)
        async with httpx.AsyncClient(transport=transport, timeout=300) as sealed:
            for client in (plain, sealed):  # warm, and the memory a small body takes
                server_before = (await upload(client, url, 8 << 20))[1]
                await download(client, url, 8 << 20)
            before = peak_kib()
            plain_up, _ = await upload(plain, url, size)
            plain_down = await download(plain, url, size)
            sealed_up, server_after = await upload(sealed, url, size)
            sealed_down = await download(sealed, url, size)
    gib = size / 2**30
    for way, ours, theirs in (("up", sealed_up, plain_up), ("down", sealed_down, plain_down)):
        rate, peer = size / ours / 2**20, size / theirs / 2**20
        report.add(
            f"{gib:g} GiB {way}, sealed",
            f"{rate:>7.0f} MiB/s   unsealed {peer:>7.0f} MiB/s   ratio {rate / peer:.2f}",
            mib_per_second=rate,
            peer="the same server and client without the seal",
            peer_mib_per_second=peer,
            ratio=round(rate / peer, 3),
        )
    grown = (peak_kib() - before) / 1024, (server_after - server_before) / 1024
    report.add(
        f"peak memory grown by {gib:g} GiB bodies",
        f"client {grown[0]:.1f} MiB, gateway {grown[1]:.1f} MiB (over 8 MiB bodies)",
        client_mib=grown[0],
        gateway_mib=grown[1],
    )


def serve() -> None:
    """Serve the application behind the gateway and in the open, and print where."""
    gateway = Gateway(application, GatewayKeys.generate(), outer=application)
    serve_app(gateway, bind("127.0.0.1", 0), on_ready=lambda url: print(url, flush=True))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--mib", type=int, default=1024, help="size of the body")
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    title("Large bodies through the seal")
    report = Report("big_body")
    process = subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), "--serve"], stdout=subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no output to read")
        url = process.stdout.readline().decode().strip()
        asyncio.run(measure(report, url, options.mib << 20))
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
    report.write()


if __name__ == "__main__":
    main()
