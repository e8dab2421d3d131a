"""Real quotes from real processors, at the times their manifest names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from privity.attest import evidence_sgx, evidence_tdx
from privity.attest.chain import load_certificates
from privity.attest.evidence import Companions, EvidenceVerifier, Findings
from privity.attest.evidence_sgx import SgxVerifier
from privity.attest.evidence_tdx import TdxVerifier
from privity.attest.intel.anchors import INTEL
from privity.attest.intel.files import quote_of_file
from privity.errors import MalformedError
from privity.policy.evidence import EvidencePolicy, TcbStatus

STRICT = EvidencePolicy()
LENIENT = EvidencePolicy(tcb=frozenset(set(TcbStatus) - {TcbStatus.REVOKED}))

# A flipped bit in a name makes `cryptography` warn about the name's form while it is read.
FLIPPED_NAMES = pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _parts(folder: Path, name: str) -> tuple[ModuleType, EvidenceVerifier, bytes, bytes | None]:
    data = (folder / name).read_bytes()
    collateral = folder / f"{name}_collateral.json"
    given = collateral.read_bytes() if collateral.is_file() else None
    if name == "sgx_quote":
        return evidence_sgx, SgxVerifier(None, STRICT), data, given
    return evidence_tdx, TdxVerifier(None, STRICT), data, given


def _examine(
    folder: Path, name: str, at: str, *, policy: EvidencePolicy = STRICT, bound: bytes | None = None
) -> Findings:
    module, verifier, data, collateral = _parts(folder, name)
    evidence, endorsements = module.from_file(data, Companions(collateral=collateral))
    return type(verifier)(None, policy).examine(evidence[0], bound, endorsements, _at(at))


def _failed(findings: Findings) -> list[str]:
    return [check.name for check in findings.checks if not check.ok]


@pytest.mark.parametrize(
    "at", ["2025-06-19T10:32:27", "2025-07-01T00:00:00", "2025-07-19T10:00:35"]
)
def test_a_tdx_quote_is_accepted_while_its_collateral_is_good(
    attestation_vectors: Path, at: str
) -> None:
    found = _examine(attestation_vectors, "tdx_quote", at)
    assert _failed(found) == []
    status = next(check for check in found.checks if check.name == "tcb status")
    assert status.detail == "UpToDate"
    assert found.registers["mrtd"].startswith("91eb2b44d141d4ec")
    # The manifest names the TCB info's own end, 10:16:03; a revocation list ends 15 minutes sooner.
    assert found.period == (_at("2025-06-19T10:32:27"), _at("2025-07-19T10:00:36"))


@pytest.mark.parametrize(
    "at",
    ["2025-06-19T10:32:26", "2025-07-19T10:00:36", "2025-07-19T10:16:04", "2026-11-21T00:00:00"],
)
def test_a_tdx_quote_is_refused_for_its_collateral_at_other_times(
    attestation_vectors: Path, at: str
) -> None:
    found = _examine(attestation_vectors, "tdx_quote", at)
    # The platform's grade is still shown, as of when the collateral was good.
    assert _failed(found) == ["collateral"]
    assert found.period is None


def test_an_sgx_quote_is_refused_for_its_grade_by_the_strict_policy(
    attestation_vectors: Path,
) -> None:
    found = _examine(attestation_vectors, "sgx_quote", "2025-06-20T00:00:00")
    assert _failed(found) == ["tcb status"]
    assert found.failed is not None
    for said in ("ConfigurationAndSWHardeningNeeded", "INTEL-SA-00289", "INTEL-SA-00615"):
        assert said in found.failed.detail


def test_an_sgx_quote_is_accepted_by_a_policy_that_accepts_its_grade(
    attestation_vectors: Path,
) -> None:
    grade = frozenset({TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED})
    policy = EvidencePolicy(tcb=grade)
    found = _examine(attestation_vectors, "sgx_quote", "2025-06-20T00:00:00", policy=policy)
    assert _failed(found) == []
    assert found.registers["mrenclave"].startswith("33d8736db756ed49")
    assert found.registers["isvprodid"] == "0"


@pytest.mark.parametrize(
    "at", ["2026-02-18T10:58:51", "2026-02-25T00:00:00", "2026-03-20T10:41:15"]
)
def test_a_tdx_quote_below_every_tcb_level_is_refused_for_that(
    attestation_vectors: Path, at: str
) -> None:
    found = _examine(attestation_vectors, "tdx_quote_outdated", at, policy=LENIENT)
    assert _failed(found) == ["tcb status"]
    assert found.failed is not None
    assert found.failed.detail == "No matching TCB level found"


def test_a_tdx_quote_without_collateral_is_refused_for_that(attestation_vectors: Path) -> None:
    found = _examine(attestation_vectors, "tdx_quote_4.dat", "2026-01-01T00:00:00", policy=LENIENT)
    # This sample was made by a TD under debug (TD_ATTRIBUTES bit 0), which no collateral can mend.
    assert _failed(found) == ["collateral", "debug"]
    passed = {check.name for check in found.checks if check.ok}
    assert passed == {
        "format",
        "certificate chain",
        "certificate period",
        "signature",
        "migration",
        "attributes",
    }


@pytest.mark.parametrize(
    ("name", "at"), [("tdx_quote", "2025-07-01T00:00:00"), ("sgx_quote", "2025-07-01T00:00:00")]
)
def test_a_real_quote_made_for_something_else_fails_its_key_binding_alone(
    attestation_vectors: Path, name: str, at: str
) -> None:
    found = _examine(attestation_vectors, name, at, policy=LENIENT, bound=bytes(64))
    assert _failed(found) == ["key binding"]
    module, _, data, _ = _parts(attestation_vectors, name)
    assert module.recognises(data)
    carried = quote_of_file(data).body["report_data"]
    assert _failed(_examine(attestation_vectors, name, at, policy=LENIENT, bound=carried)) == []


def test_the_anchor_is_the_root_that_real_quotes_end_in(attestation_vectors: Path) -> None:
    for name in ("tdx_quote", "tdx_quote_outdated", "tdx_quote_4.dat", "sgx_quote"):
        chain = load_certificates(
            quote_of_file((attestation_vectors / name).read_bytes()).pck_chain
        )
        root = chain[-1]
        assert type(INTEL[0]).of_certificate(root) == INTEL[0]
    with_another = replace(INTEL[0], spki=bytes(91))
    assert with_another.digest != INTEL[0].digest


@FLIPPED_NAMES
@pytest.mark.parametrize("name", ["tdx_quote", "sgx_quote"])
def test_a_bit_flipped_in_any_third_byte_of_a_real_quote_is_refused(
    attestation_vectors: Path, name: str
) -> None:
    module, verifier, data, collateral = _parts(attestation_vectors, name)
    _, endorsements = module.from_file(data, Companions(collateral=collateral))
    verifier = type(verifier)(None, LENIENT)  # type: ignore[call-arg]
    seen = set()
    for place in range(0, len(data), 3):
        forged = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
        try:
            evidence, _ = module.from_file(forged, Companions())
        except MalformedError:
            seen.add("form")
            continue
        found = verifier.examine(evidence[0], None, endorsements, _at("2025-07-01T00:00:00"))
        assert not found.accepted, place
        seen.update(_failed(found))
    assert {"form", "signature", "certificate chain"} <= seen


@FLIPPED_NAMES
@pytest.mark.parametrize("name", ["tdx_quote", "sgx_quote"])
def test_a_bit_flipped_in_any_seventh_byte_of_real_collateral_is_refused(
    attestation_vectors: Path, name: str
) -> None:
    module, verifier, data, collateral = _parts(attestation_vectors, name)
    assert collateral is not None
    evidence, _ = module.from_file(data, Companions())
    verifier = type(verifier)(None, LENIENT)  # type: ignore[call-arg]
    for place in range(0, len(collateral), 7):
        flipped = bytes([collateral[place] ^ 1 << place % 8])
        forged = collateral[:place] + flipped + collateral[place + 1 :]
        try:
            _, endorsements = module.from_file(data, Companions(collateral=forged))
        except MalformedError:
            continue
        found = verifier.examine(evidence[0], None, endorsements, _at("2025-07-01T00:00:00"))
        assert _failed(found)[0] == "collateral", place
