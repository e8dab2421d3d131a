"""Reports of SEV-SNP in files: as the hardware gives them, or in dstack's wrapper."""

from __future__ import annotations

from privity.attest.amd.report import REPORT_BYTES, SnpReport
from privity.attest.dstack.wrapper import SNP, looks_like, read_dstack
from privity.errors import MalformedError

__all__ = ["read_file", "recognises"]

_VERSIONS = (2, 3, 4, 5)


def recognises(data: bytes) -> bool:
    """Return whether a file looks like a report, or like dstack's attestation of one."""
    if looks_like(data, SNP):
        return True
    return len(data) == REPORT_BYTES and int.from_bytes(data[:4], "little") in _VERSIONS


def read_file(data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the report, and certificates that are in the file with it.

    Raises:
        MalformedError: it is neither, or what stands around the report contradicts it.
    """
    if not looks_like(data, SNP):
        return bytes(data), ()
    file = read_dstack(data)
    if len(file.evidence) != REPORT_BYTES:
        raise MalformedError(f"dstack: an SNP report has {REPORT_BYTES} bytes")
    report = SnpReport.parse(file.evidence)
    file.check_report_data(report.report_data)
    if file.mr_config:
        file.check_host_data(report.host_data)
    return file.evidence, file.certificates
