"""The parts of an HTTP message, checked when they are made, whether written or read.

Field names are tokens and come out in lower case; values carry no NUL, CR or LF and no outer
white space (RFC 9113 §8.2.1). Pseudo-fields are refused, and so is CONNECT, which has no meaning
in a sealed message (RFC 9292 §6).

What these hold is plaintext, so no repr shows any of it, wherever one may be logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from privity.errors import MalformedError

__all__ = [
    "Content",
    "Event",
    "Fields",
    "Head",
    "Informational",
    "Kind",
    "RequestHead",
    "ResponseHead",
    "Trailers",
    "field",
]

Fields = tuple[tuple[bytes, bytes], ...]
"""Field lines in order: lower-case name, value."""

Kind = Literal["request", "response"]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE = re.compile(rb"(?:[^\x00\r\n\t ](?:[^\x00\r\n]*[^\x00\r\n\t ])?)?").fullmatch
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*").fullmatch
# Visible ASCII without what would end an authority, or smuggle a user name into it.
_AUTHORITY = re.compile(rb"[!\"$-.0->A-Z\[-~]*").fullmatch
_PATH = re.compile(rb"/[!\"$-~]*|\*").fullmatch


@dataclass(frozen=True, repr=False)
class RequestHead:
    """What a request asks: control data and header section (RFC 9292 §3.4, §3.6).

    Attributes:
        method: an HTTP method other than CONNECT.
        scheme: such as ``https``.
        authority: host and optional port; may be empty, and then a ``host`` field names it.
        path: path and query, from the leading slash on; or ``*``.
        headers: the field lines.

    Raises:
        MalformedError: a part breaks the rules of RFC 9292 §3.4 or §3.6.
    """

    method: str
    scheme: str
    authority: str
    path: str
    headers: Fields = ()

    def __post_init__(self) -> None:
        method, scheme, authority, path = self.control()
        if not _TOKEN(method) or method == b"CONNECT":
            raise MalformedError("the method is not one a sealed request can carry")
        if not _SCHEME(scheme):
            raise MalformedError("the scheme is not a URI scheme")
        if not _AUTHORITY(authority):
            raise MalformedError("the authority is not a host with an optional port")
        if not _PATH(path):
            raise MalformedError("the path does not begin with a slash, or has invalid bytes")
        object.__setattr__(self, "headers", _checked(self.headers))

    def control(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Return method, scheme, authority and path as bytes, unchecked beyond being ASCII."""
        try:
            return (
                self.method.encode("ascii"),
                self.scheme.encode("ascii"),
                self.authority.encode("ascii"),
                self.path.encode("ascii"),
            )
        except UnicodeEncodeError:
            raise MalformedError("the request line has characters outside ASCII") from None


@dataclass(frozen=True, repr=False)
class ResponseHead:
    """A final status, 200 to 599, and its header section (RFC 9292 §3.5).

    Raises:
        MalformedError: the status or a field is not valid.
    """

    status: int
    headers: Fields = ()

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise MalformedError("the status of a response is not between 200 and 599")
        object.__setattr__(self, "headers", _checked(self.headers))


@dataclass(frozen=True, repr=False)
class Informational:
    """An interim status, 100 to 199, and its header section (RFC 9292 §3.5.1).

    Raises:
        MalformedError: the status or a field is not valid.
    """

    status: int
    headers: Fields = ()

    def __post_init__(self) -> None:
        if not 100 <= self.status <= 199:
            raise MalformedError("the status of an interim response is not between 100 and 199")
        object.__setattr__(self, "headers", _checked(self.headers))


@dataclass(frozen=True, slots=True, repr=False)
class Content:
    """Some bytes of the content; never empty, and not aligned to how they were sent."""

    data: bytes


@dataclass(frozen=True, repr=False)
class Trailers:
    """The trailer section, empty where there is none: always the last event of a message."""

    fields: Fields = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", _checked(self.fields))


Head = RequestHead | ResponseHead
Event = RequestHead | ResponseHead | Informational | Content | Trailers


def field(fields: Fields, name: bytes) -> bytes | None:
    """Return the value of the first field called ``name`` (lower case), or None."""
    return next((value for key, value in fields if key == name), None)


def _checked(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    for name, value in fields:
        if not _TOKEN(name):
            raise MalformedError("a field name has bytes that HTTP does not allow")
        if not _VALUE(value):
            raise MalformedError("a field value has control bytes or outer white space")
    return tuple((name.lower(), value) for name, value in fields)
