"""What a relay asks of a target for one request of a client, and what it hands back of the answer.

It is fixed by the target, the path and the media type. Of a client nothing passes but its body, the
body's length where it says one, and the two fields that a gateway admits by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from privity import statement
from privity.errors import InputError
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.asgi import Scope
from privity.seal.fields import ADMISSION_FIELDS
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.key_config import KEYS_TYPE
from privity.seal.problem import Refused

__all__ = ["Plan", "checked_target", "plan_request", "returned_fields"]

_SEALED = {  # media type of a sealed request -> of its response
    ohttp.REQUEST_TYPE.encode(): ohttp.RESPONSE_TYPE,
    chunked_ohttp.REQUEST_TYPE.encode(): chunked_ohttp.RESPONSE_TYPE,
}
# A gateway may be hostile: nothing of it shall run in a browser as if it were the relay's.
_ANSWERED = frozenset(
    (*_SEALED.values(), KEYS_TYPE, statement.MEDIA_TYPE, "application/json", problem.MEDIA_TYPE)
)
_OPAQUE = b"application/octet-stream"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")
_STATEMENT_QUERY = re.compile(rb"nonce=[A-Za-z0-9_-]{43}")  # 32 bytes, base64url


@dataclass(frozen=True)
class Plan:
    """A request the relay will make.

    Attributes:
        method: ``GET`` or ``POST``.
        url: of the gateway's, key or statement resource.
        headers: all of its fields.
        has_body: whether the client's body goes with it.
    """

    method: str
    url: str
    headers: dict[str, str]
    has_body: bool = False


def plan_request(targets: Mapping[str, str], scope: Scope, *, most_bytes: int) -> Plan:
    """Return what to ask of which target.

    Args:
        targets: for each name, a base URL that `checked_target` returned.
        scope: the client's request.
        most_bytes: size of a sealed request, where it says one.

    Raises:
        Refused: it is nothing that a relay carries.
    """
    name, slash, rest = scope["path"].removeprefix("/").partition("/")
    base = targets.get(name)
    if base is None:
        raise Refused(problem.NO_TARGET)
    if scope["method"] == "POST" and not slash:
        return _plan_sealed(base, scope, most_bytes)
    if scope["method"] not in ("GET", "POST"):
        raise Refused(problem.NO_METHOD)
    if scope["method"] == "GET" and not slash:
        return Plan("GET", base + GATEWAY_PATH, {"accept": KEYS_TYPE})
    if scope["method"] == "GET" and slash + rest == statement.PATH:
        query = scope["query_string"]
        if not _STATEMENT_QUERY.fullmatch(query):
            raise Refused(problem.NOT_FOUND)
        return Plan(
            "GET", f"{base}{statement.PATH}?{query.decode()}", {"accept": statement.MEDIA_TYPE}
        )
    raise Refused(problem.NOT_FOUND)


def _plan_sealed(base: str, scope: Scope, most_bytes: int) -> Plan:
    fields: dict[bytes, bytes] = dict(scope["headers"])
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind not in _SEALED:
        raise Refused(problem.NOT_SEALED)
    headers = {"content-type": kind.decode(), "accept": _SEALED[kind]}
    length = fields.get(b"content-length")
    if length is not None and length.isdigit():
        if int(length) > most_bytes:
            raise Refused(problem.OVERSIZE)
        headers["content-length"] = str(int(length))
    if kind == chunked_ohttp.REQUEST_TYPE.encode():
        headers["incremental"] = "?1"
    for name, form in ADMISSION_FIELDS.items():
        value = fields.get(name)
        if value is None:
            continue
        if not form.fullmatch(value):
            raise Refused(problem.UNADMITTABLE)
        headers[name.decode()] = value.decode()
    return Plan("POST", base + GATEWAY_PATH, headers, has_body=True)


def returned_fields(fields: httpx.Headers) -> list[tuple[bytes, bytes]]:
    """Return what a client learns of the gateway's header: two fields at most."""
    kind = fields.get("content-type", "").partition(";")[0].strip().lower()
    returned = [(b"content-type", kind.encode() if kind in _ANSWERED else _OPAQUE)]
    if "cache-control" in fields:
        returned.append((b"cache-control", fields["cache-control"].encode("latin-1", "replace")))
    return returned


def checked_target(name: str, url: str) -> str:
    """Return the base URL of a target without a slash at its end.

    Raises:
        InputError: the name or the URL cannot be a target's.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a target", hint="use letters, digits and . _ ~ - only"
        )
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InputError(f"the URL of target {name!r} is not one") from error
    if (
        parsed.scheme not in ("http", "https")
        or not parsed.host
        or parsed.query
        or parsed.fragment
        or parsed.userinfo
    ):
        raise InputError(
            f"the URL of target {name!r} is not that of an enclave",
            hint="give http(s)://HOST[:PORT] with an optional path, without a query",
        )
    return url.rstrip("/")
