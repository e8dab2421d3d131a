"""For all inputs: receipts come back equal, or are refused as they should be."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import EvidenceError, MalformedError, ReceiptError
from privity.identity.jcs import canonical, loads_strict
from privity.identity.keys import SigningKey
from privity.receipt import (
    BodyDigest,
    DeviceRecord,
    EvidenceRef,
    JobReceipt,
    Outcome,
    ReceiptFile,
    check_receipt_file,
    decode_trailer,
    issue_receipt,
    issue_record,
    verify_proof,
    verify_receipt,
    verify_record,
)
from privity.statement import Model

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)
KEY = SigningKey(b"\1" * 32)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda data: "sha256:" + data.hex())
TIMES = st.datetimes(max_value=datetime(9999, 12, 31), timezones=st.just(UTC))
COUNTS = st.none() | st.integers(0, 2**53 - 1)
SALTS = st.binary(min_size=32, max_size=32)
JOBS = st.builds(
    lambda times, **rest: JobReceipt(started=min(times), ended=max(times), **rest),
    st.tuples(TIMES, TIMES),
    model=st.none() | st.builds(Model, id=TEXT, weights=st.none() | DIGESTS, engine=TEXT),
    request=DIGESTS,
    answer=DIGESTS,
    status=st.integers(100, 599),
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    keyset=DIGESTS,
    evidence=st.lists(
        st.builds(EvidenceRef, kind=TEXT, digest=DIGESTS), min_size=1, max_size=3
    ).map(tuple),
    outcome=st.sampled_from([Outcome.COMPLETE, Outcome.FAILED]),
)
CELLS = st.builds(
    Cell,
    view=st.sampled_from([View.NOTHING, View.SIZE, View.SIZE | View.PREDICATE, View.EVERYTHING]),
    basis=st.frozensets(st.builds(Basis, ground=st.sampled_from(Ground), why=TEXT), max_size=2),
    instead=st.frozensets(TEXT, max_size=2),
)
DISCLOSURES = st.builds(
    Disclosure,
    st.dictionaries(st.tuples(st.sampled_from(Party), st.sampled_from(Asset)), CELLS, max_size=4),
)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

RECEIPT = issue_receipt(
    JobReceipt(
        model=None,
        request="sha256:" + "00" * 32,
        answer="sha256:" + "00" * 32,
        status=200,
        prompt_tokens=1,
        completion_tokens=None,
        keyset="sha256:" + "00" * 32,
        evidence=(EvidenceRef("dev", "sha256:" + "00" * 32),),
        started=NOW,
        ended=NOW,
        outcome=Outcome.COMPLETE,
    ),
    KEY,
)


@given(JOBS)
def test_a_job_receipt_comes_back_equal(job: JobReceipt) -> None:
    assert verify_receipt(issue_receipt(job, KEY), issuer=KEY.did, now=END).job == job


@given(DISCLOSURES, TEXT, TEXT, st.none() | TEXT)
def test_a_record_comes_back_equal(
    disclosure: Disclosure, route: str, policy: str, model: str | None
) -> None:
    record = DeviceRecord(
        route=route,
        policy=policy,
        model=model,
        disclosure=disclosure,
        statement=None,
        receipt=None,
        request=None,
        answer=None,
        salt=None,
        started=NOW,
        ended=None,
        outcome=Outcome.UNFINISHED,
    )
    document = issue_record(record, KEY)
    assert verify_record(document, device=KEY.did, now=END).record == record
    file = ReceiptFile(document, salt=b"\0" * 32)
    assert ReceiptFile.parse(file.to_bytes()) == file


@given(st.binary(max_size=300), SALTS, st.lists(st.integers(0, 300), max_size=5))
def test_a_body_digest_does_not_depend_on_how_the_body_is_cut(
    body: bytes, salt: bytes, cuts: list[int]
) -> None:
    whole = BodyDigest("answer", salt).update(body).digest()
    pieces = BodyDigest("answer", salt)
    places = [0, *sorted(cuts), len(body)]
    for start, end in itertools.pairwise(places):
        pieces.update(body[start:end])
    assert pieces.digest() == whole
    assert BodyDigest("request", salt).update(body).digest() != whole


@given(SALTS, st.binary(min_size=1, max_size=40), st.data())
def test_no_byte_moves_between_salt_and_body(salt: bytes, body: bytes, data: st.DataObject) -> None:
    shift = data.draw(st.integers(1, len(body)))
    moved = (salt + body)[shift:]
    other = BodyDigest("answer", moved[:32]).update(moved[32:]) if len(moved) >= 32 else None
    assert other is None or other.digest() != BodyDigest("answer", salt).update(body).digest()


def _spoil(document: Any, path: list[int], value: Any) -> Any:
    """Put ``value`` somewhere in a JSON value; the numbers choose where."""
    if not path or not isinstance(document, dict | list) or not document:
        return value
    names = sorted(document) if isinstance(document, dict) else range(len(document))
    name = list(names)[path[0] % len(document)]
    copied = dict(document) if isinstance(document, dict) else list(document)
    copied[name] = _spoil(document[name], path[1:], value)  # type: ignore[index]
    return copied


PATHS = st.lists(st.integers(0, 20), max_size=4)


@settings(max_examples=400)
@given(PATHS, ODD)
def test_any_value_anywhere_in_a_receipt_is_refused_and_never_crashes(
    path: list[int], value: Any
) -> None:
    spoilt = _spoil(RECEIPT, path, value)
    try:
        verify_receipt(spoilt, issuer=KEY.did, now=NOW)
    except ReceiptError as error:
        assert error.check
        return
    assert canonical(spoilt) == canonical(RECEIPT)


@given(PATHS, ODD)
def test_the_proof_verifier_is_total_on_json(path: list[int], value: Any) -> None:
    spoilt = _spoil(RECEIPT, path, value)
    try:
        verified = verify_proof(spoilt, signer=KEY.did, now=NOW)
    except ReceiptError as error:
        assert error.check.startswith("proof ")
        return
    assert verified.document == {k: v for k, v in RECEIPT.items() if k != "proof"}


def _no_statement(statement: object, at: datetime, /) -> NoReturn:
    raise EvidenceError("none is verified here", check="evidence kind")


@given(st.binary(max_size=200))
def test_checking_any_bytes_lists_one_failure(data: bytes) -> None:
    (check,) = check_receipt_file(data, now=NOW, reverify=_no_statement)
    assert (check.name, check.ok) == ("file format", False)


FILE = loads_strict(
    ReceiptFile(
        issue_record(
            DeviceRecord(
                route="local",
                policy="local-only",
                model=None,
                disclosure=Disclosure(),
                statement=None,
                receipt=None,
                request=None,
                answer=None,
                salt=None,
                started=NOW,
                ended=None,
                outcome=Outcome.UNFINISHED,
            ),
            KEY,
        )
    ).to_bytes()
)


@settings(max_examples=300)
@given(PATHS, ODD.filter(lambda value: _has_form(value)))
def test_checking_any_json_never_crashes(path: list[int], value: Any) -> None:
    spoilt = canonical(_spoil(FILE, path, value))
    checks = check_receipt_file(spoilt, now=NOW, reverify=_no_statement)
    assert all(one.ok for one in checks) == (spoilt == canonical(FILE))


def _has_form(value: Any) -> bool:
    try:
        canonical(value)
    except MalformedError:
        return False
    return True


@given(st.binary(max_size=100))
def test_the_trailer_reader_is_total(value: bytes) -> None:
    try:
        decode_trailer(value)
    except ReceiptError as error:
        assert error.check == "format"
