"""Messages of key release: grants, revocations, and sealed keys."""

from __future__ import annotations

from datetime import timedelta

from fuzz.fuzz_tdx import _json
from fuzz.harness import NOW, Made, attempt
from privity.attest.grant import (
    Grant,
    Measured,
    Purpose,
    Revocation,
    SignedGrant,
    SignedRevocation,
)
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey

_KEY = SigningKey(b"\6" * 32)
_GRANT = Grant(
    owner=_KEY.did,
    artefact="ab" * 16,
    root="tree-sha256:" + "cd" * 32,
    name="small",
    purpose=Purpose.SERVE,
    issued=NOW,
    expires=NOW + timedelta(days=1),
    measurements=(Measured("dev", {"measurement": "sha256:" + "ab" * 32}),),
    uses=3,
)


def one(data: bytes) -> None:
    value = _json(data)
    attempt(SignedRevocation.from_json, value)
    signed = attempt(SignedGrant.parse, data)
    if signed is not None:
        assert signed.to_bytes() == data
        assert signed.grant == _GRANT or signed.grant.owner != _KEY.did, "a grant nobody signed"


def seeds() -> Made:
    back = Revocation(_GRANT.digest, _KEY.did, "over", NOW).sign(_KEY)
    return Made([_GRANT.sign(_KEY).to_bytes(), canonical(back.to_json())])
