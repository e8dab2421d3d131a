"""Takes payment inside the seal: a spend before a job is served, its blind refund with the answer.

ASGI middleware between the receipts and the engine. Nobody outside the enclave learns what a job
was paid with or what came back, and the enclave learns nothing of whose credits they are.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
from anyio import to_thread

from privity.anon.asked import Asked, read_request
from privity.anon.desk import CreditDesk, OpenJob, SettledBefore
from privity.anon.payment_terms import (
    EXIT_PATH,
    ISSUE_PATH,
    RECOVER_PATH,
    REFUND_TRAILER,
    SPEND_HEADER,
    TERMS_PATH,
    PaymentTerms,
)
from privity.anon.tariff import Tariff
from privity.errors import MalformedError, OversizeError, PaymentError, PeerError, PrivityError
from privity.identity.fields import Fields
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.engines.isolation import MAX_REQUEST
from privity.infer.engines.proxy import SERVED, Served
from privity.ledger.credits import SignedExit
from privity.node.refusal import refuse
from privity.receipt import Price
from privity.seal.asgi import ASGIApp, Message, Receive, Scope, Send, answer, read_body, replay

__all__ = ["MIN_LEASE_S", "PaymentMiddleware", "Till"]

_SPEND = SPEND_HEADER.encode()
_TYPE = b"content-type"
_EVENTS = b"text/event-stream"
_EVENT = b"\ndata:"
_NO_END = 2**31
_JSON = [(_TYPE, b"application/json")]
_AT_ONCE = 64 << 10  # a longer request is read beside the event loop
_READERS = 2
_MAX_BODY = 64 << 10
_WITHIN_S = 30.0
_BEFORE_LEASE_S = 10.0
MIN_LEASE_S = 2 * _BEFORE_LEASE_S
"""The shortest lease: half of it is for settling what was served."""
_SETTLE_S = 30.0
_AGAIN_S = 0.5
_LOOK_S = 0.02
_MAX_SPEND = 16 << 10
_STATUS = {
    "missing": 402,
    "malformed": 400,
    "short": 402,
    "model": 404,
    "spent": 409,
    "running": 409,
}


class Till(Protocol):
    """What the enclave needs of the ledger."""

    async def issue(self, deposit: int, request: bytes) -> bytes:
        """Return the blind credits for a deposit made for exactly this request; again if asked.

        Raises:
            PaymentError: no such deposit, another's request, or already refunded.
            PeerError: the ledger cannot be reached.
        """

    async def sign_exit(self, amount: int, nonce: bytes, to: str) -> SignedExit:
        """Return the operator's signature over an exit; raises `PaymentError` for a bad address."""


