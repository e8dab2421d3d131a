"""Floor 5: the gateway role: admits sealed requests by their proofs, and passes them on unopened.

Promise: it lets nothing through to the enclave's gateway that was not admitted, and learns of those
who ask what their relay shows it: a proof that says "a member", and ciphertext. It keeps the
nullifiers of the last epochs; of addresses and headers it keeps and logs nothing.

It holds no key. It may run on the enclave's host or anywhere before it, and several may share a
store. Keys and statements pass without a proof, a bounded number at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio
import httpx

from privity import statement
from privity.anon.admission import Admission, AdmittedSignal, DoubleSignalError, Screened
from privity.anon.field import Field
from privity.errors import AdmissionError, MalformedError, OversizeError, PeerError, PrivityError
from privity.node.beside import run_beside
from privity.node.relay import RelayLimits, relay_app
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    answer_problem,
    read_body,
    refuse_websocket,
    replay,
)
from privity.seal.fields import ADMISSION, QUERY_PROOF
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.problem import Problem

__all__ = [
    "AdmissionGateway",
    "AdmissionLimits",
    "EnclaveUpstream",
    "OnDoubleSignal",
]

logger = logging.getLogger("privity.admission")

QueryCheck = Callable[[str | None, AdmittedSignal], Awaitable[None]]
"""Raises `AdmissionError` where the header is no proof for the admitted request."""

OnDoubleSignal = Callable[[Field], Awaitable[None]]
"""Takes a secret that came out; what raises `PrivityError` was not done."""

_SEALED = (ohttp.REQUEST_TYPE.encode(), chunked_ohttp.REQUEST_TYPE.encode())
_PROBLEMS = {
    check: Problem(one.status, problem.ADMISSION + check, one.title)
    for check, one in problem.ADMISSION_CHECKS.items()
}
_UNKNOWN = Problem(403, problem.ADMISSION + "refused", "the request was not admitted")
_SLASHED_REMEMBERED = 1024


@dataclass(frozen=True)
class AdmissionLimits:
    """What a gateway takes at most.

    Attributes:
        request_bytes: of one sealed request, which is held until it is admitted.
        uploads: requests that are arriving or wait to be admitted, over all sources.
        uploads_each: the same, from one source.
        upload_s: seconds within which a request must have arrived.
        exchanges: admitted requests at one time.
        open: fetches of keys and statements at one time, which need no proof.
        open_each: the same, from one source.
    """

    request_bytes: int = 1 << 20
    uploads: int = 512
    uploads_each: int = 128
    upload_s: float = 20.0
    exchanges: int = 4096
    open: int = 32
    open_each: int = 8


class AdmissionGateway:
    """Admits sealed requests, and forwards those to ``upstream``. An ASGI application.

    Args:
        admission: decides; closed with the app.
        upstream: carries to the enclave, see `EnclaveUpstream`; its lifespan is run with the app's.
        on_double_signal: is given the secret that a double signal revealed, once each in an epoch:
            there may be a new leaf of it in the next. Run after the request was refused. What it
            raises is logged, and tried again at the next double signal.
        query_check: of the proof of what is asked; none is asked for by default.
        look_again: reads the members anew, for a list of them that is not known; returns whether
            it did, which it may not do at every request.
        limits: what is taken.
        source: says where a request came from, for fairness alone; the peer's address by default.

    Guarantees:
        Nothing reaches ``upstream`` unadmitted, and its proof of membership does not either; no
        address or header is logged (tests/adversary/test_admission_gateway.py).
    """

    def __init__(
        self,
        admission: Admission,
        upstream: ASGIApp,
        *,
        on_double_signal: OnDoubleSignal | None = None,
        query_check: QueryCheck | None = None,
        look_again: Callable[[], Awaitable[bool]] | None = None,
        limits: AdmissionLimits | None = None,
        source: Callable[[Scope], str] | None = None,
    ) -> None:
        self._admission = admission
        self._upstream = upstream
        self._on_double_signal = on_double_signal
        self._query_check = query_check
        self._look_again = look_again
        self._limits = limits or AdmissionLimits()
        self._source = source or _peer
        self._uploads: Counter[str] = Counter()
        self._arriving = 0
        self._exchanges = 0
        self._open: Counter[str] = Counter()
        self._slashed: dict[bytes, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(send)
        elif scope["path"] not in (GATEWAY_PATH, statement.PATH):
            await answer_problem(send, problem.NOT_FOUND)
        elif scope["method"] == "GET":
            await self._pass(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] == GATEWAY_PATH:
            await self._gateway(scope, receive, send)
        else:
            await answer_problem(send, problem.NO_METHOD)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fetch keys or a statement, which costs the enclave a quote."""
        source, limits = self._source(scope), self._limits
        if self._open.total() >= limits.open or self._open[source] >= limits.open_each:
            await answer_problem(send, problem.BUSY)
            return
        self._open[source] += 1
        try:
            await self._upstream(_forwarded(scope, None), receive, send)
        finally:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]

    async def _gateway(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._admitted(scope, receive)
        except DoubleSignalError as error:
            await answer_problem(send, _PROBLEMS[error.check])
            await self._report(error.evidence)
        except AdmissionError as error:
            await answer_problem(send, _PROBLEMS.get(error.check, _UNKNOWN))
        except problem.Refused as refused:
            await answer_problem(send, refused.problem)
        except OversizeError:
            await answer_problem(send, problem.OVERSIZE)
        except MalformedError:
            await answer_problem(send, problem.SLOW)
        else:
            await self._exchange(scope, body, receive, send)

    async def _exchange(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        if self._exchanges >= self._limits.exchanges:
            await answer_problem(send, problem.BUSY)
            return
        self._exchanges += 1
        try:
            await self._upstream(_forwarded(scope, body), replay(body, receive), send)
        finally:
            self._exchanges -= 1

    async def _admitted(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body of a request that was admitted; raise where it was not."""
        if _one(scope, b"content-type").partition(b";")[0].strip().lower() not in _SEALED:
            raise problem.Refused(problem.NOT_SEALED)
        length = _one(scope, b"content-length")
        if length.isdigit() and int(length[:20]) > self._limits.request_bytes:
            raise problem.Refused(problem.OVERSIZE)
        # All that the header and the source decide comes before the first byte of the body is held.
        screened = await self._screened(_text(scope, ADMISSION))
        source = self._source(scope)
        self._admission.check_room(source)
        each = self._uploads[source]
        if self._arriving >= self._limits.uploads or each >= self._limits.uploads_each:
            raise problem.Refused(problem.BUSY)
        self._uploads[source] += 1
        self._arriving += 1
        try:
            limits = self._limits
            body = await read_body(receive, limits.request_bytes, limits.upload_s)
            digest = hashlib.sha256(body).digest()
            signal = await self._admission.admit_screened(
                screened, digest, source=source, had_room=True
            )
        finally:
            self._arriving -= 1
            self._uploads[source] -= 1
            if not self._uploads[source]:
                del self._uploads[source]
        if self._query_check is not None:
            await self._query_check(_text(scope, QUERY_PROOF), signal)
        return body

    async def _screened(self, header: str | None) -> Screened:
        """Check the header; a list of members that is not known may be newer than the last look."""
        try:
            return self._admission.screen(header)
        except AdmissionError as error:
            if error.check != "root" or self._look_again is None or not await self._look_again():
                raise
        return self._admission.screen(header)

    async def _report(self, secret: Field) -> None:
        """Hand over what a double signal revealed, though its sender may be gone."""
        key = hashlib.sha256(b"privity/slashed/v1/" + secret).digest()
        if self._on_double_signal is None or key in self._slashed:
            return
        self._slashed[key] = None
        while len(self._slashed) > _SLASHED_REMEMBERED:
            del self._slashed[next(iter(self._slashed))]
        try:
            with anyio.CancelScope(shield=True):
                await self._on_double_signal(secret)
        except PrivityError as error:
            self._slashed.pop(key, None)
            logger.warning("a double signal was not slashed yet: %s", error.message)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Run the upstream's lifespan, forget old signals meanwhile, and close."""
        await receive()
        async with AsyncExitStack() as stack:
            stack.callback(self._admission.close)
            try:
                await stack.enter_async_context(_Lifespan(self._upstream))
            except PeerError as error:
                await send({"type": "lifespan.startup.failed", "message": error.message})
                return
            run_beside(stack, self._prune())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _prune(self) -> None:
        """Forget, at the beginning of each epoch, what passes nowhere any more."""
        while True:
            await asyncio.sleep(self._admission.epochs.until_next())
            self._slashed.clear()
            try:
                await self._admission.prune()
            except PrivityError:
                logger.warning("old signals could not be forgotten; it is tried again")


class EnclaveUpstream:
    """Carries what was admitted to one enclave, by way of `Relay`. An ASGI application.

    Args:
        url: base URL of the enclave.
        limits: what is carried.
        transport: how it is reached; a shared connection pool by default.

    Raises:
        InputError: it cannot be the URL of one.
    """

    def __init__(
        self,
        url: str,
        limits: RelayLimits | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._relay = relay_app({"enclave": url}, limits, transport=transport)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection at the paths of an enclave."""
        if scope["type"] == "http":
            path = scope["path"]
            named = "/enclave" if path == GATEWAY_PATH else "/enclave" + path
            scope = {**scope, "path": named, "raw_path": named.encode()}
        await self._relay(scope, receive, send)

    async def aclose(self) -> None:
        """Close the connections to the enclave, where no lifespan does."""
        await self._relay.aclose()


class _Lifespan:
    """Runs an application's lifespan as a context."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        await self._received.put({"type": "lifespan.startup"})
        self._task = asyncio.create_task(self._run())
        if (await self._sent.get())["type"] == "lifespan.startup.failed":
            await self._task
            raise PeerError("what admitted requests are sent on to did not start")

    async def __aexit__(self, *_: object) -> None:
        await self._received.put({"type": "lifespan.shutdown"})
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        try:
            await self._app(scope, self._received.get, self._sent.put)
        finally:
            await self._sent.put({"type": "lifespan.none"})  # it may know no lifespan


def _forwarded(scope: Scope, body: bytes | None) -> Scope:
    """Return what upstream sees: of the request's header two fields, and not who the peer is."""
    kept = () if body is None else (b"content-type", QUERY_PROOF)
    headers = [(name, value) for name, value in scope["headers"] if name in kept]
    if body is not None:
        headers.append((b"content-length", b"%d" % len(body)))
    return {**scope, "headers": headers, "client": None}


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _one(scope: Scope, name: bytes) -> bytes:
    """Return a header field's value; empty where there is none."""
    found: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return found


def _text(scope: Scope, name: bytes) -> str | None:
    """Return a field that may be there once, as text; twice is no proof of anything."""
    found = [value for key, value in scope["headers"] if key == name]
    if not found:
        return None
    return found[0].decode("latin-1") if len(found) == 1 else ""
