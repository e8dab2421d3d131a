"""Two relays in a row: a transport whose sealed messages go through one relay to another.

The first relay sees who asks and that the second one is asked; the second sees which gateway is
asked, and not by whom. Neither can know both. A client composes

    ``SealedTransport(enclave_keys, exit_url("gateway"), inner=through_relay(...))``

so that a message sealed to the enclave is sealed once more to the second relay, whose own gateway
opens it (node/relay_role.py). Keys and statements are fetched the same way.

Errors keep their meaning. What the enclave's gateway says outside its seal is inside the second
relay's, so the first relay cannot say it in its place. The promises: spec/relays.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable

import anyio
import httpx

from privity import statement
from privity.errors import (
    AdmissionError,
    EvidenceError,
    InputError,
    OversizeError,
    PeerError,
    StaleKeyError,
)
from privity.seal.fields import ADMISSION_FIELDS
from privity.seal.key_config import KEYS_TYPE, KeyConfig, parse_configs, preferred
from privity.seal.shaping import Pace, Shape
from privity.seal.transport import KeySource, SealedTransport
from privity.wording import failure_words

__all__ = ["RelayKeys", "exit_url", "is_exit_url", "through_relay"]

_EXIT = "http://exit"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")
_CARRIED = (
    b"content-type",
    b"accept",
    b"incremental",
    *ADMISSION_FIELDS,
    b"content-length",
)
# An answer of the enclave has its shape already. Keys and statements have none, and their sizes
# would tell the first relay whose they are: they come whole, in a bucket of records.
_AS_IT_COMES = Shape(records=None, cadence_ms=None)
_WHOLE = Shape(records=4096, cadence_ms=None, pace=Pace.WHOLE)
_FETCH_S = 30.0  # for all of a relay's keys, however they drip
_KEYS_BYTES = 64 * 1024


def exit_url(target: str) -> str:
    """Return the URL that stands for a resource of the second relay, for `through_relay`.

    Raises:
        InputError: no target can have that name.
    """
    return f"{_EXIT}/{_checked(target)}"


def is_exit_url(url: str) -> bool:
    """Tell whether a URL is one of `exit_url`: a name between the relays, and none for a person."""
    return url.startswith(f"{_EXIT}/")


def through_relay(
    inner: httpx.AsyncBaseTransport,
    first_url: str,
    second_name: str,
    keys: KeySource,
    exit_target: str,
    *,
    clock: Callable[[], float] = time.time,
) -> httpx.AsyncBaseTransport:
    """Return a transport to one target of the second relay, by way of the first.

    It carries what a relay carries: sealed messages to `exit_url`, and the keys and statement of
    the gateway there. It leaves ``inner`` open when it is closed.

    Args:
        inner: connections to the first relay.
        first_url: the first relay's base URL.
        second_name: what the first relay calls the second.
        keys: the second relay's keys, `RelayKeys`.
        exit_target: what the second relay calls the gateway.
        clock: seconds since the epoch, for the sealed date.

    Raises:
        InputError: a name or URL is none.
    """
    url = f"{_checked_base(first_url)}/{_checked(second_name)}"
    return _ThroughRelay(inner, url, keys, exit_url(exit_target), clock)


class _ThroughRelay(httpx.AsyncBaseTransport):
    """What `through_relay` returns. Run by the Client.

    Guarantees:
        The first relay learns nothing of the target, the second nothing of the client
        (tests/adversary/test_hops.py). A chain that stops early is `TruncatedError`
        (tests/adversary/test_hop_attacks.py).
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        url: str,
        keys: KeySource,
        target: str,
        clock: Callable[[], float],
    ) -> None:
        self._target = target
        self._streams = SealedTransport(keys, url, inner=inner, shape=_AS_IT_COMES, clock=clock)
        self._fetches = SealedTransport(keys, url, inner=inner, shape=_WHOLE, clock=clock)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Have the second relay make ``request``; return its answer, whose body streams.

        Raises:
            InputError: the request is none that a relay makes.
            PeerError: a relay cannot be reached, lost its key, or answered outside the protocol.
            SealError, EvidenceError: see `SealedTransport` and the keys' source.
        """
        onward = self._onward(request)
        transport = self._streams if onward.method == "POST" else self._fetches
        try:
            response = await transport.handle_async_request(onward)
        except StaleKeyError as error:  # not the enclave's: nothing of its is to be fetched again
            raise PeerError(
                "the second relay no longer holds the key that the registry names",
                hint="read the registry again, or choose other relays",
            ) from error
        except AdmissionError as error:  # said outside the seal, where no gateway speaks
            raise PeerError(
                "a relay refused the message in the name of a gateway that it did not reach",
                hint="choose other relays",
            ) from error
        kind = response.headers.get("content-type", "")
        return httpx.Response(
            response.status_code, headers={"content-type": kind}, stream=response.stream
        )

    def _onward(self, request: httpx.Request) -> httpx.Request:
        """Return what the second relay is asked, without anything that is the client's own."""
        url, method = str(request.url), request.method
        asked = url.partition("?")[0]
        may = method == "POST" and url == self._target
        may = may or (method == "GET" and url == self._target)
        may = may or (method == "GET" and asked == self._target + statement.PATH)
        if not may:
            raise InputError("a relay carries sealed messages, keys and statements of its targets")
        given = {name.lower(): value for name, value in request.headers.raw}
        return httpx.Request(
            method,
            url,
            headers=[(name, given[name]) for name in _CARRIED if name in given],
            stream=request.stream,
            extensions={k: v for k, v in request.extensions.items() if k == "timeout"},
        )


