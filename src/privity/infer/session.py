"""Runs jobs on an admitted route, each with its receipt; an `httpx` transport.

Whatever speaks httpx, among them the stock ``openai`` client, sends its requests through it
unchanged: the URL's host does not matter, for the route decides where a request goes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx

from privity.errors import (
    EngineError,
    EvidenceError,
    InputError,
    PeerError,
    PolicyRefusal,
    PrivityError,
)
from privity.infer.breaker import Trial
from privity.infer.budget import Reservation
from privity.infer.decision import routing_of
from privity.infer.engines.usage import UsageReader
from privity.infer.held_end import HeldEnd
from privity.infer.journal import Entry, Journal
from privity.infer.ladder import Ladder, Plan, Step
from privity.infer.listing import listing
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.route import Route
from privity.infer.rung import Rung
from privity.policy import AdmittedRoute
from privity.receipt import SALT_HEADER, Passed, Routing
from privity.receipt.routing import MAX_PASSED_OVER
from privity.seal.key_config import KeyConfig, parse_configs, preferred
from privity.wording import shown

__all__ = ["RECEIPT_ID_HEADER", "REPLAYABLE_BYTES", "ROUTE_HEADER", "PrivateTransport"]

RECEIPT_ID_HEADER = "privity-receipt-id"
ROUTE_HEADER = "privity-route"
_BUSY = 429
_MAX_DRAINED = 1 << 20
_MAX_TOLD = 240
NOTE_LEFT = "note_left"
"""Extension of a request to a provider: a function that is told what leaves, before it does."""

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
    """Sends each request by the first rung of the ladder that may take it, and keeps a receipt.

    A response carries the headers ``privity-receipt-id`` and ``privity-route``. A request without
    a body, such as a list of models, holds nothing to be privy to: it leaves no receipt.

    Args:
        ladder: says which admitted routes a request may take, and in which order.
        journal: writes the receipts.
        inner: connections to the first hop; closed with this transport.

    Guarantees:
        Before the first byte of a request leaves, its record exists as ``unfinished``.
        The last bytes of an answer, for an event stream its end mark, are handed out only after
        the enclave's job receipt was verified and stored
        (tests/adversary/session/test_session.py).
        No answer sends the client elsewhere: a redirect is an error, and of the header only what
        describes the body and an engine's limits passes
        (tests/adversary/session/test_answer_head.py).
        A rung that failed is left for one that the rules allow, before an answer began and never
        after; each attempt is sealed anew and leaves a receipt of its own
        (tests/adversary/session/test_ladder.py).
    """

    def __init__(self, ladder: Ladder, journal: Journal, inner: httpx.AsyncBaseTransport) -> None:
        self.ladder = ladder
        self.journal = journal
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Run one job.

        Raises:
            PolicyRefusal: every route would disclose more than the policy allows; nothing was sent.
            EvidenceError: the enclave did not prove what it must; nothing was sent.
            PrivityError: what else can go wrong on the way; reading the answer raises them too.
        """
        content = await _content(request)
        if request.url.query and self.ladder.policy.sensitive.asks:
            raise InputError("what follows a `?` in an address is not looked at, so it is not sent")
        if content == b"" and request.method in ("GET", "HEAD"):
            return await self._pass(request)
        plan = await self.ladder.plan(request.url.path, content)
        given_up: list[Passed] = []
        for step in plan.steps[:-1]:
            try:
                response = await self._run(request, content, plan, step, given_up)
            except PolicyRefusal:
                # Without its words: what is in the prompt is not for a receipt.
                given_up.append(Passed(step.rung.label, "policy", "refused by the policy"))
                continue
            except (PeerError, EngineError, EvidenceError) as error:
                given_up.append(_gave_up(step, f"it failed: {error.message}"))
                continue
            if response.status_code < 500 and response.status_code != _BUSY:
                return response
            await _drain(response)
            why = f"it answered with status {response.status_code}"
            given_up.append(_gave_up(step, why))
        return await self._run(request, content, plan, plan.steps[-1], given_up)

    async def aclose(self) -> None:
        """Close the connections, and what came with them."""
        await self.ladder.aclose()
        await self._inner.aclose()

    async def _run(
        self,
        request: httpx.Request,
        content: bytes | None,
        plan: Plan,
        step: Step,
        given_up: list[Passed],
    ) -> httpx.Response:
        """Try one rung."""
        rung = step.rung
        admitted = await rung.keeper.take()
        content = self.ladder.fitted(plan, step, content)
        trial = None if self.ladder.takes_all else _attempt(rung)
        try:
            held = await self.ladder.reserve(step, plan.asked)
            bill = None if held is None else _Bill(self.ladder, step, held)
            try:
                routing = _routing(plan, step, admitted, given_up)
                entry = self.journal.open(admitted, request.url.path, content, routing)
            except BaseException:
                await _settle(bill, sent=False)
                raise
            response = await self._carry(request, content, admitted, entry, rung, bill)
        except BaseException as error:
            if trial is not None:
                trial.failed(error)  # which lets the next one try, where it was no failure
            raise
        if trial is not None:
            trial.answered(response.status_code)
        if bill is not None and response.status_code >= 400:
            bill.refused = True
        stream = _AnswerStream(response, entry, bill, trial)
        headers = [
            *_answer_headers(response),
            (RECEIPT_ID_HEADER, entry.job.id),
            (ROUTE_HEADER, step.offer.name if step.offer else rung.label),
            *entry.personal_header,
        ]
        return httpx.Response(
            response.status_code, headers=headers, stream=stream, extensions=response.extensions
        )

    async def _carry(
        self,
        request: httpx.Request,
        content: bytes | None,
        admitted: AdmittedRoute[Route],
        entry: Entry,
        rung: Rung,
        bill: _Bill | None,
    ) -> httpx.Response:
        """Send one job by its route, and return the answer as it begins."""
        sent = _outgoing(request, content, entry)
        if admitted.route.terms is not None:  # its transport says what leaves, before it does
            sent.extensions = {**sent.extensions, NOTE_LEFT: entry.note_left}
        try:
            carrier = admitted.route.transport(_JobKeys(rung.keeper, admitted, entry), self._inner)
            return await _not_redirected(await carrier.handle_async_request(sent))
        except BaseException as error:
            entry.fail(error)
            await _settle(bill, sent=entry.has_left)
            raise

    async def _pass(self, request: httpx.Request) -> httpx.Response:
        """Send a request that has no body: sealed like any other, without a receipt.

        Where there is more than one rung, the only one that means anything is the list of models.
        """
        if not self.ladder.takes_all:
            return await listing(self.ladder, request)
        rung = self.ladder.rungs[0]
        admitted = await rung.keeper.current()
        carrier = admitted.route.transport(_JobKeys(rung.keeper, admitted, None), self._inner)
        sent = _outgoing(request, b"", None)
        response = await _not_redirected(await carrier.handle_async_request(sent))
        return httpx.Response(
            response.status_code,
            headers=_answer_headers(response),
            stream=response.stream,
            extensions=response.extensions,
        )


