"""Is this code approved by someone the person trusts? This is run by the device before it seals."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from privity.attest.manifest import Manifest, shows
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.attested import Check, VerifiedEvidence
from privity.errors import EvidenceError, OpenError
from privity.identity.timestamps import CLOCK_SKEW, format_time
from privity.statement import Keyset

__all__ = ["Approval", "approve", "verify_manifest"]

# How far a manifest came before it failed; of several, the one that came furthest is reported.
# A revocation comes before all: nothing that is carried beside it may hide it.
_ORDER = (
    "reference signature",
    "reference value",
    "reference period",
    "reference models",
    "reference programs",
    "reference revoked",
)


@dataclass(frozen=True)
class Approval:
    """Somebody the person trusts approved all that was measured. `approve` makes these.

    Attributes:
        manifest: the manifest.
        signer: the did:key of the trusted signer.
        checks: what was checked, in order.
    """

    manifest: Manifest
    signer: str
    checks: tuple[Check, ...]

    @property
    def name(self) -> str:
        """What the manifest calls the software."""
        return self.manifest.name

    @property
    def digest(self) -> str:
        """`Manifest.digest`."""
        return self.manifest.digest


def approve(
    evidence: Sequence[VerifiedEvidence],
    keyset: Keyset,
    manifests: Sequence[SignedManifest],
    signers: Sequence[str],
    revocations: Sequence[SignedRevocation],
    now: datetime,
) -> Approval:
    """Return which manifest of a trusted signer approves this enclave.

    One manifest must cover every piece of evidence: parts that nobody saw working together are
    not put together here.

    Args:
        evidence: all verified evidence of the statement.
        keyset: its keys and models.
        manifests: from the person's own files and from the statement, in any order.
        signers: the did:keys whose word counts.
        revocations: all that are known.
        now: the time to judge it for.

    Raises:
        EvidenceError: ``.check`` is ``reference signature`` (nobody trusted signed it, or a
            signature is false), ``reference value`` (not listed), ``reference revoked``,
            ``reference period``, ``reference models`` or ``reference programs``.

    Guarantees:
        Each attack of spec/reference.md ends in its own check
        (tests/adversary/test_reference.py). Total over what `SignedManifest.parse` returns
        (tests/property/test_reference.py).
    """
    trusted = frozenset(signers)
    withdrawn = _withdrawn(revocations, manifests, trusted, now)
    failures: list[EvidenceError] = []
    for signed in manifests:
        try:
            return _judge(signed, evidence, keyset, trusted, withdrawn, now)
        except EvidenceError as error:
            failures.append(error)
    if not failures:
        raise EvidenceError(
            "nobody you trust has approved what this enclave measures as",
            check="reference value",
            hint="get a signed manifest of it, and list its signer under trust.signers",
        )
    raise max(failures, key=lambda error: _ORDER.index(error.check))


def verify_manifest(
    signed: SignedManifest,
    signers: Sequence[str],
    revocations: Sequence[SignedRevocation],
    now: datetime,
) -> Approval:
    """Return what a manifest says if it is good now, whatever an enclave measures.

    Raises:
        EvidenceError: as `approve` does, but for what is about an enclave: ``reference value``,
            ``reference models`` and ``reference programs``.
    """
    trusted = frozenset(signers)
    by = _trusted_signers(signed, trusted)
    withdrawn = _withdrawn(revocations, [signed], trusted, now)
    checks = (
        Check("reference signature", True, by[0]),
        *_check_validity(signed.manifest, withdrawn, now),
    )
    return Approval(signed.manifest, by[0], checks)


def _judge(
    signed: SignedManifest,
    evidence: Sequence[VerifiedEvidence],
    keyset: Keyset,
    trusted: frozenset[str],
    withdrawn: dict[str, Revocation],
    now: datetime,
) -> Approval:
    manifest = signed.manifest
    by = _trusted_signers(signed, trusted)
    checks = (
        Check("reference signature", True, by[0]),
        _check_values(manifest, evidence),
        *_check_validity(manifest, withdrawn, now),
        _check_models(manifest, keyset),
        _check_programs(manifest, keyset),
    )
    return Approval(manifest, by[0], checks)


def _check_values(manifest: Manifest, evidence: Sequence[VerifiedEvidence]) -> Check:
    if not evidence:
        raise EvidenceError("there is no evidence to compare", check="reference value")
    for one in evidence:
        if not any(shows(value, one.kind, one.registers) for value in manifest.measurements):
            raise EvidenceError(
                f"no manifest of a signer you trust lists what the {one.kind} evidence measured",
                check="reference value",
                hint=f"it measured {one.measurement}",
            )
    kinds = " + ".join(one.kind for one in evidence)
    return Check("reference value", True, f"{kinds}: {manifest.name}, built by {manifest.builder}")


def _check_validity(
    manifest: Manifest, withdrawn: dict[str, Revocation], now: datetime
) -> tuple[Check, Check]:
    revoked = withdrawn.get(manifest.digest)
    if revoked is not None:
        raise EvidenceError(
            f"a signer took the approval back: {revoked.reason}", check="reference revoked"
        )
    if manifest.issued - now > CLOCK_SKEW or now >= manifest.expires:
        raise EvidenceError(
            f"the approval holds from {format_time(manifest.issued)} "
            f"to {format_time(manifest.expires)}",
            check="reference period",
            hint="ask its signer for a newer manifest",
        )
    return (
        Check("reference revoked", True, "no revocation is known"),
        Check("reference period", True, f"until {format_time(manifest.expires)}"),
    )


def _trusted_signers(signed: SignedManifest, trusted: frozenset[str]) -> tuple[str, ...]:
    try:
        by = tuple(key for key in signed.signers() if key in trusted)
    except OpenError as error:
        raise EvidenceError(error.message, check="reference signature") from None
    if not by:
        raise EvidenceError(
            "the manifest is signed by nobody you trust",
            check="reference signature",
            hint="list the did:key of a signer you trust under trust.signers",
        )
    return by


def _check_models(manifest: Manifest, keyset: Keyset) -> Check:
    if manifest.models is None:
        return Check("reference models", True, "the manifest leaves them open")
    approved = {(model.id, model.weights) for model in manifest.models}
    for model in keyset.models:
        if (model.id, model.weights) not in approved:
            raise EvidenceError(
                "the enclave serves a model, or weights, that the manifest does not list",
                check="reference models",
            )
    return Check("reference models", True, f"all {len(keyset.models)} are listed")


def _check_programs(manifest: Manifest, keyset: Keyset) -> Check:
    named = [one.version for one in keyset.software if one.name == "program"]
    if not set(named) <= set(manifest.programs):
        raise EvidenceError(
            "the enclave runs a training program that the manifest does not list",
            check="reference programs",
            hint=f"it runs {', '.join(named):.200}",
        )
    return Check("reference programs", True, named[0] if named else "it names none")


def _withdrawn(
    revocations: Sequence[SignedRevocation],
    manifests: Sequence[SignedManifest],
    trusted: frozenset[str],
    now: datetime,
) -> dict[str, Revocation]:
    """Return the revocations in force, by manifest.

    One counts if a signer the person trusts made it, of this manifest or not, or one who signed any
    copy known here. It does not have to be the copy that is judged: signatures are outside of the
    digest, and whoever hands a copy out can cut the revoker's off.
    """
    signed_by: dict[str, set[str]] = {}
    for copy in manifests if revocations else ():
        with suppress(OpenError):  # a copy with a false signature shows nothing
            signed_by.setdefault(copy.manifest.digest, set()).update(copy.signers())
    found: dict[str, Revocation] = {}
    for signed in revocations:
        try:
            signers = signed.signers()
        except OpenError:
            raise EvidenceError(
                "a revocation among those you keep does not verify; somebody altered it",
                check="reference revoked",
            ) from None
        revocation = signed.revocation
        may = trusted | signed_by.get(revocation.manifest, set())
        if revocation.time - now <= CLOCK_SKEW and not may.isdisjoint(signers):
            found[revocation.manifest] = revocation
    return found
