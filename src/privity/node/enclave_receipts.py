"""Signs a receipt of each job inside the seal, as the job's bytes pass.

ASGI middleware between the gateway and the engine. A caller that sends a salt gets the receipt in
the sealed trailer of its answer; one that does not, such as any other OHTTP client, gets none.
Neither request nor answer is held: both are hashed as they stream.
"""

from __future__ import annotations

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
from privity.seal.asgi import ASGIApp, Message, Receive, Scope, Send, answer_problem
from privity.seal.problem import Problem

__all__ = ["Issuer", "ReceiptMiddleware"]

_TRAILERS = "http.response.trailers"
_SALT = SALT_HEADER.encode()
_BAD_SALT = Problem(
    400, "urn:privity:problem:salt", "the receipt salt is not 32 bytes in base64url"
)


@dataclass(frozen=True)
class Issuer:
    """What receipts say of the enclave that signs them.

    Attributes:
        key: signs them; its did:key is in the keyset.
        keyset: the keyset's digest.
        evidence: the evidence held for that keyset.
    """

    key: SigningKey
    keyset: str
    evidence: tuple[EvidenceRef, ...]


class ReceiptMiddleware:
    """Gives each answer of ``app`` a receipt. Run by the enclave.

    Args:
        app: serves the job, and says what it knows of it in the scope's `Served`.
        issuer: who signs.
        clock: the enclave's time.

    Guarantees:
        An answer that was not sent to its end has no receipt: not when the caller leaves, and not
        when the engine breaks off (tests/unit/test_enclave_receipts.py).
    """

    def __init__(self, app: ASGIApp, issuer: Issuer, *, clock: Clock = utc_now) -> None:
        self._app = app
        self._issuer = issuer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        salts = [value for name, value in scope["headers"] if name == _SALT]
        if not salts or _TRAILERS not in scope.get("extensions", {}):
            await self._app(scope, receive, send)
            return
        try:
            if len(salts) > 1:
                raise MalformedError("more than one salt")
            salt = decode_salt(salts[0].decode("ascii"))
        except (MalformedError, UnicodeDecodeError):
            await answer_problem(send, _BAD_SALT)
            return
        job = _Job(salt, self._issuer, self._clock, receive, send)
        kept = [(name, value) for name, value in scope["headers"] if name != _SALT]
        await self._app({**scope, "headers": kept, SERVED: job.served}, job.receive, job.send)


class _Job:
    """One request and its answer, hashed on their way through."""

    def __init__(
        self, salt: bytes, issuer: Issuer, clock: Clock, receive: Receive, send: Send
    ) -> None:
        self.served = Served()
        self._request = BodyDigest("request", salt)
        self._answer = BodyDigest("answer", salt)
        self._issuer = issuer
        self._clock = clock
        self._receive = receive
        self._send = send
        self._started: datetime | None = None  # when the request was whole
        self._status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and self._started is None:
            self._request.update(message.get("body", b""))
            if not message.get("more_body", False):
                self._started = self._clock()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            await self._send({**message, "trailers": True})
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        self._answer.update(message.get("body", b""))
        await self._send(message)
        if not message.get("more_body", False):
            await self._end()

    async def _end(self) -> None:
        """End the answer; with a receipt, unless it was refused before the request was whole."""
        refused = self._status >= 400
        while self._started is None and not refused:
            if (await self.receive())["type"] == "http.disconnect":
                return
        fields = list(self.served.trailers)
        if self._started is not None:
            document = issue_receipt(self._receipt(self._started, refused), self._issuer.key)
            fields.append((RECEIPT_TRAILER.encode(), encode_trailer(document)))
        await self._send({"type": _TRAILERS, "headers": fields, "more_trailers": False})

    def _receipt(self, started: datetime, refused: bool) -> JobReceipt:
        return JobReceipt(
            model=self.served.model,
            request=self._request.digest(),
            answer=self._answer.digest(),
            status=self._status,
            prompt_tokens=self.served.prompt_tokens,
            completion_tokens=self.served.completion_tokens,
            keyset=self._issuer.keyset,
            evidence=self._issuer.evidence,
            started=started,
            ended=max(started, self._clock()),  # a clock may be set back meanwhile
            outcome=Outcome.FAILED if refused else Outcome.COMPLETE,
            price=self.served.price,
        )
