"""Attacks by what a statement carries beside its evidence: approvals and the log's proof."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from pki.certificates import NOON
from pki.snp import SnpPki
from privity.attest import DevQuoter, DevRoot, build_statement
from privity.attest.examine import Examined, examine_statement
from privity.attest.manifest import Manifest, ReferenceValue, Source
from privity.attest.roots import Roots
from privity.attest.signed_manifest import Revocation, SignedManifest, SignedRevocation
from privity.attest.trust import Trust
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.policy.evidence import EvidencePolicy
from privity.statement import Keyset

KEY, STRANGER = SigningKey(b"\1" * 32), SigningKey(b"\2" * 32)
AMD = SnpPki()
DEV = DevRoot(SigningKey(b"\3" * 32))
NONCE = bytes(range(32))
KEYSET = Keyset(ohttp=bytes(80), receipts=KEY.did)
STRICT = EvidencePolicy(log=False)
OPEN = EvidencePolicy(log=False, reference=False)


def _examine(
    *beside: dict[str, Any],
    kept: tuple[Any, ...] = (),
    policy: EvidencePolicy = STRICT,
    signers: tuple[str, ...] = (KEY.did,),
    dev: bool = False,
) -> Examined:
    quoter = DevQuoter(DEV, now=NOON, measurement="sha256:" + "5" * 64) if dev else AMD
    data = build_statement(KEYSET, [quoter], now=NOON, nonce=NONCE, beside=beside).to_bytes()
    trust = Trust(
        dev_roots=(DEV.did,),
        roots=Roots(amd=AMD.anchors),
        policy=policy,
        signers=signers,
        manifests=tuple(canonical(one.to_json()) for one in kept),
    )
    return examine_statement(data, nonce=NONCE, trust=trust, now=NOON)


def _failed(found: Examined) -> str | None:
    return found.failed.name if found.failed else None


REGISTERS = _examine(policy=OPEN, signers=()).findings[0].registers


def _signed(
    name: str = "1", key: SigningKey = KEY, *, start: int = -1, end: int = 1, measured: str = ""
) -> SignedManifest:
    registers = {**REGISTERS, "measurement": measured or REGISTERS["measurement"]}
    value = ReferenceValue.of("snp", registers)
    period = NOON + timedelta(days=start), NOON + timedelta(days=end)
    source = Source("https://git.example/enclave", "0123abcd")
    return SignedManifest.sign(Manifest(name, "b", source, (value,), *period), key)


def _carried(signed: SignedManifest, *, false: bool = False) -> dict[str, Any]:
    value = copy.deepcopy(signed.to_json())
    if false:
        value["signatures"][-1]["signature"] = encode_base64url(bytes(64))
    return {"kind": "reference", "manifest": value}


def test_a_carried_manifest_with_a_false_signature_is_refused_whatever_is_beside_it() -> None:
    good, false = _signed(), _carried(_signed("2"), false=True)
    assert _failed(_examine(_carried(good))) is None
    for beside in ((_carried(good), false), (false, _carried(good))):
        assert _failed(_examine(*beside)) == "reference signature"
    assert _failed(_examine(false, kept=(good,))) == "reference signature"


def test_a_carried_manifest_with_a_false_signature_is_refused_where_nobody_asked_for_one() -> None:
    for name in (KEY, STRANGER):
        false = _carried(_signed(key=name), false=True)
        assert _failed(_examine(false, policy=OPEN, signers=())) == "reference signature"
        assert _failed(_examine(false, dev=True)) == "reference signature"


def test_a_carried_manifest_of_a_stranger_is_passed_over() -> None:
    foreign = _carried(_signed(key=STRANGER))
    assert _failed(_examine(foreign, _carried(_signed()))) is None
    assert _failed(_examine(foreign)) == "reference signature"  # it approves nothing
    assert _failed(_examine(foreign, policy=OPEN, signers=())) is None


@pytest.mark.parametrize("junk", [{"junk": ["anything"]}, {"checkpoint": "x"}, {}])
def test_a_log_endorsement_that_is_none_is_refused_where_no_log_is_trusted(
    junk: dict[str, Any],
) -> None:
    log = {"kind": "log", **junk}
    assert _failed(_examine(log, dev=True)) == "log format"
    assert _failed(_examine(log, _carried(_signed()))) == "log format"


def test_an_expired_manifest_beside_it_does_not_hide_a_revocation() -> None:
    """Where approval is optional too: unknown code is shown as that, withdrawn code is refused."""
    good, old = _signed("1.1", start=-9, end=9), _signed("1.0", start=-99, end=-9)
    revoked = SignedRevocation.sign(Revocation(good.manifest.digest, "backdoor", NOON), KEY)
    for beside in ((), (_carried(old),), (_carried(good), _carried(old))):
        found = _examine(*beside, kept=(good, revoked), policy=OPEN)
        assert _failed(found) == "reference revoked"
        assert found.failed is not None and "backdoor" in found.failed.detail


def test_why_code_is_not_approved_is_kept_where_approval_is_optional() -> None:
    elsewhere = _signed(measured="ee" * 48)
    found = _examine(kept=(elsewhere,), policy=OPEN)
    assert _failed(found) is None and found.approved is None
    assert "lists what the snp evidence measured" in found.unapproved
    assert _examine(kept=(_signed(),), policy=OPEN).unapproved == ""
    assert _examine(policy=OPEN).unapproved == ""  # nobody said anything of it
    assert _failed(_examine(kept=(elsewhere,))) == "reference value"
