"""The receipt of a run: nothing in it changes, and it is of this adapter and this enclave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from privity.attest import DevQuoter, DevRoot, Trust, build_statement, reverifier
from privity.attest.release import BootKeys
from privity.disclosure import Asset, Ground, Party, View
from privity.errors import InputError, MalformedError, ReceiptError
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.statement import Keyset, Software, Statement
from privity.train.program import program_software
from privity.train.receipt import (
    TrainingReceipt,
    VerifiedTraining,
    issue_receipt,
    verify_receipt,
)

NOW = utc_now().replace(microsecond=0)
ADAPTER = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@dataclass
class Signed:
    """A receipt, and what it was made with."""

    receipt: TrainingReceipt
    key: SigningKey
    statement: Statement
    reverify: Callable[[Statement, datetime], Any]

    def to_bytes(self, **changed: Any) -> bytes:
        return issue_receipt(replace(self.receipt, **changed), self.key, self.statement)

    def verify(self, data: bytes, adapter: str = ADAPTER) -> VerifiedTraining:
        return verify_receipt(data, adapter=adapter, reverify=self.reverify, now=NOW)


def make(*, software: tuple[Software, ...] | None = None) -> Signed:
    key, root = SigningKey.generate(), DevRoot.generate()
    named = (program_software(),) if software is None else software
    keyset: Keyset = BootKeys(key.did, role="trainer", software=named).keyset
    statement = build_statement(keyset, (DevQuoter(root, now=NOW),), now=NOW)
    receipt = TrainingReceipt(
        program=program_software().version,
        grant=OTHER,
        dataset="0" * 32,
        records_root="tree-" + OTHER,
        base="tree-" + OTHER,
        adapter=ADAPTER,
        recipient="age1pq1somebody",
        records=3,
        steps=4,
        keyset=keyset.digest,
        started=NOW,
        ended=NOW,
    )
    return Signed(receipt, key, statement, reverifier(Trust(dev_roots=(root.did,))))


@pytest.fixture(scope="module")
def signed() -> Signed:
    return make()


def test_an_honest_receipt_verifies_and_says_what_dev_is_worth(signed: Signed) -> None:
    verified = signed.verify(signed.to_bytes())
    assert verified.receipt == signed.receipt
    assert all(check.ok for check in verified.checks)
    host = verified.disclosure[Party.HOST, Asset.RECORDS]
    assert (host.view, host.grounds) == (View.EVERYTHING, {Ground.NOTHING})
    assert verified.disclosure[Party.OBSERVER, Asset.RECORDS].view == View.SIZE


def test_every_flipped_bit_is_refused_by_a_named_check(signed: Signed) -> None:
    data = signed.to_bytes()
    for at in range(0, len(data), 5):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(ReceiptError) as caught:
            signed.verify(bytes(flipped))
        assert caught.value.check


def test_another_adapter_is_refused(signed: Signed) -> None:
    with pytest.raises(ReceiptError) as caught:
        signed.verify(signed.to_bytes(), adapter=OTHER)
    assert caught.value.check == "adapter"


def test_a_program_that_the_evidence_does_not_bind_is_refused(signed: Signed) -> None:
    for one, program in ((signed, OTHER), (make(software=()), signed.receipt.program)):
        with pytest.raises(ReceiptError) as caught:
            one.verify(one.to_bytes(program=program))
        assert caught.value.check == "program"


def test_another_enclaves_statement_is_refused(signed: Signed) -> None:
    other = make()
    fields = loads_canonical(signed.to_bytes(), max_bytes=1 << 20)
    fields["statement"] = other.statement.to_json()
    with pytest.raises(ReceiptError) as caught:
        signed.verify(canonical(fields))
    assert caught.value.check == "issuer"
    # Signed by the other one's key, in the name of the first one's keyset.
    data = issue_receipt(signed.receipt, other.key, other.statement)
    with pytest.raises(ReceiptError) as caught:
        other.verify(data)
    assert caught.value.check == "keyset"


def test_evidence_under_a_root_that_is_not_trusted_is_refused(signed: Signed) -> None:
    with pytest.raises(ReceiptError) as caught:
        make().verify(signed.to_bytes())
    assert caught.value.check == "statement endorsement root"


def test_a_run_long_before_its_statement_is_refused(signed: Signed) -> None:
    old = NOW - timedelta(days=2)
    with pytest.raises(ReceiptError) as caught:
        signed.verify(signed.to_bytes(started=old))
    assert caught.value.check.startswith("statement ")


def test_what_no_reader_would_take_is_not_signed(signed: Signed) -> None:
    for wrong in ({"records": 0}, {"steps": -1}, {"dataset": ""}):
        with pytest.raises(MalformedError):
            signed.to_bytes(**wrong)
    with pytest.raises(MalformedError):
        replace(signed.receipt, ended=NOW - timedelta(seconds=1))


def test_only_verification_makes_a_verified_receipt(signed: Signed) -> None:
    verified = signed.verify(signed.to_bytes())
    with pytest.raises(InputError):
        VerifiedTraining(verified.receipt, verified.enclave, verified.disclosure, (), mint=object())
