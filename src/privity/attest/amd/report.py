"""The ATTESTATION_REPORT that AMD's secure processor signs (AMD 56860, SEV-SNP firmware ABI).

Parsing is total and strict: a version this does not know, a reserved bit or byte that is not zero,
a byte too many, and there is no report. It decides nothing; `privity.attest.evidence_snp` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from privity.errors import MalformedError

__all__ = [
    "GENOA",
    "MILAN",
    "REPORT_BYTES",
    "SIGNED_BYTES",
    "TURIN",
    "Product",
    "SnpPolicy",
    "SnpReport",
    "SnpTcb",
    "product_of_cpuid",
]

REPORT_BYTES = 1184
SIGNED_BYTES = 0x2A0
"""The signature is over everything before it."""

Product = NewType("Product", str)
"""``milan``, ``genoa`` or ``turin``: whose keys certify the chip, and how its TCB is laid out."""

MILAN, GENOA, TURIN = Product("milan"), Product("genoa"), Product("turin")

_VERSIONS = (2, 3, 4, 5)
_ECDSA_P384_SHA384 = 1
_SCALAR_BYTES = 48
_FIELD_BYTES = 72  # of r and of s, little-endian, the rest zero

# PLATFORM_INFO: bits in use; all others are reserved.
_PLATFORM = {
    "smt": 0,
    "tsme": 1,
    "ecc": 2,
    "rapl-disabled": 3,
    "ciphertext-hiding": 4,
    "alias-checked": 5,
    "tio": 7,
}


@dataclass(frozen=True)
class SnpTcb:
    """The security versions of a platform's firmware, TCB_VERSION.

    Attributes:
        bootloader: of the secure processor's boot loader.
        tee: of its operating system.
        snp: of its SEV-SNP firmware.
        microcode: the least patch level of all cores.
        fmc: of the firmware module controller; None before Turin.
    """

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None

    @classmethod
    def parse(cls, data: bytes, product: Product) -> SnpTcb:
        """Read 8 bytes in the layout of a product.

        Raises:
            MalformedError: a reserved byte is not zero.
        """
        if product == TURIN:
            reserved, tcb = data[4:7], cls(data[1], data[2], data[3], data[7], data[0])
        else:
            reserved, tcb = data[2:6], cls(data[0], data[1], data[6], data[7])
        if any(reserved):
            raise MalformedError("SNP report: a TCB version has reserved bytes that are not zero")
        return tcb

    @property
    def parts(self) -> dict[str, int]:
        """The security versions by name, as `EvidencePolicy.snp` names them."""
        parts = {
            "bootloader": self.bootloader,
            "tee": self.tee,
            "snp": self.snp,
            "microcode": self.microcode,
        }
        return parts if self.fmc is None else {**parts, "fmc": self.fmc}

    def __str__(self) -> str:
        return " ".join(f"{name} {number}" for name, number in self.parts.items())


@dataclass(frozen=True)
class SnpPolicy:
    """What the guest allows its host, GUEST_POLICY; fixed at launch and signed.

    Attributes:
        abi: the least firmware ABI it starts on, major and minor.
        smt: simultaneous multithreading may be on.
        migration: a migration agent may be associated, which gets the guest's keys.
        debug: the host may read and write the guest's memory.
        single_socket: it runs on one socket only.
        others: the rest, by name, that are set.
    """

    abi: tuple[int, int]
    smt: bool
    migration: bool
    debug: bool
    single_socket: bool
    others: tuple[str, ...] = ()

    @classmethod
    def parse(cls, bits: int) -> SnpPolicy:
        """Read the 64 bits.

        Raises:
            MalformedError: bit 17 is not one, or a reserved bit is not zero.
        """
        if not bits >> 17 & 1 or bits >> 26:
            raise MalformedError("SNP report: the guest policy has reserved bits of another value")
        names = ("cxl", "aes-256-xts", "rapl-disabled", "ciphertext-hiding", "no-page-swap")
        return cls(
            abi=(bits >> 8 & 0xFF, bits & 0xFF),
            smt=bool(bits >> 16 & 1),
            migration=bool(bits >> 18 & 1),
            debug=bool(bits >> 19 & 1),
            single_socket=bool(bits >> 20 & 1),
            others=tuple(name for at, name in enumerate(names, 21) if bits >> at & 1),
        )


@dataclass(frozen=True)
class SnpReport:
    """What is read of one report, unverified. Byte strings are as they stand in it.

    Attributes:
        signed: what the signature is over.
        signature: r ‖ s, 96 bytes, big-endian.
        version: of the report's format.
        guest_svn: the guest's security version, from its ID block.
        policy: what the guest allows its host.
        policy_bits: the same, as signed.
        family_id: from the ID block.
        image_id: from the ID block.
        vmpl: the privilege level in the guest that asked: 0 is the highest.
        tcb_bytes: current, reported, committed and launch TCB; their layout is the product's.
        platform: names of the platform's properties that are on.
        key_masked: whether the chip's key was not to be used, so that nothing is signed.
        signer: 0 for the chip's key (VCEK), 1 for a provider's (VLEK), 7 for none.
        report_data: the 64 bytes the guest gave.
        measurement: of the guest's memory and registers at launch.
        host_data: 32 bytes the host gave at launch.
        id_key_digest: of the key that signed the ID block; zero without one.
        author_key_digest: of the key that signed that key; zero without one.
        cpuid: family, model and stepping; None before version 3.
        chip_id: of the chip; zero where the host hides it.
    """

    signed: bytes
    signature: bytes
    version: int
    guest_svn: int
    policy: SnpPolicy
    policy_bits: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    tcb_bytes: dict[str, bytes]
    platform: tuple[str, ...]
    key_masked: bool
    signer: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    cpuid: tuple[int, int, int] | None
    chip_id: bytes

    @classmethod
    def parse(cls, data: bytes) -> SnpReport:
        """Read a report.

        Raises:
            MalformedError: anything but 1,184 bytes of a known version with zeros where the format
                has nothing.

        Guarantees:
            Total, and no two byte strings give the same report (tests/property/test_snp.py).
        """
        if len(data) != REPORT_BYTES:
            raise MalformedError(f"SNP report: {REPORT_BYTES} bytes are expected, not {len(data)}")
        version = _uint(data, 0x00, 4)
        if version not in _VERSIONS:
            raise MalformedError(f"SNP report: version {version} is not known here")
        _check_zeros(data, version)
        policy_bits, key = _uint(data, 0x08, 8), _uint(data, 0x48, 4)
        return cls(
            signed=data[:SIGNED_BYTES],
            signature=_signature(data),
            version=version,
            guest_svn=_uint(data, 0x04, 4),
            policy=SnpPolicy.parse(policy_bits),
            policy_bits=policy_bits,
            family_id=data[0x10:0x20],
            image_id=data[0x20:0x30],
            vmpl=_limited(_uint(data, 0x30, 4), 3, "a VMPL"),
            tcb_bytes={
                "current": data[0x38:0x40],
                "reported": data[0x180:0x188],
                "committed": data[0x1E0:0x1E8],
                "launch": data[0x1F0:0x1F8],
            },
            platform=_platform(_uint(data, 0x40, 8)),
            key_masked=bool(key >> 1 & 1),
            signer=_signer(key),
            report_data=data[0x50:0x90],
            measurement=data[0x90:0xC0],
            host_data=data[0xC0:0xE0],
            id_key_digest=data[0xE0:0x110],
            author_key_digest=data[0x110:0x140],
            cpuid=(data[0x188], data[0x189], data[0x18A]) if version >= 3 else None,
            chip_id=data[0x1A0:0x1E0],
        )

    def tcb(self, which: str, product: Product) -> SnpTcb:
        """Return the ``current``, ``reported``, ``committed`` or ``launch`` TCB.

        Raises:
            MalformedError: a reserved byte of it is not zero.
        """
        return SnpTcb.parse(self.tcb_bytes[which], product)


def product_of_cpuid(family: int, model: int) -> Product:
    """Return the product whose keys certify a chip.

    Raises:
        MalformedError: not a chip with SEV-SNP that is known here.
    """
    if family == 0x19 and model <= 0x0F:
        return MILAN
    if family == 0x19 and (0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF):
        return GENOA
    if family == 0x1A and model <= 0x11:
        return TURIN
    raise MalformedError(f"SNP report: a chip not known here, family {family:#x} model {model:#x}")


def _uint(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _limited(value: int, most: int, what: str) -> int:
    if value > most:
        raise MalformedError(f"SNP report: {what} is at most {most}")
    return value


def _check_zeros(data: bytes, version: int) -> None:
    spans = [
        (0x4C, 0x50),
        (0x18B if version >= 3 else 0x188, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
        (0x208 if version >= 5 else 0x1F8, SIGNED_BYTES),
    ]
    for start, end in spans:
        if any(data[start:end]):
            raise MalformedError(f"SNP report: reserved bytes at {start:#x} are not zero")


def _platform(bits: int) -> tuple[str, ...]:
    if bits & ~sum(1 << at for at in _PLATFORM.values()):
        raise MalformedError("SNP report: the platform has properties not known here")
    return tuple(name for name, at in _PLATFORM.items() if bits >> at & 1)


def _signer(key: int) -> int:
    signer = key >> 2 & 7
    if key >> 5 or signer not in (0, 1, 7):
        raise MalformedError("SNP report: the signer's description has reserved bits")
    return signer


def _signature(data: bytes) -> bytes:
    if _uint(data, 0x34, 4) != _ECDSA_P384_SHA384:
        raise MalformedError("SNP report: the signature is not ECDSA on P-384 with SHA-384")
    numbers = []
    for start in (SIGNED_BYTES, SIGNED_BYTES + _FIELD_BYTES):
        field = data[start : start + _FIELD_BYTES]
        if any(field[_SCALAR_BYTES:]):
            raise MalformedError("SNP report: the signature is padded with other bytes than zero")
        numbers.append(field[:_SCALAR_BYTES][::-1])
    if any(data[SIGNED_BYTES + 2 * _FIELD_BYTES :]):
        raise MalformedError("SNP report: there are bytes after the signature")
    return b"".join(numbers)
