"""An enclave as tests of payment see it: an engine that says what it is told, behind a desk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from privity.anon.credits import CreditTerms, CreditToken, Issuer, IssuerKey, prepare_purchase
from privity.anon.desk import CreditDesk
from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER, PaymentTerms
from privity.anon.stores import SpendStore
from privity.anon.tariff import flat_tariff
from privity.errors import PaymentError
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.engines.proxy import SERVED
from privity.ledger.credits import SignedExit
from privity.ledger.wire import Address
from privity.node.enclave_payment import PaymentMiddleware
from privity.node.enclave_receipts import Issuer as ReceiptIssuer
from privity.node.enclave_receipts import ReceiptMiddleware
from privity.receipt import (
    RECEIPT_TRAILER,
    SALT_HEADER,
    EvidenceRef,
    JobReceipt,
    decode_trailer,
    encode_salt,
    verify_receipt,
)
from privity.statement import Model

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DEPLOYMENT = "eip155-31337-0x00"
TARIFF = flat_tariff(prompt=((1000, 2),), completion=((10, 1), (100, 5)))
KEY = SigningKey(b"k" * 32)
BODY = json.dumps({"model": "tiny", "max_tokens": 100, "messages": []}).encode()


class NoLedger:
    async def issue(self, deposit: int, request: bytes) -> bytes:
        raise PaymentError("no ledger here", check="deposit")

    async def sign_exit(self, amount: int, nonce: bytes, to: str) -> SignedExit:
        return SignedExit(amount, Address(to), nonce, b"signed " + to.encode())


class Enclave:
    """An enclave's inside: an engine that says what it is told, behind payment and receipts."""

    def __init__(self, store: SpendStore) -> None:
        self.store = store
        self.key = IssuerKey.generate()
        self.issuer = Issuer(self.key, DEPLOYMENT)
        self.terms = PaymentTerms(self.key.public, TARIFF, "0xprovider", 60, DEPLOYMENT)
        self.desk = CreditDesk(self.issuer, store)
        self.status, self.completion, self.breaks = 200, 5, False
        self.events = [b"data: one\n\n", b"data: two\n\n"]
        self.jobs = 0
        paid = PaymentMiddleware(self._engine, self.desk, self.terms, NoLedger())
        evidence = (EvidenceRef("dev", "sha256:" + "b" * 64),)
        signer = ReceiptIssuer(KEY, "sha256:" + "a" * 64, evidence)
        self.app = ReceiptMiddleware(paid, signer, clock=lambda: NOW)

    def token(self, balance: int = 100) -> CreditToken:
        terms = CreditTerms(DEPLOYMENT, self.key.public)
        pending, request = prepare_purchase(terms, balance)
        return pending.complete(self.issuer.issue(request, balance))

    async def _engine(self, scope: Any, receive: Any, send: Any) -> None:
        self.jobs += 1
        assert SPEND_HEADER.encode() not in dict(scope["headers"])
        assert (await receive())["body"] == BODY
        served = scope[SERVED]
        served.model = Model("tiny", None, "script 1")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        for event in self.events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        if self.breaks:
            raise RuntimeError("the engine broke off")
        served.prompt_tokens, served.completion_tokens = 3, self.completion
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def ask(
        self, spend: bytes | None, *, path: str = "/v1/chat/completions", method: str = "POST"
    ) -> Reply:
        headers = [(SALT_HEADER.encode(), encode_salt(bytes(32)).encode())]
        if spend is not None:
            headers.append((SPEND_HEADER.encode(), encode_base64url(spend).encode()))
        return await self.send(headers, BODY, path=path, method=method)

    async def send(self, headers: Any, body: bytes, *, path: str, method: str = "POST") -> Reply:
        reply = Reply()
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return given.pop() if given else {"type": "http.disconnect"}

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
            "extensions": {"http.response.trailers": {}},
        }
        try:
            await self.app(scope, receive, reply.take)
        except RuntimeError:
            reply.broke = True
        return reply


class Reply:
    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.broke = False

    async def take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        else:
            self.trailers = {k.decode(): v.decode() for k, v in message["headers"]}

    @property
    def refund(self) -> bytes:
        return decode_base64url(self.trailers[REFUND_TRAILER])

    @property
    def receipt(self) -> JobReceipt:
        document = decode_trailer(self.trailers[RECEIPT_TRAILER].encode())
        return verify_receipt(document, issuer=KEY.did, now=NOW + timedelta(days=1)).job

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        return error

    @property
    def code(self) -> str:
        return self.error["code"]
