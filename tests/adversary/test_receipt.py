"""Attacks on receipts: each promise of spec/receipt.md a test, each attack its own check."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from privity.attest import DevQuoter, DevRoot, Trust, build_statement, reverifier
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import MalformedError, ReceiptError
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey
from privity.receipt import (
    BodyDigest,
    DeviceRecord,
    EvidenceRef,
    JobReceipt,
    Outcome,
    ReceiptFile,
    VerifiedReceiptFile,
    add_proof,
    check_receipt_file,
    document_digest,
    encode_salt,
    issue_receipt,
    issue_record,
    salt_commitment,
    verify_proof,
    verify_receipt,
    verify_receipt_file,
)
from privity.statement import Keyset, Model

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROOT, ENCLAVE, DEVICE = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
SALT, REQUEST, ANSWER = b"\4" * 32, b'{"prompt":"p"}', b'{"answer":"a"}'
MODEL = Model("small", None, "llama.cpp")
OTHER = Model("other", None, "llama.cpp")
KEYSET = Keyset(b"ohttp keys", ENCLAVE.did, (MODEL, OTHER))
STATEMENT = build_statement(KEYSET, [DevQuoter(DevRoot(ROOT), now=NOW)], now=NOW, nonce=b"\5" * 32)
REVERIFY = reverifier(Trust((ROOT.did,)))
JOB = JobReceipt(
    model=MODEL,
    request=BodyDigest("request", SALT).update(REQUEST).digest(),
    answer=BodyDigest("answer", SALT).update(ANSWER).digest(),
    status=200,
    prompt_tokens=3,
    completion_tokens=None,
    keyset=KEYSET.digest,
    evidence=tuple(EvidenceRef.of(one) for one in STATEMENT.evidence),
    started=NOW,
    ended=NOW + timedelta(seconds=2),
    outcome=Outcome.COMPLETE,
)
RECEIPT = issue_receipt(JOB, ENCLAVE)
DISCLOSURE = Disclosure(
    {
        (Party.HOST, Asset.PROMPT): Cell(
            View.EVERYTHING, frozenset({Basis(Ground.NOTHING, "a dev enclave")})
        )
    }
)
RECORD = DeviceRecord(
    route="confidential",
    policy="dev",
    model="small",
    disclosure=DISCLOSURE,
    statement=STATEMENT.digest,
    receipt=document_digest(RECEIPT),
    request=JOB.request,
    answer=JOB.answer,
    salt=salt_commitment(SALT),
    started=NOW,
    ended=NOW + timedelta(seconds=3),
    outcome=Outcome.COMPLETE,
)
FILE = ReceiptFile(issue_record(RECORD, DEVICE), RECEIPT, STATEMENT, SALT)
LATER = NOW + timedelta(days=400)

verify_file = functools.partial(
    verify_receipt_file, now=LATER, reverify=REVERIFY, device=DEVICE.did
)


def _refused(file: ReceiptFile | bytes, check: str, **terms: Any) -> ReceiptError:
    with pytest.raises(ReceiptError) as caught:
        verify_file(file, **terms)
    assert caught.value.check == check, caught.value
    return caught.value


def _filed(record: DeviceRecord, *, receipt: dict[str, Any] | None = RECEIPT) -> ReceiptFile:
    """A file whose record is honestly signed, whatever it says."""
    linked = replace(record, receipt=None if receipt is None else document_digest(receipt))
    return ReceiptFile(issue_record(linked, DEVICE), receipt, STATEMENT, SALT)


def test_an_honest_file_verifies_a_year_later_and_says_dev() -> None:
    verified = verify_file(FILE.to_bytes(), request=REQUEST, answer=ANSWER)
    assert verified.enclave is not None
    assert verified.enclave.dev
    assert verified.receipt is not None
    assert verified.receipt.job == JOB
    assert [one.kind for one in verified.receipt.job.evidence] == ["dev"]
    assert verified.record.record == RECORD
    shown = check_receipt_file(
        FILE, now=LATER, reverify=REVERIFY, device=DEVICE.did, request=REQUEST, answer=ANSWER
    )
    assert shown == verified.checks
    assert all(one.ok for one in shown)


@pytest.mark.slow
@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_a_file_is_refused_by_a_named_check(bit: int) -> None:
    data = FILE.to_bytes()
    seen: set[str] = set()
    for place in range(len(data)):
        forged = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        with pytest.raises(ReceiptError) as caught:
            verify_file(forged)
        seen.add(caught.value.check)
    assert "file format" in seen
    if bit in (0, 1):  # flips that keep letters letters get past the parser, to every part
        assert {"record proof signature", "statement digest", "receipt digest", "opening"} <= seen


@pytest.mark.slow
@pytest.mark.parametrize("name", ["record", "receipt"])
def test_every_flipped_bit_of_either_credential_alone_is_refused(name: str) -> None:
    """Without the record's digests to help: each proof protects its own document."""
    document = FILE.record if name == "record" else RECEIPT
    key = DEVICE if name == "record" else ENCLAVE
    data = canonical(document)
    parsed = 0
    for place in range(len(data)):
        for bit in range(8):
            forged = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            try:
                spoilt = loads_strict(forged)
            except MalformedError:
                continue
            parsed += 1
            with pytest.raises(ReceiptError):
                verify_proof(spoilt, signer=key.did, now=LATER)
    assert parsed > len(data)


