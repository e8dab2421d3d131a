"""Credits: spends as an enclave gets them, refunds and answers as a device does, tariffs."""

from __future__ import annotations

from functools import cache

from fuzz.fuzz_tdx import _json
from fuzz.harness import Made, attempt, join, split
from privity.anon.credits import (
    CreditTerms,
    Issuer,
    IssuerKey,
    PendingPurchase,
    PendingSpend,
    prepare_purchase,
)
from privity.anon.tariff import EVERY_MODEL, Tariff, flat_tariff
from privity.hazmat.native import have_native
from privity.identity.jcs import canonical

_DEPLOYMENT = "fuzz"


@cache
def _made() -> tuple[Issuer, PendingPurchase, bytes, PendingSpend, bytes]:
    """Return an issuer, and what a device waits for; new in each process."""
    bank = Issuer(IssuerKey.generate(), _DEPLOYMENT)
    purchase, request = prepare_purchase(bank.terms, 100)
    spending, spend = purchase.complete(bank.issue(request, 100)).spend(60)
    return bank, purchase, request, spending, spend


def one(data: bytes) -> None:
    tariff = attempt(Tariff.from_json, _json(data))
    if tariff is not None:
        assert Tariff.from_json(tariff.to_json()) == tariff
    prices = flat_tariff().models[EVERY_MODEL]
    held = {one.price + two.price for one in prices.prompt for two in prices.completion}
    assert flat_tariff().worst_of(data) in held
    if not have_native("Act"):
        return
    bank, purchase, _, spending, spend = _made()
    for part in (data, *split(data, 4)):
        found = attempt(bank.verify_spend, part)
        assert found is None or part == spend, "a spend nobody made"
        assert attempt(spending.complete, part) is None, "a refund nobody signed"
        assert attempt(purchase.complete, part) is None, "an answer nobody signed"
        attempt(lambda part=part: bank.issue(part, 5))
        attempt(lambda part=part: CreditTerms(_DEPLOYMENT, part))


def seeds() -> Made:
    bank, _, request, _, spend = _made()
    refund = bank.refund(bank.verify_spend(spend), 45)
    answer = bank.issue(request, 100)
    body = b'{"max_tokens":5,"messages":[],"model":"small","n":2}'
    return Made([spend, join(refund, answer, request), canonical(flat_tariff().to_json()), body])
