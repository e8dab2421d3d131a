"""Real evidence through ``privity verify``: what MANIFEST.json states of each file, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from privity.cli.app import run

LOOSE = """
name = "loose"
extends = "confidential"
[evidence]
tcb = ["UpToDate", "SWHardeningNeeded", "ConfigurationAndSWHardeningNeeded"]
"""


@dataclass(frozen=True)
class Case:
    """One run: the file, what comes with it, and the one check that fails, if any.

    ``detail`` is in that check's detail; ``also`` fail further checks.
    """

    file: str
    fails: str | None = None
    detail: str = ""
    certs: tuple[str, ...] = ()
    collateral: str | None = None
    at: str | None = None
    more: tuple[str, ...] = ()
    also: frozenset[str] = field(default_factory=frozenset)


SGX = {"collateral": "sgx_quote_collateral.json", "at": "2025-06-20"}
TDX = {"collateral": "tdx_quote_collateral.json"}
NITRO = "2025-12-25T17:00:00Z"
CASES = {
    "tdx": Case("tdx_quote", at="2025-06-20", **TDX),
    "tdx first second": Case("tdx_quote", at="2025-06-19T10:32:27Z", **TDX),
    "tdx later": Case("tdx_quote", "collateral", at="2025-08-01", **TDX),
    "tdx bare": Case("tdx_quote", "collateral", "absent", at="2025-06-20"),
    "tdx outdated": Case(
        "tdx_quote_outdated",
        "tcb status",
        "No matching TCB level found",
        collateral="tdx_quote_outdated_collateral.json",
        at="2026-03-01",
    ),
    "tdx parse": Case("tdx_quote_4.dat", "collateral", also=frozenset({"debug"}), at="2024-06-01"),
    "sgx strict": Case("sgx_quote", "tcb status", "ConfigurationAndSWHardeningNeeded", **SGX),
    "sgx advisories": Case("sgx_quote", "tcb status", "INTEL-SA-00289, INTEL-SA-00615", **SGX),
    "sgx loose": Case("sgx_quote", more=("--policy", "loose"), **SGX),
    "snp": Case("test-report.bin", certs=("test-vcek.der",)),
    "snp with chain": Case("test-report.bin", certs=("test-vcek.der", "milan_ask_ark_asvk.pem")),
    "snp other generation's chain": Case(
        "test-report.bin", certs=("test-vcek.der", "genoa_ask_ark_asvk.pem")
    ),
    "snp too early": Case(
        "test-report.bin", "certificate period", certs=("test-vcek.der",), at="2023-01-01"
    ),
    "snp no certificate": Case("test-report.bin", "certificate chain"),
    "vlek": Case("test-vlek-report.bin", certs=("test-vlek.der",), at="2025-06-01"),
    "vlek expired": Case("test-vlek-report.bin", "certificate period", certs=("test-vlek.der",)),
    "snp of the wrong kind of key": Case(
        "test-report.bin", "chip", certs=("test-vlek.der",), at="2025-06-01"
    ),
    "snp wrapped by dstack, of older firmware than committed": Case(
        "sev_snp_attestation.bin",
        "tcb status",
        "OutOfDate",
        certs=("sev_snp_vcek.pem", "sev_snp_ask.pem"),
        at="2026-07-01",
    ),
    "nitro": Case("nitro_attestation.bin", at=NITRO),
    "nitro before": Case("nitro_attestation.bin", "certificate period", at="2025-12-25T16:04:15Z"),
    "nitro after": Case("nitro_attestation.bin", "certificate period", at="2025-12-25T19:04:20Z"),
    "hopper": Case("hopperAttestationReport.txt", certs=("hopper_cert_chain_case1.txt",)),
    "hopper nonce": Case(
        "hopperAttestationReport.txt",
        certs=("hopper_cert_chain_case1.txt",),
        more=(
            "--nonce",
            "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb",
        ),
    ),
    "hopper other nonce": Case(
        "hopperAttestationReport.txt",
        "key binding",
        certs=("hopper_cert_chain_case1.txt",),
        more=("--nonce", "93" * 32),
    ),
    "hopper broken link": Case(
        "hopperAttestationReport.txt", "certificate chain", certs=("hopper_cert_chain_case3.txt",)
    ),
    "sdk hopper": Case("nvsdk_hopperAttestationReport.txt", certs=("nvsdk_hopperCertChain.txt",)),
    "sdk hopper invalid": Case(
        "nvsdk_hopperAttestationReportInvalidSignature.txt",
        "signature",
        certs=("nvsdk_hopperCertChain.txt",),
    ),
    "blackwell": Case(
        "nvsdk_blackwellAttestationReport.txt", certs=("nvsdk_blackwellCertChain.txt",)
    ),
    "switch": Case("nvsdk_switchAttestationReport.txt", certs=("nvsdk_switchCertChain.txt",)),
    "switch invalid": Case(
        "nvsdk_switchAttestationReportInvalidSignature.txt",
        "signature",
        certs=("nvsdk_switchCertChain.txt",),
    ),
    "evidence json": Case("hopper_evidence.json"),
    "evidence json, held certificate": Case("hopper_evidence_cert_hold.json"),
}


def verdict_of(
    case: Case, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    (tmp_path / "loose.toml").write_text(LOOSE)
    arguments = ["verify", str(folder / case.file), "--json"]
    for name in case.certs:
        arguments += ["--certs", str(folder / name)]
    if case.collateral:
        arguments += ["--collateral", str(folder / case.collateral)]
    if case.at:
        arguments += ["--at", case.at]
    arguments += [str(tmp_path / "loose.toml") if one == "loose" else one for one in case.more]
    code = run(arguments)
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", CASES)
def test_each_file_gives_its_stated_outcome(
    name: str,
    attestation_vectors: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASES[name]
    code, verdict = verdict_of(case, attestation_vectors, tmp_path, capsys)
    failed = {check["name"]: check["detail"] for check in verdict["checks"] if not check["ok"]}
    assert set(verdict) >= {"accepted", "kind", "checks"}
    if case.fails is None:
        assert (code, verdict["accepted"], failed) == (0, True, {})
    else:
        assert (code, verdict["accepted"]) == (1, False)
        assert next(iter(failed)) == case.fails, failed
        assert case.detail in failed[case.fails]
        assert case.also <= failed.keys()


NEGATIVE = ("test-vcek-invalid-legacy.der", "test-vcek-invalid-new.der")


@pytest.mark.parametrize("certificate", NEGATIVE)
def test_a_certificate_that_is_not_of_the_report_is_refused(
    certificate: str,
    attestation_vectors: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = Case("test-report.bin", certs=(certificate,))
    code, verdict = verdict_of(case, attestation_vectors, tmp_path, capsys)
    assert code == 1 and not verdict["accepted"]


def test_a_debug_enclave_is_refused_for_being_one(
    attestation_vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = "2025-12-25T17:00:00Z"
    case = Case("nitro_attestation_dbg.bin", at=at)
    code, verdict = verdict_of(case, attestation_vectors, tmp_path, capsys)
    failed = [check["name"] for check in verdict["checks"] if not check["ok"]]
    assert code == 1 and "debug" in failed


@pytest.mark.parametrize("content", [b"", b"\0" * 1184, b"{}", b"not evidence", b"-----BEGIN"])
def test_what_is_no_evidence_is_not_accepted_and_says_so(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(content)
    code, verdict = verdict_of(Case("file"), tmp_path, tmp_path, capsys)
    assert (code, verdict["accepted"], verdict["kind"]) in ((1, False, None), (1, False, "snp"))
    assert verdict["checks"][0]["name"] == "format" and not verdict["checks"][0]["ok"]
