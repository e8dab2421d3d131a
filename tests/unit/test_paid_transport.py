"""What pays for a job on the device: set aside before it leaves, taken back at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER
from privity.errors import PaymentError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.paid import PaidTransport

pytestmark = pytest.mark.anyio


@dataclass
class Held:
    id: str
    spend: bytes


class Purse:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.empty = False

    async def spend(self, amount: int) -> Held:
        if self.empty:
            raise PaymentError("not enough", check="short")
        self.log.append(f"journal {amount}")
        return Held("s1", b"spend of " + str(amount).encode())

    async def refunded(self, spend_id: str, refund: bytes) -> None:
        if refund == b"forged":
            raise PaymentError("not this issuer's", check="proof")
        self.log.append(f"refund {spend_id} {refund.decode()}")


@dataclass
class Sealed:
    trailers: dict[bytes, bytes]


class Enclave:
    def __init__(self, purse: Purse, refund: bytes | None = b"back") -> None:
        self.purse = purse
        self.refund = refund
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.purse.log.append("sent")
        self.seen.append(request)
        trailers = {}
        if self.refund is not None:
            trailers[REFUND_TRAILER.encode()] = encode_base64url(self.refund).encode()
        return httpx.Response(200, content=b"answer", extensions={"sealed": Sealed(trailers)})


def client(purse: Purse, enclave: Any) -> httpx.AsyncClient:
    inner = httpx.MockTransport(enclave)
    return httpx.AsyncClient(transport=PaidTransport(inner, purse, lambda body: len(body)))


async def test_a_spend_is_in_the_journal_before_anything_leaves() -> None:
    purse = Purse()
    enclave = Enclave(purse)
    async with client(purse, enclave) as http:
        assert (await http.post("http://e/v1", content=b"12345")).content == b"answer"
    assert purse.log == ["journal 5", "sent", "refund s1 back"]
    assert decode_base64url(enclave.seen[0].headers[SPEND_HEADER]) == b"spend of 5"


async def test_what_only_reads_costs_nothing() -> None:
    purse = Purse()
    enclave = Enclave(purse)
    async with client(purse, enclave) as http:
        await http.get("http://e/v1/models")
    assert purse.log == ["sent"] and SPEND_HEADER not in enclave.seen[0].headers


async def test_an_empty_wallet_sends_nothing() -> None:
    purse = Purse()
    purse.empty = True
    enclave = Enclave(purse)
    async with client(purse, enclave) as http:
        with pytest.raises(PaymentError):
            await http.post("http://e/v1", content=b"x")
    assert not enclave.seen


async def test_an_answer_left_early_leaves_the_spend_in_the_journal() -> None:
    purse = Purse()
    async with (
        client(purse, Enclave(purse)) as http,
        http.stream("POST", "http://e/v1", content=b"x") as response,
    ):
        assert response.status_code == 200
    assert purse.log == ["journal 1", "sent"]


@pytest.mark.parametrize("refund", [None, b"forged", b"x" * 5000])
async def test_a_refund_that_is_missing_or_wrong_leaves_the_spend_in_the_journal(
    refund: bytes | None,
) -> None:
    purse = Purse()
    async with client(purse, Enclave(purse, refund)) as http:
        assert (await http.post("http://e/v1", content=b"x")).content == b"answer"
    assert purse.log == ["journal 1", "sent"]
