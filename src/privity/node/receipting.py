"""Signs a job receipt for every answer an enclave gives, and sends it as a sealed trailer.

ASGI middleware between the gateway and the application. It holds digests of what passes and nothing
of what passes. A job without the client's salt, such as one of a standard Oblivious HTTP client,
is served without a receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from privity.errors import MalformedError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.proxy import SERVED, Served
from privity.receipt import (
    RECEIPT_TRAILER,
    SALT_HEADER,
    BodyDigest,
    EvidenceRef,
    JobReceipt,
    Outcome,
    decode_salt,
    encode_trailer,
    issue_receipt,
)
from privity.seal.asgi import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Identity", "Receipting"]

_SALT = SALT_HEADER.encode()
_TRAILER = RECEIPT_TRAILER.encode()


@dataclass(frozen=True)
class Identity:
    """Under which keys and evidence the enclave serves at the moment.

    Attributes:
        keyset: digest of its keyset.
        evidence: for that keyset.
    """

    keyset: str
    evidence: tuple[EvidenceRef, ...]


class Receipting:
    """Serves ``app``, and adds a job receipt to every answer that came to its end.

    Args:
        app: what answers; it may fill the scope's `Served`.
        key: the receipts key of the keyset.
        identity: gives what the enclave serves under now.
        clock: the time in receipts.

    Guarantees:
        An answer that broke off, and one to a request that was not read to its end, have no receipt
        (tests/unit/test_receipting.py).
    """

    def __init__(
        self,
        app: ASGIApp,
        key: SigningKey,
        identity: Callable[[], Identity],
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._app = app
        self._key = key
        self._identity = identity
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        salt = _salt(scope) if scope["type"] == "http" else None
        if salt is None:
            await self._app(scope, receive, send)
            return
        served = Served()
        job = _Job(salt, served, self._clock)
        inner = {**scope, SERVED: served}

        async def hearing() -> Message:
            message = await receive()
            job.hear(message)
            return message

        async def saying(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                job.status = message["status"]
                await send({**message, "trailers": True})
                return
            if kind == "http.response.body":
                job.answer.update(message.get("body", b""))
            await send(message)
            if kind == "http.response.body" and not message.get("more_body", False):
                fields = [(_TRAILER, self._receipt(job))] if job.whole else []
                await send({"type": "http.response.trailers", "headers": fields})

        await self._app(inner, hearing, saying)

    def _receipt(self, job: _Job) -> bytes:
        """Return the signed receipt of a job that has ended."""
        identity, ended = self._identity(), self._clock()
        receipt = JobReceipt(
            model=job.served.model,
            request=job.request.digest(),
            answer=job.answer.digest(),
            status=job.status,
            prompt_tokens=job.served.prompt_tokens,
            completion_tokens=job.served.completion_tokens,
            keyset=identity.keyset,
            evidence=identity.evidence,
            started=min(job.started, ended),  # a clock set back must not cost the receipt
            ended=ended,
            outcome=Outcome.COMPLETE if job.status < 400 else Outcome.FAILED,
        )
        return encode_trailer(issue_receipt(receipt, self._key))


class _Job:
    """What is known of one job: digests, and whether the request was heard to its end."""

    def __init__(self, salt: bytes, served: Served, clock: Clock) -> None:
        self.request = BodyDigest("request", salt)
        self.answer = BodyDigest("answer", salt)
        self.served = served
        self.status = 0
        self.whole = False
        self.started: datetime = clock()

    def hear(self, message: Message) -> None:
        """Take the next part of the request into account."""
        if message["type"] == "http.request" and not self.whole:
            self.request.update(message.get("body", b""))
            self.whole = not message.get("more_body", False)


def _salt(scope: Scope) -> bytes | None:
    """Return the salt the client sealed with the request, if it asks for a receipt."""
    values = [value for name, value in scope["headers"] if name == _SALT]
    if len(values) != 1:
        return None
    try:
        return decode_salt(values[0].decode("ascii"))
    except (MalformedError, UnicodeDecodeError):
        return None  # the client then misses its receipt, and refuses the answer
