"""Everything a receipt file claims, checked in order.

Anyone can run this: with the file alone (who signed what, over which enclave), and with the bodies
and the salt (that these are the ones). Evidence is judged by a function passed in, since this floor
does not know attestation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from privity.attested import AttestedEnclave, Check
from privity.errors import EvidenceError, InputError, ReceiptError
from privity.identity.timestamps import CLOCK_SKEW
from privity.receipt.digest import BodyDigest, salt_commitment
from privity.receipt.file import ReceiptFile
from privity.receipt.job import JobReceipt, VerifiedReceipt, verify_receipt
from privity.receipt.outcome import Outcome
from privity.receipt.record import VerifiedRecord, document_digest, verify_record
from privity.statement import Model, Statement

__all__ = [
    "Reverify",
    "VerifiedReceiptFile",
    "check_claims",
    "check_receipt_file",
    "verify_receipt_file",
]

T = TypeVar("T")


class Reverify(Protocol):
    """Verifies a statement as of a moment; raises `EvidenceError`. `privity.attest` has it."""

    def __call__(self, statement: Statement, at: datetime, /) -> AttestedEnclave:
        """Return the enclave if the statement verified at that moment."""


_MINT = object()


@dataclass(frozen=True)
class VerifiedReceiptFile:
    """A receipt file in which every check held; `verify_receipt_file` alone makes these.

    Attributes:
        file: the file.
        record: the device's side, verified.
        receipt: the enclave's side, verified; None if none came.
        enclave: the enclave, verified as of the start of the job; None where nothing was sealed.
        checks: everything that was checked, in order.
    """

    file: ReceiptFile
    record: VerifiedRecord
    receipt: VerifiedReceipt | None
    enclave: AttestedEnclave | None
    checks: tuple[Check, ...]
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("a VerifiedReceiptFile comes from verify_receipt_file alone")


def verify_receipt_file(
    file: ReceiptFile | bytes,
    *,
    now: datetime,
    reverify: Reverify,
    device: str | None = None,
    request: bytes | None = None,
    answer: bytes | None = None,
) -> VerifiedReceiptFile:
    """Return the file if everything it claims holds.

    Args:
        file: the file, or its bytes.
        now: the time to judge the proofs by.
        reverify: judges the statement as of the start of the job.
        device: the did:key the record must be from; None accepts any.
        request: the request body, to compare with the digests; needs the file's salt.
        answer: the answer body, likewise.

    Raises:
        ReceiptError: ``.check`` names the first check that failed.

    Guarantees:
        A flipped bit anywhere in the file is refused (tests/adversary/test_receipt.py).
    """
    return _verify(file, [], now, reverify, device, request, answer)


def check_receipt_file(
    file: ReceiptFile | bytes,
    *,
    now: datetime,
    reverify: Reverify,
    device: str | None = None,
    request: bytes | None = None,
    answer: bytes | None = None,
) -> tuple[Check, ...]:
    """Return the checks of `verify_receipt_file` for showing, in order.

    It ends with the first one that failed: those behind it rest on it. Use `verify_receipt_file`
    wherever something depends on the result.
    """
    checks: list[Check] = []
    try:
        _verify(file, checks, now, reverify, device, request, answer)
    except ReceiptError as error:
        checks.append(Check(error.check, False, error.message))
    return tuple(checks)


def _verify(
    given: ReceiptFile | bytes,
    checks: list[Check],
    now: datetime,
    reverify: Reverify,
    device: str | None,
    request: bytes | None,
    answer: bytes | None,
) -> VerifiedReceiptFile:
    # From the bytes even if parsed data is given: then both are held to the one byte form.
    file = ReceiptFile.parse(given if isinstance(given, bytes) else given.to_bytes())
    checks.append(Check("file format", True, "canonical JSON"))
    record = _named("record", lambda: verify_record(file.record, device=device, now=now))
    _extend(checks, "record", record.checks)
    _check_links(file, record, checks)
    enclave = _check_statement(file, record, reverify, checks)
    receipt = _check_receipt(file, record, enclave, now, checks)
    _check_body("request", request, record.record.request, file.salt, checks)
    _check_body("answer", answer, record.record.answer, file.salt, checks)
    return VerifiedReceiptFile(file, record, receipt, enclave, tuple(checks), mint=_MINT)


def _check_links(file: ReceiptFile, verified: VerifiedRecord, checks: list[Check]) -> None:
    """Check that statement, receipt and salt are the ones the device signed for."""
    record = verified.record
    links = (
        ("statement", record.statement, file.statement and file.statement.digest),
        ("receipt", record.receipt, file.receipt and document_digest(file.receipt)),
    )
    for name, signed, found in links:
        if signed != found:
            raise ReceiptError(
                f"the {name} in the file is not the one the device signed for",
                check=f"{name} digest",
            )
        if signed is not None:
            checks.append(Check(f"{name} digest", True, signed))
    if file.salt is not None:
        if record.salt != salt_commitment(file.salt):
            raise ReceiptError("the salt is not the one the device signed for", check="opening")
        checks.append(Check("opening", True, "the salt is the one signed for"))


def _check_statement(
    file: ReceiptFile, record: VerifiedRecord, reverify: Reverify, checks: list[Check]
) -> AttestedEnclave | None:
    if file.statement is None:
        return None
    try:
        enclave = reverify(file.statement, record.record.started)
    except EvidenceError as error:
        raise ReceiptError(
            f"the statement: {error.message}", check=f"statement {error.check}", hint=error.hint
        ) from error
    if enclave.statement_digest != file.statement.digest:
        raise ReceiptError("another statement was verified than is here", check="statement digest")
    _extend(checks, "statement", enclave.checks)
    return enclave


def _check_receipt(
    file: ReceiptFile,
    verified: VerifiedRecord,
    enclave: AttestedEnclave | None,
    now: datetime,
    checks: list[Check],
) -> VerifiedReceipt | None:
    """Check the enclave's receipt against the enclave's keys and the device's own digests."""
    if file.receipt is None or enclave is None:  # a record cannot have the one without the other
        return None
    record, keyset, document = verified.record, enclave.keyset, file.receipt
    receipt = _named("receipt", lambda: verify_receipt(document, issuer=keyset.receipts, now=now))
    _extend(checks, "receipt", receipt.checks)
    job = receipt.job
    _equal("receipt keyset", job.keyset, keyset.digest, "the statement's keyset", checks)
    kinds = tuple(one.kind for one in job.evidence)
    _equal("receipt evidence", kinds, enclave.kinds, "the statement's kinds of evidence", checks)
    _equal("receipt request", job.request, record.request, "what the device sent", checks)
    if record.outcome == Outcome.COMPLETE:
        _equal("receipt answer", job.answer, record.answer, "what the device received", checks)
        _equal("receipt outcome", job.outcome, record.outcome, "what the device saw", checks)
    checks += check_claims(
        job,
        models=keyset.models,
        asked=record.model,
        started=record.started,
        ended=record.ended or record.started,
    )
    return receipt


