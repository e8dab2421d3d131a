"""Admission: one of a member's messages of this epoch, shown by a proof, before anything is opened.

The checks run in the order of what they cost: the header's form, the epoch, the root, a look at
what this gateway admitted before; then the proof, in batches (`proof_queue`); then the store, which
alone decides whether the signal is new. What was not verified is never recorded: a forger could
otherwise use up the nullifiers of others. The promises: spec/admission.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass
from typing import Protocol

from privity.anon.epochs import EPOCH_S, Epochs
from privity.anon.field import Field
from privity.anon.proof_queue import ProofQueue, QueueLimits, busy
from privity.anon.rln import (
    Claimed,
    Point,
    Proof,
    VerifiedProof,
    external_nullifier,
    recover_secret,
)
from privity.anon.stores import Conflict, Seen, SignalStore
from privity.errors import AdmissionError, InputError, MalformedError, PeerError

__all__ = [
    "Admission",
    "AdmittedSignal",
    "DoubleSignalError",
    "Roots",
    "Screened",
]

logger = logging.getLogger("privity.admission")

_REMEMBERED = 1 << 18  # signals this process keeps at hand, so that a replay costs no proof


class Roots(Protocol):
    """Knows the members' current root and the last ones before; `MemberTree` is one."""

    def knows(self, root: bytes) -> bool:
        """Tell whether a root is one of them."""
        ...


class DoubleSignalError(AdmissionError):
    """Two different signals used one message: their maker's secret is known.

    Attributes:
        evidence: the secret, for the ledger to slash; it is in no message and no log.
    """

    def __init__(self, evidence: Field) -> None:
        super().__init__(
            "another request used the same message of this epoch, which reveals its maker's secret",
            check="double-signal",
            hint="use one wallet in one place: two copies of it slash each other",
        )
        self.evidence = evidence


_MINT = object()


@dataclass(frozen=True)
class AdmittedSignal:
    """A request that was admitted; `Admission.admit` makes it.

    It says that a member, nobody knows which, used one message of ``epoch`` for the request with
    ``digest``, and that no other request used it.
    """

    scope: str
    epoch: int
    digest: bytes
    _: KW_ONLY
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("an AdmittedSignal comes from Admission.admit")


@dataclass(frozen=True)
class Screened:
    """A header that passed the checks which need no body: `Admission.screen` makes it."""

    proof: Proof


