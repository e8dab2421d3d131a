"""A synthetic AMD: an ARK, ASK and ASVK, chips with their keys, and the reports they sign.

`SnpPki` is a `Quoter` whose evidence the production verifier accepts under `SnpPki.anchors`. Every
knob is a field; `dataclasses.replace` makes the variant a test wants.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pki.certificates import AROUND_NOON, Authority, Period, new_key, rsa_key, to_der
from privity.attest.anchor import Anchor
from privity.identity.multibase import encode_base64url

CPUID = {"milan": (0x19, 0x01, 0x01), "genoa": (0x19, 0x11, 0x01), "turin": (0x1A, 0x02, 0x01)}
LEVEL = {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219, "fmc": 3}
"""A platform's firmware, by part; the fmc only on Turin."""

_ARC = "1.3.6.1.4.1.3704.1."
_PARTS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}

Extension = tuple[x509.ExtensionType, bool]


@dataclass(frozen=True)
class SnpPki:
    """One chip of a synthetic AMD, and the guest on it.

    Attributes:
        product: ``milan``, ``genoa`` or ``turin``.
        version: of the report's format.
        vlek: whether the key is a provider's.
        maker: tells one synthetic AMD from another.
        period: of the chip's certificate.
        policy: the guest's, bits.
        platform: the platform's properties, bits.
        vmpl: who in the guest asks.
        tcbs: the four TCB versions, by which and part, where they are not `LEVEL`.
        certified: what the certificate says of the firmware, where it is not the reported TCB.
        chip: the chip's ID.
        certified_chip: the one in the certificate; None for the same.
        wrapped_chip: whether the certificate has the ID as an OCTET STRING, as newer ones do.
        key_info: bits beside the signer.
        measurement: of the guest.
        host_data: from its host.
        chain: which issuers' certificates come along, of ``ask`` and ``ark``.
        swapped: whether the other of ASK and ASVK issues the certificate.
        named: the product in the certificate, where it is not the chip's.
    """

    product: str = "milan"
    version: int = 3
    vlek: bool = False
    maker: str = "AMD"
    period: Period = AROUND_NOON
    policy: int = 0x30000
    platform: int = 0x25
    vmpl: int = 0
    tcbs: dict[str, dict[str, int]] = field(default_factory=dict)
    certified: dict[str, int] = field(default_factory=dict)
    chip: bytes = b"\x11\x22\x33\x44\x55\x66\x77\x88" + bytes(56)
    certified_chip: bytes | None = None
    wrapped_chip: bool = False
    key_info: int = 0
    measurement: bytes = b"\xa5" * 48
    host_data: bytes = bytes(32)
    chain: tuple[str, ...] = ()
    swapped: bool = False
    named: str = ""

    kind = "snp"

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return tuple(one.anchor for one in (self._ark, self._ask, self._asvk))

    @property
    def endorsements(self) -> tuple[dict[str, Any], ...]:
        ders = [encode_base64url(to_der(one)) for one in self.certificates]
        return ({"certificates": ders, "kind": "snp"},)

    @cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        issuers = {"ask": self._issuer.certificate, "ark": self._ark.certificate}
        return (self._leaf, *(issuers[name] for name in self.chain))

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        return {"kind": "snp", "report": encode_base64url(self.report(report_data))}

    def report(self, report_data: bytes) -> bytes:
        return self.sign(self.unsigned(report_data))

    def unsigned(self, report_data: bytes) -> bytes:
        """Return the 672 bytes that are signed."""
        signer = int(self.vlek) << 2 | self.key_info
        cpuid = bytes(CPUID[self.product]) if self.version >= 3 else bytes(3)
        chip = bytes(64) if self.vlek else self.chip
        body = struct.pack("<IIQ", self.version, 0, self.policy) + bytes(32)
        body += struct.pack("<II", self.vmpl, 1) + self.tcb("current")
        body += struct.pack("<QII", self.platform, signer, 0)
        body += report_data + self.measurement + self.host_data + bytes(48 + 48)
        body += b"\x77" * 32 + b"\xff" * 32 + self.tcb("reported") + cpuid + bytes(21)
        body += chip + self.tcb("committed") + bytes((29, 55, 1, 0)) * 2 + self.tcb("launch")
        return body.ljust(0x2A0, b"\0")

    def sign(self, body: bytes) -> bytes:
        """Return a whole report; its 672 bytes may be anything."""
        r, s = decode_dss_signature(self._key.sign(body, ec.ECDSA(hashes.SHA384())))
        return body + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)

    def tcb(self, which: str) -> bytes:
        level = {**LEVEL, **self.tcbs.get(which, {})}
        if self.product == "turin":
            head = bytes(level[part] for part in ("fmc", "bootloader", "tee", "snp"))
            return head + bytes((0, 0, 0, level["microcode"]))
        head = bytes((level["bootloader"], level["tee"], 0, 0, 0, 0))
        return head + bytes((level["snp"], level["microcode"]))

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return new_key()

    @property
    def _name(self) -> str:
        return self.product.title()

    @cached_property
    def _ark(self) -> Authority:
        return Authority.root(f"ARK-{self._name}", key=rsa_key(f"{self.maker} ark"))

    @cached_property
    def _ask(self) -> Authority:
        key = rsa_key(f"{self.maker} ask")
        return self._ark.authority(f"SEV-{self._name}", key=key, path_length=0)

    @cached_property
    def _asvk(self) -> Authority:
        key = rsa_key(f"{self.maker} asvk")
        return self._ark.authority(f"SEV-VLEK-{self._name}", key=key, path_length=0)

    @property
    def _issuer(self) -> Authority:
        return self._asvk if self.vlek != self.swapped else self._ask

    @cached_property
    def _leaf(self) -> x509.Certificate:
        name = "SEV-VLEK" if self.vlek else "SEV-VCEK"
        return self._issuer.leaf(
            name, self._key, period=self.period, extensions=list(self.extensions())
        )

    def extensions(self) -> list[Extension]:
        """Return what AMD writes into a leaf."""
        name = (self.named or self._name) + ("" if self.vlek else "-B0")
        level = {**LEVEL, **self.tcbs.get("reported", {}), **self.certified}
        parts = _PARTS if self.product == "turin" else {k: _PARTS[k] for k in list(_PARTS)[:4]}
        found = [("1", _integer(0)), ("2", b"\x16" + bytes((len(name),)) + name.encode())]
        found += [(oid, _integer(level[part])) for part, oid in parts.items()]
        if self.vlek:
            found.append(("5", b"\x16\x0bCN=cc-cloud"))
        else:
            chip = self.chip if self.certified_chip is None else self.certified_chip
            head = b"\x04" + bytes((len(chip),)) if self.wrapped_chip else b""
            found.append(("4", head + chip))
        return [
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(_ARC + oid), value), False)
            for oid, value in found
        ]


def _integer(number: int) -> bytes:
    content = number.to_bytes(1 if number < 0x80 else 2, "big")
    return b"\x02" + bytes((len(content),)) + content
