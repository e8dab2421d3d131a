"""Floor 5: what an enclave answers unsealed: its statement, and that it is alive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from privity.errors import MalformedError
from privity.identity.multibase import decode_base64url
from privity.seal.asgi import Receive, Scope, Send, answer, answer_problem
from privity.seal.problem import NO_METHOD, NOT_FOUND, Problem
from privity.statement import MEDIA_TYPE, PATH, Statement

__all__ = ["HEALTH_PATH", "Outside"]

HEALTH_PATH = "/healthz"

_BAD_NONCE = Problem(400, "urn:privity:problem:nonce", "a nonce is 32 bytes in base64url")
_UNSEALED = Problem(
    404,
    "urn:privity:problem:unsealed",
    "this enclave reads sealed requests alone: send them to /.well-known/ohttp-gateway, "
    "as privity does",
)


class Outside:
    """Answers what is not sealed: nothing in it depends on anything that was. Run by the enclave.

    Args:
        quote: returns a statement for a nonce, or a beacon without one.
    """

    def __init__(self, quote: Callable[[bytes | None], Awaitable[Statement]]) -> None:
        self._quote = quote

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"]
        if path in (PATH, HEALTH_PATH) and scope["method"] != "GET":
            await answer_problem(send, NO_METHOD)
        elif path == PATH:
            await self._publish(scope, send)
        elif path == HEALTH_PATH:
            await answer(send, 200, _fresh("application/json"), b'{"status":"ok"}')
        else:
            unsealed = path == "/v1" or path.startswith("/v1/")
            await answer_problem(send, _UNSEALED if unsealed else NOT_FOUND)

    async def _publish(self, scope: Scope, send: Send) -> None:
        nonces = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        try:
            nonce = _nonce(nonces.get("nonce", []))
            statement = await self._quote(nonce)
        except MalformedError:
            await answer_problem(send, _BAD_NONCE)
            return
        await answer(send, 200, _fresh(MEDIA_TYPE), statement.to_bytes())


def _nonce(values: list[str]) -> bytes | None:
    if len(values) > 1:
        raise MalformedError("more than one nonce")
    return decode_base64url(values[0]) if values else None


def _fresh(media_type: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
