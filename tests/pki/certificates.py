"""A small maker of certificate authorities and leaves, for synthetic evidence.

    root = Authority.root("Test Root")
    issuer = root.authority("Test Issuer", path_length=0)
    leaf = issuer.leaf("Test Leaf", key=new_key(), extensions=[...])

All are valid around `NOON` unless a test says otherwise. RSA keys take long to make: they are made
once a process for each name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from privity.attest.anchor import Anchor

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
"""The time that synthetic evidence is made at."""

Period = tuple[datetime, datetime]
AROUND_NOON: Period = (NOON - timedelta(days=365), NOON + timedelta(days=365))

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP384R1())


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the RSA key of that name, the same one for the whole process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def to_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def to_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def name_of(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*, sign: bool = False, certify: bool = False, crl: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=crl,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Authority:
    """A key with a certificate that may issue others."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def root(
        cls,
        name: str,
        *,
        key: Key | None = None,
        period: Period = AROUND_NOON,
        path_length: int | None = None,
    ) -> Authority:
        key = key or new_key()
        extensions = _authority_extensions(path_length)
        subject = name_of(name)
        certificate = _issue(subject, key, subject, key, period, extensions)
        return cls(certificate, key)

    def authority(
        self,
        name: str,
        *,
        key: Key | None = None,
        period: Period = AROUND_NOON,
        path_length: int | None = None,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] | None = None,
    ) -> Authority:
        key = key or new_key()
        chosen = _authority_extensions(path_length) if extensions is None else extensions
        return Authority(
            _issue(name_of(name), key, self.certificate.subject, self.key, period, chosen), key
        )

    def leaf(
        self,
        name: str,
        key: Key,
        *,
        period: Period = AROUND_NOON,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> x509.Certificate:
        """Return a certificate of ``key``; ``extensions`` are pairs of value and criticality."""
        return _issue(name_of(name), key, self.certificate.subject, self.key, period, extensions)

    @property
    def anchor(self) -> Anchor:
        return Anchor.of_certificate(self.certificate)


def _authority_extensions(
    path_length: int | None,
) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (key_usage(certify=True, crl=True), True),
    ]


def _issue(
    subject: x509.Name,
    key: Key,
    issuer: x509.Name,
    issuer_key: Key,
    period: Period,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    if isinstance(issuer_key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA384()), salt_length=48)
        return builder.sign(issuer_key, hashes.SHA384(), rsa_padding=pss)
    return builder.sign(issuer_key, hashes.SHA384())
