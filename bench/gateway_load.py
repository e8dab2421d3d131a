"""What sealing costs a gateway: concurrent token streams, beside a plain Starlette reverse proxy.

A stub engine emits OpenAI-shaped tokens at 10,000/s in all. Between it and the load generator runs
either the enclave role as it is served (gateway, isolation, receipts; X-Wing and 512-byte records)
or a plain Starlette reverse proxy over httpx, each pinned to one core in its own process, in turn.
The figure is tokens per second of processor time that the process used: how many one core carries,
whatever the load generator on the other core can take. Every stream is checked to have come whole.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from measure import Report, child, title
from privity.node.role_process import RoleProcess
from privity.receipt import SALT_HEADER, encode_salt, new_salt
from privity.seal.binary_http import Decoder, RequestEncoder
from privity.seal.chunked_ohttp import REQUEST_TYPE, RequestSealer, ResponseOpener
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.http_message import Content, RequestHead, Trailers
from privity.seal.key_config import KeyConfig, parse_configs, preferred
from privity.seal.records import RECORDS_HEADER, RecordReader

HERE = Path(__file__).parent
BODY = b'{"model":"stub","messages":[{"role":"user","content":"go"}],"stream":true}'
RATE = 10_000  # tokens/s that the stub emits in all
RECORD = 512


@dataclass
class Load:
    """One run of a load.

    Attributes:
        tokens: that came, all streams together.
        wall: seconds from the first request to the last byte.
        processor: seconds of processor time the measured process used.
        first: median seconds to the first byte of a body.
    """

    tokens: int
    wall: float
    processor: float
    first: float


@dataclass
class Target:
    """A process under load.

    Attributes:
        name: what it is.
        process: pinned to the first core.
        address: where it listens.
        request: makes the next request's bytes and what checks its answer's body.
    """

    name: str
    process: psutil.Process
    address: tuple[str, int]
    request: Callable[[], tuple[bytes, Callable[[bytes], int]]]


@contextmanager
def enclave(engine: str, folder: Path) -> Iterator[Target]:
    """Serve the enclave role in front of ``engine``."""
    command = [sys.executable, "-m", "privity.cli", "serve", "enclave", "--lifeline"]
    command += ["--port", "0", "--dev-root", str(folder / "root.key"), "--engine", engine]
    command += ["--unsafe-shared-cache"]  # the stub has no cache, but cannot say so
    role = RoleProcess("enclave", command, folder, start_limit_s=60)
    try:
        url = role.ready["url"]
        config = preferred(parse_configs(httpx.get(url + GATEWAY_PATH).content))
        address = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))
        yield Target("enclave", pinned(role.pid), address, lambda: sealed_request(config))
    finally:
        role.stop()


@contextmanager
def plain_proxy(engine: str) -> Iterator[Target]:
    """Serve the plain reverse proxy in front of ``engine``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "plain_proxy:application"]
    command += ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen(command, cwd=HERE, env={**os.environ, "ENGINE": engine})
    try:
        wait_for(("127.0.0.1", port))
        yield Target("Starlette", pinned(process.pid), ("127.0.0.1", port), plain_request)
    finally:
        process.terminate()
        process.wait(10)


def pinned(pid: int) -> psutil.Process:
    """Give the process the first core alone; the load generator has the others."""
    process = psutil.Process(pid)
    process.cpu_affinity([0])
    return process


def wait_for(address: tuple[str, int]) -> None:
    """Return once somebody listens there."""
    for _ in range(200):
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens at {address}")


