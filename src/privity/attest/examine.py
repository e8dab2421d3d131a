"""Everything that is checked of a statement, in order, passed and failed alike.

`examine_statement` says what it found and decides nothing; `privity.attest.verify_statement` turns
that into an `AttestedEnclave` or an error, and `privity verify` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from privity.attest.cache import Cached
from privity.attest.evidence import EvidenceVerifier, Findings
from privity.attest.log.memory import Remembered
from privity.attest.reference import approve
from privity.attest.signed_manifest import SignedManifest, SignedRevocation, parse_documents
from privity.attest.trust import Trust
from privity.errors import EvidenceError, InputError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.timestamps import CLOCK_SKEW
from privity.statement import Approved, Beacon, Check, Logged, Nonce, Statement, report_data

__all__ = [
    "KINDS",
    "LOG",
    "REFERENCE",
    "Examined",
    "LogView",
    "examine_statement",
    "verifier_for",
]

KINDS = ("tdx", "sgx", "snp", "nitro", "nvidia", "dev")
"""Every kind of evidence this version can judge."""

REFERENCE, LOG = "reference", "log"
"""Kinds of endorsements that are of no kind of evidence: approvals, and the log's proof."""

_BESIDE = (REFERENCE, LOG)
_UNKNOWN = ("reference value", "reference signature", "reference period", "reference models")
_DEVICES = frozenset({"nvidia"})  # they work for a processor, which is what holds the keys


@dataclass(frozen=True)
class LogView:
    """What the device knows of the log beforehand.

    Attributes:
        enclave: the name the log's entry must be of; None takes any.
        remembered: the largest tree this device has seen of it; None at first sight.
        consistency: the proof between that tree and the statement's; None if it was not asked for.
    """

    enclave: str | None = None
    remembered: Remembered | None = None
    consistency: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class Examined:
    """What was found; true of the enclave only if nothing failed.

    Attributes:
        statement: what was published; None if it could not be read.
        checks: everything that was checked, in order.
        findings: one for each piece of evidence that could be read.
        approved: who approved the code, if anyone.
        logged: the log that has the keyset, if any.
    """

    statement: Statement | None
    checks: tuple[Check, ...]
    findings: tuple[Findings, ...] = ()
    approved: Approved | None = None
    logged: Logged | None = None

    @property
    def failed(self) -> Check | None:
        """The first check that did not hold."""
        return next((check for check in self.checks if not check.ok), None)


@lru_cache(maxsize=64)
def verifier_for(kind: str, trust: Trust) -> EvidenceVerifier | None:
    """Return the verifier of a kind of evidence, with its cache; None for an unknown kind."""
    verifier = _make_verifier(kind, trust)
    return None if verifier is None else Cached(verifier)


def _make_verifier(kind: str, trust: Trust) -> EvidenceVerifier | None:
    """Import what one kind needs, and nothing for the others: a command has to start quickly."""
    roots, policy = trust.roots, trust.policy
    if kind == "tdx":
        from privity.attest.evidence_tdx import TdxVerifier

        return TdxVerifier(roots.intel, policy)
    if kind == "sgx":
        from privity.attest.evidence_sgx import SgxVerifier

        return SgxVerifier(roots.intel, policy)
    if kind == "snp":
        from privity.attest.evidence_snp import SnpVerifier

        return SnpVerifier(roots.amd, policy)
    if kind == "nitro":
        from privity.attest.evidence_nitro import NitroVerifier

        return NitroVerifier(roots.nitro, policy)
    if kind == "nvidia":
        from privity.attest.evidence_nvidia import NvidiaVerifier

        return NvidiaVerifier(roots.nvidia, policy)
    if kind == "dev":
        from privity.attest.evidence_dev import DevVerifier

        return DevVerifier(trust.dev_roots, max_age=policy.max_age)
    return None


def examine_statement(
    data: bytes,
    *,
    nonce: bytes | None,
    trust: Trust,
    now: datetime,
    view: LogView = LogView(),
) -> Examined:
    """Check all of a statement, and go on after a failure. Total.

    Args:
        data: the statement's bytes.
        nonce: the 32 bytes sent as a challenge; None expects a beacon in its period.
        trust: what the person accepts.
        now: the time to judge it for.
        view: what the device knows of the log the statement is in.
    """
    try:
        statement = Statement.parse(data)
    except (MalformedError, OversizeError) as error:
        return Examined(None, (Check("format", False, error.message),))
    checks = [
        Check("format", True, "canonical JSON, version 1"),
        check_freshness(statement, nonce, trust, now),
    ]
    findings = _examine_evidence(statement, trust, now, checks)
    dev = any(one.dev for one in findings)
    approved = _approve(statement, findings, trust, now, checks, needed=not dev)
    logged = _look_up(statement, trust, now, view, checks, needed=not dev)
    return Examined(statement, tuple(checks), findings, approved, logged)


def check_freshness(
    statement: Statement, nonce: bytes | None, trust: Trust, now: datetime
) -> Check:
    """Return the check that the statement answers this challenge, or is of this time."""
    freshness = statement.freshness
    if nonce is not None:
        if not isinstance(freshness, Nonce) or freshness.value != nonce:
            return Check("nonce", False, "the statement was not made for the challenge sent")
        return Check("nonce", True, "made for the challenge sent")
    if not isinstance(freshness, Beacon):
        return Check("nonce", False, "the statement was made for another's challenge")
    age = now - freshness.issued
    if not -CLOCK_SKEW <= age < trust.policy.max_age or now >= freshness.expires:
        return Check("beacon", False, "the statement's beacon is not of this time")
    return Check("beacon", True, "within its period")


