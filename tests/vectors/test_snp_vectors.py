"""Real SNP reports of real Milan chips, under AMD's own keys. See MANIFEST.json beside them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from privity.attest.amd.anchors import AMD
from privity.attest.amd.report import SnpReport
from privity.attest.anchor import Anchor
from privity.attest.chain import load_certificates, verify_chain
from privity.attest.evidence import Companions, Findings
from privity.attest.evidence_snp import SnpVerifier, from_file, recognises
from privity.errors import EvidenceError, MalformedError
from privity.policy.evidence import EvidencePolicy, TcbStatus

IN_2025 = datetime(2025, 6, 1, tzinfo=UTC)
IN_2026 = datetime(2026, 7, 1, tzinfo=UTC)
ANY_TCB = EvidencePolicy(tcb=frozenset({TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE}))


def examine(
    folder: Path,
    report: str | bytes,
    certificates: tuple[str | bytes, ...],
    now: datetime,
    **how: Any,
) -> Findings:
    files = [one if isinstance(one, bytes) else (folder / one).read_bytes() for one in certificates]
    data = report if isinstance(report, bytes) else (folder / report).read_bytes()
    evidence, endorsements = from_file(data, Companions(tuple(files)))
    return SnpVerifier(**how).examine(evidence[0], how.pop("bound", None), endorsements, now)


def failed(found: Findings) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(len(data)):
        yield at, data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


@pytest.mark.parametrize("product", ["milan", "genoa", "turin"])
def test_the_anchors_are_amds(attestation_vectors: Path, product: str) -> None:
    pem = (attestation_vectors / f"{product}_ask_ark_asvk.pem").read_bytes()
    certificates = load_certificates(pem)
    own = [one for one in AMD if f"-{product.title()}," in one.name]
    assert own == [Anchor.of_certificate(one) for one in certificates]
    ask, ark, asvk = certificates
    for one in (ask, asvk):
        assert one.issuer == ark.subject
        one.verify_directly_issued_by(ark)
    ark.verify_directly_issued_by(ark)


def test_a_report_with_its_chips_certificate_alone(attestation_vectors: Path) -> None:
    found = examine(attestation_vectors, "test-report.bin", ("test-vcek.der",), IN_2025)
    # Its host runs newer microcode than it committed, which the floor is for.
    assert found.accepted
    assert (found.registers["policy"], found.registers["guest_svn"]) == (
        "000000000003001f",
        "00000004",
    )


def test_a_report_with_amds_whole_bundle(attestation_vectors: Path) -> None:
    files = ("milan_ask_ark_asvk.pem", "test-vcek.der")
    found = examine(attestation_vectors, "test-report.bin", files, IN_2025, policy=ANY_TCB)
    assert found.accepted
    wrong = ("genoa_ask_ark_asvk.pem", "test-vcek.der")
    assert examine(attestation_vectors, "test-report.bin", wrong, IN_2025, policy=ANY_TCB).accepted


@pytest.mark.parametrize("name", ["test-vcek-invalid-legacy.der", "test-vcek-invalid-new.der"])
def test_certificates_that_amd_did_not_sign(attestation_vectors: Path, name: str) -> None:
    found = examine(attestation_vectors, "test-report.bin", (name,), IN_2025, policy=ANY_TCB)
    assert failed(found) == ["certificate chain"]
    assert found.failed is not None and "not its issuer's" in found.failed.detail


def test_a_providers_key_and_a_lower_privilege_level(attestation_vectors: Path) -> None:
    case = (attestation_vectors, "test-vlek-report.bin", ("test-vlek.der",))
    assert examine(*case, IN_2025).accepted
    assert failed(examine(*case, IN_2025, policy=EvidencePolicy(vmpl=0))) == ["vmpl"]
    late = examine(*case, IN_2026)
    assert failed(late) == ["certificate period"]


def test_reports_and_certificates_do_not_mix(attestation_vectors: Path) -> None:
    found = examine(
        attestation_vectors, "test-report.bin", ("sev_snp_vcek.pem",), IN_2026, policy=ANY_TCB
    )
    assert failed(found) == ["chip", "signature"]


def test_dstacks_attestation(attestation_vectors: Path) -> None:
    case = (attestation_vectors, "sev_snp_attestation.bin", ("sev_snp_ask.pem", "sev_snp_vcek.pem"))
    found = examine(*case, IN_2026)
    # Its SNP firmware is 24 and reported as 23; the fixture's own README says OutOfDate.
    assert failed(found) == ["tcb status"]
    assert found.failed is not None and found.failed.detail.startswith("OutOfDate")
    accepted = examine(*case, IN_2026, policy=ANY_TCB)
    assert accepted.accepted
    assert accepted.registers["measurement"].startswith("7f51e17f72a04d5422cb2c0099816653")
    assert accepted.registers["host_data"].startswith("783f0057820acb99")
    floor = EvidencePolicy(tcb=ANY_TCB.tcb, snp={"milan": {"snp": 24}})
    assert failed(examine(*case, IN_2026, policy=floor)) == ["tcb floor"]


def test_dstacks_attestation_binds_what_it_was_asked(attestation_vectors: Path) -> None:
    data = (attestation_vectors / "sev_snp_attestation.bin").read_bytes()
    vcek = (attestation_vectors / "sev_snp_vcek.pem").read_bytes()
    evidence, endorsements = from_file(data, Companions((vcek,)))
    verifier = SnpVerifier(policy=ANY_TCB)
    asked = b"attest-test-fixture-2026".ljust(64, b"\0")
    assert verifier.examine(evidence[0], asked, endorsements, IN_2026).accepted
    other = verifier.examine(evidence[0], bytes(64), endorsements, IN_2026)
    assert failed(other) == ["key binding"]


@pytest.mark.parametrize(
    ("report", "certificate", "now"),
    [
        ("test-report.bin", "test-vcek.der", IN_2025),
        ("test-vlek-report.bin", "test-vlek.der", IN_2025),
    ],
)
def test_a_flipped_bit_in_any_byte_of_a_real_report_is_refused(
    attestation_vectors: Path, report: str, certificate: str, now: datetime
) -> None:
    accepted = []
    for at, data in flips((attestation_vectors / report).read_bytes()):
        try:
            found = examine(attestation_vectors, data, (certificate,), now, policy=ANY_TCB)
        except MalformedError:
            continue
        if found.accepted or "signature" not in failed(found):
            accepted.append(at)
    assert accepted == []


@pytest.mark.parametrize("name", ["test-vcek.der", "sev_snp_vcek.pem", "sev_snp_ask.pem"])
def test_a_flipped_bit_in_any_byte_of_a_real_certificate_is_refused(
    attestation_vectors: Path, name: str
) -> None:
    accepted = []
    authority = "ask" in name
    beside = load_certificates((attestation_vectors / "sev_snp_vcek.pem").read_bytes())
    for at, data in flips((attestation_vectors / name).read_bytes()):
        try:
            found: list[x509.Certificate] = load_certificates(data)
            verify_chain([*beside, *found] if authority else found, AMD, IN_2026)
        except (MalformedError, EvidenceError):
            continue
        accepted.append(at)
    assert accepted == []


def test_a_flipped_bit_in_dstacks_file_is_refused_or_changes_nothing(
    attestation_vectors: Path,
) -> None:
    whole = (attestation_vectors / "sev_snp_attestation.bin").read_bytes()
    evidence, _ = from_file(whole, Companions())
    silent = 0
    report = range(4, 4 + 1184)
    for at, data in flips(whole):
        if at in report:
            continue  # the same as in a bare report
        try:
            changed, _ = from_file(data, Companions()) if recognises(data) else ([], [])
        except MalformedError:
            continue
        # What nothing vouches for is dropped, so it can be changed and says nothing.
        assert changed in ([], evidence)
        silent += changed == evidence
    assert 0 < silent < len(whole) - len(report)


def test_what_the_manifest_says_of_the_reports(attestation_vectors: Path) -> None:
    read = {
        name: SnpReport.parse((attestation_vectors / name).read_bytes())
        for name in ("test-report.bin", "test-vlek-report.bin")
    }
    assert (read["test-report.bin"].version, read["test-report.bin"].vmpl) == (2, 0)
    vlek = read["test-vlek-report.bin"]
    assert (vlek.version, vlek.vmpl, vlek.chip_id, vlek.signer) == (3, 1, bytes(64), 1)


def test_no_anchor_is_written_twice() -> None:
    assert len({one.digest for one in AMD}) == len(AMD) == 9
    assert all(base64.b64encode(one.spki).startswith(b"MIICIjANBgkqhkiG") for one in AMD)
