"""Pays for each job inside the seal, and takes what comes back with the answer's end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import httpx

from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER
from privity.errors import MalformedError, PaymentError, PeerError
from privity.identity.multibase import decode_base64url, encode_base64url

__all__ = ["PaidTransport", "Purse"]

_MAX_REFUND = 4096


class Purse(Protocol):
    """What pays: the person's wallet, as far as a job needs it."""

    async def spend(self, amount: int) -> Reserved:
        """Set a spend aside, in the journal, before anything is sent; raises `PaymentError`."""

    async def refunded(self, spend_id: str, refund: bytes) -> None:
        """Take back what was not used; raises `PaymentError` for what is no refund of it."""


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
        worst: says what a request body can cost at most, in credits.

    Guarantees:
        A spend is in the journal before its request leaves, so that a crash loses nothing; the
        refund is taken from the sealed trailer, which only the enclave could write
        (tests/unit/test_paid_transport.py).
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, purse: Purse, worst: Callable[[bytes], int]
    ) -> None:
        self._inner = inner
        self._purse = purse
        self._worst = worst

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` with its payment.

        Raises:
            PaymentError: the wallet has not enough, or the enclave did not take the spend.
            PrivityError: as the inner transport.
        """
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        reserved = await self._purse.spend(self._worst(await request.aread()))
        request.headers[SPEND_HEADER] = encode_base64url(reserved.spend)
        response = await self._inner.handle_async_request(request)
        stream = _Refunded(response, self._purse, reserved.id)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=stream,
            extensions=response.extensions,
        )


class _Refunded(httpx.AsyncByteStream):
    """An answer that brings its refund at its end."""

    def __init__(self, response: httpx.Response, purse: Purse, spend_id: str) -> None:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise PeerError("the answer cannot be streamed")
        self._response = response
        self._stream = response.stream
        self._purse = purse
        self._id = spend_id

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece
        await self._take()

    async def aclose(self) -> None:
        await self._response.aclose()

    async def _take(self) -> None:
        """Take the refund; one that is missing or wrong stays in the journal, to be recovered."""
        sealed = self._response.extensions.get("sealed")
        value = None if sealed is None else sealed.trailers.get(REFUND_TRAILER.encode())
        if value is None or len(value) > _MAX_REFUND:
            return
        with contextlib.suppress(PaymentError, MalformedError, UnicodeDecodeError):
            await self._purse.refunded(self._id, decode_base64url(value.decode("ascii")))