def _examine_evidence(
    statement: Statement, trust: Trust, now: datetime, checks: list[Check]
) -> tuple[Findings, ...]:
    """Have every piece of evidence examined, and add what was found to the checks."""
    kinds = [one["kind"] for one in statement.evidence]
    bound = report_data(statement.keyset, statement.freshness.bound)
    for kind in dict.fromkeys(kinds):
        if verifier_for(kind, trust) is None:
            known = f"kinds known here: {', '.join(KINDS)}"
            told = f"evidence of a kind this version cannot judge: {kind!r}"
            checks.append(Check("evidence kind", False, told, known))
    if any(one["kind"] not in (*kinds, *_BESIDE) for one in statement.endorsements):
        checks.append(Check("endorsement kind", False, "an endorsement that no evidence uses"))
    findings = []
    for kind, evidence in zip(kinds, statement.evidence, strict=True):
        verifier = verifier_for(kind, trust)
        if verifier is None:
            continue
        checks.append(Check("evidence kind", True, kind))
        endorsements = [one for one in statement.endorsements if one["kind"] == kind]
        try:
            found = verifier.examine(evidence, bound, endorsements, now)
        except MalformedError as error:
            checks.append(Check("evidence format", False, error.message))
            continue
        findings.append(found)
        checks.extend(found.checks)
    if findings and all(one.kind in _DEVICES for one in findings):
        told = "a GPU holds no keys: without evidence of the processor nothing is bound"
        checks.append(Check("evidence kind", False, told))
    return tuple(findings)


def _approve(
    statement: Statement,
    findings: tuple[Findings, ...],
    trust: Trust,
    now: datetime,
    checks: list[Check],
    *,
    needed: bool,
) -> Approved | None:
    """Look for an approval of what was measured, and add what was found to the checks."""
    kept, revocations = _documents(trust.manifests)
    manifests = list(kept)
    for one in statement.endorsements:
        if one["kind"] == REFERENCE:
            try:
                manifests.append(_carried(one))
            except MalformedError as error:
                checks.append(Check("reference format", False, error.message))
                return None
    needed = needed and trust.policy.reference
    if not needed and not (manifests and trust.signers):
        return None
    try:
        found = approve(
            [one.claimed for one in findings],
            statement.keyset,
            manifests,
            trust.signers,
            revocations,
            now,
        )
    except EvidenceError as error:
        # Where approval is optional, code that is merely unknown is shown as that in the table.
        # One that was taken back is refused whatever the policy says.
        if needed or error.check not in _UNKNOWN:
            checks.append(Check(error.check, False, error.message, error.hint))
        return None
    checks.extend(found.checks)
    return Approved(found.name, found.digest, found.signer)


def _carried(endorsement: dict[str, Any]) -> SignedManifest:
    fields = Fields(endorsement, "reference endorsement")
    fields.constant("kind", REFERENCE)
    signed = SignedManifest.from_json(fields.object("manifest"))
    fields.done()
    return signed


@lru_cache(maxsize=16)
def _documents(
    kept: tuple[bytes, ...],
) -> tuple[tuple[SignedManifest, ...], tuple[SignedRevocation, ...]]:
    try:
        return parse_documents(kept)
    except (MalformedError, OversizeError) as error:
        raise InputError(
            f"trust.manifests: neither a signed manifest nor a revocation: {error.message}",
            hint="`privity reference show FILE` looks at one",
        ) from None


def _look_up(
    statement: Statement,
    trust: Trust,
    now: datetime,
    view: LogView,
    checks: list[Check],
    *,
    needed: bool,
) -> Logged | None:
    """Look the keyset up in the log's own proof, and add what was found to the checks."""
    offered = [one for one in statement.endorsements if one["kind"] == LOG]
    if not offered or not trust.logs:
        if needed and trust.policy.log:
            told = "the keys are in no log" if not offered else "you trust no log"
            hint = "list the verifier keys of the logs you trust under trust.logs"
            checks.append(Check("log entry", False, told, hint if offered else ""))
        return None
    from privity.attest.log.proof import check_logged

    try:
        if len(offered) > 1:
            raise EvidenceError("more than one log is named", check="log entry")
        found = check_logged(
            offered[0],
            statement.keyset.digest,
            logs=trust.logs,
            witnesses=trust.witnesses,
            quorum=trust.policy.witnesses,
            now=now,
            max_age=trust.policy.max_age,
            remembered=view.remembered,
            consistency=view.consistency,
        )
        if view.enclave is not None and found.entry.enclave != view.enclave:
            raise EvidenceError(
                f"the log has these keys under the name {found.entry.enclave!r}, "
                f"not {view.enclave!r}, where others would look",
                check="log entry",
            )
    except EvidenceError as error:
        checks.append(Check(error.check, False, error.message, error.hint))
        return None
    checks.extend(found.checks)
    return Logged(found.origin, found.size, found.root, len(found.cosigned))
