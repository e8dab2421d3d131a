"""The admission header that travels outside the seal."""

from __future__ import annotations

from fuzz.harness import Made, attempt
from privity.anon.field import field_from_int
from privity.anon.rln import Proof

_PROOF = Proof(7, bytes(range(128)), field_from_int(1), field_from_int(2), field_from_int(3))


def one(data: bytes) -> None:
    text = data.decode("latin-1")
    proof = attempt(Proof.from_header, text)
    assert proof is None or proof.to_header() == text


def seeds() -> Made:
    return Made([_PROOF.to_header().encode()])
