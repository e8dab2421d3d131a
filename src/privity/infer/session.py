"""Runs jobs on an admitted route, each with its receipt; an `httpx` transport.

Whatever speaks httpx, among them the stock ``openai`` client, sends its requests through it
unchanged: the URL's host does not matter, for the route decides where a request goes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from privity.errors import EngineError, PeerError
from privity.infer.held_end import HeldEnd
from privity.infer.journal import Entry, Journal
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.route import Route
from privity.policy import AdmittedRoute
from privity.receipt import SALT_HEADER
from privity.seal.key_config import KeyConfig, parse_configs, preferred

__all__ = ["RECEIPT_ID_HEADER", "REPLAYABLE_BYTES", "PrivateTransport"]

RECEIPT_ID_HEADER = "privity-receipt-id"

# One authority for everyone: the name a client happens to use must not tell clients apart.
_AUTHORITY = "enclave.privity"
# What an enclave needs to answer. All else a client sends, from its version to an API key meant
# for somebody else, says something about the person and helps nobody.
_SENT = frozenset({"accept", "content-type"})
# Of the answer: what describes the body, and an engine's limits. Nothing that a client obeys, such
# as `location`, `alt-svc` or `access-control-*`: it would lead the client, or a page, out of here.
_PASSED = frozenset({"content-type", "retry-after"})
_PASSED_PREFIX = "x-ratelimit-"
REPLAYABLE_BYTES = 4 << 20
"""Bodies up to this size are kept, to be sealed again if the enclave's keys changed."""


