"""A desk that signs one thing and gives another: it is found out, told, and the evidence stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fake_spends import issuer
from native import needs_kernel
from privity.anon.payment_terms import REFUND_TRAILER, SPEND_HEADER, PaymentTerms
from privity.anon.tariff import flat_tariff
from privity.errors import PaymentError, ReceiptError
from privity.identity.digests import digest
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.network import Network
from privity.infer.anonymous.paid import CHARGE, Charge, PaidTransport
from privity.infer.anonymous.purse import SharedWallet
from privity.ledger.credits import DepositState, SignedExit
from privity.receipt import EvidenceRef, JobReceipt, Outcome, Price
from privity.seal.connections import Connections
from privity.statement import Model
from teller_world import World

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

TARIFF = flat_tariff(prompt=((1000, 20), (5000, 40)), completion=((10, 10), (100, 50)))
HELD = 30


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


# What is paid out


def as_the_ledger_does(world: World) -> dict[bytes, int]:
    """Have an act of one name done once, as `Sender` has it; return what was paid by it."""
    paid: dict[bytes, int] = {}

    async def exit_unspent(signed: SignedExit) -> None:
        paid.setdefault(signed.nonce, signed.amount)

    world.exit_unspent = exit_unspent  # type: ignore[method-assign]
    return paid


async def test_two_spends_are_not_paid_out_under_one_nullifier(world: World) -> None:
    """The second would be taken for the first one, done already, and its credits forgotten."""
    for _ in range(2):
        await world.teller.top_up(100)
    paid, serve, nonces = as_the_ledger_does(world), world.desk_exit, list[str]()

    async def desk_exit(body: Any) -> Any:
        said = await serve(body)
        nonces.append(said["nonce"])
        return {**said, "nonce": nonces[0]}

    world.desk_exit = desk_exit  # type: ignore[method-assign]
    with pytest.raises(PaymentError) as refused:
        await world.teller.exit()
    assert refused.value.check == "nullifier"
    assert sum(paid.values()) == 100
    (kept,) = world.wallet.read().unfinished()
    assert kept.amount == 100, "the evidence, and the right to ask again, stay"
    world.desk_exit = serve  # type: ignore[method-assign]
    assert await world.teller.exit() == 100
    assert sum(paid.values()) == 200 and not world.wallet.read().unfinished()


# What is bought


async def test_who_claims_a_deposit_and_gives_no_credits_is_named(world: World) -> None:
    async def desk_issue(body: Any) -> Any:
        world.states[body["deposit"]] = DepositState.CLAIMED
        raise PaymentError("no", check="deposit")

    serve, world.desk_issue = world.desk_issue, desk_issue  # type: ignore[method-assign]
    with pytest.raises(PaymentError) as refused:
        await world.teller.top_up(100)
    assert "deposit 0 is claimed on the ledger" in refused.value.hint
    assert len(world.wallet.read().purchases()) == 1
    world.desk_issue = serve  # type: ignore[method-assign]
    assert await world.teller.finish_purchases() == 100


# What comes back with an answer


class Enclave:
    """Serves one job, and spoils the refund that its desk gave."""

    def __init__(self, spoil: Any) -> None:
        self.issuer, self.spoil = issuer(), spoil
        self.charged = HELD - 10

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        spend = self.issuer.verify_spend(decode_base64url(request.headers[SPEND_HEADER]))
        refund = self.spoil(self.issuer, spend, spend.amount - self.charged)
        trailers = {}
        if refund is not None:
            trailers[REFUND_TRAILER.encode()] = encode_base64url(refund).encode()
        sealed = SimpleNamespace(trailers=trailers)
        return httpx.Response(200, content=b"answer", extensions={"sealed": sealed})

    def receipt(self) -> JobReceipt:
        nothing, now = "sha256:" + "0" * 64, datetime(2026, 11, 21, tzinfo=UTC)
        return JobReceipt(
            model=Model("tiny", None, "script 1"),
            request=nothing,
            answer=nothing,
            status=200,
            prompt_tokens=3,
            completion_tokens=5,
            keyset=nothing,
            evidence=(EvidenceRef("dev", nothing),),
            started=now,
            ended=now,
            outcome=Outcome.COMPLETE,
            price=Price(min(self.charged, HELD), HELD, TARIFF.digest),
        )


def anothers(maker: Any, _spend: Any, back: int) -> bytes:
    """Return a refund of another person's spend."""
    wallet_token = token(maker)
    _pending, spend = wallet_token.spend(HELD)
    refund: bytes = maker.refund(maker.verify_spend(spend), back)
    return refund


def token(maker: Any) -> Any:
    from privity.anon.credits import prepare_purchase

    pending, request = prepare_purchase(maker.terms, 100)
    return pending.complete(maker.issue(request, 100))


WITHHELD = {
    "none": lambda maker, spend, back: None,
    "garbage": lambda maker, spend, back: b"x" * 176,
    "anothers": anothers,
    "another key's": lambda maker, spend, back: anothers(issuer(), spend, back),
    "too long": lambda maker, spend, back: b"x" * 5000,
}
WRONG = {
    "less": lambda maker, spend, back: maker.refund(spend, back - 1),
    "more, a mark": lambda maker, spend, back: maker.refund(spend, back + 1),
}


