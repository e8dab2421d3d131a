"""ASGI middleware that opens sealed requests for an ordinary application (RFC 9458, RFC 9540).

``POST /.well-known/ohttp-gateway`` takes plain and chunked Oblivious HTTP; ``GET`` gives the key
configurations. The application inside never sees who asked, and the host outside never sees what:
errors outside the seal are constants that depend on ciphertext alone, and everything the gateway
learns after opening a request it says inside the seal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from privity.errors import OversizeError, ReplayError
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.asgi import ASGIApp, Receive, Scope, Send, answer, answer_problem
from privity.seal.binary_http import Limits
from privity.seal.exchange import ClientGone, Exchange
from privity.seal.key_config import KEYS_TYPE, GatewayKey, GatewayKeys
from privity.seal.outer import ChunkedSource, Outer, WholeSource
from privity.seal.problem import Refused
from privity.seal.replay import ReplayWindow

__all__ = ["GATEWAY_PATH", "Gateway", "GatewayLimits"]

GATEWAY_PATH = "/.well-known/ohttp-gateway"
"""Where a gateway is found (RFC 9540 §4)."""


@dataclass(frozen=True)
class GatewayLimits:
    """What a gateway accepts at most.

    Attributes:
        request_bytes: of one chunked sealed request, which is never held as a whole.
        whole_bytes: of one plain sealed request, and of its response; both are held as a whole.
        concurrency: requests at one time.
        idle_s: seconds without a byte while a request is uploaded, after which it is refused.
        first_s: seconds until the first plaintext of a chunked request has opened, or 2 KiB of a
            plain one, or all of it, have arrived.
        window_s: how far a sealed date may be from the gateway's clock.
        remembered: requests remembered so that none is served twice.
        head: of the header section inside the seal.
    """

    request_bytes: int = 4 << 30
    whole_bytes: int = 32 << 20
    concurrency: int = 4096
    idle_s: float = 120.0
    first_s: float = 30.0
    window_s: float = 300.0
    remembered: int = 1 << 18
    head: Limits = field(default_factory=Limits)


class Gateway:
    """Serves ``app`` to sealed requests, and ``outer`` to all others. Run by the enclave.

    Lifespan events go to ``app``, whose lifespan state sealed requests share.

    Args:
        app: the application inside the seal; sees ordinary requests, ``client`` None.
        keys: the private keys.
        outer: what answers everything that is not sealed; a 404 by default.
        limits: what to accept.
        clock: seconds since the epoch.

    Guarantees:
        No request is served twice while its key lives (`test_replayed_request_is_refused`). What
        the host can read does not depend on what was sealed
        (`test_host_readable_errors_are_the_same_for_different_plaintexts`). A response that breaks
        off has no authentic end (`test_cut_connection_is_truncation`). Memory is flat whatever the
        body (`test_memory_stays_flat_both_ways`). The promises and their tests:
        spec/sealed-path.md.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: GatewayKeys,
        *,
        outer: ASGIApp | None = None,
        limits: GatewayLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._keys = keys
        self._outer = outer
        self._limits = limits or GatewayLimits()
        self._clock = clock
        self._window = ReplayWindow(
            window_s=self._limits.window_s, capacity=self._limits.remembered, clock=clock
        )
        self._known_keys = keys.live
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == GATEWAY_PATH:
            await self._gateway(scope, receive, send)
        elif self._outer is not None:
            await self._outer(scope, receive, send)
        elif scope["type"] == "http":
            await answer_problem(send, problem.NOT_FOUND)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _gateway(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await self._publish(send)
        elif scope["method"] != "POST":
            await answer_problem(send, problem.NO_METHOD)
        elif self._running >= self._limits.concurrency:
            await answer_problem(send, problem.BUSY)
        else:
            self._running += 1
            try:
                await self._serve(scope, receive, send)
            except Refused as refused:
                await answer_problem(send, refused.problem)
            except ClientGone:
                pass  # there is nobody to tell
            finally:
                self._running -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = self._source(scope, receive)
        settled = False

        def settle(date: bytes | None) -> None:
            nonlocal settled
            settled = True
            self._window.settle(source.enc, date)

        exchange = Exchange(
            self._app,
            source,
            lambda: source.sink(send),
            scope,
            settle=settle,
            limits=self._limits.head,
            now=lambda: formatdate(self._clock(), usegmt=True).encode(),
        )
        try:
            await exchange.run()
        finally:
            if source.reserved and not settled:
                self._window.abandon(source.enc)

    def _source(self, scope: Scope, receive: Receive) -> ChunkedSource | WholeSource:
        """Return the request in the form its content type names."""
        fields = dict(scope["headers"])
        kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        length = fields.get(b"content-length", b"")
        limits = self._limits
        if kind == chunked_ohttp.REQUEST_TYPE:
            outer = Outer(receive, limits.request_bytes, limits.idle_s, limits.first_s)
            source: ChunkedSource | WholeSource = ChunkedSource(
                outer, chunked_ohttp.RequestOpener(self._keys), self._reserve
            )
        elif kind == ohttp.REQUEST_TYPE:
            outer = Outer(receive, limits.whole_bytes, limits.idle_s, limits.first_s)
            source = WholeSource(outer, self._keys, self._reserve)
        else:
            raise Refused(problem.NOT_SEALED)
        if length.isdigit() and int(length) > outer.most:
            raise Refused(problem.OVERSIZE)
        return source

    def _reserve(self, enc: bytes, key: GatewayKey) -> None:
        """Remember a request that has authenticated, or refuse it."""
        live = self._keys.live
        if live != self._known_keys:
            self._window.retain(live)
            self._known_keys = live
        try:
            self._window.reserve(enc, key)
        except ReplayError as error:
            raise Refused(problem.REPLAYED) from error
        except OversizeError as error:
            raise Refused(problem.BUSY) from error

    async def _publish(self, send: Send) -> None:
        headers = [(b"content-type", KEYS_TYPE.encode()), (b"cache-control", b"no-cache")]
        await answer(send, 200, headers, self._keys.configs_bytes)
