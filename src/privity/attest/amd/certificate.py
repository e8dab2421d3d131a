"""What AMD's certificates say of a chip: the extensions of a VCEK or VLEK (AMD 57230 §3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from privity.attest.amd.report import GENOA, MILAN, TURIN, Product, SnpTcb
from privity.attest.chain import CHAIN
from privity.attest.der import IA5_STRING, INTEGER, OCTET_STRING, read_der
from privity.errors import EvidenceError, MalformedError

__all__ = ["ChipCertificate", "read_chip_certificate"]

_ARC = "1.3.6.1.4.1.3704.1."
_PRODUCT, _HWID, _PROVIDER = "2", "4", "5"
_BOOTLOADER, _TEE, _SNP, _MICROCODE, _FMC = "3.1", "3.2", "3.3", "3.8", "3.9"

_NAMES = {MILAN: "Milan", GENOA: "Genoa", TURIN: "Turin"}
_KEYS = ("SEV-VCEK", "SEV-VLEK")
_ISSUERS = ("SEV-", "SEV-VLEK-")
_HWID_BYTES = (64, 8)  # Turin's chips have the shorter one, padded with zeros in reports


@dataclass(frozen=True)
class ChipCertificate:
    """What a certificate that chains to AMD says.

    Attributes:
        signer: 0 for the chip's own key (VCEK), 1 for one loaded for a provider (VLEK).
        product: whose chip it is.
        tcb: the firmware that the key was derived for; another firmware has another key.
        chip_id: 64 bytes, of the one chip that has the key; None for a VLEK.
        provider: whom a VLEK was issued to; empty for a VCEK.
    """

    signer: int
    product: Product
    tcb: SnpTcb
    chip_id: bytes | None
    provider: str


def read_chip_certificate(certificate: x509.Certificate) -> ChipCertificate:
    """Read a leaf whose chain was verified.

    Raises:
        EvidenceError: ``.check`` is `CHAIN`: it is not of a key that signs reports, or its
            extensions are not as AMD writes them.
    """
    try:
        return _read(certificate)
    except (MalformedError, ValueError, x509.DuplicateExtension) as error:
        told = error.message if isinstance(error, MalformedError) else "unreadable extensions"
        raise EvidenceError(f"not a certificate of an SNP key: {told}", check=CHAIN) from None


def _read(certificate: x509.Certificate) -> ChipCertificate:
    values = {
        one.oid.dotted_string.removeprefix(_ARC): one.value.value
        for one in certificate.extensions
        if isinstance(one.value, x509.UnrecognizedExtension)
        and one.oid.dotted_string.startswith(_ARC)
    }
    product = _product(values)
    subject, issuer = _common_name(certificate.subject), _common_name(certificate.issuer)
    if subject not in _KEYS:
        raise MalformedError("its subject is neither SEV-VCEK nor SEV-VLEK")
    signer = _KEYS.index(subject)
    if issuer != _ISSUERS[signer] + _NAMES[product]:
        raise MalformedError("its issuer does not issue such keys for such chips")
    tcb = SnpTcb(
        bootloader=_number(values, _BOOTLOADER),
        tee=_number(values, _TEE),
        snp=_number(values, _SNP),
        microcode=_number(values, _MICROCODE),
        fmc=_number(values, _FMC) if product == TURIN else None,
    )
    return ChipCertificate(
        signer=signer,
        product=product,
        tcb=tcb,
        chip_id=None if signer else _chip_id(_value(values, _HWID)),
        provider=_text(_value(values, _PROVIDER)) if signer else "",
    )


def _value(values: dict[str, bytes], name: str) -> bytes:
    try:
        return values[name]
    except KeyError:
        raise MalformedError(f"extension {_ARC}{name} is absent") from None


def _product(values: dict[str, bytes]) -> Product:
    text = _text(_value(values, _PRODUCT)).partition("-")[0]  # "Milan-B0" names the stepping too
    for product, name in _NAMES.items():
        if text == name:
            return product
    raise MalformedError("a product not known here")


def _common_name(name: x509.Name) -> str:
    found = [str(one.value) for one in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return found[0] if len(found) == 1 else ""


def _number(values: dict[str, bytes], name: str) -> int:
    data = _value(values, name)
    element = read_der(data)
    number = int.from_bytes(element.content, "big", signed=True)
    short = number.to_bytes(1 if number < 0x80 else 2, "big") if 0 <= number <= 0xFF else b""
    if element.tag != INTEGER or element.end != len(data) or element.content != short:
        raise MalformedError(f"extension {_ARC}{name} is not an integer of 0 to 255")
    return number


def _text(data: bytes) -> str:
    element = read_der(data)
    if element.tag != IA5_STRING or element.end != len(data) or not element.content.isascii():
        raise MalformedError("an extension is not an IA5String")
    return element.content.decode("ascii")


def _chip_id(data: bytes) -> bytes:
    # Older certificates have the bare bytes, without the OCTET STRING around them.
    if len(data) not in _HWID_BYTES:
        element = read_der(data)
        if element.tag != OCTET_STRING or element.end != len(data):
            raise MalformedError("the hardware ID is not an OCTET STRING")
        data = element.content
    if len(data) not in _HWID_BYTES:
        raise MalformedError("the hardware ID has another length than AMD's")
    return data.ljust(64, b"\0")
