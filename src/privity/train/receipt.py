"""The receipt of a training run: what the enclave signs of it, for the owner alone.

It is a credential of a kind of its own, since a run has no prompt, no answer and no device that
asked. It travels inside the sealed adapter, with the statement that its key rests on: so it can
name the dataset's root, which is as secret as the dataset can be guessed. Whoever the owner shows
it to can check it, offline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass
from datetime import datetime
from typing import Any

from privity.attested import AttestedEnclave, Check
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import (
    EvidenceError,
    InputError,
    MalformedError,
    OversizeError,
    ReceiptError,
)
from privity.identity.digests import check_content, check_digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.keys import SigningKey
from privity.identity.timestamps import format_time, whole_second
from privity.receipt.credential import issue_credential, verify_credential
from privity.statement import Statement
from privity.train.program import PROGRAM

__all__ = [
    "MAX_BYTES",
    "TrainingReceipt",
    "VerifiedTraining",
    "issue_receipt",
    "run_disclosure",
    "verify_receipt",
]

MAX_BYTES = 524_288
"""Largest receipt with its statement, in bytes."""

_KIND = "PrivityTrainingReceipt"
_MAX_ID = 64
_SEALED = frozenset({Basis(Ground.MATHEMATICS, "sealed")})


@dataclass(frozen=True)
class TrainingReceipt:
    """What the enclave says about one run.

    Attributes:
        program: digest of the training program.
        grant: digest of the owner's grant.
        dataset: the dataset's artefact id.
        records_root: root of the dataset.
        base: digest of the weights it started from.
        adapter: digest of the adapter's archive, without this receipt in it.
        recipient: whom it was sealed to.
        records: how many records were read.
        steps: how many steps were taken.
        keyset: digest of the keyset whose receipts key signs this.
        started: when the key was asked for.
        ended: when the adapter was there.

    Raises:
        MalformedError: a part is not of its form.
    """

    program: str
    grant: str
    dataset: str
    records_root: str
    base: str
    adapter: str
    recipient: str
    records: int
    steps: int
    keyset: str
    started: datetime
    ended: datetime

    def __post_init__(self) -> None:
        for moment in ("started", "ended"):
            object.__setattr__(self, moment, whole_second(getattr(self, moment)))
        for text in (self.program, self.grant, self.adapter, self.keyset):
            check_digest(text)
        check_content(self.records_root)
        check_content(self.base)
        if self.ended < self.started:
            raise MalformedError("a run that ended before it started")

    def to_json(self) -> dict[str, Any]:
        """Return the credential's subject."""
        return {
            "adapter": self.adapter,
            "base": self.base,
            "dataset": self.dataset,
            "ended": format_time(self.ended),
            "grant": self.grant,
            "keyset": self.keyset,
            "program": self.program,
            "recipient": self.recipient,
            "records": self.records,
            "recordsRoot": self.records_root,
            "started": format_time(self.started),
            "steps": self.steps,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> TrainingReceipt:
        """Read what `to_json` writes; raises `MalformedError`."""
        receipt = cls(
            program=fields.digest("program"),
            grant=fields.digest("grant"),
            dataset=fields.text("dataset", max_chars=_MAX_ID),
            records_root=fields.text("recordsRoot"),
            base=fields.text("base"),
            adapter=fields.digest("adapter"),
            recipient=fields.text("recipient", max_chars=4096),
            records=fields.count("records", least=1),
            steps=fields.count("steps", least=1),
            keyset=fields.digest("keyset"),
            started=fields.time("started"),
            ended=fields.time("ended"),
        )
        fields.done()
        return receipt


_MINT = object()


@dataclass(frozen=True)
class VerifiedTraining:
    """A receipt that verified; `verify_receipt` alone makes these.

    Attributes:
        receipt: what it says.
        enclave: who signed it, verified as of the start of the run.
        disclosure: who could learn what of the run, by the evidence.
        checks: everything that was checked, in order.
    """

    receipt: TrainingReceipt
    enclave: AttestedEnclave
    disclosure: Disclosure
    checks: tuple[Check, ...]
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("a VerifiedTraining comes from verify_receipt alone")


def issue_receipt(receipt: TrainingReceipt, key: SigningKey, statement: Statement) -> bytes:
    """Return the receipt, signed, with the statement. This is run by the enclave.

    Raises:
        MalformedError: a value no reader would accept.
    """
    subject = receipt.to_json()
    TrainingReceipt.from_fields(Fields(subject, _KIND))  # what would not be read is not signed
    document = issue_credential(_KIND, subject, key, at=receipt.ended)
    return canonical({"receipt": document, "statement": statement.to_json(), "version": 1})


def verify_receipt(
    data: bytes,
    *,
    adapter: str,
    reverify: Callable[[Statement, datetime], AttestedEnclave],
    now: datetime,
) -> VerifiedTraining:
    """Return what an enclave signed of a run.

    Args:
        data: what `issue_receipt` made.
        adapter: digest of the archive the receipt must be of.
        reverify: verifies the statement as of a moment; `privity.attest.reverifier` has it.
        now: the time to judge the proof by.

    Raises:
        ReceiptError: ``.check`` is ``file format``, ``issuer``, a ``proof …`` check, ``format``,
            ``keyset``, ``program``, ``adapter`` or ``statement …``.

    Guarantees:
        A flipped bit anywhere in ``data``, another adapter, another enclave's statement and a
        program the evidence does not bind are refused
        (tests/adversary/test_train_receipt.py).
    """
    try:
        fields = Fields(loads_canonical(data, max_bytes=MAX_BYTES), "receipt file")
        fields.constant("version", 1)
        statement = Statement.parse(canonical(fields.object("statement")))
        document = fields.object("receipt")
        fields.done()
    except (MalformedError, OversizeError) as error:
        raise ReceiptError(error.message, check="file format") from None
    subject, _, checks = verify_credential(
        document, _KIND, issuer=statement.keyset.receipts, now=now
    )
    try:
        receipt = TrainingReceipt.from_fields(subject)
    except MalformedError as error:
        raise ReceiptError(error.message, check="format") from None
    found = _check_links(receipt, statement, adapter)
    try:
        enclave = reverify(statement, receipt.started)
    except EvidenceError as error:
        raise ReceiptError(
            f"the statement: {error.message}", check=f"statement {error.check}", hint=error.hint
        ) from None
    every = (*checks, *found, *enclave.checks)
    return VerifiedTraining(receipt, enclave, run_disclosure(enclave), every, mint=_MINT)


def _check_links(receipt: TrainingReceipt, statement: Statement, adapter: str) -> tuple[Check, ...]:
    """Hold the receipt to the keyset that signs it and to the adapter it came with."""
    named = [one.version for one in statement.keyset.software if one.name == PROGRAM]
    links = (
        ("keyset", receipt.keyset, statement.keyset.digest, "the statement's keyset"),
        ("program", [receipt.program], named, "the program that the keyset names"),
        ("adapter", receipt.adapter, adapter, "the adapter it came with"),
    )
    for name, said, found, what in links:
        if said != found:
            raise ReceiptError(f"the receipt's {name} differs from {what}", check=name)
    return tuple(Check(name, True, f"equals {what}") for name, _, _, what in links)


def run_disclosure(enclave: AttestedEnclave) -> Disclosure:
    """Return who could learn what of a run in this enclave. It never flatters.

    Evidence keeps the host out only where somebody the owner trusts approved the code. The update
    is what the records made of the weights: the adapter, which is the owner's alone.
    """
    basis = frozenset(one for evidence in enclave.evidence for one in evidence.basis)
    hardware = not enclave.dev and any(one.ground is Ground.HARDWARE for one in basis)
    kept_out = hardware and enclave.approved is not None
    cells: dict[tuple[Party, Asset], Cell] = {}
    for asset in (Asset.RECORDS, Asset.UPDATE):
        cells[Party.PERSON, asset] = Cell(View.EVERYTHING)
        cells[Party.OBSERVER, asset] = Cell(View.SIZE, _SEALED)
        if kept_out:
            cells[Party.ENCLAVE, asset] = Cell(View.EVERYTHING, basis)
            cells[Party.HOST, asset] = Cell(View.SIZE, basis | _SEALED)
        else:
            why = Basis(Ground.PROMISE, "plain software")
            cells[Party.ENCLAVE, asset] = Cell(View.EVERYTHING, frozenset({why}))
            open_to = {one for one in basis if one.ground is Ground.NOTHING}
            none = Basis(Ground.NOTHING, "nothing attested stops this host")
            cells[Party.HOST, asset] = Cell(View.EVERYTHING, frozenset(open_to or {none}))
    # Whoever runs the job brings the weights it starts from.
    cells[Party.ENCLAVE, Asset.WEIGHTS] = cells[Party.HOST, Asset.WEIGHTS] = Cell(View.EVERYTHING)
    kinds = " + ".join(sorted(set(enclave.kinds)))
    return Disclosure(cells, {Party.ENCLAVE: frozenset({f"enclave · {kinds}"})})
