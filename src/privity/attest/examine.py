"""Everything that is checked of a statement, in order, passed and failed alike.

`examine_statement` says what it found and decides nothing; `privity.attest.verify_statement` turns
that into an `AttestedEnclave` or an error, and `privity verify` shows it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from privity.attest.cache import Memory
from privity.attest.evidence import Findings
from privity.attest.log.memory import Remembered
from privity.attest.log.proof import LogEndorsement, LoggedKeyset, check_logged
from privity.attest.reference import Approval, approve
from privity.attest.signed_manifest import SignedManifest, SignedRevocation, parse_documents
from privity.attest.trust import Trust
from privity.attest.verifiers import KINDS, verifier_for
from privity.attested import Approved, Check, Logged
from privity.errors import EvidenceError, InputError, MalformedError, OpenError, OversizeError
from privity.identity.fields import Fields
from privity.identity.timestamps import CLOCK_SKEW
from privity.statement import Beacon, Nonce, Statement, report_data

__all__ = ["LOG", "REFERENCE", "Examined", "LogView", "examine_statement", "forget"]

REFERENCE, LOG = "reference", "log"
"""Kinds of endorsements that are of no kind of evidence: approvals, and the log's proof."""

_BESIDE = (REFERENCE, LOG)
_UNKNOWN = (
    "reference value",
    "reference signature",
    "reference period",
    "reference models",
    "reference programs",
)
_DEVICES = frozenset({"nvidia"})  # they work for a processor, which is what holds the keys
_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


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
        period: ``from`` and ``until`` (half-open) of the times at which the result is the same;
            None where that is not known.
        unapproved: why no approval known here fits, where the policy does not ask for one; empty
            where none was looked for, or one fits.
        remembered: the tree of the log that was compared with, if any.
    """

    statement: Statement | None
    checks: tuple[Check, ...]
    findings: tuple[Findings, ...] = ()
    approved: Approved | None = None
    logged: Logged | None = None
    period: tuple[datetime, datetime] | None = None
    unapproved: str = ""
    remembered: Remembered | None = None

    @property
    def failed(self) -> Check | None:
        """The first check that did not hold."""
        return next((check for check in self.checks if not check.ok), None)


_MEMORY: Memory[Examined] = Memory(most=64)  # a statement has up to 256 KiB


def forget() -> None:
    """Drop every remembered result, as if nothing was examined yet; for tests and measurements."""
    _MEMORY.clear()


def examine_statement(
    data: bytes,
    *,
    nonce: bytes | None,
    trust: Trust,
    now: datetime,
    view: LogView = LogView(),
) -> Examined:
    """Check all of a statement, and go on after a failure. Total.

    What it found of the same statement, under the same trust and view, is remembered for as long
    as time cannot change it.

    Args:
        data: the statement's bytes.
        nonce: the 32 bytes sent as a challenge; None expects a beacon in its period.
        trust: what the person accepts.
        now: the time to judge it for.
        view: what the device knows of the log the statement is in.

    Raises:
        InputError: what the person trusts cannot be read: a manifest, or a log's key.
    """
    key = (hashlib.sha256(data).digest(), nonce, trust, view)
    found = _MEMORY.get(key, now)
    if found is None:
        found = _examine(data, nonce, trust, now, view)
        _MEMORY.put(key, found, now)
    return found


def _examine(
    data: bytes, nonce: bytes | None, trust: Trust, now: datetime, view: LogView
) -> Examined:
    try:
        statement = Statement.parse(data)
    except (MalformedError, OversizeError) as error:
        return Examined(None, (Check("format", False, error.message),))
    return _Examination(statement, nonce, trust, now, view).run()


class _Examination:
    """One examination of one statement, at one time."""

    def __init__(
        self, statement: Statement, nonce: bytes | None, trust: Trust, now: datetime, view: LogView
    ) -> None:
        self._statement = statement
        self._nonce = nonce
        self._trust = trust
        self._now = now
        self._view = view
        self._checks = [Check("format", True, "canonical JSON, version 1")]
        self._period: tuple[datetime, datetime] | None = _EVER
        self._unapproved = ""

    def run(self) -> Examined:
        self._check_freshness()
        findings = self._examine_evidence()
        # Dev evidence rests on nothing, so it has nothing to lose by what nobody vouches for.
        needed = not any(one.dev for one in findings)
        approved = self._approve(findings, needed)
        logged = self._look_up(needed)
        failed = any(not check.ok for check in self._checks)
        period = None if failed else self._period
        return Examined(
            self._statement,
            tuple(self._checks),
            findings,
            approved,
            logged,
            period,
            self._unapproved,
            self._view.remembered,
        )

    def _fail(self, name: str, detail: str, hint: str = "") -> None:
        self._checks.append(Check(name, False, detail, hint))

    def _within(self, since: datetime, until: datetime) -> None:
        """Note that what was found is the same only in this time."""
        if self._period is not None:
            self._period = (max(self._period[0], since), min(self._period[1], until))

    def _check_freshness(self) -> None:
        """Check that the statement answers this challenge, or is of this time."""
        freshness, policy = self._statement.freshness, self._trust.policy
        if self._nonce is not None:
            if not isinstance(freshness, Nonce) or freshness.value != self._nonce:
                self._fail("nonce", "the statement was not made for the challenge sent")
            else:
                self._checks.append(Check("nonce", True, "made for the challenge sent"))
            return
        if not isinstance(freshness, Beacon):
            self._fail("nonce", "the statement was made for another's challenge")
            return
        age = self._now - freshness.issued
        if not -CLOCK_SKEW <= age < policy.max_age or self._now >= freshness.expires:
            self._fail("beacon", "the statement's beacon is not of this time")
            return
        self._checks.append(Check("beacon", True, "within its period"))
        until = min(_later(freshness.issued, policy.max_age), freshness.expires)
        self._within(_later(freshness.issued, -CLOCK_SKEW), until)

    def _examine_evidence(self) -> tuple[Findings, ...]:
        """Have every piece of evidence examined, and add what was found to the checks."""
        statement, trust = self._statement, self._trust
        kinds = [one["kind"] for one in statement.evidence]
        for kind in dict.fromkeys(kinds):
            if verifier_for(kind, trust) is None:
                known = f"kinds known here: {', '.join(KINDS)}"
                told = f"evidence of a kind this version cannot judge: {kind!r}"
                self._fail("evidence kind", told, known)
        if any(one["kind"] not in (*kinds, *_BESIDE) for one in statement.endorsements):
            self._fail("endorsement kind", "an endorsement that no evidence uses")
        pairs = zip(kinds, statement.evidence, strict=True)
        findings = tuple(
            found for kind, one in pairs if (found := self._examine_one(kind, one)) is not None
        )
        if findings and all(one.kind in _DEVICES for one in findings):
            told = "a GPU holds no keys: without evidence of the processor nothing is bound"
            self._fail("evidence kind", told)
        return findings

    def _examine_one(self, kind: str, evidence: dict[str, Any]) -> Findings | None:
        verifier = verifier_for(kind, self._trust)
        if verifier is None:
            return None
        self._checks.append(Check("evidence kind", True, kind))
        statement = self._statement
        bound = report_data(statement.keyset, statement.freshness.bound)
        endorsements = [one for one in statement.endorsements if one["kind"] == kind]
        try:
            found = verifier.examine(evidence, bound, endorsements, self._now)
        except MalformedError as error:
            self._fail("evidence format", error.message)
            return None
        self._checks.extend(found.checks)
        if found.period is None:
            self._period = None
        else:
            self._within(*found.period)
        return found

    def _approve(self, findings: tuple[Findings, ...], needed: bool) -> Approved | None:
        """Look for an approval of what was measured, and add what was found to the checks."""
        kept, revocations = _documents(self._trust.manifests)
        try:
            offered = (one for one in self._statement.endorsements if _is(one, REFERENCE))
            manifests = [*kept, *map(_carried, offered)]
        except EvidenceError as error:
            self._fail(error.check, error.message)
            return None
        needed = needed and self._trust.policy.reference
        if not needed and not (manifests and self._trust.signers):
            return None
        evidence = [one.claimed for one in findings]
        signers, keyset = self._trust.signers, self._statement.keyset
        try:
            found = approve(evidence, keyset, manifests, signers, revocations, self._now)
        except EvidenceError as error:
            # Where approval is optional, code that is merely unknown is shown as that in the
            # table. One that was taken back is refused whatever the policy says.
            if needed or error.check not in _UNKNOWN:
                self._fail(error.check, error.message, error.hint)
            else:
                self._unapproved = error.message
            self._period = None
            return None
        self._checks.extend(found.checks)
        self._note_approval(found, revocations)
        return Approved(found.name, found.digest, found.signer)

    def _note_approval(self, found: Approval, revocations: tuple[SignedRevocation, ...]) -> None:
        """Note until when it holds: its own period, and the revocations known to come."""
        self._within(_later(found.manifest.issued, -CLOCK_SKEW), found.manifest.expires)
        for one in revocations:
            since = _later(one.revocation.time, -CLOCK_SKEW)
            if since > self._now:
                self._within(_EVER[0], since)

    def _look_up(self, needed: bool) -> Logged | None:
        """Look the keyset up in the log's own proof, and add what was found to the checks."""
        offered = [one for one in self._statement.endorsements if _is(one, LOG)]
        try:
            _check_offered(offered)
        except EvidenceError as error:
            self._fail(error.check, error.message)
            return None
        if not offered or not self._trust.logs:
            if needed and self._trust.policy.log:
                told = "the keys are in no log" if not offered else "you trust no log"
                hint = "list the verifier keys of the logs you trust under [[log]]"
                self._fail("log entry", told, hint if offered else "")
            return None
        try:
            found = self._check_logged(offered)
        except EvidenceError as error:
            self._fail(error.check, error.message, error.hint)
            return None
        self._checks.extend(found.checks)
        self._within(_later(found.entry.since, -CLOCK_SKEW), found.entry.until)
        for one in found.cosigned:
            until = _later(one.time, self._trust.policy.max_age)
            self._within(_later(one.time, -CLOCK_SKEW), until)
        return Logged(found.origin, found.size, found.root, len(found.cosigned))

    def _check_logged(self, offered: list[dict[str, Any]]) -> LoggedKeyset:
        trust, view = self._trust, self._view
        found = check_logged(
            offered[0],
            self._statement.keyset.digest,
            logs=trust.logs,
            witnesses=trust.witnesses,
            quorum=trust.policy.witnesses,
            now=self._now,
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
        return found


def _is(endorsement: dict[str, Any], kind: str) -> bool:
    return bool(endorsement["kind"] == kind)


def _later(time: datetime, span: timedelta) -> datetime:
    """Return a time moved by a span, held within the calendar: times here are not trusted."""
    try:
        return time + span
    except OverflowError:
        return _EVER[span > timedelta(0)]


def _carried(endorsement: dict[str, Any]) -> SignedManifest:
    """Return a manifest the statement carries: whoever signed it, all its signatures are true."""
    fields = Fields(endorsement, "reference endorsement")
    try:
        fields.constant("kind", REFERENCE)
        signed = SignedManifest.from_json(fields.object("manifest"))
        fields.done()
        signed.signers()
    except MalformedError as error:
        raise EvidenceError(error.message, check="reference format") from None
    except OpenError:
        raise EvidenceError(
            "the statement carries a manifest with a false signature", check="reference signature"
        ) from None
    return signed


def _check_offered(offered: list[dict[str, Any]]) -> None:
    """Read the log's proof, also where no log is trusted to judge it by."""
    if len(offered) > 1:
        raise EvidenceError("more than one log is named", check="log entry")
    for one in offered:
        try:
            LogEndorsement.from_json(one)
        except MalformedError as error:
            raise EvidenceError(error.message, check="log format") from None


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
