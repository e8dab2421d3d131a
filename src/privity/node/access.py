"""Who on this machine may talk to the device daemon.

The daemon listens on loopback, which every user and every web page on the machine can reach. So a
request must come *addressed to loopback* (a page whose name an attacker re-pointed at 127.0.0.1
still sends its own name), must not come *from a web page* unless the person allowed that page, and
must carry a *token that only the same user can read*.

Guarantees:
    A request that fails one of the three never reaches a route
    (tests/adversary/session/test_device.py).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from privity.errors import InputError
from privity.home import read_private, write_private, writing
from privity.infer.loopback import is_loopback

__all__ = ["AccessControl", "AccessRefused", "load_or_create_token"]

Headers = Sequence[tuple[bytes, bytes]]

_PORT = re.compile(r"(?::\d{1,5})?")
_MIN_TOKEN = 20
# What a page may send once the person allowed its origin; the answers are for it alone.
_CORS = (
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, x-api-key"),
    (b"access-control-max-age", b"600"),
)


class AccessRefused(Exception):
    """The daemon does not serve this local request; it never leaves the daemon, but as an answer.

    Attributes:
        message: what was wrong, in words.
        status: the HTTP status to answer with.
        code: the same for programs.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, status: int, code: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.hint = hint


def load_or_create_token(
    path: Path, randomness: Callable[[int], str] = secrets.token_urlsafe
) -> str:
    """Return the daemon's bearer token, making a 256-bit one on first use.

    Raises:
        InputError: others on this machine can read the file, it holds no token, or it cannot be
            written.
    """
    if not path.exists():
        with writing(path):
            write_private(path, randomness(32).encode())
    try:
        token = read_private(path).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if len(token) < _MIN_TOKEN or any(character.isspace() for character in token):
        raise InputError(f"{path} does not hold a token", hint="delete it; a new one is made")
    return token


@dataclass(frozen=True)
class AccessControl:
    """Decides which local requests the daemon serves; run on every request, before anything else.

    Args:
        token: what clients send as ``Authorization: Bearer``, or, as those of Anthropic's API do,
            as ``x-api-key``.
        allowed_origins: web origins, such as ``http://localhost:3000``, whose pages may call.
    """

    token: str
    allowed_origins: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"AccessControl(allowed_origins={sorted(self.allowed_origins)})"

    def admit_origin(self, headers: Headers) -> str | None:
        """Check the addressed host and the calling page; return the page's origin if it has one.

        Raises:
            AccessRefused: not addressed to loopback, or from a page that is not allowed.
        """
        host = _single(headers, b"host")
        if host is None or not _is_loopback(host):
            raise AccessRefused(
                "this request is addressed to a name other than this machine's loopback",
                status=403,
                code="host_not_loopback",
                hint="use http://127.0.0.1 and the daemon's port",
            )
        origins = _all(headers, b"origin")
        if not origins:
            return None
        if len(origins) > 1 or origins[0] not in self.allowed_origins:
            raise AccessRefused(
                "web pages may not call the daemon unless you allow their origin",
                status=403,
                code="origin_not_allowed",
                hint="add the origin to allowed_origins under [device] in config.toml",
            )
        return origins[0]

    def admit_token(self, headers: Headers) -> None:
        """Check the token, in time that does not depend on how much of it is right.

        Raises:
            AccessRefused: absent or wrong.
        """
        scheme, _, token = (_single(headers, b"authorization") or "").partition(" ")
        if not token:  # with both, the one that is meant for us counts
            scheme, token = "bearer", _single(headers, b"x-api-key") or ""
        expected = self.token.encode()
        right = hmac.compare_digest(token.strip().encode("latin-1"), expected)
        if scheme.lower() != "bearer" or not right:
            raise AccessRefused(
                "the daemon's token is missing or wrong",
                status=401,
                code="token_required",
                hint="send it as the API key; `privity up` says where it is kept",
            )


def is_preflight(method: str, headers: Headers) -> bool:
    """Tell whether a browser asks, without credentials, if it may send the real request."""
    return method == "OPTIONS" and _single(headers, b"access-control-request-method") is not None


def cors_headers(origin: str | None, *, preflight: bool = False) -> list[tuple[bytes, bytes]]:
    """Return what lets an admitted origin's page read the answer; nothing for other clients."""
    if origin is None:
        return []
    allow = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
    return [*allow, *_CORS] if preflight else allow


def _is_loopback(host: str) -> bool:
    """Take a ``Host`` apart and accept those of loopback, with any port.

    The port is the client's business: it may come through a port that was forwarded.
    """
    name, rest = host, ""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket:
            return False
    elif ":" in host:
        name, _, port = host.partition(":")
        rest = ":" + port
    return _PORT.fullmatch(rest) is not None and is_loopback(name)


def _all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _single(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return the header's value, or None when it is absent or was sent more than once."""
    values = _all(headers, name)
    return values[0] if len(values) == 1 else None