async def asked(
    folder: Path,
    enclave: Enclave,
    path: str = "/v1/chat/completions",
    body: Mapping[str, Any] | None = None,
    *,
    held: int = HELD,
) -> tuple[SharedWallet, Charge]:
    wallet = SharedWallet(folder, b"\7" * 32)
    with wallet.turn(enclave.issuer.terms) as mine:
        name, request = mine.buy(100)
        mine.bought(name, enclave.issuer.issue(request, 100))
    transport = PaidTransport(
        httpx.MockTransport(enclave), wallet.purse(enclave.issuer.terms), TARIFF
    )
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.post("http://e" + path, json=body or {"max_tokens": 10})
    assert response.content == b"answer"
    charge: Charge = response.extensions[CHARGE]
    assert charge.held == held
    return wallet, charge


@pytest.mark.parametrize("how", WITHHELD)
async def test_a_refund_that_is_withheld_is_told_and_the_spend_kept(
    tmp_path: Path, how: str
) -> None:
    enclave = Enclave(WITHHELD[how])
    wallet, charge = await asked(tmp_path, enclave)
    with pytest.raises(ReceiptError) as refused:
        charge.check(enclave.receipt())
    assert refused.value.check == "refund"
    assert "privity wallet recover" in refused.value.hint
    (kept,) = wallet.read().unfinished()
    assert kept.amount == HELD


@pytest.mark.parametrize("how", WRONG)
async def test_a_refund_of_another_amount_than_is_signed_is_told(tmp_path: Path, how: str) -> None:
    """One credit more is a gift that marks: it shows where the rest is paid out."""
    enclave = Enclave(WRONG[how])
    _wallet, charge = await asked(tmp_path, enclave)
    with pytest.raises(ReceiptError) as refused:
        charge.check(enclave.receipt())
    assert refused.value.check == "price"


async def test_the_tariff_that_a_receipt_names_is_kept(tmp_path: Path) -> None:
    """An enclave that denies its tariff afterwards would else be proved nothing."""
    keys = issuer()
    scope = "0x" + "11" * 20
    terms = PaymentTerms(keys.terms.public, TARIFF, scope, 60, keys.terms.deployment)
    addresses = SimpleNamespace(deployment=keys.terms.deployment, settle_s=60)
    ledger: Any = SimpleNamespace(members=None, addresses=addresses)
    network = Network(ledger, SharedWallet(tmp_path, bytes(32)), Connections(), folder=tmp_path)

    async def on_ledger() -> Any:
        return SimpleNamespace(key=keys.terms.public)

    network.registry.issuer = on_ledger  # type: ignore[method-assign]
    route: Any = SimpleNamespace(enclave=SimpleNamespace(keyset=SimpleNamespace(digest="one")))
    desk = httpx.MockTransport(lambda request: httpx.Response(200, content=terms.to_bytes()))
    for name in ("one", "another"):
        route.enclave.keyset.digest = name
        assert await network.terms(route, desk, scope) == terms
    (kept,) = (tmp_path / "tariffs").iterdir()
    assert "sha256:" + kept.stem == TARIFF.digest == digest(kept.read_bytes())


async def test_who_counts_no_prompt_and_charges_for_its_bytes_is_not_accused() -> None:
    charge = Charge(HELD + 20, TARIFF, kept=HELD + 20, size=4000)
    said = replace(Enclave(None).receipt(), prompt_tokens=None)
    price = Price(HELD + 20, HELD + 20, TARIFF.digest)
    charge.check(replace(said, price=price))
    with pytest.raises(ReceiptError):
        replace(charge, size=900).check(replace(said, price=price))


@pytest.mark.parametrize(("path", "told"), [("/v1/embeddings", True), ("/v1/completions", False)])
async def test_no_answer_tokens_are_due_where_none_are_made(
    tmp_path: Path, path: str, told: bool
) -> None:
    """Uncounted, they cost up to what was held: that must not be all that embeddings cost."""
    enclave = Enclave(lambda maker, spend, back: maker.refund(spend, back))
    enclave.charged = HELD + 40
    _wallet, charge = await asked(tmp_path, enclave, path, {"input": "a"}, held=HELD + 40)
    price = Price(enclave.charged, HELD + 40, TARIFF.digest)
    said = replace(enclave.receipt(), completion_tokens=None, price=price)
    if told:
        with pytest.raises(ReceiptError) as refused:
            charge.check(said)
        assert refused.value.check == "price"
    else:
        charge.check(said)


async def test_an_honest_enclave_is_not_accused(tmp_path: Path) -> None:
    enclave = Enclave(lambda maker, spend, back: maker.refund(spend, back))
    enclave.charged = HELD
    wallet, charge = await asked(tmp_path, enclave)
    charge.check(enclave.receipt())
    assert wallet.read().balance == 100 - HELD
