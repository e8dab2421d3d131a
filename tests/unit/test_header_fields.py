"""What relays let pass is what the proofs' own modules make."""

from __future__ import annotations

from privity.anon import query, rln
from privity.seal import fields


def test_relays_let_pass_what_admits() -> None:
    assert set(fields.ADMISSION_FIELDS) == {fields.ADMISSION, fields.QUERY_PROOF}


def test_their_lengths_are_the_same() -> None:
    admission = fields.ADMISSION_FIELDS[fields.ADMISSION]
    proof = fields.ADMISSION_FIELDS[fields.QUERY_PROOF]
    for form, most in ((admission, rln.HEADER_CHARS), (proof, query.MAX_HEADER)):
        assert form.fullmatch(b"A" * most)
        assert not form.fullmatch(b"A" * (most + 1))
    assert not admission.fullmatch(b"A" * (rln.HEADER_CHARS - 1))
