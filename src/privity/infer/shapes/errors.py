"""Errors as clients of each shape expect them, those of privity among them."""

from __future__ import annotations

import json
from typing import Any

from privity.infer.shapes.events import encode_event
from privity.infer.shapes.members import write_json

__all__ = ["MAX_MESSAGE", "error_answer", "error_event", "own_error"]

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


def own_error(
    message: str, code: str, hint: str, *, kind: str = "privity_error", **more: Any
) -> bytes:
    """Return the body of an error that is privity's own, which the clients of every shape read.

    Args:
        message: what happened.
        code: a word for programs.
        hint: what to do; empty where there is nothing.
        kind: its type.
        more: machine-readable detail.
    """
    error: dict[str, Any] = {
        "message": f"{message} ({hint})" if hint else message,
        "type": kind,
        "param": None,
        "code": code,
        "hint": hint,
        **more,
    }
    return json.dumps({"type": "error", "error": error}, ensure_ascii=False).encode()


def error_event(shape: str, message: str, kind: str = "api_error") -> bytes:
    """Return an error as an event of a stream that had begun; no end mark may follow it.

    Args:
        shape: as for `error_answer`.
        message: what the person is told.
        kind: its type, a word of the API such as ``overloaded_error``.
    """
    name = b"error" if shape == "messages" else b""
    return encode_event(write_json(_error(shape, message, kind)).encode(), name)
