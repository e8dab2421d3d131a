"""The two sides of a kind of evidence: who makes it in the enclave, who judges it elsewhere.

A new kind is one module ``evidence_<kind>.py`` with an `EvidenceVerifier`, a quoter in
``quoters/``, and one line in `privity.attest.verifiers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

from privity.attested import Check, VerifiedEvidence, measurement_of
from privity.disclosure import Basis
from privity.errors import EvidenceError

__all__ = ["KEY_BINDING", "Companions", "EvidenceVerifier", "Findings", "Quoter", "run_checks"]

KEY_BINDING = "key binding"
"""The check, of every kind, that evidence carries what it was asked to bind."""


@dataclass(frozen=True)
class Findings:
    """What an examination of one piece of evidence found.

    Attributes:
        kind: the kind of evidence.
        checks: what was checked, in order, passed and failed alike.
        registers: what was measured, as far as it could be read; true only if all checks hold.
        basis: the grounds on which the host is kept out if every check holds.
        dev: True if it proves nothing about hardware, whatever the checks.
        period: ``from`` and ``until`` (half-open) of the times at which the result is the same;
            None where that is not known.
        measurement: the kind's own digest of what runs; by default one over the registers.
    """

    kind: str
    checks: tuple[Check, ...]
    registers: Mapping[str, str] = field(default_factory=dict)
    basis: frozenset[Basis] = frozenset()
    dev: bool = False
    period: tuple[datetime, datetime] | None = None
    measurement: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "registers", MappingProxyType(dict(self.registers)))

    @property
    def failed(self) -> Check | None:
        """The first check that did not hold."""
        return next((check for check in self.checks if not check.ok), None)

    @property
    def accepted(self) -> bool:
        """Whether something was checked, and all of it held. For showing: use `accept` to act."""
        return bool(self.checks) and self.failed is None

    def accept(self) -> VerifiedEvidence:
        """Return the evidence as verified.

        Raises:
            EvidenceError: ``.check`` names the first check that did not hold.
        """
        failed = self.failed
        if failed is not None or not self.checks:
            name, detail = (failed.name, failed.detail) if failed else ("format", "nothing checked")
            hint = failed.hint if failed else ""
            raise EvidenceError(f"{self.kind} evidence: {detail}", check=name, hint=hint)
        return self.claimed

    @cached_property
    def claimed(self) -> VerifiedEvidence:
        """What the evidence says if every check held, for going on after one that did not.

        Only what `accept` returns may be acted on.
        """
        return VerifiedEvidence(
            kind=self.kind,
            measurement=self.measurement or measurement_of(self.kind, self.registers),
            basis=self.basis,
            dev=self.dev,
            checks=self.checks,
            registers=self.registers,
        )


def run_checks(steps: Iterable[tuple[str, Callable[[], str]]]) -> tuple[Check, ...]:
    """Run each step, go on after a failure, and return them all as checks.

    Args:
        steps: a check's name, and what makes it: it returns the detail, or raises `EvidenceError`,
            whose own name, message and hint then stand for the check.
    """
    checks = []
    for name, step in steps:
        try:
            checks.append(Check(name, True, step()))
        except EvidenceError as error:
            checks.append(Check(error.check, False, error.message, error.hint))
    return tuple(checks)


@dataclass(frozen=True)
class Companions:
    """Files that came with evidence, as bytes nobody has read yet.

    Attributes:
        certificates: PEM bundles or single DER certificates.
        collateral: Intel's, as JSON.
        rims: NVIDIA's reference integrity manifests.
    """

    certificates: tuple[bytes, ...] = ()
    collateral: bytes | None = None
    rims: tuple[bytes, ...] = ()


class Quoter(Protocol):
    """Makes evidence of one kind. This runs in the enclave."""

    @property
    def kind(self) -> str:
        """The kind, as evidence and endorsements name it."""

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        """What verifiers need to judge the evidence, each with ``kind``."""

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence, an object with ``kind``, that carries these 64 bytes.

        It asks the hardware, and may take a while: call it in a thread.
        """


class EvidenceVerifier(Protocol):
    """Judges evidence of one kind. This runs on the device, or with anyone later."""

    @property
    def kind(self) -> str:
        """The kind it judges."""

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Check everything, and go on after a failure wherever what follows still makes sense.

        Args:
            evidence: one object of this kind, unread.
            bound: the 64 bytes it must carry, the check `KEY_BINDING`; None where nobody knows
                what it was made for, and then there is no such check.
            endorsements: *all* endorsements of this kind in the statement. Each must verify: what
                nobody checked could be altered unnoticed.
            now: the time to judge it for.

        Raises:
            MalformedError: it is not of this kind's form.
        """
