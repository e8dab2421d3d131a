"""SPDM measurement reports, and what NVIDIA's devices say in them."""

from __future__ import annotations

from fuzz.harness import Made, attempt
from pki.nvidia import NvidiaPki, blackwell, switch
from privity.attest.nvidia.device import Device, registers_of
from privity.attest.nvidia.spdm import SpdmReport


def one(data: bytes) -> None:
    report = attempt(SpdmReport.parse, data)
    if report is None:
        return
    assert report.signed + report.signature == data
    device = attempt(Device.of_report, report)
    if device is not None:
        assert all(text.isascii() for text in registers_of(report, device).values())


def seeds() -> Made:
    return Made([make().report(bytes(32)) for make in (NvidiaPki, blackwell, switch)])
