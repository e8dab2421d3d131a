"""Floor 5: the trainer: an enclave that runs one training job over a dataset it may not keep.

It proves what it is to the owner's broker, gets the dataset's key under a grant to train, opens the
dataset in memory alone, has the training process work on it, seals the adapter to whom the grant
names, and uploads that. Nothing else leaves: whoever runs it sees how far the run is, two counts,
and how long it took. Its lease is kept while it works; when that is refused, the training process
is killed with all it holds. Protocol and promises: spec/private-training.md.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from privity.attest import Quoter, build_statement
from privity.attest.grant import Grant, Purpose, SignedGrant
from privity.attest.release import BootKeys
from privity.errors import EvidenceError, InputError, MalformedError, PrivityError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.hardening import harden
from privity.infer.engines.weights import find_default, weights_at
from privity.node.attestation import AttestationSettings
from privity.node.dataset_reading import DatasetReading
from privity.node.key_client import KeyClient, Released
from privity.node.listen import end_with_stdin
from privity.node.training_child import Base, Outcome, TrainingChild, memory_file
from privity.statement import Statement
from privity.train.base import check_installed
from privity.train.bundle import MEDIA_TYPE
from privity.train.program import measure_program, program_software
from privity.train.receipt import TrainingReceipt, issue_receipt
from privity.vault.artefact import Meta, seal_stream
from privity.vault.header import read_header
from privity.vault.recipients import Recipient
from privity.vault.source import Source
from privity.vault.store import open_store_reader
from privity.vault.transfer import push

__all__ = ["Finished", "Trainer", "TrainerSettings", "run_trainer"]

logger = logging.getLogger("privity.trainer")

ROLE = "trainer"
"""What the keyset that signs receipts is for; no key is released to one of this role."""

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Finished:
    """What whoever runs the job may know of it.

    Attributes:
        artefact: id of the sealed adapter.
        records: how many records were read.
        steps: how many steps were taken.
        seconds: how long it took, from asking for the key to the adapter.
        losses: of each step; None unless the owner's settings let them leave.
    """

    artefact: str
    records: int
    steps: int
    seconds: int
    losses: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        told = {"adapter": self.artefact, "records": self.records, "steps": self.steps}
        losses = {} if self.losses is None else {"losses": list(self.losses)}
        return {"done": True, **told, "seconds": self.seconds, **losses}


class Trainer:
    """Runs one job. This is the enclave's side.

    Args:
        broker: URL of the owner's broker.
        quoters: one for each kind of evidence it can give; at least one.
        beside: signed manifests that approve this code, as endorsements.
        base: the weights to start from.
        threads: processor threads for computing; by default all.
        on_step: told how many steps are done, of how many.
        clock: the enclave's time.
        start: starts the training process; by default `TrainingChild`.
        unsafe_inspectable: see `hardening.harden`.

    Guarantees:
        The adapter is sealed to the recipient of the grant and to nobody else; a grant that does
        not list this program, or is for another purpose, trains nothing; a lease that is refused
        ends the run and what it holds (tests/adversary/test_trainer.py).
    """

    def __init__(
        self,
        broker: str,
        quoters: Sequence[Quoter],
        base: Base,
        *,
        beside: Sequence[dict[str, Any]] = (),
        threads: int | None = None,
        on_step: OnStep | None = None,
        clock: Clock = utc_now,
        start: Callable[..., TrainingChild] = TrainingChild,
        unsafe_inspectable: bool = False,
    ) -> None:
        self._start = start
        self._signer = SigningKey.generate()
        self._quoters, self._base, self._clock = tuple(quoters), base, clock
        self._threads = threads or os.cpu_count() or 1
        self._on_step, self._inspectable = on_step, unsafe_inspectable
        software = (program_software(),)
        self._keyset = BootKeys(self._signer.did, role=ROLE, software=software).keyset
        self._beside = tuple(beside)
        self._client = KeyClient(
            broker,
            self._quoters,
            receipts=self._signer.did,
            software=software,
            beside=self._beside,
            clock=clock,
        )

    async def run(self, source: Source, deliver: Callable[[Path], object]) -> Finished:
        """Train on the sealed dataset and deliver the sealed adapter.

        Args:
            source: the sealed dataset.
            deliver: takes the path of the sealed adapter, which is gone afterwards; blocks.

        Raises:
            EvidenceError: the broker refuses the key, or to renew the lease; or the grant is not
                for this.
            EngineError: training failed.
            OpenError, TruncatedError, MalformedError, OversizeError: the dataset is not what was
                granted, or no dataset.
            PeerError: broker or store cannot be reached.
        """
        job = _Job(self._clock(), time.monotonic(), await to_thread.run_sync(self._state))
        try:
            artefact = (await to_thread.run_sync(read_header, source)).id
            released = await self._client.obtain(artefact, Purpose.TRAIN)
            recipient = _recipient(released.signed.grant)
            return await self._leased(job, released, recipient, source, deliver)
        finally:
            await self._client.aclose()

    async def _leased(
        self,
        job: _Job,
        released: Released,
        recipient: Recipient,
        source: Source,
        deliver: Callable[[Path], object],
    ) -> Finished:
        """Read and work for as long as the lease is renewed; the first refusal ends both."""
        refused: list[PrivityError] = []
        ended: list[Finished | PrivityError] = []

        async def keep(scope: anyio.CancelScope) -> None:
            try:
                await self._client.keep(released)
            except PrivityError as error:
                refused.append(error)
                scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(keep, group.cancel_scope)
            try:
                dataset = await _read(source, released)
                outcome = await self._train(dataset)
                receipt = self._sign(job, outcome, released.signed, self._clock())
                ended.append(await _hand_over(outcome, receipt, recipient, deliver, job.began))
            except PrivityError as error:
                ended.append(error)
            group.cancel_scope.cancel()
        # What was delivered before the refusal came is the owner's already.
        result = ended[0] if ended else refused[0]
        if refused and not isinstance(result, Finished):
            result = refused[0]
        if isinstance(result, PrivityError):
            raise result
        return result

    async def _train(self, dataset: bytes) -> Outcome:
        """Have a process of its own train; cancelled, it is killed with all it holds."""
        child = self._start(
            self._base,
            threads=self._threads,
            unsafe_inspectable=self._inspectable,
        )
        try:
            return await to_thread.run_sync(
                child.run, dataset, self._on_step, abandon_on_cancel=True
            )
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(child.close)

    def _state(self) -> Statement:
        """Return the statement the receipt's key rests on."""
        return build_statement(self._keyset, self._quoters, now=self._clock(), beside=self._beside)

    def _sign(self, job: _Job, outcome: Outcome, signed: SignedGrant, ended: datetime) -> bytes:
        grant = signed.grant
        receipt = TrainingReceipt(
            program=measure_program(),
            grant=signed.digest,
            dataset=grant.artefact,
            records_root=grant.root,
            base=self._base.root,
            adapter=outcome.bundle.digest,
            recipient=grant.recipient or "",
            records=outcome.records,
            steps=outcome.steps,
            keyset=self._keyset.digest,
            started=job.started,
            ended=ended,
        )
        return issue_receipt(receipt, self._signer, job.statement)


