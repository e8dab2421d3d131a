"""Floor 5: refusals inside the seal, in the shape that clients of every API read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privity.errors import PrivityError
from privity.infer.shapes.errors import own_error
from privity.seal.asgi import Send, answer

__all__ = ["refuse"]

_JSON = [(b"content-type", b"application/json")]


async def refuse(
    send: Send,
    status: int,
    error: PrivityError,
    *,
    kind: str,
    code: str = "",
    more: Mapping[str, Any] | None = None,
) -> None:
    """Answer with an error and its hint. Run by the enclave.

    Args:
        send: of the connection.
        status: of the response.
        error: what is wrong.
        kind: its ``type``, such as ``payment_error``.
        code: a word for programs; the error's check by default.
        more: machine-readable detail.
    """
    word = code or getattr(error, "check", "")
    body = own_error(error.message, word, error.hint, kind=kind, **(more or {}))
    await answer(send, status, _JSON, body)