def test_every_truncation_and_any_addition_is_refused() -> None:
    data = FILE.to_bytes()
    for length in range(0, len(data), 7):
        _refused(data[:length], "file format")
    for more in (b" ", b"\n", b"{}"):
        _refused(data + more, "file format")
        _refused(more + data, "file format")
    _refused(json.dumps(json.loads(data)).encode(), "file format")


def test_a_file_of_another_device_is_refused_where_one_is_named() -> None:
    other = SigningKey.generate()
    file = replace(FILE, record=issue_record(RECORD, other))
    _refused(file, "record issuer")
    verified = verify_file(file, device=None)
    assert verified.record.device == other.did


def test_a_receipt_not_signed_by_the_statements_key_is_refused() -> None:
    forged = issue_receipt(JOB, SigningKey.generate())
    _refused(_filed(RECORD, receipt=forged), "receipt issuer")


def test_a_receipt_that_names_the_enclave_but_is_signed_by_another_is_refused() -> None:
    forged = copy.deepcopy(issue_receipt(JOB, SigningKey.generate()))
    forged["issuer"] = ENCLAVE.did
    _refused(_filed(RECORD, receipt=forged), "receipt proof signer")
    forged["proof"]["verificationMethod"] = RECEIPT["proof"]["verificationMethod"]
    _refused(_filed(RECORD, receipt=forged), "receipt proof signature")


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"keyset": "sha256:" + "00" * 32}, "receipt keyset"),
        ({"evidence": (EvidenceRef("tdx", "sha256:" + "00" * 32),)}, "receipt evidence"),
        ({"request": "sha256:" + "00" * 32}, "receipt request"),
        ({"answer": "sha256:" + "00" * 32}, "receipt answer"),
        ({"outcome": Outcome.FAILED}, "receipt outcome"),
        ({"model": Model("large", None, "llama.cpp")}, "receipt model"),
        ({"model": replace(MODEL, weights="sha256:" + "00" * 32)}, "receipt model"),
        ({"model": OTHER}, "receipt model"),
        ({"status": 500}, "receipt status"),
        ({"started": NOW - timedelta(seconds=301)}, "receipt times"),
        ({"ended": NOW + timedelta(seconds=304)}, "receipt times"),
    ],
)
def test_an_enclave_that_signs_what_did_not_happen_is_refused(
    change: dict[str, Any], check: str
) -> None:
    _refused(_filed(RECORD, receipt=issue_receipt(replace(JOB, **change), ENCLAVE)), check)


def test_an_enclaves_clock_may_be_five_minutes_off_and_its_model_unknown() -> None:
    skewed = replace(
        JOB, model=None, started=NOW - timedelta(minutes=5), ended=NOW + timedelta(seconds=303)
    )
    checks = verify_file(_filed(RECORD, receipt=issue_receipt(skewed, ENCLAVE))).checks
    assert {"receipt model", "receipt status", "receipt times"} <= {one.name for one in checks}


def test_parts_of_another_job_are_refused() -> None:
    other = build_statement(KEYSET, [DevQuoter(DevRoot(ROOT), now=NOW)], now=NOW)
    _refused(replace(FILE, statement=other), "statement digest")
    _refused(replace(FILE, statement=None), "statement digest")
    another = issue_receipt(replace(JOB, status=201), ENCLAVE)
    _refused(replace(FILE, receipt=another), "receipt digest")
    _refused(replace(FILE, receipt=None), "receipt digest")
    _refused(replace(FILE, salt=b"\6" * 32), "opening")


