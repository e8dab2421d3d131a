"""Evidence of the kind ``nvidia``: measurement reports of Hopper and Blackwell GPUs and switches.

The device signs an SPDM report with a key that NVIDIA's root certifies for this chip and this
firmware; the report carries the 32 bytes it was asked with. Verified offline: no service of
NVIDIA's is asked, so a certificate revoked since is not noticed.

Without manifests (`privity.attest.nvidia.rim`) there is no check ``measurement``: the evidence then
says which firmware a genuine device runs, not that it is one NVIDIA approves of. What none of this
proves: which processor the device is attached to. spec/evidence-nvidia.md has it all.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509

from privity.attest.anchor import Anchor
from privity.attest.chain import CHAIN, PERIOD, Chain, check_chain, load_certificates
from privity.attest.ecdsa import verify_p384
from privity.attest.evidence import KEY_BINDING, Findings, run_checks
from privity.attest.nvidia.anchors import NVIDIA, NVIDIA_RIM
from privity.attest.nvidia.device import (
    CHIP,
    FIRMWARE_ID,
    Device,
    chip_of,
    firmware_id,
    is_debug,
    registers_of,
)
from privity.attest.nvidia.files import KIND, MAX_CERTIFICATES, from_file, recognises
from privity.attest.nvidia.rim import COLLATERAL, MEASUREMENT, Rim, compare_measurements
from privity.attest.nvidia.signed_xml import MAX_BYTES as MAX_RIM_BYTES
from privity.attest.nvidia.spdm import MAX_REPORT_BYTES, NONCE_BYTES, Opaque, SpdmReport
from privity.disclosure import Basis, Ground
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.multibase import decode_base64url
from privity.policy.evidence import EvidencePolicy
from privity.statement import device_nonce

__all__ = ["KIND", "NvidiaVerifier", "from_file", "recognises"]

_MAX_CERTIFICATE_CHARS = 8192
_MAX_RIMS = 32
_REPORT_DATA_BYTES = 64

_WHY = (
    "an NVIDIA {chip} that NVIDIA certifies signed this, with {runs}; not proved: which processor "
    "it is attached to (only that processor's own measured code vouches for that), nor anything "
    "against someone with physical access"
)

Step = tuple[str, Callable[[], str]]


class NvidiaVerifier:
    """Judges ``nvidia`` evidence. This runs on the device, or with anyone later.

    Args:
        anchors: who certifies devices.
        policy: nothing in it is about NVIDIA's devices, which carry no grade of their own.
        rim_anchors: who certifies the signers of manifests.

    Guarantees:
        Each vendor file gives its stated outcome (tests/vectors/test_nvidia_vectors.py).
        A flipped bit in report or chain is refused, and so are another nonce, a broken chain and
        other firmware than certified (tests/adversary/test_nvidia_evidence.py); what a manifest's
        signature does not cover is not read of it (tests/adversary/test_nvidia_rim.py).
    """

    kind = KIND

    def __init__(
        self,
        anchors: Sequence[Anchor] = NVIDIA,
        policy: EvidencePolicy | None = None,
        rim_anchors: Sequence[Anchor] = NVIDIA_RIM,
    ) -> None:
        self._anchors = tuple(anchors)
        self._rim_anchors = tuple(rim_anchors)

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Check everything; see `EvidenceVerifier.examine`.

        Args:
            evidence: ``report`` and ``certificates``; ``nonce`` and ``arch`` where the file that
                it comes from states them, and then they must be the report's.
            bound: 64 bytes of report data, for which the report's nonce must be `device_nonce`;
                or 32 bytes, the nonce itself; None where nobody knows.
            endorsements: manifests, each an object with ``rim``.
            now: the time to judge it for.

        Raises:
            MalformedError: it is not of this kind's form.
        """
        claim = _Claim.read(evidence)
        manifests = _read_endorsements(endorsements)
        examination = _Examination(
            claim, _nonce_for(bound), manifests, self._anchors, self._rim_anchors, now
        )
        checks = run_checks(examination.steps())
        registers = registers_of(claim.report, claim.device) | examination.named
        return Findings(
            kind=KIND,
            checks=checks,
            registers=registers,
            basis=frozenset({Basis(Ground.HARDWARE, _why(registers))}),
            period=examination.period,
        )