@dataclass(frozen=True)
class TrainerSettings:
    """How to run a trainer.

    Attributes:
        attestation: how it proves what it runs.
        broker: URL of the owner's broker.
        dataset: URL or path of the sealed dataset.
        out: URL or path where the sealed adapter goes.
        base: a GGUF file to start from, or None for the default model.
        threads: processor threads for computing; by default all.
        lifeline: end when standard input ends.
        unsafe_inspectable: let others of the same user look into its processes, for tests.
    """

    attestation: AttestationSettings
    broker: str
    dataset: str
    out: str
    base: Path | None = None
    threads: int | None = None
    lifeline: bool = False
    unsafe_inspectable: bool = False


def run_trainer(settings: TrainerSettings, *, on_step: OnStep | None = None) -> Finished:
    """Run one job in this process and return when its adapter is uploaded. Blocks.

    Args:
        settings: how to run it.
        on_step: told how many steps are done, of how many.

    Raises:
        MissingDependency: the `train` extra is not installed; no use of a grant is spent on that.
        PrivityError: as `Trainer.run`; and `InputError` where a setting cannot be had.
    """
    if not sys.platform.startswith("linux"):
        raise InputError("a trainer runs on Linux alone: elsewhere nothing keeps its memory apart")
    check_installed()
    for gap in harden(unsafe_inspectable=settings.unsafe_inspectable).gaps():
        logger.warning("%s", gap)
    if settings.lifeline:
        end_with_stdin()
    quoters = settings.attestation.quoters()
    weights = find_default() if settings.base is None else weights_at(settings.base)
    base = Base.load(weights)

    def deliver(path: Path) -> None:
        push(path, settings.out)

    async def job() -> Finished:
        trainer = Trainer(
            settings.broker,
            quoters,
            base,
            beside=settings.attestation.approval(),
            threads=settings.threads,
            on_step=on_step,
            unsafe_inspectable=settings.unsafe_inspectable,
        )
        with open_store_reader(settings.dataset) as source:
            return await trainer.run(source, deliver)

    try:
        return anyio.run(job)
    finally:
        base.close()


@dataclass(frozen=True)
class _Job:
    """What is known of a run before it has a key: when it began, and who will sign for it."""

    started: datetime
    began: float
    statement: Statement


def _recipient(grant: Grant) -> Recipient:
    """Return whom the grant has the adapter sealed to, if it lists this program."""
    if measure_program() not in grant.programs:
        raise EvidenceError("the training program is not one the grant lists", check="program")
    try:
        return Recipient.parse(grant.recipient or "")
    except MalformedError as error:
        raise EvidenceError(f"the grant's recipient: {error.message}", check="recipient") from None


async def _read(source: Source, released: Released) -> bytes:
    """Return the dataset; cancelled, it is dropped though the store does not answer."""
    reading = DatasetReading(source)
    try:
        return await to_thread.run_sync(reading.read, released, abandon_on_cancel=True)
    finally:
        reading.stop()


async def _hand_over(
    outcome: Outcome,
    receipt: bytes,
    recipient: Recipient,
    deliver: Callable[[Path], object],
    began: float,
) -> Finished:
    """Seal the adapter to its owner, in memory, and deliver it."""
    archive = io.BytesIO(outcome.bundle.with_receipt(receipt).to_bytes())
    meta = Meta("adapter.tar", "adapter", MEDIA_TYPE)

    def seal_and_deliver() -> str:
        fd = memory_file("adapter")
        with open(fd, "w+b", buffering=0) as sink:
            made = seal_stream(archive, sink, meta=meta, recipients=(recipient,))
            made.key.erase()
            deliver(Path(f"/proc/self/fd/{fd}"))
        return made.id

    artefact = await to_thread.run_sync(seal_and_deliver)
    seconds = round(time.monotonic() - began)
    return Finished(artefact, outcome.records, outcome.steps, seconds, outcome.losses)