class PaymentMiddleware:
    """Serves ``app`` to requests that are paid for. Run by the enclave.

    Args:
        app: serves the job, and says what it knows of it in the scope's `Served`.
        desk: checks spends and makes refunds.
        terms: what it asks; the same for everyone.
        till: the ledger.

    Guarantees:
        A spend is in the store before a job is served, and settles once, with what the tariff says
        of the tokens counted (tests/unit/test_enclave_payment.py). A job that failed costs nothing.
        The engine may generate what was held for, and no more, and whoever leaves early pays no
        less than was delivered (tests/adversary/test_payment_attacks.py). Nothing here is logged.
    """

    def __init__(self, app: ASGIApp, desk: CreditDesk, terms: PaymentTerms, till: Till) -> None:
        self._app = app
        self._desk = desk
        self._terms = terms
        self._till = till
        self._unsettled = 0
        self._readers = anyio.CapacityLimiter(_READERS)
        self._desks: dict[str, Callable[[Fields], Awaitable[dict[str, Any]]]] = {
            ISSUE_PATH: self._issue,
            RECOVER_PATH: self._recover,
            EXIT_PATH: self._exit,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        path, method = scope["path"], scope["method"]
        if path == TERMS_PATH and method == "GET":
            await answer(send, 200, _JSON, self._terms.to_bytes())
        elif path in self._desks and method == "POST":
            await self._at_desk(self._desks[path], receive, send)
        elif method == "POST":
            await self._paid(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # A job

    async def drain(self) -> None:
        """Wait until what was begun is settled, for as long as settling may take.

        To be awaited before the store is closed. Else a job that was broken off by the enclave's
        end would cost nothing, and its credits be out of reach until its lease is over.
        """
        with anyio.move_on_after(_SETTLE_S):
            while self._unsettled:
                await anyio.sleep(_LOOK_S)

    async def _paid(self, scope: Scope, receive: Receive, send: Send) -> None:
        served: Served | None = scope.get(SERVED)
        try:
            body = await read_body(receive, MAX_REQUEST, _WITHIN_S)
            if served is None:
                raise PaymentError("a paid request asks for a receipt too", check="missing")
        except PrivityError as error:
            await _refuse(send, error)
            return
        self._unsettled += 1
        try:
            await self._sell(scope, receive, send, body, served)
        finally:
            self._unsettled -= 1

    async def _sell(
        self, scope: Scope, receive: Receive, send: Send, body: bytes, served: Served
    ) -> None:
        try:
            spend = _spend_of(scope)
            if len(body) > _AT_ONCE:  # reading it takes a while: not for who cannot pay
                await self._desk.check(spend)
            order = await self._ordered(body, scope["path"])
            # Who leaves while a spend is taken has it settled at once, not when its lease is over.
            with anyio.CancelScope(shield=True):
                job = await self._desk.begin(spend, least=order.worst)
        except PrivityError as error:
            await _refuse(send, error)
            return
        if isinstance(job, SettledBefore):
            served.trailers.append(_refund(job.refund))
            await _refuse(send, PaymentError("this was paid for and settled before", check="spent"))
            return
        kept = [(name, value) for name, value in scope["headers"] if name != _SPEND]
        sale = _Sale(job, order, self._terms, served, send)
        try:
            # After its lease the whole spend can be claimed back: nothing is served past it.
            with anyio.move_on_after(self._desk.lease_s - _BEFORE_LEASE_S):
                replayed = replay(order.text, receive)
                await self._app({**scope, "headers": kept}, replayed, sale.send)
        finally:
            await sale.close()

    async def _ordered(self, body: bytes, path: str) -> _Order:
        if len(body) <= _AT_ONCE:
            return _order(self._terms.tariff, body, path)
        return await to_thread.run_sync(
            _order, self._terms.tariff, body, path, limiter=self._readers
        )

    # Credits

    async def _at_desk(
        self, serve: Callable[[Fields], Awaitable[dict[str, Any]]], receive: Receive, send: Send
    ) -> None:
        try:
            body = await read_body(receive, _MAX_BODY, _WITHIN_S)
            said = await serve(Fields(json.loads(body), "request"))
        except PrivityError as error:
            await _refuse(send, error)
        except (ValueError, RecursionError):
            await _refuse(send, MalformedError("the request is not JSON"))
        else:
            await answer(send, 200, _JSON, json.dumps(said).encode())

    async def _issue(self, fields: Fields) -> dict[str, Any]:
        deposit = fields.count("deposit")
        request = fields.blob("request", most=_MAX_SPEND)
        fields.done()
        return {"response": encode_base64url(await self._till.issue(deposit, request))}

    async def _recover(self, fields: Fields) -> dict[str, Any]:
        spend = fields.blob("spend", most=_MAX_SPEND)
        fields.done()
        return {"refund": encode_base64url(await self._desk.recover(spend))}

    async def _exit(self, fields: Fields) -> dict[str, Any]:
        spend, to = fields.blob("spend", most=_MAX_SPEND), fields.text("to", max_chars=42)
        fields.done()
        amount, nonce = await self._desk.withdraw(spend)
        found = await self._till.sign_exit(amount, nonce, to)
        return {
            "amount": found.amount,
            "nonce": encode_base64url(found.nonce),
            "signature": encode_base64url(found.signature),
        }


@dataclass(frozen=True)
class _Order:
    """What a paid request asks for.

    Attributes:
        asked: what was read of it.
        path: where it goes.
        size: of its body as it came, in bytes.
        worst: what it has to hold.
        text: the body that goes to the engine.
    """

    asked: Asked
    path: str
    size: int
    worst: int
    text: bytes = field(repr=False)


def _order(tariff: Tariff, body: bytes, path: str) -> _Order:
    """Read a request, once, for what it holds and for what the engine is asked.

    Raises:
        MalformedError: it is not a JSON object.
        PaymentError: check ``model``: the tariff has no price for what it asks for.
    """
    asked = read_request(body)
    text = asked.for_engine(body, path)
    if not tariff.prices(asked.model):
        raise PaymentError("there is no price for this model", check="model")
    return _Order(asked, path, len(body), tariff.worst_asked(asked, len(body)), text)


def _spend_of(scope: Scope) -> bytes:
    spends = [value for name, value in scope["headers"] if name == _SPEND]
    if len(spends) != 1 or len(spends[0]) > _MAX_SPEND:
        raise PaymentError(
            "a request is paid for with one spend",
            check="missing",
            hint="`privity wallet top-up` buys credits",
        )
    return decode_base64url(spends[0].decode("latin-1"))


@dataclass
class _Sale:
    """One paid job on its way: what it delivered, and its settlement."""

    job: OpenJob
    order: _Order
    terms: PaymentTerms
    served: Served
    out: Send
    status: int = 0
    streams: bool = False
    events: int = 0
    ended: bool = False
    settled: bool = False
    _line: bytes = b"\n"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kinds = [value for name, value in message.get("headers", ()) if name == _TYPE]
            self.streams = any(kind.startswith(_EVENTS) for kind in kinds)
        elif message["type"] == "http.response.body":
            # In what a model writes there are no line ends: in JSON they are escaped.
            seen = self._line + message.get("body", b"")
            self.events += seen.count(_EVENT)
            self._line = seen[1 - len(_EVENT) :]
            if not message.get("more_body", False):
                self.ended = True
                await self._settle()
        await self.out(message)

    async def close(self) -> None:
        """Settle what broke off: for what was delivered until then.

        A store that is down for a moment is asked again: whoever paid would wait for the lease,
        and the provider would lose what it delivered.
        """
        with anyio.move_on_after(_SETTLE_S, shield=True):
            while not self.settled:
                try:
                    await self._settle()
                except PeerError:
                    await anyio.sleep(_AGAIN_S)

    async def _settle(self) -> None:
        """Reckon, and put price and refund where the receipt's trailer takes them from."""
        if self.settled:
            return
        charged = min(self._charged(), self.job.held)
        refund = await self.job.settle(charged)
        self.settled = True
        self.served.price = Price(charged, self.job.held, self.terms.tariff.digest)
        self.served.trailers.append(_refund(refund))

    def _charged(self) -> int:
        """Return what the tariff says; what was not counted costs what it may have been."""
        model, tariff = self.served.model, self.terms.tariff
        if model is None or not 200 <= self.status < 300 or not tariff.prices(model.id):
            return 0
        prompt = self.served.prompt_tokens
        return tariff.price(model.id, self.order.size if prompt is None else prompt, self._made())

    def _made(self) -> int:
        """Return the tokens of the answer: of events that were not counted each was one."""
        counted = self.served.completion_tokens
        if not self.order.asked.generates(self.order.path):
            return counted or 0
        if counted is not None and (self.ended or not self.streams):
            return counted
        if self.streams:
            return max(counted or 0, self.events)
        most = self.order.asked.most
        return _NO_END if most is None else most


def _refund(refund: bytes) -> tuple[bytes, bytes]:
    return REFUND_TRAILER.encode(), encode_base64url(refund).encode()


async def _refuse(send: Send, error: PrivityError) -> None:
    status = _STATUS.get(getattr(error, "check", ""), 402)
    if isinstance(error, MalformedError | OversizeError):
        status = 400
    elif isinstance(error, PeerError):
        status = 503
    await refuse(send, status, error, kind="payment_error")