class RelayKeys:
    """The second relay's keys, fetched through the first and compared with the registry.

    Run by the Client. All clients read one registry, so no relay can give one of them keys of
    their own, by which it would be known again.

    Args:
        inner: connections to the first relay.
        first_url: the first relay's base URL.
        second_name: what the first relay calls the second.
        digest: SHA-256 of the second relay's key configurations, from the registry; 32 bytes.

    Guarantees:
        Other keys than the registry's are never sealed to
        (tests/adversary/test_hop_attacks.py::test_a_relay_with_substituted_keys_is_refused).
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, first_url: str, second_name: str, digest: bytes
    ) -> None:
        if len(digest) != hashlib.sha256().digest_size:
            raise InputError("the digest of a relay's keys is SHA-256")
        self._inner = inner
        self._url = f"{_checked_base(first_url)}/{_checked(second_name)}"
        self._digest = digest
        self._lock = anyio.Lock()
        self._config: KeyConfig | None = None

    async def current(self) -> KeyConfig:
        """Return the configuration to seal to, fetched on first use.

        Raises:
            PeerError: the keys cannot be fetched.
            EvidenceError: they are not those of the registry; its check is ``relay-keys``.
        """
        async with self._lock:
            if self._config is None:
                self._config = await self._fetched()
            return self._config

    async def refresh(self, stale: KeyConfig) -> KeyConfig:
        """Raise `StaleKeyError`: what the registry's digest stands for does not change."""
        raise StaleKeyError("the second relay does not hold the key that the registry names")

    async def _fetched(self) -> KeyConfig:
        request = httpx.Request(
            "GET",
            self._url,
            headers={"accept": KEYS_TYPE},
            extensions={"timeout": httpx.Timeout(_FETCH_S).as_dict()},
        )
        try:
            with anyio.fail_after(_FETCH_S):
                response = await self._inner.handle_async_request(request)
                try:
                    data = await _bounded(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise PeerError("the second relay's keys did not come in time") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise PeerError(
                f"the second relay's keys cannot be fetched ({failure_words(error)})",
                hint="check the first relay's URL, and that it is running",
            ) from error
        if response.status_code != 200:
            raise PeerError(
                f"the first relay answered {response.status_code} when asked for the second's keys",
                hint="it may not lead to that relay: choose others",
            )
        if not hmac.compare_digest(hashlib.sha256(data).digest(), self._digest):
            raise EvidenceError(
                "the second relay's keys are not those of the registry: one of the two relays "
                "gave others, or they were just changed",
                check="relay-keys",
                hint="read the registry again; if it stays so, choose other relays",
            )
        return preferred(parse_configs(data))


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise InputError("the connections to a relay must be asynchronous")
    async for piece in response.stream:
        body += piece
        if len(body) > _KEYS_BYTES:
            raise OversizeError(f"the second relay's keys are larger than {_KEYS_BYTES} bytes")
    return bytes(body)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a target", hint="use letters, digits and . _ ~ - only"
        )
    return name


def _checked_base(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InputError("the URL of the first relay is not one") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise InputError("the URL of the first relay is not that of a relay")
    return url.rstrip("/")