@dataclass(frozen=True)
class _Claim:
    """Evidence, read."""

    report: SpdmReport
    device: Device
    chain: tuple[x509.Certificate, ...]
    nonce: bytes | None
    arch: str | None

    @classmethod
    def read(cls, evidence: dict[str, Any]) -> _Claim:
        fields = Fields(evidence, "nvidia evidence")
        fields.constant("kind", KIND)
        report = SpdmReport.parse(fields.blob("report", most=MAX_REPORT_BYTES))
        chain = fields.items("certificates", least=1, most=MAX_CERTIFICATES)
        # These two are of files that state them; a statement has no need to.
        nonce = (
            fields.blob("nonce", least=NONCE_BYTES, most=NONCE_BYTES)
            if "nonce" in evidence
            else None
        )
        arch = fields.text("arch") if "arch" in evidence else None
        fields.done()
        certificates = tuple(_certificate(one) for one in chain)
        return cls(report, Device.of_report(report), certificates, nonce, arch)


def _certificate(text: object) -> x509.Certificate:
    if not isinstance(text, str) or len(text) > _MAX_CERTIFICATE_CHARS:
        raise MalformedError("nvidia evidence: a certificate is not base64url of allowed size")
    der = decode_base64url(text)
    if der.startswith(b"-"):
        raise MalformedError("nvidia evidence: a certificate is not DER")
    return load_certificates(der, most=1)[0]


def _read_endorsements(endorsements: Sequence[dict[str, Any]]) -> list[bytes]:
    if len(endorsements) > _MAX_RIMS:
        raise MalformedError(f"nvidia evidence has at most {_MAX_RIMS} manifests")
    manifests = []
    for one in endorsements:
        fields = Fields(one, "nvidia endorsement")
        fields.constant("kind", KIND)
        manifests.append(fields.blob("rim", most=MAX_RIM_BYTES))
        fields.done()
    return manifests


def _nonce_for(bound: bytes | None) -> bytes | None:
    if bound is None or len(bound) == NONCE_BYTES:
        return bound
    if len(bound) != _REPORT_DATA_BYTES:
        raise MalformedError(f"a GPU is asked with {NONCE_BYTES} or {_REPORT_DATA_BYTES} bytes")
    return device_nonce(bound)