def _attempt(rung: Rung) -> Trial:
    """Return leave to try a rung; raises `PeerError` while its circuit is open."""
    trial = rung.breaker.attempt()
    if trial is None:
        raise PeerError(f"{rung.label}: {rung.breaker.broken}", hint="try again a little later")
    return trial


class _Bill:
    """What was set aside for one step, and what the provider counted."""

    def __init__(self, ladder: Ladder, step: Step, held: Reservation) -> None:
        self._ladder = ladder
        self._step = step
        self._held = held
        self.usage = UsageReader()
        self.whole = False
        self.refused = False

    async def settle(self, *, sent: bool) -> None:
        """Settle it; a second time does nothing."""
        self.usage.done()
        # Counts that came before the end are not the last word.
        counted: tuple[int | None, int | None] = (None, None)
        if self.whole:
            counted = (self.usage.prompt_tokens, self.usage.completion_tokens)
        sent = sent and not self.refused  # nobody asks money for an error
        await self._ladder.settle(self._held, self._step, counted, sent=sent)


async def _settle(bill: _Bill | None, *, sent: bool) -> None:
    if bill is not None:
        await bill.settle(sent=sent)


class _JobKeys:
    """The keys of one job: those of the route it was admitted on, and of its successor.

    One per job, so that the record names the very enclave that was sealed to, even while other
    jobs renew the route.
    """

    def __init__(
        self, keeper: RouteKeeper, admitted: AdmittedRoute[Route], entry: Entry | None
    ) -> None:
        self._keeper = keeper
        self._admitted = admitted
        self._entry = entry

    async def current(self) -> KeyConfig:
        return _key_config(self._admitted.route)

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        self._admitted = await self._keeper.refresh(self._admitted)
        if self._entry is not None:
            self._entry.move(self._admitted)
        return _key_config(self._admitted.route)


class _AnswerStream(httpx.AsyncByteStream):
    """The answer on its way to the client: digested, its end held back until it is verified."""

    def __init__(
        self, response: httpx.Response, entry: Entry, bill: _Bill | None, trial: Trial | None
    ) -> None:
        self._response = response
        self._entry = entry
        self._bill = bill
        self._trial = trial
        media_type = response.headers.get("content-type", "")
        self._held = HeldEnd(events=media_type.startswith("text/event-stream"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        entry, feed, bill = self._entry, self._held.feed, self._bill
        try:
            async for chunk in _chunks(self._response):
                entry.take(chunk)
                if bill is not None:
                    bill.usage.feed(chunk)
                out = feed(chunk)
                if out:
                    yield out
            entry.complete(self._response)
            if bill is not None:
                bill.whole = True
        except BaseException as error:
            entry.fail(error)
            if self._trial is not None:
                self._trial.failed(error)
            raise
        end = self._held.end()
        if end:
            yield end

    async def aclose(self) -> None:
        self._entry.interrupt()  # no effect once the outcome is known
        try:
            await self._response.aclose()
        finally:
            await _settle(self._bill, sent=True)


async def _drain(response: httpx.Response) -> None:
    """Read an error to its end, so that its receipt says what it was; and forget it."""
    with contextlib.suppress(PrivityError):
        read = 0
        async for chunk in _chunks(response):
            read += len(chunk)
            if read > _MAX_DRAINED:
                break
    await response.aclose()


def _routing(
    plan: Plan, step: Step, admitted: AdmittedRoute[Route], given_up: list[Passed]
) -> Routing:
    """Return why this step is taken, as the receipt keeps it."""
    if plan.decision is None or step.choice is None:
        only = ("the only way that is configured",)
        routing = Routing(shown(plan.asked.model), shown(step.rung.label), reasons=only)
    else:
        routing = routing_of(plan.decision, step.choice)
    over = (*given_up, *routing.passed_over)
    terms = admitted.route.terms
    return replace(
        routing,
        passed_over=over[:MAX_PASSED_OVER],
        more=routing.more + len(over[MAX_PASSED_OVER:]),
        mode="" if terms is None else admitted.policy.sensitive.mode.value,
        terms=None if terms is None else terms.to_json(),
    )


def _gave_up(step: Step, why: str) -> Passed:
    return Passed(step.rung.label, "broken", shown(why, _MAX_TOLD))


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
