"""The terms of payment: one document for everyone, under the ledger's key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from privity.anon.payment_terms import MAX_BYTES, PaymentTerms
from privity.anon.query_terms import QueryTerms
from privity.anon.tariff import flat_tariff
from privity.anon.vocabulary import Vocabulary
from privity.errors import MalformedError, PaymentError, PeerError

TERMS = PaymentTerms(b"k" * 32, flat_tariff(), "0xprovider", 60, "eip155-1-0x00")
QUERY = QueryTerms(Vocabulary(1000, (0, 7), "sha256:" + "00" * 32), (128, 512))


@pytest.mark.parametrize("terms", [TERMS, replace(TERMS, query=QUERY)])
def test_it_reads_what_it_writes(terms: PaymentTerms) -> None:
    assert PaymentTerms.from_bytes(terms.to_bytes()) == terms


def test_another_key_than_the_ledgers_is_refused() -> None:
    TERMS.check_issuer(b"k" * 32)
    with pytest.raises(PaymentError) as caught:
        TERMS.check_issuer(b"k" * 31 + b"l")
    assert caught.value.check == "issuer"


def test_terms_of_another_ledger_provider_or_epoch_are_refused() -> None:
    TERMS.check_network("eip155-1-0x00", "0xPROVIDER")  # an account, in mixed case or not
    with pytest.raises(PeerError, match="ledger"):
        TERMS.check_network("eip155-2-0x00", "0xprovider")
    with pytest.raises(PeerError, match="another provider"):
        TERMS.check_network("eip155-1-0x00", "0xanother")
    with pytest.raises(PeerError, match="epochs of 61 s"):
        replace(TERMS, epoch_s=61).check_network("eip155-1-0x00", "0xprovider")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        TERMS.to_bytes()[:-1],
        TERMS.to_bytes() + b" ",
        TERMS.to_bytes().replace(b'"epoch_s":60', b'"epoch_s":0'),
        TERMS.to_bytes().replace(b'{"deployment"', b'{"a":1,"deployment"'),
        replace(TERMS, query=QUERY).to_bytes().replace(b"[128,512]", b"[512]"),
        replace(TERMS, query=QUERY).to_bytes().replace(b"[128,512]", b"[128,128]"),
        replace(TERMS, query=QUERY).to_bytes().replace(b"[128,512]", b"[128,true]"),
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        PaymentTerms.from_bytes(data)