class Admission:
    """Admits requests to one provider; run by its gateways, which may share a store.

    Args:
        scope: the provider's account on the ledger, in lower case; proofs made for others do not
            hold.
        members: whose proofs are accepted.
        store: remembers signals; open, and its owner's to close.
        epoch_s: seconds of an epoch.
        clock: seconds since 1970.
        limits: of what waits to be verified.
        queue: verifies proofs; one of its own by default.

    Raises:
        InputError: the scope is not one.
        MissingDependency: the native wheel is not installed.

    Guarantees:
        Each sentence of the promise in spec/admission.md (tests/adversary/test_admission.py).
    """

    def __init__(
        self,
        scope: str,
        members: Roots,
        store: SignalStore,
        *,
        epoch_s: float = EPOCH_S,
        clock: Callable[[], float] = time.time,
        limits: QueueLimits | None = None,
        queue: ProofQueue | None = None,
    ) -> None:
        external_nullifier(0, scope)
        self.scope = scope
        self.epochs = Epochs(epoch_s, clock=clock)
        self._members = members
        self._store = store
        self._queue = queue or ProofQueue(limits)
        self._admitted: dict[tuple[int, Field, bytes], None] = {}
        self._under_way: set[tuple[Proof, bytes]] = set()

    async def admit(self, header: str | None, digest: bytes, *, source: str = "") -> AdmittedSignal:
        """Admit a request, or refuse it.

        Args:
            header: the value of ``privity-admission``, or None.
            digest: SHA-256 of the whole encapsulated request.
            source: where it came from, for fairness alone: the relay's address.

        Raises:
            AdmissionError: it is not admitted; ``check`` says why (spec/admission.md), and
                `DoubleSignalError` carries the secret.
        """
        return await self.admit_screened(self.screen(header), digest, source=source)

    def screen(self, header: str | None) -> Screened:
        """Check what needs no body: that there is a proof, its form, epoch and root.

        Raises:
            AdmissionError: check ``missing``, ``malformed``, ``epoch`` or ``root``.
        """
        if header is None:
            raise AdmissionError(
                "the request carries no proof of membership",
                check="missing",
                hint="join the membership, then ask again",
            )
        try:
            proof = Proof.from_header(header)
        except MalformedError as error:
            raise AdmissionError(
                f"the proof of membership is malformed: {error.message}", check="malformed"
            ) from error
        self._check_now(proof)
        return Screened(proof)

    def check_room(self, source: str) -> None:
        """Refuse a forger who would find no room among the proofs that wait: before the body.

        Raises:
            AdmissionError: check ``busy``.
        """
        self._queue.check_room(source)

    async def admit_screened(
        self, screened: Screened, digest: bytes, *, source: str = "", had_room: bool = False
    ) -> AdmittedSignal:
        """Admit a request whose header was screened; as `admit`.

        Args:
            screened: what `screen` returned.
            digest: as for `admit`.
            source: as for `admit`.
            had_room: `check_room` passed before the body came.

        Raises:
            AdmissionError: as `admit`.
        """
        proof = screened.proof
        if (proof.epoch, proof.nullifier, digest) in self._admitted:
            raise _duplicate()
        # The very same claim has the very same verdict: it is not verified twice at one time.
        if (proof, digest) in self._under_way:
            raise _duplicate()
        self._under_way.add((proof, digest))
        try:
            claim = Claimed(proof, self.scope, digest)
            verified = await self._queue.verified(claim, source, had_room=had_room)
            self._check_now(proof)  # it waited: an epoch may be over, a member slashed
            seen = await self._record(verified)
        finally:
            self._under_way.discard((proof, digest))
        if len(self._admitted) < _REMEMBERED:
            self._admitted[proof.epoch, proof.nullifier, digest] = None
        if seen is Seen.DUPLICATE:  # another gateway admitted it, or this one before a restart
            raise _duplicate()
        return AdmittedSignal(self.scope, proof.epoch, digest, mint=_MINT)

    async def prune(self) -> int:
        """Forget signals of epochs that pass nowhere any more; return how many the store had.

        Raises:
            PeerError: the store failed; they stay until the next time.
        """
        before = self.epochs.forgettable
        self._admitted = {key: None for key in self._admitted if key[0] >= before}
        return await self._store.prune(before)

    def close(self) -> None:
        """End the worker."""
        self._queue.close()

    def _check_now(self, proof: Proof) -> None:
        """Refuse a proof of another time, or of members of another time."""
        if not self.epochs.passes(proof.epoch):
            raise AdmissionError(
                "the proof is of another epoch",
                check="epoch",
                hint="set this device's clock, then ask again",
            )
        if not self._members.knows(proof.root):
            raise AdmissionError(
                "the proof is of a list of members that is not among the last ones",
                check="root",
                hint="read the ledger again, then prove anew",
            )

    async def _record(self, verified: VerifiedProof) -> Seen:
        """Record a verified signal; raise where it contradicts the one that is recorded."""
        proof = verified.proof
        try:
            seen = await self._store.record(
                self.scope, proof.epoch, proof.nullifier, verified.x, proof.y
            )
        except PeerError as error:
            # Nothing is admitted that a store cannot remember.
            logger.error("the store of signals failed: a request was refused")
            raise busy() from error
        if isinstance(seen, Conflict):
            raise DoubleSignalError(_secret(Point(seen.x, seen.y), verified.point))
        return seen


def _secret(kept: Point, shown: Point) -> Field:
    try:
        return recover_secret(kept, shown)
    except InputError as error:  # the store holds what no verified signal could be
        raise busy() from error


def _duplicate() -> AdmissionError:
    return AdmissionError(
        "this request was admitted before",
        check="duplicate",
        hint="ask again: every request is proved afresh",
    )