class PrivateTransport(httpx.AsyncBaseTransport):
    """Sends each request by the admitted route, and keeps a receipt of each that has a body.

    A response carries the header ``privity-receipt-id``. A request without a body, such as a list
    of models, holds nothing to be privy to: it is sealed alike and leaves no receipt.

    Args:
        routes: gives the admitted route, and a fresh one when the enclave's keys changed.
        journal: writes the receipts.
        inner: connections to the first hop; closed with this transport.
        close: what else to close with it, such as a local engine.

    Guarantees:
        Before the first byte of a request leaves, its record exists as ``unfinished``.
        The last bytes of an answer, for an event stream its end mark, are handed out only after
        the enclave's job receipt was verified and stored
        (tests/adversary/session/test_session.py).
        No answer sends the client elsewhere: a redirect is an error, and of the header only what
        describes the body and an engine's limits passes
        (tests/adversary/session/test_answer_head.py).
    """

    def __init__(
        self,
        routes: RouteKeeper,
        journal: Journal,
        inner: httpx.AsyncBaseTransport,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.routes = routes
        self.journal = journal
        self._inner = inner
        self._close = close

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Run one job.

        Raises:
            PolicyRefusal: the route would disclose more than the policy allows; nothing was sent.
            EvidenceError: the enclave did not prove what it must; nothing was sent.
            PrivityError: what else can go wrong on the way; reading the answer raises them too.
        """
        admitted = await self.routes.current()
        content = await _content(request)
        if content == b"":
            return await self._pass(admitted, request)
        entry = self.journal.open(admitted, request.url.path, content)
        keys = _JobKeys(self.routes, admitted, entry)
        sent = _outgoing(request, content, entry)
        try:
            carrier = admitted.route.transport(keys, self._inner)
            response = await _not_redirected(await carrier.handle_async_request(sent))
        except BaseException as error:
            entry.fail(error)
            raise
        stream = _AnswerStream(response, entry)
        headers = [*_answer_headers(response), (RECEIPT_ID_HEADER, entry.job.id)]
        return httpx.Response(
            response.status_code, headers=headers, stream=stream, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close the connections, and what came with them."""
        await self.routes.aclose()
        await self._inner.aclose()
        if self._close is not None:
            await self._close()

    async def _pass(self, admitted: AdmittedRoute[Route], request: httpx.Request) -> httpx.Response:
        """Send a request that has no body: sealed like any other, without a receipt."""
        carrier = admitted.route.transport(_JobKeys(self.routes, admitted, None), self._inner)
        sent = _outgoing(request, b"", None)
        response = await _not_redirected(await carrier.handle_async_request(sent))
        return httpx.Response(
            response.status_code,
            headers=_answer_headers(response),
            stream=response.stream,
            extensions=response.extensions,
        )


class _JobKeys:
    """The keys of one job: those of the route it was admitted on, and of its successor.

    One per job, so that the record names the very enclave that was sealed to, even while other
    jobs renew the route.
    """

    def __init__(
        self, routes: RouteKeeper, admitted: AdmittedRoute[Route], entry: Entry | None
    ) -> None:
        self._routes = routes
        self._admitted = admitted
        self._entry = entry

    async def current(self) -> KeyConfig:
        return _key_config(self._admitted.route)

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        self._admitted = await self._routes.refresh(self._admitted)
        if self._entry is not None:
            self._entry.move(self._admitted)
        return _key_config(self._admitted.route)


class _AnswerStream(httpx.AsyncByteStream):
    """The answer on its way to the client: digested, its end held back until it is verified."""

    def __init__(self, response: httpx.Response, entry: Entry) -> None:
        self._response = response
        self._entry = entry
        media_type = response.headers.get("content-type", "")
        self._held = HeldEnd(events=media_type.startswith("text/event-stream"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        entry, feed = self._entry, self._held.feed
        try:
            async for chunk in _chunks(self._response):
                entry.take(chunk)
                out = feed(chunk)
                if out:
                    yield out
            entry.complete(self._response)
        except BaseException as error:
            entry.fail(error)
            raise
        end = self._held.end()
        if end:
            yield end

    async def aclose(self) -> None:
        self._entry.interrupt()  # no effect once the outcome is known
        await self._response.aclose()


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise PeerError("the route's answer cannot be streamed")
    return aiter(response.stream)


async def _content(request: httpx.Request) -> bytes | None:
    """Return the body if it is at hand or small, so that it can be sealed a second time.

    None for one that is streamed: it leaves as it comes, and cannot be sent twice.
    """
    if isinstance(request.stream, httpx.ByteStream):
        return await request.aread()
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) <= REPLAYABLE_BYTES:
        return await request.aread()
    return None


def _outgoing(request: httpx.Request, content: bytes | None, entry: Entry | None) -> httpx.Request:
    """Return the request as the enclave shall see it: the job, and nothing about the client."""
    headers = [(name, value) for name, value in request.headers.items() if name in _SENT]
    if entry is not None:
        headers.append((SALT_HEADER, entry.salt_text))
    url = request.url.copy_with(
        scheme="https", host=_AUTHORITY, port=None, username=None, password=None, fragment=None
    )
    body: bytes | AsyncIterator[bytes] = _digested(request, entry) if content is None else content
    return httpx.Request(
        request.method, url, headers=headers, content=body, extensions=request.extensions
    )


async def _digested(request: httpx.Request, entry: Entry | None) -> AsyncIterator[bytes]:
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise PeerError("an asynchronous transport needs an asynchronous request body")
    async for chunk in request.stream:
        if entry is not None:
            entry.take_request(chunk, whole=False)
        yield chunk
    if entry is not None:
        entry.take_request(b"")


async def _not_redirected(response: httpx.Response) -> httpx.Response:
    """Return the response, unless it would have the client ask somebody else, in the clear."""
    if not 300 <= response.status_code < 400:
        return response
    await response.aclose()
    raise EngineError(
        f"the engine answered with status {response.status_code}, a redirect, which is not followed"
    )


def _answer_headers(response: httpx.Response) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in response.headers.multi_items()
        if name in _PASSED or name.startswith(_PASSED_PREFIX)
    ]


def _key_config(route: Route) -> KeyConfig:
    if route.enclave is None:
        raise PeerError(f"the {route.name} route seals to nobody")
    return preferred(parse_configs(route.enclave.keyset.ohttp))
