"""Job receipts, device records and their parts: what can be said, and what cannot."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import InputError, MalformedError, ReceiptError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.receipt import (
    BodyDigest,
    DeviceRecord,
    EvidenceRef,
    JobReceipt,
    Outcome,
    ReceiptFile,
    VerifiedReceipt,
    VerifiedRecord,
    add_proof,
    decode_salt,
    decode_trailer,
    encode_salt,
    encode_trailer,
    issue_receipt,
    issue_record,
    new_salt,
    salt_commitment,
    verify_receipt,
    verify_record,
)
from privity.receipt.job import MAX_BYTES
from privity.statement import Model

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = SigningKey(b"\1" * 32)
DIGEST = "sha256:" + "ab" * 32
JOB = JobReceipt(
    model=Model("small", DIGEST, "llama.cpp"),
    request=DIGEST,
    answer=DIGEST,
    status=200,
    prompt_tokens=None,
    completion_tokens=7,
    keyset=DIGEST,
    evidence=(EvidenceRef("dev", DIGEST),),
    started=NOW,
    ended=NOW,
    outcome=Outcome.COMPLETE,
)
RECORD = DeviceRecord(
    route="local",
    policy="local-only",
    model=None,
    disclosure=Disclosure(
        {
            (Party.RELAY, Asset.PROMPT): Cell(
                View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "sealed")})
            ),
            (Party.HOST, Asset.ADDRESS): Cell(instead=frozenset({"the relay"})),
        },
        {Party.ENCLAVE: frozenset({"dev"})},
    ),
    statement=None,
    receipt=None,
    request=DIGEST,
    answer=DIGEST,
    salt=DIGEST,
    started=NOW,
    ended=NOW,
    outcome=Outcome.COMPLETE,
)


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        replace(JOB, model=None, prompt_tokens=0, outcome=Outcome.FAILED, status=503),
        replace(JOB, ended=NOW + timedelta(hours=1, microseconds=9)),
    ],
)
def test_a_job_receipt_comes_back_as_it_was_issued(job: JobReceipt) -> None:
    verified = verify_receipt(issue_receipt(job, KEY), issuer=KEY.did, now=job.ended)
    assert verified.job == job
    assert verified.issuer == KEY.did


def test_a_record_comes_back_as_it_was_issued() -> None:
    verified = verify_record(issue_record(RECORD, KEY), device=None, now=NOW)
    assert verified.record == RECORD
    assert verified.device == KEY.did


def test_a_receipt_is_a_verifiable_credential_that_says_dev_by_itself() -> None:
    document = issue_receipt(JOB, KEY)
    assert document["type"] == ["VerifiableCredential", "PrivityJobReceipt"]
    assert document["@context"][0] == "https://www.w3.org/ns/credentials/v2"
    assert document["issuer"] == KEY.did
    assert document["proof"]["cryptosuite"] == "eddsa-jcs-2022"
    assert document["credentialSubject"]["evidence"][0]["kind"] == "dev"
    assert document["credentialSubject"]["tokens"] == {"completion": 7, "prompt": None}


def test_times_in_receipts_are_whole_seconds() -> None:
    finer = replace(JOB, started=NOW.replace(microsecond=5), ended=NOW.replace(microsecond=9))
    assert b"12:00:00Z" in canonical(issue_receipt(finer, KEY))
    assert finer == JOB


@pytest.mark.parametrize(
    "change",
    [
        {"request": "ab" * 32},
        {"keyset": ""},
        {"ended": NOW - timedelta(seconds=1)},
        {"outcome": Outcome.INTERRUPTED},
        {"outcome": Outcome.UNFINISHED},
        {"evidence": ()},
        {"evidence": (EvidenceRef("dev", DIGEST),) * 17},
    ],
)
def test_a_job_that_cannot_have_been_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        replace(JOB, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"status": 42},
        {"prompt_tokens": -1},
        {"completion_tokens": True},
        {"evidence": (EvidenceRef("", DIGEST),)},
        {"evidence": (EvidenceRef("dev", "no digest"),)},
    ],
)
def test_what_no_reader_would_accept_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        issue_receipt(replace(JOB, **change), KEY)
    with pytest.raises(MalformedError):
        issue_record(replace(RECORD, route=""), KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"ended": None},
        {"ended": NOW - timedelta(seconds=1)},
        {"outcome": Outcome.UNFINISHED},
        {"outcome": Outcome.UNFINISHED, "ended": None, "statement": DIGEST, "receipt": DIGEST},
        {"receipt": DIGEST},
        {"answer": None},
        {"request": None},
        {"statement": DIGEST},
        {"salt": "salt"},
    ],
)
def test_a_record_that_claims_what_cannot_have_been_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        replace(RECORD, **change)


def test_an_interrupted_sealed_job_needs_no_receipt() -> None:
    record = replace(RECORD, statement=DIGEST, answer=None, outcome=Outcome.INTERRUPTED)
    assert verify_record(issue_record(record, KEY), device=KEY.did, now=NOW).record == record


@pytest.mark.parametrize(
    "change",
    [{"also": "the colour"}, {"view": "size+size"}, {"view": "everything+size"}, {"instead": []}],
)
def test_a_disclosure_of_another_version_or_spelling_is_refused(change: dict[str, Any]) -> None:
    subject = RECORD.to_json()
    subject["disclosure"]["relay"]["views"]["prompt"].update(change)
    unsigned = {k: v for k, v in issue_record(RECORD, KEY).items() if k != "proof"}
    document = add_proof({**unsigned, "credentialSubject": subject}, KEY, created=NOW)
    with pytest.raises(ReceiptError) as caught:
        verify_record(document, device=None, now=NOW)
    assert caught.value.check == "format"


def test_the_digest_is_the_formula_of_the_specification() -> None:
    salt = bytes(range(32))
    for kind in ("request", "answer"):
        label = b"privity/receipt/" + kind.encode() + b"/v1\0"
        expected = hashlib.sha256(label + salt + b"body").hexdigest()
        found = BodyDigest(kind, salt).update(b"bo").update(b"dy")  # type: ignore[arg-type]
        assert found.digest() == "sha256:" + expected
    commitment = hashlib.sha256(b"privity/receipt/salt/v1\0" + salt).hexdigest()
    assert salt_commitment(salt) == "sha256:" + commitment


def test_a_salt_is_fresh_and_has_one_spelling() -> None:
    assert new_salt() != new_salt()
    assert new_salt(entropy=lambda n: b"\7" * n) == b"\7" * 32
    assert decode_salt(encode_salt(b"\7" * 32)) == b"\7" * 32
    for text in (
        "",
        "AAAA",
        encode_salt(b"\0" * 32) + "=",
        "A" * 1000,
        encode_base64url(b"a" * 33),
    ):
        with pytest.raises(MalformedError):
            decode_salt(text)
    for salt in (b"", b"\0" * 31, b"\0" * 33):
        with pytest.raises(MalformedError):
            BodyDigest("request", salt)


def test_the_trailer_brings_the_receipt_whole() -> None:
    document = issue_receipt(JOB, KEY)
    assert decode_trailer(encode_trailer(document)) == document


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"e30=",
        encode_base64url(b"{ }").encode(),
        encode_base64url(b"{").encode(),
        b"A" * (MAX_BYTES * 2),
        encode_base64url(b"1" * (MAX_BYTES + 1)).encode(),
    ],
    ids=lambda value: repr(value[:8]),
)
def test_another_trailer_is_refused(value: bytes) -> None:
    with pytest.raises(ReceiptError) as caught:
        decode_trailer(value)
    assert caught.value.check == "format"


def test_a_file_shows_its_salt_in_no_text() -> None:
    file = ReceiptFile(issue_record(RECORD, KEY), salt=b"\7" * 32)
    assert repr(file) == "ReceiptFile(salt=kept)"
    assert repr(file.export()) == "ReceiptFile(salt=None)"


def test_a_document_is_signed_once() -> None:
    with pytest.raises(MalformedError, match="proof already"):
        add_proof(issue_receipt(JOB, KEY), KEY, created=NOW)


def test_verified_types_come_from_their_verifiers_alone() -> None:
    with pytest.raises(InputError):
        VerifiedReceipt(JOB, KEY.did, {}, (), mint=None)
    with pytest.raises(InputError):
        VerifiedRecord(RECORD, KEY.did, {}, (), mint=None)
