"""NVIDIA's own samples, and trustee's: each gives the outcome its manifest states."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from privity.attest.anchor import Anchor
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_nvidia import NvidiaVerifier, from_file, recognises
from privity.attest.nvidia.anchors import NVIDIA
from privity.errors import EvidenceError, PrivityError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ASKED = bytes.fromhex("931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb")
VERIFIER = NvidiaVerifier()

REPORTS = {
    "hopperAttestationReport.txt": "hopper_cert_chain_case1.txt",
    "nvsdk_hopperAttestationReport.txt": "nvsdk_hopperCertChain.txt",
    "nvsdk_blackwellAttestationReport.txt": "nvsdk_blackwellCertChain.txt",
    "nvsdk_switchAttestationReport.txt": "nvsdk_switchCertChain.txt",
}
RUNS = {
    "hopperAttestationReport.txt": ("GH100", "HOPPER", "550.90.07", "96.00.9F.00.01"),
    "nvsdk_hopperAttestationReport.txt": ("GH100", "HOPPER", "535.86.09", "96.00.5E.00.01"),
    "nvsdk_blackwellAttestationReport.txt": ("GB100", "BLACKWELL", "575.32", "97.00.88.00.0F"),
    "nvsdk_switchAttestationReport.txt": ("LS10", "LS10", None, "96.10.55.00.01"),
    "hopper_evidence.json": ("GH100", "HOPPER", "590.12", "96.00.A5.00.01"),
    "hopper_evidence_cert_hold.json": ("GH100", "HOPPER", "570.86.10", "96.00.AF.00.01"),
}
MODES = {"hopper_evidence.json": "ppcie"}
JSON = ("hopper_evidence.json", "hopper_evidence_cert_hold.json")


def _examine(data: bytes, chain: bytes | None = None, bound: bytes | None = None) -> Findings:
    evidence, endorsements = from_file(data, Companions((chain,) if chain else ()))
    (one,) = evidence
    return VERIFIER.examine(one, bound, endorsements, NOW)


def _read(folder: Path, report: str, chain: str | None = None) -> tuple[bytes, bytes | None]:
    named = REPORTS.get(report) if chain is None else chain
    return (folder / report).read_bytes(), (folder / named).read_bytes() if named else None


def _failed(found: Findings) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def test_the_anchor_is_nvidias_device_root(attestation_vectors: Path) -> None:
    pem = (attestation_vectors / "nvidia_device_root.pem").read_bytes()
    assert (Anchor.of_certificate(x509.load_pem_x509_certificate(pem)),) == NVIDIA


@pytest.mark.parametrize("name", RUNS)
def test_genuine_evidence_is_accepted_and_read(attestation_vectors: Path, name: str) -> None:
    data, chain = _read(attestation_vectors, name)
    assert recognises(data)
    found = _examine(data, chain)
    assert _failed(found) == []
    registers = found.registers
    assert RUNS[name] == (
        registers["chip"],
        registers["arch"],
        registers.get("driver_version"),
        registers["vbios_version"],
    )
    assert registers.get("mode") == MODES.get(name)
    assert found.accept().measurement.startswith("sha256:")
    assert "measurement" not in {check.name for check in found.checks}


def test_a_report_as_bytes_is_the_same_evidence(attestation_vectors: Path) -> None:
    data, chain = _read(attestation_vectors, "hopperAttestationReport.txt")
    companions = Companions((chain or b"",))
    binary = bytes.fromhex(data.decode())
    assert recognises(binary)
    assert from_file(binary, companions) == from_file(data, companions)


@pytest.mark.parametrize(
    "name", [name for name in REPORTS if name != "nvsdk_hopperAttestationReport.txt"]
)
def test_the_nonce_that_was_asked_with_is_bound(attestation_vectors: Path, name: str) -> None:
    data, chain = _read(attestation_vectors, name)
    assert _failed(_examine(data, chain, ASKED)) == []
    for other in (bytes(32), bytes(64)):
        assert _failed(_examine(data, chain, other)) == ["key binding"]


@pytest.mark.parametrize("name", JSON)
def test_the_nonce_a_file_states_is_compared(attestation_vectors: Path, name: str) -> None:
    data, _ = _read(attestation_vectors, name)
    assert "stated nonce" in {check.name for check in _examine(data).checks}
    ((evidence,), _) = from_file(data, Companions())
    evidence["nonce"] = "A" * 43
    assert _failed(VERIFIER.examine(evidence, None, [], NOW)) == ["stated nonce"]


def test_a_chain_with_a_link_left_out_is_refused(attestation_vectors: Path) -> None:
    data, chain = _read(
        attestation_vectors, "hopperAttestationReport.txt", "hopper_cert_chain_case3.txt"
    )
    found = _examine(data, chain)
    assert _failed(found) == ["certificate chain"]
    with pytest.raises(EvidenceError, match="names another issuer") as caught:
        found.accept()
    assert caught.value.check == "certificate chain"


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("nvsdk_hopperAttestationReportInvalidSignature.txt", "nvsdk_hopperCertChain.txt"),
        ("nvsdk_switchAttestationReportInvalidSignature.txt", "nvsdk_switchCertChain.txt"),
    ],
)
def test_a_report_with_an_invalid_signature_is_refused(
    attestation_vectors: Path, name: str, chain: str
) -> None:
    found = _examine(*_read(attestation_vectors, name, chain))
    assert "signature" in _failed(found)
    assert not found.accepted


def test_another_devices_chain_is_refused(attestation_vectors: Path) -> None:
    data, chain = _read(
        attestation_vectors, "hopperAttestationReport.txt", "nvsdk_hopperCertChain.txt"
    )
    assert _failed(_examine(data, chain)) == ["signature", "firmware id"]


def _survivors(data: bytes, chain: bytes | None, step: int) -> list[tuple[str, int]]:
    """Flip one bit of each ``step``-th byte, another one each time; return what was accepted."""
    survivors = []
    for which, original in (("report", data), ("chain", chain)):
        for at in range(0, len(original or b""), step):
            flipped = bytearray(original or b"")
            flipped[at] ^= 1 << (at // step % 8)
            pair = (bytes(flipped), chain) if which == "report" else (data, bytes(flipped))
            try:
                accepted = _examine(*pair).accepted
            except PrivityError:
                continue
            if accepted:
                survivors.append((which, at))
    return survivors


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("nvsdk_switchAttestationReport.txt", 1),
        ("hopperAttestationReport.txt", 7),
        ("nvsdk_blackwellAttestationReport.txt", 9),
        ("hopper_evidence.json", 9),
        ("hopper_evidence_cert_hold.json", 11),
    ],
)
def test_a_flipped_bit_anywhere_is_refused(attestation_vectors: Path, name: str, step: int) -> None:
    data, chain = _read(attestation_vectors, name)
    assert _examine(data, chain).accepted
    assert _survivors(data, chain, step) == []
