"""The device record: what the device signs about one job it asked for.

It holds what only the device knows: the route, the policy it was admitted under, the disclosure,
the statement it trusted, and how the job ended as seen from here. It is first written before a byte
leaves, as ``unfinished``, so that a device that dies leaves no gap and no claim.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, dataclass
from datetime import datetime
from typing import Any

from privity.attested import Check
from privity.disclosure import Disclosure
from privity.errors import InputError, MalformedError, ReceiptError
from privity.identity.digests import check_digest
from privity.identity.fields import Fields
from privity.identity.keys import SigningKey
from privity.identity.timestamps import format_time, whole_second
from privity.receipt.credential import document_digest, issue_credential, verify_credential
from privity.receipt.outcome import Outcome
from privity.receipt.routing import Routing

__all__ = ["DeviceRecord", "VerifiedRecord", "document_digest", "issue_record", "verify_record"]

_KIND = "PrivityDeviceRecord"


@dataclass(frozen=True)
class DeviceRecord:
    """What the device says about one job.

    Attributes:
        route: name of the route.
        policy: name of the policy that admitted it.
        model: the model the request named, if it named one.
        disclosure: who could learn what, and on what ground.
        statement: digest of the statement that was sealed to; None where nothing was sealed.
        receipt: `document_digest` of the job receipt, if one came.
        request: salted digest of the request body; None while it is not whole.
        answer: salted digest of the answer body, as far as it came.
        salt: `salt_commitment` of the salt; None once the record never had one.
        started: when the job was begun.
        ended: when it ended; None while unfinished.
        outcome: how it ended.
        routing: why it took this route; None in records that do not say.

    Raises:
        MalformedError: a combination that claims what cannot have happened.
    """

    route: str
    policy: str
    model: str | None
    disclosure: Disclosure
    statement: str | None
    receipt: str | None
    request: str | None
    answer: str | None
    salt: str | None
    started: datetime
    ended: datetime | None
    outcome: Outcome
    routing: Routing | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "started", whole_second(self.started))
        for text in (self.statement, self.receipt, self.request, self.answer, self.salt):
            if text is not None:
                check_digest(text)
        if self.ended is not None:
            object.__setattr__(self, "ended", whole_second(self.ended))
            if whole_second(self.ended) < self.started:
                raise MalformedError("a job that ended before it started")
        self._check_claims()

    def _check_claims(self) -> None:
        unfinished = self.outcome == Outcome.UNFINISHED
        if unfinished != (self.ended is None):
            raise MalformedError("a job has an end unless it is unfinished")
        if unfinished and self.receipt is not None:
            raise MalformedError("an unfinished job has no receipt")
        if self.receipt is not None and self.statement is None:
            raise MalformedError("a job receipt without the statement its key is from")
        if self.outcome == Outcome.COMPLETE:
            if self.request is None or self.answer is None:
                raise MalformedError("a complete job without the digests of its bodies")
            if self.statement is not None and self.receipt is None:
                raise MalformedError("a sealed job is not complete without the enclave's receipt")

    def to_json(self) -> dict[str, Any]:
        """Return the credential's subject."""
        routing = {} if self.routing is None else {"routing": self.routing.to_json()}
        return {
            **routing,
            "answer": self.answer,
            "disclosure": self.disclosure.to_json(),
            "ended": None if self.ended is None else format_time(self.ended),
            "model": self.model,
            "outcome": self.outcome.value,
            "policy": self.policy,
            "receipt": self.receipt,
            "request": self.request,
            "route": self.route,
            "salt": self.salt,
            "started": format_time(self.started),
            "statement": self.statement,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> DeviceRecord:
        """Read what `to_json` writes; raises `MalformedError`."""
        table = fields.take("disclosure")
        record = cls(
            route=fields.text("route"),
            policy=fields.text("policy"),
            model=fields.optional("model", fields.text),
            disclosure=Disclosure.from_json(table),
            statement=fields.optional("statement", fields.digest),
            receipt=fields.optional("receipt", fields.digest),
            request=fields.optional("request", fields.digest),
            answer=fields.optional("answer", fields.digest),
            salt=fields.optional("salt", fields.digest),
            started=fields.time("started"),
            ended=fields.optional("ended", fields.time),
            outcome=Outcome.parse(fields.text("outcome")),
            routing=Routing.from_fields(fields.inner("routing")) if "routing" in fields else None,
        )
        fields.done()
        if record.disclosure.to_json() != table:
            raise MalformedError("a disclosure that is not in its one spelling")
        return record


_MINT = object()


@dataclass(frozen=True)
class VerifiedRecord:
    """A device record whose proof verified; `verify_record` alone makes these.

    Attributes:
        record: what it says.
        device: the did:key that signed it.
        document: the whole credential.
        checks: what was checked, in order.
    """

    record: DeviceRecord
    device: str
    document: dict[str, Any]
    checks: tuple[Check, ...]
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("a VerifiedRecord comes from verify_record alone")


def issue_record(record: DeviceRecord, key: SigningKey) -> dict[str, Any]:
    """Return the record as a credential signed by the device's key. This is run by the device.

    Raises:
        MalformedError: a value no reader would accept, such as an empty route name.
    """
    subject = record.to_json()
    DeviceRecord.from_fields(Fields(subject, _KIND))  # what would not be read must not be signed
    return issue_credential(_KIND, subject, key, at=record.ended or record.started)


def verify_record(document: Any, *, device: str | None, now: datetime) -> VerifiedRecord:
    """Return a record that a device signed.

    Args:
        document: the parsed credential.
        device: the did:key it must be from; None accepts any and leaves it to the caller to show
            whose it is.
        now: the time to judge it by.

    Raises:
        ReceiptError: ``.check`` is ``format``, ``issuer`` or a ``proof …`` check.
    """
    subject, named, checks = verify_credential(document, _KIND, issuer=device, now=now)
    try:
        record = DeviceRecord.from_fields(subject)
    except MalformedError as error:
        raise ReceiptError(error.message, check="format") from None
    return VerifiedRecord(record, named, document, checks, mint=_MINT)
