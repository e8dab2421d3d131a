"""A synthetic NVIDIA: a device root, chips with firmware, reports, and signed manifests.

The manifests are written in canonical form by hand, not by the code under test, so that their
signatures are a second opinion on `privity.attest.nvidia.signed_xml`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pki.certificates import AROUND_NOON, Authority, Period, key_usage, new_key, to_der
from privity.attest.anchor import Anchor
from privity.identity.multibase import encode_base64url
from privity.statement import device_nonce

SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
HASHES = "http://www.w3.org/2001/04/xmlenc#sha384"
TCG = (
    "https://trustedcomputinggroup.org/resource/"
    "tcg-reference-integrity-manifest-rim-information-model/"
)
DSIG = "http://www.w3.org/2000/09/xmldsig#"
C14N = "http://www.w3.org/2006/12/xml-c14n11"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
SHA384_OID = bytes.fromhex("0609608648016503040202")

MEASUREMENTS = {index: hashlib.sha384(bytes((index,))).digest() for index in range(1, 9)}


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    return bytes((tag, size) if size < 0x80 else (tag, 0x81, size)) + content


def sign_raw(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def tlv(kind: int, value: bytes) -> bytes:
    return kind.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value


def block(index: int, value: bytes) -> bytes:
    inner = b"\x01" + len(value).to_bytes(2, "little") + value
    return bytes((index, 1)) + len(inner).to_bytes(2, "little") + inner


@dataclass(frozen=True)
class NvidiaPki:
    """One chip under a root of its own. A `Quoter`: it answers a statement's challenge.

    Attributes:
        chip: as the certificates name it.
        driver: its version; empty for a switch.
        firmware: eight packed bytes for a GPU, text for a switch.
        measurements: by index, from 1.
        certified: the firmware identity in the certificate.
        reported: the one in the report; empty for none.
        debug: whether the certified firmware says it is in debug mode (Blackwell).
        opaque: more fields of the opaque data, by type.
        period: of all certificates.
        rims: whether the quoter's endorsements have the device's manifests.
    """

    chip: str = "GH100"
    driver: str = "575.32"
    firmware: bytes = bytes.fromhex("009f009601000000")
    measurements: Mapping[int, bytes] = field(default_factory=lambda: dict(MEASUREMENTS))
    certified: bytes = hashlib.sha384(b"firmware").digest()
    reported: bytes = hashlib.sha384(b"firmware").digest()
    debug: bool = False
    opaque: Mapping[int, bytes] = field(default_factory=dict)
    period: Period = AROUND_NOON
    rims: bool = False
    root: Authority = field(default_factory=lambda: Authority.root("Test Device Identity CA"))
    rim_root: Authority = field(default_factory=lambda: Authority.root("Test RIM Root CA"))
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    rim_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    kind = "nvidia"

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return (self.root.anchor,)

    @property
    def rim_anchors(self) -> tuple[Anchor, ...]:
        return (self.rim_root.anchor,)

    @property
    def version(self) -> str:
        """The firmware's version as manifests spell it."""
        if len(self.firmware) != 8:
            return self.firmware.decode()
        packed = self.firmware[::-1]
        return ".".join(f"{part:02X}" for part in (*packed[4:], packed[3]))

    @cached_property
    def chain(self) -> list[x509.Certificate]:
        """Leaf, chip, provisioner, family, root: as NVIDIA's files have them."""
        family = self.root.authority(f"TEST {self.chip} Identity", period=self.period)
        provisioner = family.authority(f"TEST {self.chip} Provisioner", period=self.period)
        brom = provisioner.authority(f"{self.chip} A01 GSP BROM", period=self.period)
        leaf = brom.leaf(
            f"{self.chip} A01 GSP FMC LF",
            self.key,
            period=self.period,
            extensions=[(key_usage(sign=True), True), (self._firmware_extension(), False)],
        )
        issuers = (brom, provisioner, family, self.root)
        return [leaf, *(one.certificate for one in issuers)]

    def _firmware_extension(self) -> x509.UnrecognizedExtension:
        fwid = der(0x30, SHA384_OID, der(0x04, self.certified))
        if self.chip.startswith("GB"):
            flags = bytes((0, 0x90 if self.debug else 0x80, 0, 0, 1))
            info = der(0x30, der(0x80, b"TEST"), der(0xA6, fwid), der(0x87, flags))
            return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.23.133.5.4.1.1"), info)
        spki = der(0x30, b"")
        composite = der(0x30, der(0x02, b"\x01"), spki, fwid)
        return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.23.133.5.4.1"), composite)

    def report(self, nonce: bytes) -> bytes:
        """Return a signed report that answers ``nonce``."""
        record = b"".join(block(index, value) for index, value in self.measurements.items())
        fields = {6: self.firmware, **self.opaque}
        if self.driver:
            fields[3] = self.driver.encode() + b"\0"
        if self.reported:
            fields[20] = self.reported
        opaque = b"".join(tlv(kind, value) for kind, value in fields.items())
        signed = (
            bytes.fromhex("11e001ff") + nonce + b"\0" + bytes.fromhex("11600000")
            + bytes((len(self.measurements),)) + len(record).to_bytes(3, "little") + record
            + bytes(32) + len(opaque).to_bytes(2, "little") + opaque
        )  # fmt: skip
        return signed + sign_raw(self.key, signed)

    def evidence(self, nonce: bytes) -> dict[str, Any]:
        """Return evidence whose report answers these 32 bytes."""
        return {
            "certificates": [encode_base64url(to_der(one)) for one in self.chain],
            "kind": self.kind,
            "report": encode_base64url(self.report(nonce)),
        }

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        """Return evidence for a statement's 64 bytes."""
        return self.evidence(device_nonce(report_data))

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        """The device's manifests, if `rims`."""
        return self.as_endorsements(self.manifests()) if self.rims else ()

    def as_endorsements(self, manifests: Sequence[bytes]) -> tuple[dict[str, Any], ...]:
        return tuple({"kind": self.kind, "rim": encode_base64url(one)} for one in manifests)

    def manifests(self) -> list[bytes]:
        """Return the manifests of this device: firmware, and driver if it has one."""
        half = {index: [value] for index, value in self.measurements.items() if index <= 4}
        rest = {index: [value] for index, value in self.measurements.items() if index > 4}
        if not self.driver:
            return [self.manifest(self.version, half | rest)]
        return [self.manifest(self.version, half), self.manifest(self.driver, rest)]

    def manifest(
        self,
        version: str,
        golden: Mapping[int, Sequence[bytes]],
        *,
        inactive: Mapping[int, Sequence[bytes]] | None = None,
        product: str | None = None,
    ) -> bytes:
        """Return a signed manifest that allows these values; indices count as reports do."""
        resources = "".join(
            _resource(index, values, active)
            for named, active in ((golden, "True"), (inactive or {}, "False"))
            for index, values in named.items()
        )
        name = self.chip.replace("_", "") if product is None else product
        body = (
            f'<SoftwareIdentity xmlns="{SWID}" xmlns:ns0="{SWID}" xmlns:ns2="{HASHES}" '
            f'name="{name}" tagId="test" version="1.0">\n'
            f'  <ns0:Entity name="Test" role="tagCreator"></ns0:Entity>\n'
            f'  <ns0:Meta xmlns:ns1="{TCG}" colloquialVersion="{version}" product="{name}" '
            f'ns1:BindingSpec="RIMIM"></ns0:Meta>\n'
            f"  <ns0:Payload>\n{resources}  </ns0:Payload>\n"
        )
        return (body + self._signature(body + "</SoftwareIdentity>")).encode() + (
            b"</SoftwareIdentity>\n"
        )

    def _signature(self, document: str) -> str:
        digest = base64.b64encode(hashlib.sha384(document.encode()).digest()).decode()
        info = (
            f'<ds:CanonicalizationMethod Algorithm="{C14N}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{MORE}ecdsa-sha384"></ds:SignatureMethod>'
            f'<ds:Reference URI=""><ds:Transforms>'
            f'<ds:Transform Algorithm="{DSIG}enveloped-signature"></ds:Transform>'
            f'<ds:Transform Algorithm="{C14N}"></ds:Transform></ds:Transforms>'
            f'<ds:DigestMethod Algorithm="{MORE}sha384"></ds:DigestMethod>'
            f"<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        )
        # As a subset of the document, it declares every namespace in scope.
        subset = (
            f'<ds:SignedInfo xmlns="{SWID}" xmlns:ds="{DSIG}" xmlns:ns0="{SWID}" '
            f'xmlns:ns2="{HASHES}">'
        )
        signature = sign_raw(self.rim_key, (subset + info).encode())
        certificates = "".join(
            f"<ds:X509Certificate>{base64.encodebytes(to_der(one)).decode()}</ds:X509Certificate>"
            for one in self.rim_chain
        )
        return (
            f'<ds:Signature xmlns:ds="{DSIG}"><ds:SignedInfo>{info}'
            f"<ds:SignatureValue>{base64.b64encode(signature).decode()}</ds:SignatureValue>"
            f"<ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>"
        )

    @cached_property
    def rim_chain(self) -> list[x509.Certificate]:
        """The signer of manifests and its issuers."""
        ca = self.rim_root.authority("Test Reference Value CA", period=self.period)
        signer = ca.leaf(
            "Test RIM Signer",
            self.rim_key,
            period=self.period,
            extensions=[(key_usage(sign=True), True)],
        )
        return [signer, ca.certificate, self.rim_root.certificate]

    def but(self, **changes: Any) -> NvidiaPki:
        """Return the same chip under the same root, with changes."""
        return replace(self, **changes)


def blackwell(**changes: Any) -> NvidiaPki:
    return NvidiaPki(chip="GB100", firmware=bytes.fromhex("008800970f000000"), **changes)


def switch(**changes: Any) -> NvidiaPki:
    return NvidiaPki(chip="LS_10", driver="", firmware=b"96.10.55.00.01", reported=b"", **changes)


def _resource(index: int, values: Sequence[bytes], active: str) -> str:
    hashed = "".join(f' ns2:Hash{place}="{value.hex()}"' for place, value in enumerate(values))
    return (
        f'    <ns0:Resource active="{active}" alternatives="{len(values)}" index="{index - 1}" '
        f'name="Measurement_{index - 1}" size="48" type="Measurement"{hashed}></ns0:Resource>\n'
    )
