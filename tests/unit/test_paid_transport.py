"""What pays for a job on the device: set aside before it leaves, taken back at its end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest

from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER
from privity.anon.tariff import flat_tariff
from privity.errors import PaymentError, PeerError, ReceiptError, TruncatedError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.paid import Charge, PaidTransport
from privity.infer.anonymous.purse import SharedWallet
from privity.receipt import EvidenceRef, JobReceipt, Outcome, Price
from privity.statement import Model

pytestmark = pytest.mark.anyio
TARIFF = flat_tariff(prompt=((1000, 2),), completion=((10, 1), (100, 5)))


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

    async def refunded(self, spend_id: str, refund: bytes) -> int:
        if refund == b"forged":
            raise PaymentError("not this issuer's", check="proof")
        self.log.append(f"refund {spend_id} {refund.decode()}")
        return 3

    def over(self, spend_id: str) -> None:
        pass

    async def unsent(self, spend_id: str) -> None:
        self.log.append(f"unsent {spend_id}")


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
    return httpx.AsyncClient(transport=PaidTransport(inner, purse, TARIFF))


async def test_a_spend_is_in_the_journal_before_anything_leaves() -> None:
    purse = Purse()
    enclave = Enclave(purse)
    async with client(purse, enclave) as http:
        assert (await http.post("http://e/v1", content=b"12345")).content == b"answer"
    assert purse.log == ["journal 7", "sent", "refund s1 back"]
    assert decode_base64url(enclave.seen[0].headers[SPEND_HEADER]) == b"spend of 7"


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
    assert purse.log == ["journal 7", "sent"]


class Breaks(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"ans"
        raise TruncatedError("the connection broke", hint="ask again")


async def test_who_gets_no_whole_answer_is_told_how_the_credits_come_back() -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise PeerError("a relay cannot be reached")

    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Breaks())

    hints = []
    for enclave in (unreachable, broken):
        async with client(Purse(), enclave) as http:
            with pytest.raises((PeerError, TruncatedError)) as failed:
                await http.post("http://e/v1", content=b"12345")
        hints.append(failed.value.hint)
    assert all("the 7 credits that were held come back" in one for one in hints)
    assert all("`privity wallet recover`" in one for one in hints)
    assert hints[1].startswith("ask again; ")


@pytest.mark.parametrize("refund", [None, b"forged", b"x" * 5000])
async def test_a_refund_that_is_missing_or_wrong_leaves_the_spend_in_the_journal(
    refund: bytes | None,
) -> None:
    purse = Purse()
    async with client(purse, Enclave(purse, refund)) as http:
        assert (await http.post("http://e/v1", content=b"x")).content == b"answer"
    assert purse.log == ["journal 7", "sent"]


def receipt(
    charged: int, *, held: int = 7, tokens: int | None = 5, status: int = 200
) -> JobReceipt:
    digest, now = "sha256:" + "0" * 64, datetime(2026, 11, 21, tzinfo=UTC)
    return JobReceipt(
        model=Model("tiny", None, "script 1"),
        request=digest,
        answer=digest,
        status=status,
        prompt_tokens=3,
        completion_tokens=5,
        keyset=digest,
        evidence=(EvidenceRef("dev", digest),),
        started=now,
        ended=now,
        outcome=Outcome.COMPLETE,
        price=Price(charged, held, TARIFF.digest),
    )


def test_what_the_tariff_says_passes() -> None:
    Charge(7, TARIFF, kept=3).check(receipt(3))
    Charge(7, TARIFF).check(receipt(0, status=500))


@pytest.mark.parametrize(
    ("charge", "said"),
    [
        (Charge(7, TARIFF, kept=3), receipt(7)),
        (Charge(7, TARIFF, kept=7), receipt(3)),
        (Charge(7, TARIFF, kept=3), receipt(3, held=6)),
        (Charge(7, TARIFF, kept=1), receipt(1, status=500)),
        (Charge(7, flat_tariff(), kept=3), receipt(3)),
    ],
    ids=["too much", "more than it signs", "another spend", "a failure", "another tariff"],
)
def test_an_overcharge_is_found_by_the_receipt_itself(charge: Charge, said: JobReceipt) -> None:
    with pytest.raises(ReceiptError) as caught:
        charge.check(said)
    assert caught.value.check == "price"


async def test_a_job_waits_for_the_token_of_another_of_this_process(tmp_path: Path) -> None:
    class Wallet:
        free = True

        def spend(self, amount: int) -> Held:
            if not self.free:
                raise PaymentError("in use", check="short")
            self.free = False
            return Held("s1", b"spend")

    inner = Wallet()
    shared = SharedWallet(tmp_path, bytes(32))
    shared.turn = lambda terms=None: contextlib.nullcontext(inner)  # type: ignore[method-assign,assignment,misc]
    purse = shared.purse(cast("Any", None))
    await purse.spend(1)
    done: list[str] = []

    async def second() -> None:
        await purse.spend(1)
        done.append("second")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(second)
            await anyio.sleep(0.05)
            assert not done
            inner.free = True
            purse.over("s1")
    assert done == ["second"]
    purse.over("s1")
    with pytest.raises(PaymentError):
        await purse.spend(1)