def test_other_bodies_are_refused() -> None:
    _refused(FILE, "request body", request=REQUEST + b" ")
    _refused(FILE, "answer body", answer=ANSWER[:-1])
    _refused(FILE, "answer body", request=REQUEST, answer=REQUEST)


def test_an_export_verifies_but_cannot_be_used_to_test_a_guess() -> None:
    data = FILE.export().to_bytes()
    verify_file(data)
    assert encode_salt(SALT).encode() in FILE.to_bytes()
    assert encode_salt(SALT).encode() not in data
    error = _refused(data, "request body", request=REQUEST)
    assert "without its salt" in error.message


def test_a_statement_that_no_longer_verifies_names_its_check() -> None:
    stranger = reverifier(Trust())
    error = _refused(FILE, "statement endorsement root", reverify=stranger)
    assert error.hint
    late = replace(RECORD, started=NOW + timedelta(days=3), ended=NOW + timedelta(days=3))
    _refused(_filed(late), "statement quote time")


def test_a_verifier_that_returns_another_enclave_is_refused() -> None:
    other = build_statement(KEYSET, [DevQuoter(DevRoot(ROOT), now=NOW)], now=NOW)
    wrong = REVERIFY(other, NOW)
    _refused(FILE, "statement digest", reverify=lambda statement, at: wrong)


def test_a_receipt_from_the_future_is_refused() -> None:
    early = NOW - timedelta(hours=1)
    _refused(FILE, "record proof time", now=early)
    with pytest.raises(ReceiptError) as caught:
        verify_receipt(RECEIPT, issuer=ENCLAVE.did, now=early)
    assert caught.value.check == "proof time"


def test_the_list_of_checks_ends_with_the_one_that_failed() -> None:
    shown = check_receipt_file(
        replace(FILE, salt=b"\6" * 32), now=LATER, reverify=REVERIFY, device=DEVICE.did
    )
    assert [one.name for one in shown if not one.ok] == ["opening"]
    assert shown[-1].name == "opening"
    assert shown[0].ok


def test_a_route_that_sealed_nothing_has_a_file_too() -> None:
    local = replace(RECORD, route="local", statement=None, receipt=None)
    file = ReceiptFile(issue_record(local, DEVICE), salt=SALT)
    verified = verify_file(file, request=REQUEST, answer=ANSWER)
    assert verified.enclave is None
    assert verified.receipt is None
    assert not [one for one in verified.checks if one.name.startswith("receipt")]


def test_an_unfinished_job_has_a_file_that_claims_nothing() -> None:
    begun = replace(
        RECORD, receipt=None, request=None, answer=None, ended=None, outcome=Outcome.UNFINISHED
    )
    verified = verify_file(_filed(begun, receipt=None))
    assert verified.record.record.outcome == Outcome.UNFINISHED
    assert verified.receipt is None
    _refused(_filed(begun, receipt=None), "request body", request=REQUEST)


def _proofs(document: dict[str, Any]) -> list[tuple[str, Callable[[dict[str, Any]], object]]]:
    """Each way to spoil a proof, with the check that must refuse it."""

    def put(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
        return lambda proof: proof.__setitem__(name, value)

    value = document["proof"]["proofValue"]
    return [
        ("proof type", put("type", "Ed25519Signature2020")),
        ("proof type", put("type", ["DataIntegrityProof"])),
        ("proof type", put("cryptosuite", "eddsa-rdfc-2022")),
        ("proof type", put("cryptosuite", "ecdsa-jcs-2019")),
        ("proof type", lambda proof: proof.pop("cryptosuite")),
        ("proof purpose", put("proofPurpose", "authentication")),
        ("proof purpose", lambda proof: proof.pop("proofPurpose")),
        ("proof signer", put("verificationMethod", DEVICE.did)),
        ("proof signer", put("verificationMethod", f"{ROOT.did}#{ROOT.did[8:]}")),
        ("proof signer", put("verificationMethod", None)),
        ("proof signer", put("verificationMethod", {"id": ENCLAVE.did})),
        ("proof time", put("created", "2099-01-01T00:00:00Z")),
        ("proof time", put("expires", "2026-06-02T00:00:00Z")),
        ("proof signature", put("created", "2026-06-01T12:00:03Z")),
        ("proof signature", put("expires", "2099-01-01T00:00:00Z")),
        ("proof format", put("created", "2026-06-01T12:00:02.5Z")),
        ("proof format", put("created", None)),
        ("proof format", lambda proof: proof.pop("created")),
        ("proof format", put("domain", "example.com")),
        ("proof format", put("previousProof", "urn:uuid:0")),
        ("proof format", put("nonce", "0")),
        ("proof format", put("id", "urn:uuid:0")),
        ("proof format", put("proofValue", None)),
        ("proof format", lambda proof: proof.pop("proofValue")),
        ("proof context", put("@context", ["https://www.w3.org/ns/credentials/undefined-terms/v2"])),
        ("proof context", put("@context", [*document["@context"], "https://example.com/"])),
        ("proof context", put("@context", {})),
        ("proof context", put("@context", ["x"] * 17)),
        ("proof signature", put("@context", document["@context"][:1])),
        ("proof signature", lambda proof: proof.pop("@context")),
        ("proof signature", put("proofValue", "u" + value[1:])),
        ("proof signature", put("proofValue", value + " ")),
        ("proof signature", put("proofValue", "z1" + value[1:])),
        ("proof signature", put("proofValue", value[:-1])),
        ("proof signature", put("proofValue", "")),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(_proofs(RECEIPT))))
