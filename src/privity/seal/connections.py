"""How the first bytes of a chain of relays leave a device: connections and heads that tell little.

What one person's requests have in common links them, before anything is opened: one connection for
two of them, or header fields that another's software does not send. So each exchange may have a
connection of its own, and every client sends the same header section, byte for byte, but for the
length of the body. With a SOCKS proxy the network path is that of Tor or another anonymity network:
names are resolved by the proxy, and nothing ever goes around it.

TLS itself is not made uniform: its first message tells which library a client has (spec/relays.md).
"""

from __future__ import annotations

import importlib.util
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import httpx

from privity.errors import InputError, MissingDependency, PeerError
from privity.seal.fields import ADMISSION_FIELDS

__all__ = ["Connections"]

# All that a relay or gateway needs, in the order in which it is sent. What a person's own software
# says is inside the seal; here it has no place.
_SENT = (
    b"host",
    b"content-type",
    b"accept",
    b"incremental",
    *ADMISSION_FIELDS,
    b"content-length",
    b"transfer-encoding",
)
_METHODS = ("GET", "POST")
_CONNECT_S = 30.0  # for a proxy that is slow to reach the relay: Tor takes seconds
_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class Connections(httpx.AsyncBaseTransport):
    """Connections of one device to its first relay. Run by the Client.

    Args:
        proxy: ``socks5h://HOST:PORT`` of a SOCKS 5 proxy; None for none.
        one_connection_each: whether each exchange has a connection of its own, closed after it.
        isolate: whether each exchange gives the proxy a fresh name and password, by which Tor
            (``IsolateSOCKSAuth``, its default) takes a circuit of its own for it. Implies
            ``one_connection_each``.
        tls: what authenticates an ``https`` relay; by default the roots that httpx carries.
        randomness: where those names come from.

    Raises:
        InputError: the proxy is none that resolves names itself, or options contradict each other.
        MissingDependency: socksio, which speaks SOCKS, is not installed.

    Guarantees:
        Every client sends one header section (tests/adversary/test_hops.py,
        `test_every_client_sends_the_same_head`). Where a proxy is given nothing goes around it,
        not even the look-up of a name (tests/adversary/test_socks.py).
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        one_connection_each: bool = True,
        isolate: bool = False,
        tls: ssl.SSLContext | None = None,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if isolate and proxy is None:
            raise InputError("only a proxy can isolate streams", hint="give a socks5h:// proxy")
        self._proxy = None if proxy is None else _checked_proxy(proxy, isolate)
        self._isolate = isolate
        self._each = one_connection_each or isolate
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._randomness = randomness
        self._shared = None if self._each else self._made()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of a sealed transport, or of one that fetches keys or a statement.

        Raises:
            httpx.TransportError: the relay or the proxy cannot be reached, or breaks off.
            PeerError: the proxy does not speak SOCKS 5.
        """
        sent = _uniform(request, close=self._each)
        if self._shared is not None:
            return await self._watched(self._shared, sent)
        transport = self._made()
        try:
            response = await self._watched(transport, sent)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await transport.aclose()
            raise
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise InputError("the connections are not asynchronous")
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Only(response.stream, transport),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close the connections that are kept; those of one exchange each close with it."""
        if self._shared is not None:
            await self._shared.aclose()

    def _made(self) -> httpx.AsyncHTTPTransport:
        proxy = self._proxy
        if proxy is not None and self._isolate:
            name, password = self._randomness(16).hex(), self._randomness(16).hex()
            proxy = httpx.Proxy(proxy.url, auth=(name, password))
        keep = 0 if self._each else None
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=keep, keepalive_expiry=2.0
        )
        return httpx.AsyncHTTPTransport(
            verify=self._tls, trust_env=False, limits=limits, proxy=proxy
        )

    async def _watched(
        self, transport: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        """Send through ``transport``; end a proxy that does not answer as it should.

        httpcore waits for a proxy's words without end, lets whatever they raise through, and
        leaves its connection open.
        """
        if self._proxy is None:
            return await transport.handle_async_request(request)
        limit = request.extensions.get("timeout", {}).get("connect") or _CONNECT_S
        with anyio.CancelScope(deadline=anyio.current_time() + limit) as scope:
            setup = _Setup(scope)
            request.extensions = {**request.extensions, "trace": setup}
            try:
                return await transport.handle_async_request(request)
            except httpx.HTTPError:
                raise
            except Exception as error:
                if setup.done:
                    raise
                raise PeerError(
                    "the proxy does not speak SOCKS 5", hint="check its address"
                ) from error
            finally:
                if not setup.done:
                    await setup.close()
        raise httpx.ConnectTimeout("the proxy did not answer in time")


class _Stream(Protocol):
    async def aclose(self) -> None: ...


@dataclass
class _Setup:
    """Follows the way to a proxy and through it, up to the first byte of the request."""

    scope: anyio.CancelScope
    done: bool = False
    stream: _Stream | None = field(default=None, repr=False)

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            self.stream = info["return_value"]
        elif event.endswith("send_request_headers.started"):
            self.done = True
            self.scope.deadline = float("inf")

    async def close(self) -> None:
        if self.stream is not None:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await self.stream.aclose()


class _Only(httpx.AsyncByteStream):
    """The body of the only response of its connections."""

    def __init__(self, body: httpx.AsyncByteStream, transport: httpx.AsyncHTTPTransport) -> None:
        self._body = body
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._body.aclose()
            await self._transport.aclose()


def _uniform(request: httpx.Request, *, close: bool) -> httpx.Request:
    """Return the request with the fields that every client sends, in one order, and no others."""
    if request.method not in _METHODS:
        raise InputError("a sealed request is a POST, and keys are fetched with a GET")
    given = {name.lower(): value for name, value in request.headers.raw}
    fields = [(name, given[name]) for name in _SENT if name in given]
    if close:
        fields.append((b"connection", b"close"))
    if not all(_VALUE.fullmatch(value) for _, value in fields):
        raise InputError("a field outside the seal has bytes that HTTP does not allow")
    timeout = {key: value for key, value in request.extensions.items() if key == "timeout"}
    return httpx.Request(
        request.method, request.url, headers=fields, stream=request.stream, extensions=timeout
    )


def _checked_proxy(url: str, isolate: bool) -> httpx.Proxy:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InputError("the proxy's URL is not one", hint="give socks5h://HOST:PORT") from error
    if parsed.scheme != "socks5h" or not parsed.host or parsed.port is None:
        raise InputError(
            "a proxy has to be a SOCKS 5 proxy that resolves names itself",
            hint="give socks5h://HOST:PORT, such as socks5h://127.0.0.1:9050 for Tor",
        )
    if parsed.userinfo and isolate:
        raise InputError(
            "a proxy with a name and password of its own cannot isolate by fresh ones",
            hint="leave them out of its URL, or do not ask to isolate",
        )
    if importlib.util.find_spec("socksio") is None:
        raise MissingDependency(
            "a SOCKS proxy needs socksio, which is not installed", hint="pip install 'httpx[socks]'"
        )
    return httpx.Proxy(parsed)
