"""The two sides of a kind of evidence: who makes it in the enclave, who judges it elsewhere.

A new kind is one module ``evidence_<kind>.py`` with a `Quoter` and an `EvidenceVerifier`, and one
line in `privity.attest.verify.verifiers_for`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from privity.statement import VerifiedEvidence

__all__ = ["EvidenceVerifier", "Quoter"]


class Quoter(Protocol):
    """Makes evidence of one kind. This runs in the enclave."""

    @property
    def kind(self) -> str:
        """The kind, as evidence and endorsements name it."""

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        """What verifiers need to judge the evidence, each with ``kind``."""

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence, an object with ``kind``, that carries these 64 bytes."""


class EvidenceVerifier(Protocol):
    """Judges evidence of one kind. This runs on the device, or with anyone later."""

    @property
    def kind(self) -> str:
        """The kind it judges."""

    def verify(
        self,
        evidence: dict[str, Any],
        report_data: bytes,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> VerifiedEvidence:
        """Return what the evidence proves.

        Args:
            evidence: one object of this kind, unread.
            report_data: the 64 bytes it must carry.
            endorsements: *all* endorsements of this kind in the statement. Each must verify: what
                nobody checked could be altered unnoticed.
            now: the time to judge it for.

        Raises:
            EvidenceError: ``.check`` names what did not hold.
            MalformedError: it is not of this kind's form.
        """