def test_each_spoilt_proof_is_refused_by_its_check(number: int) -> None:
    check, spoil = _proofs(RECEIPT)[number]
    document = copy.deepcopy(RECEIPT)
    spoil(document["proof"])
    with pytest.raises(ReceiptError) as caught:
        verify_receipt(document, issuer=ENCLAVE.did, now=LATER)
    assert caught.value.check == check, caught.value


def test_a_set_or_chain_of_proofs_is_refused() -> None:
    for proof in ([RECEIPT["proof"]], [RECEIPT["proof"]] * 2, None, "proof", {}):
        with pytest.raises(ReceiptError) as caught:
            verify_receipt({**RECEIPT, "proof": proof}, issuer=ENCLAVE.did, now=LATER)
        assert caught.value.check == "proof format"


def test_contexts_added_after_signing_are_not_what_was_signed() -> None:
    """The suite lets contexts be appended (§3.3.2); what is returned is what was signed."""
    longer = {**RECEIPT, "@context": [*RECEIPT["@context"], "https://example.com/"]}
    verified = verify_proof(longer, signer=ENCLAVE.did, now=LATER)
    assert verified.document["@context"] == RECEIPT["@context"]
    with pytest.raises(ReceiptError) as caught:
        verify_receipt(longer, issuer=ENCLAVE.did, now=LATER)
    assert caught.value.check == "format"


@pytest.mark.parametrize(
    "change",
    [
        {"@context": "https://www.w3.org/ns/credentials/v2"},
        {"type": ["VerifiableCredential"]},
        {"type": ["VerifiableCredential", "PrivityDeviceRecord"]},
        {"issuer": "https://example.com/"},
        {"issuer": {"id": "did:key:x"}},
        {"validFrom": "2026-06-01T12:00:03Z"},
        {"credentialStatus": {"id": "https://example.com/"}},
        {"credentialSubject": {}},
        {"credentialSubject": None},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "more": 1}},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "price": 0}},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "status": "200"}},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "outcome": "interrupted"}},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "outcome": "splendid"}},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "evidence": []}},
        {"credentialSubject": {**RECEIPT["credentialSubject"], "ended": "2026-06-01T11:00:00Z"}},
    ],
)
def test_a_rightly_signed_credential_of_another_form_is_refused(change: dict[str, Any]) -> None:
    unsigned = {name: value for name, value in {**RECEIPT, **change}.items() if name != "proof"}
    document = add_proof(unsigned, ENCLAVE, created=JOB.ended)
    with pytest.raises(ReceiptError) as caught:
        verify_receipt(document, issuer=ENCLAVE.did, now=LATER)
    assert caught.value.check == "format", caught.value


def test_a_record_cannot_pass_for_a_receipt() -> None:
    with pytest.raises(ReceiptError) as caught:
        verify_receipt(FILE.record, issuer=DEVICE.did, now=LATER)
    assert caught.value.check == "format"


def test_only_the_verifier_makes_a_verified_file() -> None:
    from privity.errors import InputError

    verified = verify_file(FILE)
    with pytest.raises(InputError):
        VerifiedReceiptFile(FILE, verified.record, None, None, (), mint=object())
    with pytest.raises((TypeError, ValueError)):
        replace(verified, checks=())
