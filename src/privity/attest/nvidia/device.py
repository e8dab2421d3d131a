"""What an NVIDIA device says of itself: in its report, and in the certificate of its firmware.

Source: TCG DICE Attestation Architecture 1.1 §6.1.1 (the extensions), NVIDIA/attestation-sdk
`src/gpu/evidence.cpp` (versions), `src/nv_x509.cpp` (firmware identities).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from privity.attest.der import OCTET_STRING, SEQUENCE, Element, read_der
from privity.attest.nvidia.spdm import Opaque, SpdmReport
from privity.errors import EvidenceError, MalformedError

__all__ = [
    "CHIP",
    "FIRMWARE_ID",
    "Device",
    "chip_of",
    "firmware_id",
    "is_debug",
    "registers_of",
]

CHIP = "chip"
"""The check that the certified chip is of a family this version knows."""

FIRMWARE_ID = "firmware id"
"""The check that the report and the certificate name one firmware."""

_FAMILIES = (
    (re.compile(r"GH[0-9]{3}"), "HOPPER"),
    (re.compile(r"GB[0-9]{2}[0-9A-Z]"), "BLACKWELL"),
    (re.compile(r"LS10"), "LS10"),
)
_COMPOSITE_DEVICE = ObjectIdentifier("2.23.133.5.4.1")  # Hopper, switches
_TCB_INFO = ObjectIdentifier("2.23.133.5.4.1.1")  # Blackwell
_FWIDS, _FLAGS = 0xA6, 0x87
_DEBUG_BIT = 3
_SHA384_OID = bytes.fromhex("608648016503040202")
_FWID_BYTES = 48
_PACKED_BYTES = 8
_NVDEC0_DISABLED = b"\x55"
_NVDEC0_INDEX = 36
_MODES = ("mpt", "spt", "ppcie")
_MAX_TEXT = 64


@dataclass(frozen=True)
class Device:
    """What a report says the device is and runs.

    Attributes:
        driver: the driver's version; empty for a switch, which has none.
        firmware: the firmware's (VBIOS) version: ``96.00.9F.00.01``.
        product: the chip as the report names it; empty where it does not.
        mode: ``spt`` (one GPU for one guest), ``mpt`` (several) or ``ppcie`` (several with their
            switches, whose links are not encrypted); empty where the report does not say.
        left_out: measurements that have no meaning on this device.
    """

    driver: str
    firmware: str
    product: str = ""
    mode: str = ""
    left_out: frozenset[int] = frozenset()

    @classmethod
    def of_report(cls, report: SpdmReport) -> Device:
        """Read the versions of a report; raises `MalformedError` for one that is not text."""
        fields = report.opaque
        no_decoder = fields.get(Opaque.NVDEC0_STATUS) == _NVDEC0_DISABLED
        return cls(
            _text(fields.get(Opaque.DRIVER_VERSION, b""), "driver version"),
            _firmware(fields.get(Opaque.VBIOS_VERSION, b"")),
            _text(fields.get(Opaque.CHIP_INFO, b""), "chip"),
            _mode(fields.get(Opaque.FEATURE_FLAG, b"")),
            frozenset({_NVDEC0_INDEX}) if no_decoder else frozenset(),
        )


def registers_of(report: SpdmReport, device: Device) -> dict[str, str]:
    """Return what the device measured and runs, by the names reference values use.

    Two devices with the same firmware and driver have the same registers: nothing in them is of
    one chip, of one boot or of one challenge.
    """
    record = b"".join(
        index.to_bytes(1, "big") + len(value).to_bytes(2, "big") + value
        for index, value in report.measurements.items()
    )
    registers = {"measurements": hashlib.sha384(record).hexdigest()}
    for index, value in report.measurements.items():
        registers[f"measurement_{index}"] = value.hex()
    if device.driver:
        registers["driver_version"] = device.driver
    if device.firmware:
        registers["vbios_version"] = device.firmware
    if device.mode:
        registers["mode"] = device.mode
    return registers


def chip_of(chain: Sequence[x509.Certificate]) -> tuple[str, str]:
    """Return the chip that a device's chain names, and its family.

    The leaf's name is of the chip's firmware, its issuer's of the chip itself: ``GH100 A01 …``.

    Raises:
        EvidenceError: ``.check`` is `CHIP`: no such names, or of an unknown family.
    """
    chips = {_first_word(one) for one in chain[:2]}
    chip = chips.pop() if len(chips) == 1 and len(chain) > 1 else ""
    for pattern, family in _FAMILIES:
        if pattern.fullmatch(chip):
            return chip, family
    raise EvidenceError(
        "the certificates do not name one chip of the Hopper, Blackwell or LS10 families",
        check=CHIP,
    )


def firmware_id(leaf: x509.Certificate) -> bytes:
    """Return the SHA-384 firmware identity that the leaf certifies.

    Raises:
        EvidenceError: ``.check`` is `FIRMWARE_ID`: there is none of a known form.
    """
    try:
        info = _extension(leaf, _TCB_INFO)
        if info is not None:
            fwids = next(one for one in info if one.tag == _FWIDS)
            return _fwid(read_der(fwids.content))
        composite = _extension(leaf, _COMPOSITE_DEVICE)
        if composite is not None:
            return _fwid(composite[-1])
    except (MalformedError, StopIteration, IndexError):
        pass
    raise EvidenceError("the certificate names no firmware in a known form", check=FIRMWARE_ID)


def is_debug(leaf: x509.Certificate) -> bool | None:
    """Return whether the certificate says the firmware runs in debug mode; None if it is silent."""
    try:
        info = _extension(leaf, _TCB_INFO) or []
    except MalformedError:
        return None
    flags = next((one.content for one in info if one.tag == _FLAGS), b"")
    if len(flags) < 2:
        return None
    return bool(flags[1] & 0x80 >> _DEBUG_BIT)


def _extension(leaf: x509.Certificate, oid: ObjectIdentifier) -> list[Element] | None:
    try:
        value = leaf.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension):
        raise MalformedError("unreadable extensions") from None
    if not isinstance(value, x509.UnrecognizedExtension):
        raise MalformedError("an extension of another form")
    return _inside(read_der(value.value))


def _inside(sequence: Element) -> list[Element]:
    if sequence.tag != SEQUENCE:
        raise MalformedError("DER: not a sequence")
    elements, at = [], 0
    while at < len(sequence.content):
        elements.append(read_der(sequence.content, at))
        at = elements[-1].end
    return elements


def _fwid(element: Element) -> bytes:
    parts = _inside(element)
    if len(parts) != 2 or parts[0].content != _SHA384_OID or parts[1].tag != OCTET_STRING:
        raise MalformedError("not a SHA-384 firmware identity")
    if len(parts[1].content) != _FWID_BYTES:
        raise MalformedError("not a SHA-384 firmware identity")
    return parts[1].content


def _first_word(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        return ""
    return str(names[0].value).split(" ")[0].replace("_", "")


def _text(value: bytes, what: str) -> str:
    """Read text that zeros may follow."""
    stripped = value.rstrip(b"\0")
    text = stripped.decode("latin-1")
    if not text.isascii() or not (text + "x").isprintable() or len(text) > _MAX_TEXT:
        raise MalformedError(f"an SPDM report's {what} is not plain text")
    return text


def _mode(value: bytes) -> str:
    if not value:
        return ""
    number = int.from_bytes(value, "little")
    if number >= len(_MODES):
        raise MalformedError("an SPDM report's mode is unknown")
    return _MODES[number]


def _firmware(value: bytes) -> str:
    if len(value) != _PACKED_BYTES:  # a switch writes it as text
        return _text(value, "firmware version")
    # A GPU packs it: little-endian, and the last part stands above the others.
    packed = value[::-1]
    return ".".join(f"{part:02X}" for part in (*packed[4:], packed[3]))
