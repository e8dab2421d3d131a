"""The job receipt: what the enclave signs about one job it served.

It travels in the sealed trailer of the answer, so that neither relay nor host sees it.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, dataclass
from datetime import datetime
from typing import Any

from privity.attested import Check
from privity.errors import InputError, MalformedError, OversizeError, ReceiptError
from privity.identity.digests import check_digest, digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.identity.timestamps import format_time, whole_second
from privity.receipt.credential import issue_credential, verify_credential
from privity.receipt.outcome import Outcome
from privity.receipt.price import Price
from privity.statement import Model

__all__ = [
    "MAX_BYTES",
    "RECEIPT_TRAILER",
    "EvidenceRef",
    "JobReceipt",
    "VerifiedReceipt",
    "decode_trailer",
    "encode_trailer",
    "issue_receipt",
    "verify_receipt",
]

RECEIPT_TRAILER = "privity-receipt"
"""The sealed trailer that carries the job receipt."""

MAX_BYTES = 16_384
"""Largest job receipt, in bytes of canonical JSON."""

_KIND = "PrivityJobReceipt"
_MAX_EVIDENCE = 16


@dataclass(frozen=True)
class EvidenceRef:
    """Which evidence an enclave ran under: its kind, and a digest to find it by.

    The kind is there so that a receipt says ``dev`` by itself, without the statement.
    """

    kind: str
    digest: str

    @classmethod
    def of(cls, evidence: dict[str, Any]) -> EvidenceRef:
        """Return the reference to one item of a statement's evidence."""
        return cls(evidence["kind"], digest(canonical(evidence)))


@dataclass(frozen=True)
class JobReceipt:
    """What the enclave says about one job.

    Attributes:
        model: what answered; None where no model is known to have answered.
        request: salted digest of the request body.
        answer: salted digest of the answer body, as far as it was sent.
        status: HTTP status of the answer.
        prompt_tokens: as the engine counted; None where it did not report.
        completion_tokens: likewise.
        keyset: digest of the keyset the enclave served under.
        evidence: the evidence for that keyset.
        started: when the request was whole.
        ended: when the answer was.
        outcome: ``complete`` or ``failed``.
        price: what it cost; None where nothing is asked for.
    """

    model: Model | None
    request: str
    answer: str
    status: int
    prompt_tokens: int | None
    completion_tokens: int | None
    keyset: str
    evidence: tuple[EvidenceRef, ...]
    started: datetime
    ended: datetime
    outcome: Outcome
    price: Price | None = None

    def __post_init__(self) -> None:
        for text in (self.request, self.answer, self.keyset):
            check_digest(text)
        object.__setattr__(self, "started", whole_second(self.started))
        object.__setattr__(self, "ended", whole_second(self.ended))
        if self.ended < self.started:
            raise MalformedError("a job that ended before it started")
        if self.outcome not in (Outcome.COMPLETE, Outcome.FAILED):
            raise MalformedError("an enclave knows a job only as complete or failed")
        if not 0 < len(self.evidence) <= _MAX_EVIDENCE:
            raise MalformedError(f"a job receipt names 1 to {_MAX_EVIDENCE} pieces of evidence")

    def to_json(self) -> dict[str, Any]:
        """Return the credential's subject."""
        return {
            "answer": self.answer,
            "ended": format_time(self.ended),
            "evidence": [{"digest": one.digest, "kind": one.kind} for one in self.evidence],
            "keyset": self.keyset,
            "model": None if self.model is None else self.model.to_json(),
            "outcome": self.outcome.value,
            "price": None if self.price is None else self.price.to_json(),
            "request": self.request,
            "started": format_time(self.started),
            "status": self.status,
            "tokens": {"completion": self.completion_tokens, "prompt": self.prompt_tokens},
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> JobReceipt:
        """Read what `to_json` writes; raises `MalformedError`."""
        tokens = fields.inner("tokens")
        model = fields.optional("model", fields.inner)
        price = fields.optional("price", fields.inner)
        job = cls(
            model=None if model is None else Model.from_fields(model),
            request=fields.digest("request"),
            answer=fields.digest("answer"),
            status=fields.count("status", least=100, most=599),
            prompt_tokens=tokens.optional("prompt", tokens.count),
            completion_tokens=tokens.optional("completion", tokens.count),
            keyset=fields.digest("keyset"),
            evidence=tuple(
                _reference(Fields(one, "evidence[]"))
                for one in fields.items("evidence", least=1, most=_MAX_EVIDENCE)
            ),
            started=fields.time("started"),
            ended=fields.time("ended"),
            outcome=Outcome.parse(fields.text("outcome")),
            price=None if price is None else Price.from_fields(price),
        )
        tokens.done()
        fields.done()
        return job


_MINT = object()


@dataclass(frozen=True)
class VerifiedReceipt:
    """A job receipt whose proof verified; `verify_receipt` alone makes these.

    Attributes:
        job: what it says.
        issuer: the did:key that signed it.
        document: the whole credential.
        checks: what was checked, in order.
    """

    job: JobReceipt
    issuer: str
    document: dict[str, Any]
    checks: tuple[Check, ...]
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("a VerifiedReceipt comes from verify_receipt alone")


def issue_receipt(job: JobReceipt, key: SigningKey) -> dict[str, Any]:
    """Return the job receipt as a signed credential. This is run by the enclave.

    Raises:
        MalformedError: a value no reader would accept, such as a status of 42.
    """
    subject = job.to_json()
    JobReceipt.from_fields(Fields(subject, _KIND))  # what would not be read must not be signed
    return issue_credential(_KIND, subject, key, at=job.ended)


def verify_receipt(document: Any, *, issuer: str, now: datetime) -> VerifiedReceipt:
    """Return a job receipt that ``issuer`` signed. This is run by the device, or anyone later.

    Args:
        document: the parsed credential.
        issuer: the receipts key of the keyset the request was sealed to.
        now: the time to judge it by.

    Raises:
        ReceiptError: ``.check`` is ``format``, ``issuer`` or a ``proof …`` check.

    Requires:
        Whoever calls it compares the digests in it with their own; `verify_receipt_file` does.
    """
    subject, named, checks = verify_credential(document, _KIND, issuer=issuer, now=now)
    try:
        job = JobReceipt.from_fields(subject)
    except MalformedError as error:
        raise ReceiptError(error.message, check="format") from None
    return VerifiedReceipt(job, named, document, checks, mint=_MINT)


def encode_trailer(document: dict[str, Any]) -> bytes:
    """Return a credential as the value of `RECEIPT_TRAILER`: base64url of its canonical JSON."""
    return encode_base64url(canonical(document)).encode("ascii")


def decode_trailer(value: bytes) -> Any:
    """Read what `encode_trailer` writes; nothing in it is verified yet.

    Raises:
        ReceiptError: ``.check`` is ``format``.
    """
    if len(value) > MAX_BYTES * 4 // 3:
        raise ReceiptError(f"a job receipt of more than {MAX_BYTES} bytes", check="format")
    try:
        data = decode_base64url(value.decode("ascii"))
        return loads_canonical(data, max_bytes=MAX_BYTES)
    except UnicodeDecodeError:
        raise ReceiptError("a job receipt that is not base64url", check="format") from None
    except (MalformedError, OversizeError) as error:
        raise ReceiptError(f"the job receipt: {error.message}", check="format") from None


def _reference(fields: Fields) -> EvidenceRef:
    reference = EvidenceRef(kind=fields.text("kind", max_chars=64), digest=fields.digest("digest"))
    fields.done()
    return reference
