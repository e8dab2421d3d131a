"""Floor 5: the relay role: carries sealed messages to the gateways it was configured with.

Promise: a gateway behind this relay learns nothing of who asked. No address, header, path, query
or connection of a client reaches it; clients share the relay's own connections. The relay sees who
asks and how much, and cannot read either way. It logs nothing and writes nothing down; how much
each address sends it keeps in memory, to limit it (client_rates.py).

It is no open proxy: it goes only to configured targets, only to their gateway, key and statement
paths, and only with the media types of Oblivious HTTP (RFC 9458 §6.2, and its chunked draft).

Two fields of a client pass, because the gateway admits by them: a proof of membership, which has
one size, and a proof of what was asked. With `MixSettings` messages are held and mixed (mixing.py).
Two relays in a row: relay_role.py.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import anyio
import httpx

from privity.errors import InputError
from privity.node.client_rates import ClientRates
from privity.node.mixing import Held, Mixer, MixSettings
from privity.node.relay_plan import Plan, checked_target, plan_request, returned_fields
from privity.seal import problem
from privity.seal.asgi import (
    Receive,
    Scope,
    Send,
    answer_lifespan,
    answer_problem,
    refuse_websocket,
)
from privity.seal.problem import Refused

__all__ = ["Relay", "RelayLimits", "connection_pool", "relay_app"]

_FIRST_BYTES = 2048
_REFUSAL_COSTS = 50.0  # messages: what a false proof costs a gateway, and who shares the relay


@dataclass(frozen=True)
class RelayLimits:
    """What a relay carries at most.

    Attributes:
        request_bytes: size of one sealed request.
        response_bytes: size of one sealed response.
        concurrency: exchanges at one time, over all clients.
        idle_s: seconds without a byte, in either direction, after which an exchange is ended.
        first_s: seconds until the first 2 KiB of an upload, or all of it, have arrived.
        each_per_s: sealed messages of one client address, a second, in the long run.
        each_burst: the same, at once. One that the gateway refuses (403) counts 50 more.
    """

    request_bytes: int = 4 << 30
    response_bytes: int = 4 << 30
    concurrency: int = 1024
    idle_s: float = 120.0
    first_s: float = 30.0
    each_per_s: float = 50.0
    each_burst: float = 500.0


class _ClientGone(Exception):
    pass


@dataclass
class _Progress:
    """Where one exchange stands."""

    client: str | None = None
    started: bool = False
    uploaded: anyio.Event = field(default_factory=anyio.Event)


def relay_app(
    targets: Mapping[str, str],
    limits: RelayLimits | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    mixing: MixSettings | None = None,
) -> Relay:
    """Return the ASGI application of a relay.

    Args:
        targets: for each name, the base URL of an enclave: ``POST /NAME`` goes to its gateway.
        limits: what it carries at most.
        transport: how it reaches the targets; a shared connection pool by default.
        mixing: how messages are mixed; None to send each on at once.

    Raises:
        InputError: a name or URL cannot be a target.
    """
    return Relay(targets, limits or RelayLimits(), transport, mixing)


class Relay:
    """An ASGI application that forwards sealed messages, and nothing that identifies a client.

    Guarantees:
        The gateway receives a fixed set of header fields and the sealed body, nothing else
        (tests/adversary/test_relay.py). Memory per exchange is bounded in both directions
        (tests/unit/test_relay.py). One address takes no more than its rate, and less where the
        gateway refuses what it sends (tests/adversary/test_relay_rates.py). A client that leaves
        ends the upstream request, and an upstream that breaks never looks like a clean end
        (tests/unit/test_relay.py).
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        limits: RelayLimits,
        transport: httpx.AsyncBaseTransport | None,
        mixing: MixSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = ClientRates(limits.each_per_s, limits.each_burst, clock=clock)
        self._targets = {name: checked_target(name, url) for name, url in targets.items()}
        self._limits = limits
        self._upstream = transport or connection_pool(limits)
        self._running = 0
        self._requests = None if mixing is None else Mixer(mixing)
        self._answers = Mixer(mixing) if mixing is not None and mixing.answers else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send, self.aclose)
        elif scope["type"] == "websocket":
            await refuse_websocket(send)
        elif self._running >= self._limits.concurrency:
            await answer_problem(send, problem.BUSY)
        else:
            self._running += 1
            try:
                await self._serve(scope, receive, send)
            finally:
                self._running -= 1

    def retarget(self, targets: Mapping[str, str]) -> None:
        """Go to these targets from now on; what is under way is carried to its end.

        Raises:
            InputError: a name or URL cannot be a target.
        """
        self._targets = {name: checked_target(name, url) for name, url in targets.items()}

    def drain(self) -> None:
        """Send on what is held to be mixed, and hold nothing more. Run before the relay ends."""
        for mixer in (self._requests, self._answers):
            if mixer is not None:
                mixer.drain()

    async def aclose(self) -> None:
        """Close the connections to the targets."""
        self.drain()
        await self._upstream.aclose()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            plan = plan_request(self._targets, scope, most_bytes=self._limits.request_bytes)
        except Refused as refused:
            await answer_problem(send, refused.problem)
            return
        # Behind its own seal, and in a gateway, no client is to be seen, and none is limited.
        client = scope.get("client")
        progress = _Progress(str(client[0]) if client else None)
        if plan.has_body and progress.client and not self._rates.take(progress.client):
            await answer_problem(send, problem.BUSY)
            return
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, receive, progress, group.cancel_scope)
            try:
                await self._exchange(plan, receive, send, progress)
            except Refused as refused:
                # Once a response has begun only its breaking off can say that it is not whole.
                if not progress.started:
                    await answer_problem(send, refused.problem)
            except _ClientGone:
                pass
            group.cancel_scope.cancel()

    async def _exchange(
        self, plan: Plan, receive: Receive, send: Send, progress: _Progress
    ) -> None:
        """Carry one request up and its response down."""
        if not plan.has_body:
            progress.uploaded.set()
        body: bytes | AsyncIterator[bytes] = b""
        if plan.has_body:
            body = self._upload(receive, progress)
        try:
            if self._requests is None:
                await self._forward(plan, body, send, progress)
                return
            with self._requests.held() as held:
                if not isinstance(body, bytes):
                    body = await held.gather(body)
                    # One form, whether the client streamed it or not.
                    plan.headers["content-length"] = str(len(body))
                await self._requests.wait()
                await self._forward(plan, body, send, progress)
        except (httpx.ReadTimeout, httpx.WriteTimeout, TimeoutError) as error:
            raise Refused(problem.SLOW) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Refused(problem.UNREACHABLE) from error

    async def _forward(
        self, plan: Plan, body: bytes | AsyncIterator[bytes], send: Send, progress: _Progress
    ) -> None:
        """Make the request that is planned, and send the client its answer."""
        idle = self._limits.idle_s
        request = httpx.Request(
            plan.method,
            plan.url,
            headers=plan.headers,
            content=body,
            extensions={"timeout": {"connect": 10.0, "read": idle, "write": idle, "pool": 10.0}},
        )
        response = await self._upstream.handle_async_request(request)
        if progress.client and response.status_code == 403:
            self._rates.charge(progress.client, _REFUSAL_COSTS)
        try:
            with self._answers.held() if self._answers is not None else nullcontext() as held:
                await self._download(response, send, progress, held)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _upload(self, receive: Receive, progress: _Progress) -> AsyncIterator[bytes]:
        """Yield the client's body piece by piece: the next is asked for when one has gone up."""
        total = 0
        more = True
        first_by = anyio.current_time() + self._limits.first_s
        while more:
            patience = self._limits.idle_s
            if total < _FIRST_BYTES:
                patience = min(patience, first_by - anyio.current_time())
            with anyio.fail_after(patience):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            piece: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            total += len(piece)
            if total > self._limits.request_bytes:
                raise Refused(problem.OVERSIZE)
            if piece:
                yield piece
        progress.uploaded.set()

    async def _download(
        self, response: httpx.Response, send: Send, progress: _Progress, held: Held | None
    ) -> None:
        """Send the answer piece by piece: the next is read when the client has taken one.

        Where answers are mixed it is held until it is whole, and its turn has come.
        """
        if not 200 <= response.status_code <= 599:  # ASGI servers know no others
            raise Refused(problem.UNREACHABLE)
        pieces = aiter(_stream(response))
        if held is not None and self._answers is not None:
            whole = await held.gather(pieces)
            await self._answers.wait()
            pieces = _only(whole)
        headers = returned_fields(response.headers)
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": headers}
        )
        progress.started = True
        total = 0
        async for piece in pieces:
            total += len(piece)
            if total > self._limits.response_bytes:
                raise Refused(problem.OVERSIZE)
            with anyio.fail_after(self._limits.idle_s):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _only(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def _watch(receive: Receive, progress: _Progress, scope: anyio.CancelScope) -> None:
    """Cancel the exchange when the client leaves after its request was taken."""
    await progress.uploaded.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise InputError("the relay's transport must be asynchronous")
    return response.stream


def connection_pool(limits: RelayLimits) -> httpx.AsyncHTTPTransport:
    """Return the connections to targets that a relay shares among its clients."""
    # Idle connections are dropped before the usual five seconds after which servers close them,
    # so that a request is not sent into one that is just closing: a sealed one cannot be resent.
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(
            max_connections=limits.concurrency, max_keepalive_connections=64, keepalive_expiry=2.0
        ),
        trust_env=False,
    )
