"""Pays for each job inside the seal, and takes what comes back with the answer's end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import httpx

from privity.anon.asked import read_request
from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER
from privity.anon.tariff import Tariff, check_price
from privity.errors import MalformedError, PaymentError, PeerError, PrivityError, ReceiptError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.admitted import departing
from privity.receipt import JobReceipt

__all__ = ["CHARGE", "Charge", "PaidTransport", "Purse"]

CHARGE = "privity.charge"
"""Extension of a response under which its `Charge` is."""

_MAX_REFUND = 4096


class Purse(Protocol):
    """What pays: the person's wallet, as far as a job needs it."""

    async def spend(self, amount: int) -> Reserved:
        """Set a spend aside, in the journal, before anything is sent; raises `PaymentError`."""

    async def refunded(self, spend_id: str, refund: bytes) -> int:
        """Take back what was not used, and return what was.

        Raises:
            PaymentError: it is no refund of this spend.
        """

    def over(self, spend_id: str) -> None:
        """Note that the job of a spend has ended, however it did."""

    async def unsent(self, spend_id: str) -> None:
        """Take a spend back of which not one byte left this device."""


class Reserved(Protocol):
    """A spend in the journal."""

    @property
    def id(self) -> str:
        """Its name in the journal; never leaves the device."""

    @property
    def spend(self) -> bytes:
        """What is sent, inside the seal."""


class PaidTransport(httpx.AsyncBaseTransport):
    """Adds a spend to each request that costs something. Run by the device, above the seal.

    Args:
        inner: seals.
        purse: pays.
        tariff: says what a request can cost at most, and what it may.

    Guarantees:
        A spend is in the journal before its request leaves, so that a crash loses nothing; the
        refund is taken from the sealed trailer, which only the enclave could write
        (tests/unit/test_paid_transport.py). Where it is certain that nothing left, the spend is
        taken back at once (tests/adversary/test_payment_attacks.py).
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, purse: Purse, tariff: Tariff) -> None:
        self._inner = inner
        self._purse = purse
        self._tariff = tariff

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` with its payment.

        Raises:
            PaymentError: the wallet has not enough, or the enclave did not take the spend.
            PrivityError: as the inner transport.
        """
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        body = await request.aread()
        order = read_request(body)
        held = self._tariff.worst_asked(order, len(body))
        reserved = await self._purse.spend(held)
        request.headers[SPEND_HEADER] = encode_base64url(reserved.spend)
        with departing() as departure:
            try:
                response = await self._inner.handle_async_request(request)
            except BaseException as error:  # also where the person stops waiting
                self._purse.over(reserved.id)
                if departure.stayed:
                    with contextlib.suppress(PrivityError):  # it is in the journal all the same
                        await self._purse.unsent(reserved.id)
                elif isinstance(error, PrivityError):
                    _tell_held(error, held)
                raise
        made = order.generates(request.url.path)
        charge = Charge(held, self._tariff, size=len(body), generates=made)
        stream = _Refunded(response, self._purse, reserved.id, charge)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=stream,
            extensions={**response.extensions, CHARGE: charge},
        )


@dataclass
class Charge:
    """What one job was paid with, and what was kept of it.

    Attributes:
        held: the spend's amount.
        tariff: the one it was reckoned by beforehand.
        kept: what the refund left with the provider; None while none has come.
        size: of the request's body, in bytes: what is due for a prompt that was not counted.
        generates: whether it has an engine generate: where not, no answer tokens are due.
        withheld: whether the answer came to its end without a refund of this spend.
    """

    held: int
    tariff: Tariff
    kept: int | None = None
    size: int = 0
    generates: bool = True
    withheld: bool = False

    def check(self, job: JobReceipt) -> None:
        """Hold what a verified receipt says of the price to the tariff and to the refund.

        Raises:
            ReceiptError: check ``price`` or ``refund``. The receipt is kept: it proves what was
                taken.

        Guarantees:
            An enclave that charges more than its tariff is found at once
            (`test_an_overcharge_is_found_by_the_receipt_itself`); so is one that gives back
            another amount than it signs, or nothing (tests/adversary/test_dishonest_desk.py).
        """
        if job.price is None:
            raise ReceiptError("the receipt of a paid job does not say what it cost", check="price")
        model = None if job.model is None else job.model.id
        counted = job.completion_tokens
        if counted is None and not self.generates:
            counted = 0
        check_price(
            job.price,
            self.tariff,
            model=model,
            prompt_tokens=job.prompt_tokens,
            completion_tokens=counted,
            status=job.status,
            spent=self.held,
            size=self.size,
        )
        if self.withheld:
            raise ReceiptError(
                "the answer came to its end without the refund of what it did not cost",
                check="refund",
                hint="a running `privity up` asks for it, or `privity wallet recover`; the receipt "
                "is signed and kept, and shows what is owed",
            )
        if self.kept is not None and self.kept != job.price.charged:
            # Less is no gift: an odd rest is known again where it is paid out.
            raise ReceiptError(
                f"{self.kept} credits were kept where the receipt says {job.price.charged}",
                check="price",
            )


class _Refunded(httpx.AsyncByteStream):
    """An answer that brings its refund at its end."""

    def __init__(
        self, response: httpx.Response, purse: Purse, spend_id: str, charge: Charge
    ) -> None:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise PeerError("the answer cannot be streamed")
        self._response = response
        self._stream = response.stream
        self._purse = purse
        self._id = spend_id
        self._charge = charge

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except PrivityError as error:
            _tell_held(error, self._charge.held)
            raise
        await self._take()

    async def aclose(self) -> None:
        self._purse.over(self._id)
        await self._response.aclose()

    async def _take(self) -> None:
        """Take the refund; one that is missing or wrong stays in the journal, to be recovered."""
        self._charge.withheld = True
        sealed = self._response.extensions.get("sealed")
        value = None if sealed is None else sealed.trailers.get(REFUND_TRAILER.encode())
        if value is None or len(value) > _MAX_REFUND:
            return
        with contextlib.suppress(PaymentError, MalformedError, UnicodeDecodeError):
            refund = decode_base64url(value.decode("ascii"))
            self._charge.kept = await self._purse.refunded(self._id, refund)
            self._charge.withheld = False


def _tell_held(error: PrivityError, held: int) -> None:
    """Add to an error's hint how the credits come back that wait in the journal."""
    back = (
        f"the {held} credits that were held come back by a running `privity up`, or in some "
        "minutes by `privity wallet recover`"
    )
    error.hint = f"{error.hint}; {back}" if error.hint else back
