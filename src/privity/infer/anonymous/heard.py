"""How far a message came: to its guard, or to the second relay and back.

Only where a second relay has answered, whole, is it certain that the guard let it through. What
comes out of the chain of relays is under the second one's seal (`seal/hops.py`). A first relay can
cut an answer off after its head, so the head says nothing yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from privity.errors import PeerError

__all__ = ["Heard", "is_unconnected"]

_UNCONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class Heard(httpx.AsyncBaseTransport):
    """Notes whether the last request was answered to its authentic end. Run by the device.

    Args:
        inner: the chain of relays; it stays open.

    Attributes:
        whole: whether it was.

    Guarantees:
        An answer that the first relay withholds or cuts off is none
        (tests/adversary/test_gateway_choice.py).
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.whole = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; raises as the inner transport."""
        self.whole = False
        response = await self._inner.handle_async_request(request)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Stream(self, response),
            extensions=response.extensions,
        )


def is_unconnected(error: BaseException) -> bool:
    """Tell whether a way failed as nothing could connect to its guard, which then was told nothing.

    The guard is the only one that a device connects to. What another cannot reach is said in words.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _UNCONNECTED):
            return True
        cause = cause.__cause__
    return False


class _Stream(httpx.AsyncByteStream):
    def __init__(self, heard: Heard, response: httpx.Response) -> None:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise PeerError("the answer cannot be streamed")
        self._heard = heard
        self._stream = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece
        self._heard.whole = True

    async def aclose(self) -> None:
        await self._stream.aclose()
