"""Keeps one record per job, that never claims more than what happened.

A record is written as ``unfinished`` before a byte leaves, and replaced once: by ``complete`` at
the answer's authentic end, with the enclave's own receipt; by ``interrupted`` where the exchange
stopped before it; by ``failed`` where something refused. A device that dies leaves it unfinished.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from privity.attested import AttestedEnclave
from privity.disclosure import Disclosure, Party
from privity.errors import PrivityError, ReceiptError, TruncatedError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now, whole_second
from privity.infer.receipts import ReceiptStore, new_receipt_id
from privity.infer.routes.route import Route
from privity.policy import AdmittedRoute
from privity.receipt import (
    RECEIPT_TRAILER,
    BodyDigest,
    DeviceRecord,
    JobReceipt,
    Outcome,
    ReceiptFile,
    Routing,
    VerifiedReceipt,
    check_claims,
    decode_trailer,
    document_digest,
    encode_salt,
    issue_record,
    new_salt,
    salt_commitment,
    verify_receipt,
)
from privity.statement import Model

if TYPE_CHECKING:
    from privity.infer.routes.zero_retention import Left

__all__ = ["PERSONAL_HEADER", "Entry", "Job", "Journal"]

PERSONAL_HEADER = "privity-personal"
"""Of an answer: what was done with the personal data in its request before it left."""

_RECENT = 20
_MAX_MODEL = 256
_MISTRUST = "do not use this answer; the enclave does not keep to the protocol"
_INTERRUPTIONS = (asyncio.CancelledError, GeneratorExit, TruncatedError)


@dataclass(slots=True)
class Job:
    """What may be shown of a job while it runs: counts and names, nothing of its contents.

    Attributes:
        id: of its receipt.
        path: of the request, such as ``/v1/chat/completions``.
        model: what the request named.
        route: the route it runs on.
        chunks: pieces of the answer so far.
        size: bytes of the answer so far.
        error: the class of what ended it, if something did.
    """

    id: str
    path: str
    model: str | None
    route: str
    started: datetime
    ended: datetime | None = None
    outcome: Outcome = Outcome.UNFINISHED
    chunks: int = 0
    size: int = 0
    error: str | None = None


class _Charge(Protocol):
    """What a job was paid with; `infer.anonymous.paid.Charge`."""

    def check(self, job: JobReceipt) -> None:
        """Raise `ReceiptError` where the receipt shows another price than is due."""


class Journal:
    """Opens an entry per job, and knows which run.

    Args:
        store: where the receipt files go.
        key: the device's signing key.
        clock: the time in records.
        entropy: where salts come from.
    """

    def __init__(
        self,
        store: ReceiptStore,
        key: SigningKey,
        *,
        clock: Clock = utc_now,
        entropy: Callable[[int], bytes] | None = None,
    ) -> None:
        self.store = store
        self.key = key
        self.clock = clock
        self._entropy = entropy
        self.running: dict[str, Job] = {}
        self.recent: deque[Job] = deque(maxlen=_RECENT)
        self.totals: Counter[str] = Counter()

    def open(
        self,
        admitted: AdmittedRoute[Route],
        path: str,
        content: bytes | None,
        routing: Routing | None = None,
    ) -> Entry:
        """Write the record of a job that is about to begin, and return its entry.

        Args:
            admitted: the route it will run on.
            path: of the request.
            content: the request's body, or None if it is not at hand yet.
            routing: why it takes this route.

        Raises:
            InputError: the record cannot be written; then nothing may be sent.
        """
        now = self.clock()
        model = _named_model(content)
        job = Job(new_receipt_id(now), path, model, admitted.route.name, now)
        salt = new_salt(entropy=self._entropy) if self._entropy else new_salt()
        entry = Entry(self, job, salt, admitted, routing)
        if content is not None:
            entry.take_request(content)
        entry.write_unfinished()
        self.running[job.id] = job
        return entry

    def close(self, job: Job) -> None:
        """Move a job from the running to the recent ones."""
        if self.running.pop(job.id, None) is not None:
            self.recent.appendleft(job)
            self.totals[job.outcome.value] += 1


class Entry:
    """One job's record on its way from ``unfinished`` to its one outcome."""

    def __init__(
        self,
        journal: Journal,
        job: Job,
        salt: bytes,
        admitted: AdmittedRoute[Route],
        routing: Routing | None = None,
    ) -> None:
        self.job = job
        self.salt_text = encode_salt(salt)
        self._journal = journal
        self._salt = salt
        self._admitted = admitted
        self._routing = routing
        self._request = BodyDigest("request", salt)
        self._answer = BodyDigest("answer", salt)
        self._request_whole = False
        self._settled = False
        # Signed by the device, the receipts of one person would name that person.
        unnamed = admitted.route.name == "anonymous"
        self._key = SigningKey.generate() if unnamed else journal.key

    def take_request(self, content: bytes, *, whole: bool = True) -> None:
        """Take the next part of the request's body into account."""
        self._request.update(content)
        self._request_whole = whole

    def take(self, chunk: bytes) -> None:
        """Take the next part of the answer's body into account; runs for every token."""
        self._answer.update(chunk)
        job = self.job
        job.chunks += 1
        job.size += len(chunk)

    @property
    def has_left(self) -> bool:
        """Whether anything may have left the device; of a job for a provider this is known."""
        return (
            self._routing is None or self._routing.terms is None or self._routing.sent is not None
        )

    @property
    def personal_header(self) -> list[tuple[str, str]]:
        """What the client is told of the personal data in a request that left for a provider."""
        routing = self._routing
        if routing is None or routing.sent is None:
            return []
        counts = f"mode={routing.mode}, replaced={routing.replaced}, kept={routing.kept}"
        return [(PERSONAL_HEADER, counts)]

    def note_left(self, left: Left) -> None:
        """Note what leaves for a provider: the digest of its bytes, and how much was replaced."""
        if self._routing is None:
            return
        self._routing = replace(
            self._routing,
            sent=BodyDigest("sent", self._salt).update(left.body).digest(),
            replaced=sum(left.replaced.values()),
            kept=sum(left.kept.values()),
        )
        self.write_unfinished()

    def write_unfinished(self) -> None:
        """Write the record as it stands before anything is known of the job's end."""
        record = self._record(Outcome.UNFINISHED, None)
        self._put(record, None)

    def move(self, admitted: AdmittedRoute[Route]) -> None:
        """Note that the job is sealed to a successor: the enclave had new keys."""
        self._admitted = admitted
        self.write_unfinished()

    def complete(self, response: httpx.Response) -> None:
        """Settle a job whose answer came to its authentic end.

        Raises:
            ReceiptError: the enclave's job receipt is missing where there must be one, or does
                not say what happened; the record is then ``failed``. One that says what happened
                and shows a wrong price is kept with it: it is the evidence.
        """
        enclave = self._admitted.route.enclave
        if enclave is None:
            failed = response.status_code >= 400
            self._settle(Outcome.FAILED if failed else Outcome.COMPLETE, None)
            return
        trailer = _trailer(response)
        refused = response.status_code >= 400
        if refused and (trailer is None or not self._request_whole):
            # Refused before it was a job; the error itself is authentic, and passed on.
            self._settle(Outcome.FAILED, None)
            return
        receipt: VerifiedReceipt | None = None
        try:
            receipt = self._verify(enclave, trailer, response.status_code)
            charge: _Charge | None = response.extensions.get("privity.charge")
            if charge is not None:
                charge.check(receipt.job)
        except ReceiptError as error:
            self.fail(error, receipt)
            raise
        self._settle(receipt.job.outcome, receipt)

    def interrupt(self) -> None:
        """Settle a job that was given up before its end; no effect on one that is settled."""
        self._settle(Outcome.INTERRUPTED, None)

    def fail(self, error: BaseException, receipt: VerifiedReceipt | None = None) -> None:
        """Settle a job that an error ended, with a receipt where it proves something.

        No effect on one that is settled.
        """
        if self._settled:
            return
        self.job.error = type(error).__name__
        stopped = isinstance(error, _INTERRUPTIONS) or not isinstance(error, Exception)
        # The error on its way up matters more than a full disk; the record stays unfinished.
        with contextlib.suppress(PrivityError):
            self._settle(Outcome.INTERRUPTED if stopped else Outcome.FAILED, receipt)

    def _verify(
        self, enclave: AttestedEnclave, trailer: bytes | None, status: int
    ) -> VerifiedReceipt:
        """Return the enclave's receipt if it is about this very exchange."""
        if trailer is None:
            raise ReceiptError(
                "the answer came whole, but without the enclave's receipt",
                check="receipt present",
                hint=_MISTRUST,
            )
        keyset, now = enclave.keyset, self._journal.clock()
        receipt = verify_receipt(decode_trailer(trailer), issuer=keyset.receipts, now=now)
        job = receipt.job
        kinds = tuple(one.kind for one in job.evidence)
        for name, found, ours in (
            ("keyset", job.keyset, keyset.digest),
            ("evidence", kinds, enclave.kinds),
            ("request", job.request, self._request.digest() if self._request_whole else None),
            ("answer", job.answer, self._answer.digest()),
            ("status", job.status, status),
        ):
            if found != ours:
                raise ReceiptError(
                    f"the enclave's receipt is about another {name} than this device saw",
                    check=f"receipt {name}",
                    hint=_MISTRUST,
                )
        self._check_claims(job, keyset.models, now)
        return receipt

    def _check_claims(self, job: JobReceipt, models: tuple[Model, ...], now: datetime) -> None:
        ours = self.job
        try:
            # The clock may have been set back meanwhile; the record will say the same.
            check_claims(
                job,
                models=models,
                asked=ours.model,
                started=whole_second(ours.started),
                ended=whole_second(max(now, ours.started)),
            )
        except ReceiptError as error:
            raise ReceiptError(
                f"the enclave's receipt: {error.message}", check=error.check, hint=_MISTRUST
            ) from None

    def _settle(self, outcome: Outcome, receipt: VerifiedReceipt | None) -> None:
        if self._settled:
            return
        self._settled = True
        job = self.job
        # A clock set back in the meantime must not make the record impossible.
        job.ended = max(self._journal.clock(), job.started)
        job.outcome = outcome
        document = receipt.document if receipt else None
        try:
            self._put(self._record(outcome, document), document)
        finally:
            self._journal.close(job)

    def _record(self, outcome: Outcome, receipt: dict[str, Any] | None) -> DeviceRecord:
        admitted, enclave = self._admitted, self._admitted.route.enclave
        return DeviceRecord(
            route=admitted.route.name,
            policy=admitted.policy.name,
            model=self.job.model,
            disclosure=self._disclosure(outcome),
            statement=enclave.statement_digest if enclave else None,
            receipt=document_digest(receipt) if receipt else None,
            request=self._request.digest() if self._request_whole else None,
            answer=None if outcome is Outcome.UNFINISHED else self._answer.digest(),
            salt=salt_commitment(self._salt),
            started=self.job.started,
            ended=self.job.ended,
            outcome=outcome,
            routing=self._routing,
        )

    def _disclosure(self, outcome: Outcome) -> Disclosure:
        """Return who could learn what; of a job that ended before anything left, nobody else."""
        whole = self._admitted.disclosure
        if outcome not in (Outcome.FAILED, Outcome.INTERRUPTED) or self.has_left:
            return whole
        yours = (Party.PERSON, Party.DEVICE)
        return Disclosure({pair: cell for pair, cell in whole.cells.items() if pair[0] in yours})

    def _put(self, record: DeviceRecord, receipt: dict[str, Any] | None) -> None:
        enclave = self._admitted.route.enclave
        file = ReceiptFile(
            record=issue_record(record, self._key),
            receipt=receipt,
            statement=enclave.statement if enclave else None,
            salt=self._salt,
        )
        self._journal.store.put(self.job.id, file)


def _trailer(response: httpx.Response) -> bytes | None:
    sealed = response.extensions.get("sealed")
    if sealed is None:
        return None
    value: bytes | None = sealed.trailers.get(RECEIPT_TRAILER.encode())
    return value


def _named_model(content: bytes | None) -> str | None:
    """Return the model an OpenAI-shaped request names, if it is one."""
    try:
        model = json.loads(content)["model"] if content else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return model if isinstance(model, str) and 0 < len(model) <= _MAX_MODEL else None
