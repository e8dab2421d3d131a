"""Reference manifests and their revocations."""

from __future__ import annotations

from datetime import timedelta

from fuzz.harness import NOW, Made, attempt
from privity.attest.manifest import ApprovedModel, Manifest, ReferenceValue, Source
from privity.attest.reference import verify_manifest
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey

_KEY = SigningKey(b"\5" * 32)
_DIGEST = "sha256:" + "cd" * 32
_MANIFEST = Manifest(
    name="enclave 1",
    builder="Example",
    source=Source("https://example.org/code", "0123abcd"),
    measurements=(ReferenceValue("dev", {"measurement": _DIGEST}),),
    issued=NOW - timedelta(days=1),
    expires=NOW + timedelta(days=1),
    models=(ApprovedModel("small", _DIGEST),),
    programs=(_DIGEST,),
)


def one(data: bytes) -> None:
    attempt(SignedRevocation.parse, data)
    signed = attempt(SignedManifest.parse, data)
    if signed is None:
        return
    assert canonical(signed.to_json()) == data
    approval = attempt(verify_manifest, signed, [_KEY.did], [], NOW)
    assert approval is None or approval.manifest == _MANIFEST, "a manifest nobody signed"


def seeds() -> Made:
    signed = SignedManifest.sign(_MANIFEST, _KEY)
    back = SignedRevocation.sign(Revocation(_MANIFEST.digest, "a fault", NOW), _KEY)
    return Made([canonical(signed.to_json()), canonical(back.to_json())])
