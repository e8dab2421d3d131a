"""Credits: bought, spent, refunded; what is refused; what is not shown."""

from __future__ import annotations

import pytest

from fake_spends import DEPLOYMENT, issuer, token
from native import needs_kernel
from privity.anon import credits
from privity.anon.credits import CreditTerms, CreditToken, IssuerKey, prepare_purchase
from privity.errors import InputError, MalformedError, PaymentError

pytestmark = needs_kernel("Act")


def test_a_spend_and_its_refund_keep_the_sum() -> None:
    bank = issuer()
    pending, data = token(bank, 1000).spend(60)
    spend = bank.verify_spend(data)
    assert (spend.amount, len(data)) == (60, credits.SPEND_BYTES)
    refund = bank.refund(spend, 45)
    assert len(refund) == credits.REFUND_BYTES
    rest = pending.complete(refund)
    assert (rest.balance, pending.charged(rest)) == (985, 15)
    assert rest.spend(985)[0].amount == 985


def test_all_and_nothing_can_be_spent() -> None:
    bank = issuer()
    for amount in (0, 1000):
        pending, data = token(bank, 1000).spend(amount)
        rest = pending.complete(bank.refund(bank.verify_spend(data), 0))
        assert rest.balance == 1000 - amount


def test_the_largest_amount() -> None:
    bank = issuer()
    assert token(bank, credits.MAX_CREDITS).balance == credits.MAX_CREDITS
    for amount in (0, -1, credits.MAX_CREDITS + 1):
        with pytest.raises(PaymentError) as refused:
            prepare_purchase(bank.terms, amount)
        assert refused.value.check == "amount"


def test_more_than_there_is_cannot_be_spent() -> None:
    with pytest.raises(PaymentError) as refused:
        token(issuer(), 10).spend(11)
    assert refused.value.check == "short"


def test_more_than_was_spent_cannot_come_back() -> None:
    bank = issuer()
    _, data = token(bank).spend(5)
    with pytest.raises(PaymentError) as refused:
        bank.refund(bank.verify_spend(data), 6)
    assert refused.value.check == "amount"


def test_keys_are_kept_and_loaded() -> None:
    key = IssuerKey.generate()
    assert IssuerKey.load(key.secret).public == key.public
    for bad in (b"", bytes(71), key.secret[:-1] + bytes([key.secret[-1] ^ 1])):
        with pytest.raises(InputError):
            IssuerKey.load(bad)


def test_a_token_is_kept_and_loaded() -> None:
    bank = issuer()
    one = token(bank, 77)
    assert CreditToken.load(bank.terms, one.secret) == one
    with pytest.raises(InputError):
        CreditToken.load(bank.terms, one.secret[:-1])


def test_terms_that_are_none() -> None:
    public = IssuerKey.generate().public
    for deployment in ("", "eip155:1", "é", "x" * 129):
        with pytest.raises(InputError):
            CreditTerms(deployment, public)
    for key in (bytes(32), b"\xff" * 32, public[:-1]):
        with pytest.raises(InputError):
            CreditTerms(DEPLOYMENT, key)


def test_errors_of_the_native_module_are_ours() -> None:
    bank = issuer()
    with pytest.raises(MalformedError):
        bank.verify_spend(b"\xa0")
    with pytest.raises(MalformedError):
        bank.issue(b"\xa0", 5)
    pending, _ = prepare_purchase(bank.terms, 5)
    with pytest.raises(MalformedError):
        pending.complete(b"")


def test_no_secret_in_a_repr() -> None:
    bank, key = issuer(), IssuerKey.generate()
    one = token(bank)
    pending, data = one.spend(5)
    shown = repr([key, one, pending, bank.verify_spend(data), prepare_purchase(bank.terms, 5)[0]])
    for secret in (key.secret, one.secret, pending.secret, pending.data):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