def sealed_request(config: KeyConfig) -> tuple[bytes, Callable[[bytes], int]]:
    """Return a sealed request as HTTP, and what opens and counts its answer."""
    sealer = RequestSealer(config)
    encoder = RequestEncoder()
    head = RequestHead(
        "POST",
        "https",
        "enclave.privity",
        "/v1/chat/completions",
        (
            (b"content-type", b"application/json"),
            (b"date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()),
            (RECORDS_HEADER, b"%d" % RECORD),
            (SALT_HEADER.encode(), encode_salt(new_salt()).encode()),
        ),
    )
    plain = encoder.head(head) + encoder.content(BODY) + encoder.end()
    sealed = sealer.header + sealer.final(plain)
    opener = sealer.response_opener()
    return http_post(GATEWAY_PATH, REQUEST_TYPE, sealed), lambda body: opened_tokens(opener, body)


def opened_tokens(opener: ResponseOpener, body: bytes) -> int:
    """Open a whole sealed answer; return its tokens. Raises unless it ended authentically."""
    decoder, reader = Decoder("response"), RecordReader(RECORD)
    content = bytearray()
    pieces = opener.feed(body) + opener.finish()
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()
    for event in events:
        if isinstance(event, Content):
            content += b"".join(reader.feed(event.data))
    if not any(isinstance(event, Trailers) and event.fields for event in events):
        raise RuntimeError("an answer without its receipt")
    return whole_tokens(bytes(content))


def plain_request() -> tuple[bytes, Callable[[bytes], int]]:
    """Return the same request in the clear, and what counts its answer."""
    return http_post("/v1/chat/completions", "application/json", BODY), whole_tokens


def whole_tokens(body: bytes) -> int:
    """Return the tokens of a whole event stream."""
    if not body.endswith(b"data: [DONE]\n\n"):
        raise RuntimeError("an answer that is not whole")
    return body.count(b'"content":" token"')


def http_post(path: str, media_type: str, body: bytes) -> bytes:
    """Return an HTTP/1.1 request."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


async def stream(target: Target) -> tuple[bytes, float, Callable[[bytes], int]]:
    """Run one stream; return its raw answer, the time to its first body byte, and its check."""
    request, check = target.request()
    reader, writer = await asyncio.open_connection(*target.address, limit=1 << 20)
    began = time.perf_counter()
    writer.write(request)
    await reader.readuntil(b"\r\n\r\n")
    parts = [await reader.read(1 << 18)]
    first = time.perf_counter() - began
    while data := await reader.read(1 << 18):
        parts.append(data)
    writer.close()
    return b"".join(parts), first, check


def unchunked(raw: bytes) -> bytes:
    """Take HTTP/1.1 chunks apart. Raises unless the last one is there."""
    out: list[bytes] = []
    at = 0
    while True:
        end = raw.index(b"\r\n", at)
        size = int(raw[at:end], 16)
        if size == 0:
            return b"".join(out)
        out.append(raw[end + 2 : end + 2 + size])
        at = end + 4 + size


def run_load(target: Target, streams: int, tokens: int) -> Load:
    """Run ``streams`` at once and check each."""

    async def all_streams() -> list[tuple[bytes, float, Callable[[bytes], int]]]:
        return await asyncio.gather(*(stream(target) for _ in range(streams)))

    before, began = target.process.cpu_times(), time.perf_counter()
    answers = asyncio.run(all_streams())
    wall, after = time.perf_counter() - began, target.process.cpu_times()
    used = after.user + after.system - before.user - before.system
    came = sum(check(unchunked(raw)) for raw, _, check in answers)
    if came != streams * tokens:
        raise RuntimeError(f"{came} tokens of {streams * tokens} came")
    firsts = sorted(first for _, first, _ in answers)
    return Load(came, wall, used, firsts[len(firsts) // 2])


def main() -> None:
    """Measure both at several concurrencies and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", default="1,10,100,400", help="concurrent streams, a list")
    parser.add_argument("--seconds", type=float, default=6, help="of tokens in each run")
    options = parser.parse_args()
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {0} or {0})
    title("Gateway under load: tokens/s that one core carries (higher is better)")
    report = Report("gateway_load")
    for streams in (int(one) for one in options.streams.split(",")):
        tokens = round(RATE * options.seconds / streams)
        flags = ["--rate", str(RATE / streams), "--tokens", str(tokens)]
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stub = stack.enter_context(child(str(HERE / "stub_engine.py"), *flags))
            plain = stack.enter_context(plain_proxy(stub))
            ours = stack.enter_context(enclave(stub, folder))
            loads = {one.name: run_load(one, streams, tokens) for one in (plain, ours, plain, ours)}
            memory = ours.process.memory_info().rss / 2**20
        _add(report, streams, loads["enclave"], loads["Starlette"], memory)
    report.write()


def _add(report: Report, streams: int, ours: Load, theirs: Load, memory: float) -> None:
    carried, peer = ours.tokens / ours.processor, theirs.tokens / theirs.processor
    report.add(
        f"{streams} streams at {RATE:,} tokens/s in all",
        f"{carried:>8,.0f}   Starlette {peer:>8,.0f}   ratio {carried / peer:.2f}   "
        f"(came at {ours.tokens / ours.wall:,.0f}/s, theirs {theirs.tokens / theirs.wall:,.0f}/s; "
        f"first byte {ours.first * 1e3:.0f} ms, theirs {theirs.first * 1e3:.0f} ms; "
        f"{memory:.0f} MiB)",
        tokens_per_core_second=carried,
        peer="plain Starlette reverse proxy over httpx",
        peer_tokens_per_core_second=peer,
        ratio=round(carried / peer, 3),
        goal=0.5,
        wall_tokens_per_second=ours.tokens / ours.wall,
        peer_wall_tokens_per_second=theirs.tokens / theirs.wall,
        first_byte_s=ours.first,
        peer_first_byte_s=theirs.first,
        memory_mib=memory,
    )


if __name__ == "__main__":
    main()
