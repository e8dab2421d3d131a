"""Messages of key release: grants, revocations, deposits, refusals, and the broker's log."""

from __future__ import annotations

from datetime import timedelta

from fuzz.fuzz_tdx import _json
from fuzz.harness import NOW, Made, attempt
from privity.attest.grant import (
    Grant,
    GrantRevocation,
    Purpose,
    SignedGrant,
    SignedGrantRevocation,
)
from privity.attest.manifest import ReferenceValue
from privity.errors import EvidenceError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.timestamps import format_time
from privity.node.broker_log import EVENTS, Line
from privity.node.deposit import Deposit
from privity.node.key_client import RELEASE_PROBLEM, refusal_of

_KEY = SigningKey(b"\6" * 32)
_GRANT = Grant(
    owner=_KEY.did,
    artefact="ab" * 16,
    root="tree-sha256:" + "cd" * 32,
    name="small",
    purpose=Purpose.SERVE,
    issued=NOW,
    expires=NOW + timedelta(days=1),
    measurements=(ReferenceValue("dev", {"measurement": "sha256:" + "ab" * 32}),),
    uses=3,
)


def one(data: bytes) -> None:
    value = _json(data)
    attempt(SignedGrantRevocation.from_json, value)
    attempt(Line.parse, data)
    refusal_of(403, data)
    deposit = attempt(Deposit.from_json, value)
    if deposit is not None:
        attempt(deposit.check)
    signed = attempt(SignedGrant.parse, data)
    if signed is not None:
        assert signed.to_bytes() == data
        assert signed.grant == _GRANT or signed.grant.owner != _KEY.did, "a grant nobody signed"


def seeds() -> Made:
    back = GrantRevocation(_GRANT.digest, _KEY.did, "over", NOW).sign(_KEY)
    signed = _GRANT.sign(_KEY)
    deposit = Deposit.make(signed, bytes(64), _KEY)
    line = {
        "about": {"grant": _GRANT.digest},
        "before": "sha256:" + "00" * 32,
        "event": EVENTS[0],
        "number": 0,
        "time": format_time(NOW),
    }
    Line.parse(canonical(line))
    problem = {"check": "grant period", "detail": "over", "type": RELEASE_PROBLEM}
    assert isinstance(refusal_of(403, canonical(problem)), EvidenceError)
    return Made(
        [
            signed.to_bytes(),
            canonical(back.to_json()),
            canonical(deposit.to_json()),
            canonical(line),
            canonical(problem),
        ]
    )
