"""The terms of payment: one document for everyone, under the ledger's key."""

from __future__ import annotations

import pytest

from privity.anon.payment_terms import MAX_BYTES, PaymentTerms
from privity.anon.tariff import flat_tariff
from privity.errors import MalformedError, PaymentError

TERMS = PaymentTerms(b"k" * 32, flat_tariff(), "0xprovider", 60, "eip155-1-0x00")


def test_it_reads_what_it_writes() -> None:
    assert PaymentTerms.from_bytes(TERMS.to_bytes()) == TERMS


def test_another_key_than_the_ledgers_is_refused() -> None:
    TERMS.check_issuer(b"k" * 32)
    with pytest.raises(PaymentError) as caught:
        TERMS.check_issuer(b"k" * 31 + b"l")
    assert caught.value.check == "issuer"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        TERMS.to_bytes()[:-1],
        TERMS.to_bytes() + b" ",
        TERMS.to_bytes().replace(b'"epoch_s":60', b'"epoch_s":0'),
        TERMS.to_bytes().replace(b'{"deployment"', b'{"a":1,"deployment"'),
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        PaymentTerms.from_bytes(data)