@dataclass
class _Examination:
    """The checks of one claim, in order, and what they find on the way."""

    claim: _Claim
    nonce: bytes | None
    manifests: list[bytes]
    anchors: tuple[Anchor, ...]
    rim_anchors: tuple[Anchor, ...]
    now: datetime
    named: dict[str, str] = field(default_factory=dict)
    chain: Chain | None = None
    rims: list[Rim] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        yield "format", self._format
        yield CHIP, self._architecture
        yield CHAIN, self._chain
        if self.chain is not None:
            yield PERIOD, self._period
        yield "signature", self._signature
        yield FIRMWARE_ID, self._firmware_id
        if is_debug(self.claim.chain[0]) is not None:
            yield "debug", self._debug
        if self.claim.nonce is not None:
            yield STATED_NONCE, self._stated_nonce
        if self.nonce is not None:
            yield KEY_BINDING, self._key_binding
        if self.manifests:
            yield COLLATERAL, self._collateral
        if self.manifests and len(self.rims) == len(self.manifests):
            yield MEASUREMENT, self._measurement

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """When time changes nothing: only where all of it is valid now."""
        if self.chain is None or len(self.rims) != len(self.manifests):
            return None
        periods = [self.chain.period, *(rim.period for rim in self.rims)]
        start, end = max(one[0] for one in periods), min(one[1] for one in periods)
        return (start, end) if start <= self.now < end else None

    def _format(self) -> str:
        report = self.claim.report
        return f"SPDM 1.1, {len(report.measurements)} measurements, nonce {report.nonce.hex()}"

    def _architecture(self) -> str:
        chip, arch = chip_of(self.claim.chain)
        self.named |= {"arch": arch, "chip": chip}
        if self.claim.arch not in (None, arch):
            raise EvidenceError(
                f"the certificates are of a {chip}, which is not what the file says",
                check=CHIP,
            )
        return f"{chip}, {arch}"

    def _chain(self) -> str:
        self.chain = check_chain(self.claim.chain, self.anchors)
        return f"{len(self.claim.chain)} certificates, ending in {self.chain.anchor.name}"

    def _period(self) -> str:
        if self.chain is not None:
            self.chain.check_period(self.now)
        return "every certificate is valid at the time asked about"

    def _signature(self) -> str:
        report = self.claim.report
        verify_p384(self.claim.chain[0], report.signature, report.signed, "signature")
        return "by the device's key, over request and response"

    def _firmware_id(self) -> str:
        certified = firmware_id(self.claim.chain[0])
        self.named["fwid"] = certified.hex()
        reported = self.claim.report.opaque.get(Opaque.FWID)
        if reported is None:
            return "certified; the report does not repeat it"
        if reported != certified:
            raise EvidenceError(
                "the report names another firmware than its key is certified for",
                check=FIRMWARE_ID,
            )
        return "the report's is the certified one"

    def _debug(self) -> str:
        if is_debug(self.claim.chain[0]):
            raise EvidenceError("the certified firmware is in debug mode", check="debug")
        return "the certified firmware is not in debug mode"

    def _stated_nonce(self) -> str:
        if self.claim.nonce != self.claim.report.nonce:
            raise EvidenceError(
                "the file states another nonce than the report's", check=STATED_NONCE
            )
        return "the report's is the one the file states"

    def _key_binding(self) -> str:
        if not hmac.compare_digest(self.nonce or b"", self.claim.report.nonce):
            raise EvidenceError(
                "the report was made for another challenge, or for other keys", check=KEY_BINDING
            )
        return "the report answers this challenge"

    def _collateral(self) -> str:
        try:
            self.rims = [Rim.open(one, self.rim_anchors, self.now) for one in self.manifests]
        except (MalformedError, OversizeError) as error:
            raise EvidenceError(f"a manifest: {error.message}", check=COLLATERAL) from None
        return f"{len(self.rims)} manifests signed by NVIDIA"

    def _measurement(self) -> str:
        device = self.claim.device
        products = {self.named.get("chip"), device.product} - {None, ""}
        chosen = []
        # A switch has firmware alone; a GPU's driver is measured too.
        for version in (device.firmware, *([device.driver] if device.driver else [])):
            about = [rim for rim in self.rims if rim.version == version]
            about = [rim for rim in about if rim.product in products]
            if len(about) != 1:
                raise EvidenceError(
                    f"{len(about)} of the manifests are about version {version}",
                    check=MEASUREMENT,
                    hint="give one manifest of the firmware and, for a GPU, one of the driver",
                )
            chosen.append(about[0])
        count = compare_measurements(self.claim.report.measurements, chosen, device.left_out)
        return f"{count} measurements are those NVIDIA published for {_runs(device)}"


def _runs(device: Device) -> str:
    driver = f"driver {device.driver} and " if device.driver else ""
    return f"{driver}firmware {device.firmware or 'of no stated version'}"


def _why(registers: dict[str, str]) -> str:
    device = Device(registers.get("driver_version", ""), registers.get("vbios_version", ""))
    return _WHY.format(chip=registers.get("chip", "device"), runs=_runs(device))


STATED_NONCE = "stated nonce"
