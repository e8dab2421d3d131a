"""Totality and round trips of manifests and revocations."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from privity.attest.manifest import (
    IDENTIFYING,
    ApprovedModel,
    Manifest,
    ReferenceValue,
    Source,
)
from privity.attest.reference import approve
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.attested import VerifiedEvidence
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OpenError, OversizeError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.statement import Keyset

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = SigningKey(b"\1" * 32)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
DIGEST = st.binary(min_size=32, max_size=32).map(lambda data: f"sha256:{data.hex()}")


@st.composite
def values(draw: st.DrawFn) -> ReferenceValue:
    kind = draw(st.sampled_from(sorted(IDENTIFYING)))
    names = sorted(IDENTIFYING[kind])
    size = 32 if kind == "sgx" else 48
    register = st.binary(min_size=size, max_size=size).map(bytes.hex)
    registers = {name: draw(TEXT if kind == "dev" else register) for name in names}
    return ReferenceValue(kind, {**registers, "more": draw(TEXT)})


MANIFESTS = st.builds(
    Manifest,
    name=TEXT,
    builder=TEXT,
    source=st.builds(Source, TEXT, TEXT, st.none() | TEXT),
    measurements=st.lists(values(), min_size=1, max_size=3).map(tuple),
    issued=st.just(NOW),
    expires=st.just(NOW + timedelta(days=1)),
    models=st.none() | st.lists(st.builds(ApprovedModel, TEXT, DIGEST), max_size=2).map(tuple),
    programs=st.lists(DIGEST, max_size=2).map(tuple),
)


@given(MANIFESTS)
def test_every_manifest_reads_back_and_approves_what_it_lists(manifest: Manifest) -> None:
    signed = SignedManifest.sign(manifest, KEY)
    assert SignedManifest.parse(canonical(signed.to_json())) == signed
    basis = frozenset({Basis(Ground.HARDWARE, "test")})
    for value in manifest.measurements:
        shown = {"rtmr3": "00" * 48, **value.registers}
        one = VerifiedEvidence(value.kind, "", basis, False, (), shown)
        keyset = Keyset(ohttp=b"k", receipts=KEY.did)
        approval = approve([one], keyset, [signed], [KEY.did], [], NOW)
        assert approval.digest == manifest.digest


@given(DIGEST, TEXT)
def test_every_revocation_reads_back(digest: str, reason: str) -> None:
    signed = SignedRevocation.sign(Revocation(digest, reason, NOW), KEY)
    assert SignedRevocation.parse(canonical(signed.to_json())) == signed
    assert signed.signers() == (KEY.did,)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
SIGNED = SignedManifest.sign(
    Manifest(
        name="n",
        builder="b",
        source=Source("r", "c"),
        measurements=(ReferenceValue("sgx", {"mrenclave": "00" * 32}),),
        issued=NOW,
        expires=NOW + timedelta(days=1),
    ),
    KEY,
).to_json()


@given(st.dictionaries(st.sampled_from([*SIGNED["manifest"], "x"]), JSON, max_size=2), JSON)
def test_reading_and_judging_a_manifest_is_total(changes: dict[str, Any], other: Any) -> None:
    for value in ({**SIGNED, "manifest": {**SIGNED["manifest"], **changes}}, other):
        for kind in (SignedManifest, SignedRevocation):
            with contextlib.suppress(MalformedError):
                signed = kind.from_json(value)
                with contextlib.suppress(OpenError):
                    signed.signers()
                if isinstance(signed, SignedManifest):
                    keyset = Keyset(ohttp=b"k", receipts=KEY.did)
                    with contextlib.suppress(EvidenceError):
                        approve([], keyset, [signed], [KEY.did], [], NOW)


@given(st.binary(max_size=100))
def test_files_are_read_totally(data: bytes) -> None:
    for kind in (SignedManifest, SignedRevocation):
        with contextlib.suppress(MalformedError, OversizeError):
            kind.parse(data)
