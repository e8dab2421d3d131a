"""NVIDIA's reference integrity manifests (RIM): what a genuine driver and firmware measure to.

A manifest is a SWID tag (ISO/IEC 19770-2) with TCG's RIM attributes and one golden value, or a few
alternatives, for each measurement it speaks about; it carries its signer's chain. A GPU needs two,
one of its driver and one of its firmware; a switch has firmware alone.

Source: TCG RIM Information Model 1.01, NVIDIA/attestation-sdk `src/rim.cpp`, `src/gpu/verify.cpp`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from privity.attest.anchor import Anchor
from privity.attest.chain import load_certificates, verify_chain
from privity.attest.ecdsa import verify_p384
from privity.attest.nvidia.signed_xml import Element, SignedXml
from privity.errors import EvidenceError, MalformedError

__all__ = ["COLLATERAL", "MEASUREMENT", "Rim", "compare_measurements"]

COLLATERAL = "collateral"
"""The check that every manifest given is signed by NVIDIA, and its signers valid."""

MEASUREMENT = "measurement"
"""The check that the device measured what the manifests for it say."""

_SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_HASHES = "http://www.w3.org/2001/04/xmlenc#sha384"
_MAX_INDEX = 253
_MAX_ALTERNATIVES = 16
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,1024}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Rim:
    """One manifest whose signature verified.

    Attributes:
        product: the chip it is for: ``GH100``.
        version: of the driver or the firmware it is about.
        golden: the values allowed for each measurement it speaks about, by the report's index.
        period: when its signers' certificates are valid, half-open.
    """

    product: str
    version: str
    golden: Mapping[int, frozenset[bytes]]
    period: tuple[datetime, datetime]

    @classmethod
    def open(cls, data: bytes, anchors: Sequence[Anchor], now: datetime) -> Rim:
        """Verify a manifest and read it.

        Args:
            data: the XML.
            anchors: who may certify its signer.
            now: the time to judge it for.

        Raises:
            MalformedError: it is not of this form.
            EvidenceError: ``.check`` is `COLLATERAL`.
        """
        document = SignedXml.parse(data)
        chain = [load_certificates(one, most=1)[0] for one in document.certificates]
        try:
            verified = verify_chain(chain, anchors, now)
        except EvidenceError as error:
            raise EvidenceError(
                f"a manifest's {error.check}: {error.message}", check=COLLATERAL, hint=error.hint
            ) from None
        if not document.digest_holds:
            raise EvidenceError("a manifest was altered after it was signed", check=COLLATERAL)
        verify_p384(verified.leaf, document.signature, document.signed, COLLATERAL)
        product, version = _meta(document.root)
        return cls(product, version, _golden(document.root), verified.period)


def compare_measurements(
    measured: Mapping[int, bytes], manifests: Iterable[Rim], left_out: frozenset[int] = frozenset()
) -> int:
    """Compare what a device measured with the manifests of all its parts; return how many.

    Args:
        measured: values by index.
        manifests: all that are about this device.
        left_out: indices that the device says have no meaning on it.

    Raises:
        EvidenceError: ``.check`` is `MEASUREMENT`: a value differs or is absent, or two manifests
            speak about one measurement.
    """
    golden: dict[int, frozenset[bytes]] = {}
    for manifest in manifests:
        if golden.keys() & manifest.golden.keys():
            raise EvidenceError("two manifests speak about one measurement", check=MEASUREMENT)
        golden.update(manifest.golden)
    wanted = golden.keys() - left_out
    wrong = sorted(index for index in wanted if measured.get(index) not in golden[index])
    if wrong or not wanted:
        listed = ", ".join(str(index) for index in wrong[:8]) or "none"
        raise EvidenceError(
            f"{len(wrong)} of {len(wanted)} measurements are not the published ones: {listed}",
            check=MEASUREMENT,
            hint="the device runs altered or unlisted firmware, or is in a debug mode",
        )
    return len(wanted)


def _meta(root: Element) -> tuple[str, str]:
    if root.tag != (_SWID, "SoftwareIdentity"):
        raise MalformedError("a manifest is not a SWID tag")
    meta = _only(root, "Meta")
    return _attribute(meta, "product"), _attribute(meta, "colloquialVersion")


def _golden(root: Element) -> dict[int, frozenset[bytes]]:
    golden: dict[int, frozenset[bytes]] = {}
    seen: set[int] = set()
    for resource in _only(root, "Payload").elements:
        if resource.tag != (_SWID, "Resource") or _attribute(resource, "type") != "Measurement":
            raise MalformedError("a manifest's payload has other parts than measurements")
        # A manifest counts from 0, a report from 1.
        index = _number(resource, "index", _MAX_INDEX) + 1
        if index in seen:
            raise MalformedError(f"a manifest speaks twice about measurement {index}")
        seen.add(index)
        active = _attribute(resource, "active")
        if active not in ("True", "False"):
            raise MalformedError("a manifest's measurement is neither active nor not")
        values = _values(resource)
        if active == "True":
            golden[index] = values
    return golden


def _values(resource: Element) -> frozenset[bytes]:
    count = _number(resource, "alternatives", _MAX_ALTERNATIVES)
    size = _number(resource, "size", 1024)
    values = set()
    for place in range(count):
        text = _attribute(resource, f"Hash{place}", _HASHES)
        if not _HEX.fullmatch(text) or len(text) != 2 * size:
            raise MalformedError("a manifest's value is not hexadecimal of the stated size")
        values.add(bytes.fromhex(text))
    if not values or resource.attribute(_HASHES, f"Hash{count}") is not None:
        raise MalformedError("a manifest's measurement has not the stated number of values")
    return frozenset(values)


def _only(parent: Element, name: str) -> Element:
    found = [one for one in parent.elements if one.tag == (_SWID, name)]
    if len(found) != 1:
        raise MalformedError(f"a manifest has not one {name}")
    return found[0]


def _attribute(element: Element, name: str, uri: str = "") -> str:
    value = element.attribute(uri, name)
    if value is None or not value.isascii() or not value.isprintable() or len(value) > 2048:
        raise MalformedError(f"a manifest's {name} is absent or not plain text")
    return value


def _number(element: Element, name: str, most: int) -> int:
    text = _attribute(element, name)
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise MalformedError(f"a manifest's {name} is not a number up to {most}")
    return int(text)
