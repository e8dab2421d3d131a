"""Errors as clients of each shape expect them, and as providers send them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from privity.errors import MalformedError
from privity.infer.shapes.events import encode_event
from privity.infer.shapes.members import read_json, write_json

__all__ = ["MAX_MESSAGE", "error_answer", "error_event", "read_error"]

MAX_MESSAGE = 1000
"""Most characters that are kept of a provider's own message."""

_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


def _error(shape: str, message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    if shape == "messages":
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_answer(shape: str, status: int, message: str, kind: str) -> bytes:
    """Return the body of an error.

    Args:
        shape: ``messages``, or any other, whose errors are all OpenAI's.
        status: of the response it goes with; in messages it decides the type.
        message: what the person is told.
        kind: a word for programs: the ``code`` in OpenAI's form, which Anthropic's has not.
    """
    otherwise = "invalid_request_error" if status < 500 else "api_error"
    return write_json(_error(shape, message, _STATUS.get(status, otherwise), kind)).encode()


def error_event(shape: str, message: str, kind: str = "api_error") -> bytes:
    """Return an error as an event of a stream that had begun; no end mark may follow it.

    Args:
        shape: as for `error_answer`.
        message: what the person is told.
        kind: its type, a word of the API such as ``overloaded_error``.
    """
    name = b"error" if shape == "messages" else b""
    return encode_event(write_json(_error(shape, message, kind)).encode(), name)


def read_error(body: bytes) -> str:
    """Return a provider's own message in one line, empty where there is none to find.

    It may repeat what was asked, so it goes to the person who asked and nowhere else.

    Guarantees:
        Total, and at most `MAX_MESSAGE` characters, none of which steers a terminal
        (tests/property/test_shapes.py).
    """
    try:
        found = read_json(body)
    except MalformedError:
        return ""
    for names in (("error", "message"), ("error",), ("message",), ("detail",)):
        value = found
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            # Halves of characters cannot be written to a terminal or a file.
            text = value[: 4 * MAX_MESSAGE].encode(errors="replace").decode()
            return _CONTROLS.sub(" ", text).strip()[:MAX_MESSAGE]
    return ""
