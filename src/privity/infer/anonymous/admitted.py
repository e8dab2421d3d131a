"""Puts a proof of membership on each sealed request, over the very bytes that leave."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx

from privity.errors import InputError
from privity.seal.fields import ADMISSION, QUERY_PROOF

__all__ = ["AdmittedTransport", "Departure", "ProveQuery", "departing"]

ProveQuery = Callable[[bytes], Awaitable[str]]
"""Returns the proof of what is asked, a header, for the SHA-256 of a sealed request."""


@dataclass
class Departure:
    """What is known of whether a request left this device.

    Attributes:
        reached: it came to an `AdmittedTransport`, which everything passes that leaves.
        left: one passed something on, of which any part may have left.
    """

    reached: bool = False
    left: bool = False

    @property
    def stayed(self) -> bool:
        """Tell whether it is certain that nothing left, in all attempts together."""
        return self.reached and not self.left


_DEPARTURE: ContextVar[Departure | None] = ContextVar("privity.departure", default=None)


@contextmanager
def departing() -> Iterator[Departure]:
    """Watch whether what is sent within leaves this device.

    It is noted where it happens, and not told by an error: a gateway can say anything, and an
    attempt that failed here may be the second one.
    """
    seen = Departure()
    token = _DEPARTURE.set(seen)
    try:
        yield seen
    finally:
        _DEPARTURE.reset(token)


class AdmittedTransport(httpx.AsyncBaseTransport):
    """Adds an admission header to each sealed request. Run by the device, below the seal.

    Args:
        inner: carries the sealed request on.
        prove: returns the header for the SHA-256 of a sealed request; each call uses up one of
            the member's messages in this epoch.
        query: where the provider wants one, proves what is asked.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        prove: Callable[[bytes], Awaitable[str]],
        query: ProveQuery | None = None,
    ) -> None:
        self._inner = inner
        self._prove = prove
        self._query = query

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` with its proof; one without a body, such as for keys, goes as it is.

        Raises:
            InputError: the body is streamed, so that nothing can be proved about it beforehand.
            AdmissionError: check ``rate``: this epoch's messages are used up.
            PrivityError: as the inner transport.
        """
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        departure = _DEPARTURE.get()
        if departure is not None:
            departure.reached = True
        if not isinstance(request.stream, httpx.ByteStream):
            raise InputError(
                "an anonymous request is proved over all of its bytes before the first one leaves",
                hint="send it with a content-length, and smaller",
            )
        body = await request.aread()
        digest = hashlib.sha256(body).digest()
        headers = list(request.headers.raw)
        if self._query is not None:  # first, as it takes longer: a message is of one epoch
            headers.append((QUERY_PROOF, (await self._query(digest)).encode()))
        headers.append((ADMISSION, (await self._prove(digest)).encode()))
        proved = httpx.Request(
            request.method,
            request.url,
            headers=headers,
            content=body,
            extensions=request.extensions,
        )
        if departure is not None:
            departure.left = True
        return await self._inner.handle_async_request(proved)
