"""A gateway behind two relays, every connection recorded; and a small SOCKS 5 proxy."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from keys import Published
from privity.node.relay_role import RelayRole, RelaySettings, make_relay
from privity.seal.connections import Connections
from privity.seal.gateway import Gateway
from privity.seal.hops import RelayKeys, exit_url, through_relay
from privity.seal.key_config import GatewayKeys
from privity.seal.transport import SealedTransport, Shape
from privity.statement import PATH as STATEMENT_PATH
from wire import Wire, pump

ADMISSION = "Canary-" + "a" * 304
QUERY_PROOF = "CanaryProof" + "b" * 2000
QUESTION = b"canary-question-7f3a"
ANSWER = b"canary-answer-91bc"
STATEMENT = b'{"canary":"statement"}'
PLAIN = Shape(records=None, cadence_ms=None)
SECOND = "canary-second"
TARGET = "canary-target"


class Admitting(httpx.AsyncBaseTransport):
    """Adds the proofs, as the client's own transport for them does, to what was sealed."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            request.headers["privity-admission"] = ADMISSION
            request.headers["privity-query-proof"] = QUERY_PROOF
        return await self._inner.handle_async_request(request)


@dataclass
class Chain:
    """Client, three wires with two relays between them, a gateway."""

    client_wire: Wire
    middle_wire: Wire
    exit_wire: Wire
    first: RelayRole
    second: RelayRole
    keys: GatewayKeys
    connections: Connections

    def path(self, **changes: Any) -> httpx.AsyncBaseTransport:
        """Return the connections to the gateway's resource, by way of both relays."""
        digest = changes.get("digest") or self.second.keys_digest
        assert digest is not None
        inner = changes.get("inner") or self.connections
        keys = changes.get("keys") or RelayKeys(inner, self.client_wire.url, SECOND, digest)
        target = changes.get("target", TARGET)
        return Admitting(through_relay(inner, self.client_wire.url, SECOND, keys, target))

    def transport(self, shape: Shape | None = None, **changes: Any) -> SealedTransport:
        """Return what a person's client speaks through."""
        url = exit_url(changes.get("target", TARGET))
        return SealedTransport(Published(self.keys), url, inner=self.path(**changes), shape=shape)


@asynccontextmanager
async def chain(
    serve: Callable[[Any], str], app: Any, folder: Path, **options: Any
) -> AsyncIterator[Chain]:
    """Serve ``app`` inside a gateway behind two relays."""
    keys = GatewayKeys.generate()
    outer = options.get("gateway") or Gateway(app, keys, outer=app)
    async with AsyncExitStack() as stack:
        exit_wire = await stack.enter_async_context(Wire(serve(outer)).laid())
        second = make_relay(
            RelaySettings(
                {TARGET: exit_wire.url},
                keys_file=folder / "second.keys",
                mixing=options.get("mixing"),
            )
        )
        middle_wire = await stack.enter_async_context(Wire(serve(second)).laid())
        first = make_relay(RelaySettings({SECOND: middle_wire.url}, folder / "first.keys"))
        client_wire = await stack.enter_async_context(Wire(serve(first)).laid())
        connections = Connections(
            **{key: options[key] for key in ("proxy", "one_connection_each") if key in options}
        )
        stack.push_async_callback(connections.aclose)
        yield Chain(client_wire, middle_wire, exit_wire, first, second, keys, connections)


class Socks:
    """A SOCKS 5 proxy that keeps what it was asked, and resolves names by its own table.

    Args:
        names: what it resolves names to.
        behave: ``serve``, or how it misbehaves: ``silent``, ``garbage``, ``refuse``.
    """

    def __init__(self, names: dict[str, int], behave: str = "serve") -> None:
        self._names = names
        self._behave = behave
        self.asked: list[tuple[str, int]] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.url = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Socks]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"socks5h://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for end in self._ends:
                end.transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._ends.append(writer)
        try:
            await self._speak(reader, writer)
        except (OSError, EOFError):
            pass
        writer.close()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self._behave == "silent":
            await reader.read()
            return
        if self._behave == "garbage":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        writer.write(b"\x05" + (b"\x02" if 2 in methods else b"\x00"))
        if 2 in methods:
            _, size = await reader.readexactly(2)
            name = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.logins.append((name, password))
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((host, port))
        if self._behave == "refuse" or host not in self._names:
            writer.write(b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00")
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._names[host])
        self._ends.append(far_writer)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


class Enclave:
    """An application that keeps what it was asked, and from whom."""

    def __init__(self, pieces: int = 3, pause: float = 0.0) -> None:
        self.asked: list[bytes] = []
        self.clients: list[Any] = []
        self.fields: list[dict[bytes, bytes]] = []
        self._pieces = pieces
        self._pause = pause

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.clients.append(scope["client"])
        self.fields.append(dict(scope["headers"]))
        if scope["path"] == STATEMENT_PATH:
            kind = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": kind})
            await send({"type": "http.response.body", "body": STATEMENT})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.asked.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self._pieces):
            await send({"type": "http.response.body", "body": ANSWER, "more_body": True})
            await asyncio.sleep(self._pause)
        await send({"type": "http.response.body", "body": b""})


async def ask(laid: Chain, content: Any = QUESTION, **changes: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=laid.transport(PLAIN, **changes)) as client:
        return await client.post("https://enclave.test/ask", content=content)


async def warm(laid: Chain) -> RelayKeys:
    assert laid.second.keys_digest is not None
    keys = RelayKeys(laid.connections, laid.client_wire.url, SECOND, laid.second.keys_digest)
    await keys.current()
    await settled(laid.client_wire)
    return keys


async def settled(wire: Wire) -> None:
    """Wait until nothing more has come for a moment."""
    seen = -1
    while seen != len(wire.down):
        seen = len(wire.down)
        await asyncio.sleep(0.1)
