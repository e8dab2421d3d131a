"""Attacks on revocations of manifests: the host hides one, or what it withdraws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from privity.attest.manifest import ApprovedModel, Manifest, ReferenceValue, Source
from privity.attest.reference import approve, verify_manifest
from privity.attest.signed_manifest import (
    DocumentSignature,
    Revocation,
    SignedManifest,
    SignedRevocation,
)
from privity.attested import VerifiedEvidence
from privity.errors import EvidenceError
from privity.identity.keys import SigningKey
from privity.statement import Keyset, Model

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ONE, TWO, STRANGER = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
MEASURED = {"measurement": "aa" * 48}
EVIDENCE = VerifiedEvidence("snp", "sha256:" + "00" * 32, frozenset(), False, (), MEASURED)
KEYSET = Keyset(ohttp=b"k", receipts=ONE.did)


def _manifest(name: str = "enclave", *, ended: bool = False) -> Manifest:
    return Manifest(
        name=name,
        builder="Example Ltd",
        source=Source("https://git.example/enclave", "0123abcd"),
        measurements=(ReferenceValue("snp", MEASURED),),
        issued=NOW - timedelta(days=9),
        expires=NOW - timedelta(days=1) if ended else NOW + timedelta(days=9),
    )


BOTH = SignedManifest.sign(_manifest(), ONE, TWO)
CUT = replace(BOTH, signatures=BOTH.signatures[1:])


def _revoke(signed: SignedManifest, key: SigningKey) -> SignedRevocation:
    return SignedRevocation.sign(Revocation(signed.manifest.digest, "backdoor", NOW), key)


def _approve(
    *manifests: SignedManifest, revoked: SignedRevocation, signers: tuple[SigningKey, ...]
) -> None:
    trusted = [key.did for key in signers]
    approve([EVIDENCE], KEYSET, manifests, trusted, [revoked], NOW)


def _refused(
    *manifests: SignedManifest, revoked: SignedRevocation, signers: tuple[SigningKey, ...]
) -> None:
    with pytest.raises(EvidenceError, match="took the approval back: backdoor") as caught:
        _approve(*manifests, revoked=revoked, signers=signers)
    assert caught.value.check == "reference revoked"


def test_a_revoked_manifest_with_its_revokers_signature_cut_off_is_refused() -> None:
    """Signatures are outside of the digest: the host hands out the copy it likes."""
    _refused(BOTH, revoked=_revoke(BOTH, ONE), signers=(ONE, TWO))
    _refused(CUT, revoked=_revoke(BOTH, ONE), signers=(ONE, TWO))
    with pytest.raises(EvidenceError, match="took the approval back"):
        verify_manifest(CUT, [ONE.did, TWO.did], [_revoke(BOTH, ONE)], NOW)


def test_a_cut_copy_is_refused_beside_the_whole_one() -> None:
    _refused(BOTH, CUT, revoked=_revoke(BOTH, ONE), signers=(ONE, TWO))
    # The one who took it back is not trusted, but a copy known here shows that they signed it.
    for copies in ((BOTH, CUT), (CUT, BOTH)):
        _refused(*copies, revoked=_revoke(BOTH, ONE), signers=(TWO,))


def test_a_trusted_signer_can_revoke_what_another_signed() -> None:
    signed = SignedManifest.sign(_manifest(), ONE)
    _refused(signed, revoked=_revoke(signed, TWO), signers=(ONE, TWO))


def test_a_stranger_can_revoke_nothing() -> None:
    signed = SignedManifest.sign(_manifest(), ONE)
    revoked = _revoke(signed, STRANGER)
    _approve(signed, revoked=revoked, signers=(ONE,))
    # Nor by a false signature below a copy.
    false = DocumentSignature(STRANGER.did, signed.signatures[0].signature)
    forged = replace(signed, signatures=(*signed.signatures, false))
    _approve(forged, signed, revoked=revoked, signers=(ONE,))


def test_a_revocation_is_of_one_manifest_alone() -> None:
    newer = SignedManifest.sign(_manifest("enclave 2"), ONE)
    _approve(newer, BOTH, revoked=_revoke(BOTH, ONE), signers=(ONE,))


def test_no_manifest_beside_it_hides_a_revocation() -> None:
    """Of several failures it is the one told: an error that passes elsewhere must not cover it."""
    revoked = _revoke(BOTH, ONE)
    ended = SignedManifest.sign(_manifest("older", ended=True), ONE)
    model = (ApprovedModel("small", "sha256:" + "ab" * 32),)
    keyset = replace(KEYSET, models=(Model("large", None, "llama.cpp"),))
    narrow = SignedManifest.sign(replace(_manifest("narrow"), models=model), ONE)
    for beside in (ended, narrow):
        for order in ((BOTH, beside), (beside, BOTH)):
            with pytest.raises(EvidenceError, match="took the approval back"):
                approve([EVIDENCE], keyset, order, [ONE.did], [revoked], NOW)
