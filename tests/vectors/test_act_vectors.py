"""The draft's vectors of anonymous credits, through the binding.

The whole run from the seed, with its random numbers, is in rust/src/act/tests.rs: the binding
takes randomness from the operating system alone, and amounts of 32 bits where the vectors have 8.
What depends on neither is here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from native import needs_kernel
from privity.hazmat.native import native

pytestmark = needs_kernel("Act")

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "act_draft.json").read_text())


def _vector(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


def test_the_public_key_of_the_secret_one() -> None:
    assert b"\x58\x20" + native().act_public(_vector("sk_cbor")) == _vector("pk_cbor")


def test_the_answer_makes_the_token() -> None:
    act = native().Act(*VECTORS["domain_separator"].split(":")[1:])
    token = act.complete(
        _vector("preissuance_cbor"),
        _vector("issuance_request_cbor"),
        _vector("issuance_response_cbor"),
        _vector("pk_cbor")[2:],
    )
    assert token == _vector("credit_token_cbor")


@pytest.mark.parametrize(
    ("name", "amount", "nullifier"),
    [
        ("credit_token_cbor", VECTORS["c"], "nullifier"),
        ("refund_token_cbor", VECTORS["remaining_balance"], "refund_token_nullifier"),
    ],
)
def test_what_a_token_holds(name: str, amount: int, nullifier: str) -> None:
    found = native().act_token(_vector(name))
    assert found == (_vector(nullifier), amount, _vector("ctx"))


def test_the_vectors_token_is_spent_and_refunded_by_the_binding() -> None:
    act = native().Act(*VECTORS["domain_separator"].split(":")[1:])
    secret, public = _vector("sk_cbor"), _vector("pk_cbor")[2:]
    state, spend = act.spend(_vector("credit_token_cbor"), VECTORS["s"])
    assert act.verify(secret, spend) == (_vector("nullifier"), VECTORS["s"], _vector("ctx"))
    refund = act.refund(secret, spend, VECTORS["t"])
    token = act.complete_refund(state, spend, refund, public)
    assert native().act_token(token)[1] == VECTORS["remaining_balance"]


def test_a_spend_of_fewer_bits_is_refused() -> None:
    act = native().Act(*VECTORS["domain_separator"].split(":")[1:])
    with pytest.raises(ValueError, match="spend"):
        act.verify(_vector("sk_cbor"), _vector("spend_proof_cbor"))