def check_claims(
    job: JobReceipt,
    *,
    models: tuple[Model, ...],
    asked: str | None,
    started: datetime,
    ended: datetime,
) -> tuple[Check, ...]:
    """Hold what the enclave says of a job to what its keyset and the device say.

    Args:
        job: the enclave's word.
        models: of the keyset it served under.
        asked: the model the request named, if it named one.
        started: when the device began the job.
        ended: when the device saw its end.

    Raises:
        ReceiptError: ``.check`` is ``receipt model``, ``receipt status`` or ``receipt times``.
    """
    model = job.model
    if model is not None:
        if model not in models:
            raise ReceiptError("its model is not one the statement names", check="receipt model")
        if asked is not None and model.id != asked:
            raise ReceiptError("another model than the request named", check="receipt model")
    if job.outcome == Outcome.COMPLETE and job.status >= 400:
        raise ReceiptError(
            f"a complete job cannot have the status {job.status}", check="receipt status"
        )
    if job.started < started - CLOCK_SKEW or job.ended > ended + CLOCK_SKEW:
        raise ReceiptError(
            "the enclave's times are not those of this job as the device saw it",
            check="receipt times",
        )
    return (
        Check("receipt model", True, model.id if model else "no model is known to have answered"),
        Check("receipt status", True, str(job.status)),
        Check("receipt times", True, "within the device's own, give or take 5 minutes"),
    )


def _check_body(
    kind: Literal["request", "answer"],
    body: bytes | None,
    signed: str | None,
    salt: bytes | None,
    checks: list[Check],
) -> None:
    if body is None:
        return
    if salt is None:
        raise ReceiptError(
            f"the {kind} cannot be compared: the file was exported without its salt",
            check=f"{kind} body",
        )
    found = BodyDigest(kind, salt).update(body).digest()
    _equal(f"{kind} body", found, signed, "the digest signed for", checks)


def _equal(name: str, found: object, expected: object, what: str, checks: list[Check]) -> None:
    if found != expected:
        raise ReceiptError(f"it differs from {what}", check=name)
    checks.append(Check(name, True, f"equals {what}"))


def _named(side: str, verify: Callable[[], T]) -> T:
    """Say of which of the two credentials a check failed."""
    try:
        return verify()
    except ReceiptError as error:
        raise ReceiptError(
            f"the {side}: {error.message}", check=f"{side} {error.check}", hint=error.hint
        ) from None


def _extend(checks: list[Check], side: str, found: tuple[Check, ...]) -> None:
    checks.extend(Check(f"{side} {one.name}", one.ok, one.detail) for one in found)
