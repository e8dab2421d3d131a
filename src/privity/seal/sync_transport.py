"""A blocking `httpx` transport over an asynchronous one, so that there is only one implementation.

One event loop runs in one background thread, started with the first request; blocking callers from
any number of threads hand their requests to it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import httpx

from privity.errors import InputError

__all__ = ["SyncTransport"]

T = TypeVar("T")


class SyncTransport(httpx.BaseTransport):
    """Lets blocking clients use an asynchronous transport; safe to share between threads.

    A caller that is interrupted, or closes its response, cancels the request. The thread is a
    daemon: a program that forgets to close its client still ends.

    Args:
        inner: the asynchronous transport; closed with this one.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: weakref.finalize[Any, Any] | None = None
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` through the inner transport; the body of the response streams.

        Raises:
            InputError: the transport was closed.
            PrivityError: as the inner transport does.
        """
        response = self.call(self._inner.handle_async_request(_asynchronous(request)))
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_SyncBody(self, response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close the inner transport and end the background thread."""
        if not self._closed:
            self.call(self._inner.aclose())
        with self._lock:
            self._closed = True
            if self._stop is not None:
                self._stop()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the background loop and wait; cancel it if the wait is broken off.

        Raises:
            InputError: the transport was closed.
        """
        try:
            loop = self._running_loop()
        except InputError:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # no effect if it is the coroutine that raised
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise InputError("this client was closed", hint="make a new one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_run, args=(self._loop,), daemon=True)
                thread.name = "privity-transport"
                thread.start()
                # Also runs when this object is collected, and at exit.
                self._stop = weakref.finalize(self, _end, self._loop, thread)
            return self._loop


class _SyncBody(httpx.SyncByteStream):
    """The body of a response, read piece by piece from the background loop."""

    def __init__(self, owner: SyncTransport, response: httpx.Response) -> None:
        self._owner = owner
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        if not isinstance(self._response.stream, httpx.AsyncByteStream):
            raise InputError("the inner transport must be asynchronous")
        pieces = aiter(self._response.stream)
        while (piece := self._owner.call(_next(pieces))) is not None:
            yield piece

    def close(self) -> None:
        self._owner.call(self._response.aclose())


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(timeout=5)


def _asynchronous(request: httpx.Request) -> httpx.Request:
    """Return the request with a body that the loop can read without being blocked by it."""
    body = request.stream
    if isinstance(body, httpx.AsyncByteStream):
        return request
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        content=_read_in_thread(body),
        extensions=request.extensions,
    )


async def _read_in_thread(body: httpx.SyncByteStream) -> AsyncIterator[bytes]:
    pieces = iter(body)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
