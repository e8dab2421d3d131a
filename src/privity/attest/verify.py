"""From the bytes of a statement to an `AttestedEnclave`: the only way there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from privity.attest.evidence import EvidenceVerifier
from privity.attest.evidence_dev import DevVerifier
from privity.attest.trust import Trust
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.timestamps import CLOCK_SKEW

# The private token that makes an AttestedEnclave; a test holds that no other module names it.
from privity.statement import (
    _MINT,
    AttestedEnclave,
    Beacon,
    Check,
    Nonce,
    Statement,
    VerifiedEvidence,
    report_data,
)

__all__ = ["reverifier", "verifiers_for", "verify_statement"]


def verifiers_for(trust: Trust) -> dict[str, EvidenceVerifier]:
    """Return the verifiers of every kind of evidence this version knows."""
    return {
        verifier.kind: verifier
        for verifier in (DevVerifier(trust.dev_roots, max_age=trust.policy.max_age),)
    }


def verify_statement(
    data: bytes,
    *,
    nonce: bytes | None,
    trust: Trust,
    now: datetime,
    verifiers: Mapping[str, EvidenceVerifier] | None = None,
) -> AttestedEnclave:
    """Return the enclave that published ``data``. This is run by the device before it seals.

    Args:
        data: the statement's bytes.
        nonce: the 32 bytes sent as a challenge; None accepts a beacon in its period, and nothing
            else.
        trust: what the person accepts.
        now: the time to judge it for.
        verifiers: by kind; by default `verifiers_for` the trust.

    Raises:
        EvidenceError: ``.check`` is ``format``, ``nonce``, ``beacon``,
            ``evidence kind``, ``endorsement kind``, ``evidence format``, or one of the kind's own.

    Guarantees:
        A flipped bit anywhere in ``data`` is refused, and so is evidence made for another
        challenge, other keys or under another root, each by its own check
        (tests/adversary/test_statement.py). Total (tests/property/test_statement.py).
    """
    try:
        statement = Statement.parse(data)
    except (MalformedError, OversizeError) as error:
        raise EvidenceError(error.message, check="format") from None
    checks = [
        Check("format", True, "canonical JSON, version 1"),
        _check_freshness(statement, nonce, trust, now),
    ]
    evidence = _check_evidence(
        statement, verifiers_for(trust) if verifiers is None else verifiers, now
    )
    for one in evidence:
        checks.append(Check("evidence kind", True, one.kind))
        checks.extend(one.checks)
    return AttestedEnclave(statement, evidence, now, tuple(checks), mint=_MINT)


def reverifier(trust: Trust) -> Callable[[Statement, datetime], AttestedEnclave]:
    """Return a function that verifies a kept statement as of a past moment, for receipts.

    The challenge is taken from the statement: whoever looks at a receipt later did not send it.
    That shows that the evidence is true of that time and these keys. That it was *fresh* then,
    only the device could know, and its record signs that it did.
    """

    def reverify(statement: Statement, at: datetime) -> AttestedEnclave:
        freshness = statement.freshness
        nonce = freshness.value if isinstance(freshness, Nonce) else None
        return verify_statement(statement.to_bytes(), nonce=nonce, trust=trust, now=at)

    return reverify


def _check_freshness(
    statement: Statement, nonce: bytes | None, trust: Trust, now: datetime
) -> Check:
    freshness = statement.freshness
    if nonce is not None:
        if not isinstance(freshness, Nonce) or freshness.value != nonce:
            raise EvidenceError(
                "the statement was not made for the challenge that was sent", check="nonce"
            )
        return Check("nonce", True, "made for the challenge sent")
    if not isinstance(freshness, Beacon):
        raise EvidenceError("the statement was made for another's challenge", check="nonce")
    age = now - freshness.issued
    if not -CLOCK_SKEW <= age < trust.policy.max_age or now >= freshness.expires:
        raise EvidenceError("the statement's beacon is not of this time", check="beacon")
    return Check("beacon", True, "within its period")


def _check_evidence(
    statement: Statement, verifiers: Mapping[str, EvidenceVerifier], now: datetime
) -> tuple[VerifiedEvidence, ...]:
    """Have every piece of evidence judged; one that fails fails the statement."""
    kinds = [one["kind"] for one in statement.evidence]
    for kind in kinds:
        if kind not in verifiers:
            raise EvidenceError(
                f"evidence of a kind this version cannot judge: {kind!r}",
                check="evidence kind",
                hint=f"kinds known here: {', '.join(sorted(verifiers))}",
            )
    if any(one["kind"] not in kinds for one in statement.endorsements):
        raise EvidenceError("an endorsement that no evidence uses", check="endorsement kind")
    bound = report_data(statement.keyset, statement.freshness.bound)
    try:
        return tuple(
            verifiers[kind]
            .examine(evidence, bound, [e for e in statement.endorsements if e["kind"] == kind], now)
            .accept()
            for kind, evidence in zip(kinds, statement.evidence, strict=True)
        )
    except MalformedError as error:
        raise EvidenceError(error.message, check="evidence format") from None
