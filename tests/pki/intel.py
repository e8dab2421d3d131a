"""A synthetic Intel: root, platform authority, PCK and TCB signing keys, collateral, quotes.

    intel = IntelPki(grade="OutOfDate")
    quote = intel.tdx_quote(report_data)
    TdxVerifier(intel.root_der, policy).examine(...)

It takes the place of the vendor and of the hardware in tests alone: every byte is signed under a
root made here, which nobody trusts. Layouts are written down a second time, from Intel's documents,
and `dcap_qvl`, which we did not write, has to accept what is made here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from pki.certificates import (
    AROUND_NOON,
    NOON,
    Authority,
    Period,
    key_usage,
    name_of,
    new_key,
    to_der,
    to_pem,
)
from privity.attest.der import INTEGER, OCTET_STRING, SEQUENCE, write_der
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import format_time

MONTH: Period = (NOON - timedelta(days=15), NOON + timedelta(days=15))

FMSPC = bytes.fromhex("50806f000000")
SVN = 5
"""What this platform has of every component of its TCB."""

SEPT_VE_DISABLE = 1 << 28
QE_SIGNER = hashlib.sha256(b"synthetic quoting enclave's signer").digest()

_SGX_OID = "1.2.840.113741.1.13.1"
_INTEL_QE = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_QE_AUTH = bytes(range(32))
_ENUMERATED, _BOOLEAN, _OID = 0x0A, 0x01, 0x06

_AUTHORITY = [
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (key_usage(certify=True, crl=True), True),
]
_SIGNS = [(key_usage(sign=True), True)]

_TD_FIELDS = {
    "tee_tcb_svn": bytes([SVN, 0] + [SVN] * 14),
    "mrseam": hashlib.sha384(b"synthetic TDX module").digest(),
    "mrsignerseam": bytes(48),
    "seam_attributes": bytes(8),
    "td_attributes": SEPT_VE_DISABLE.to_bytes(8, "little"),
    "xfam": bytes.fromhex("e702060000000000"),
    "mrtd": hashlib.sha384(b"synthetic TD").digest(),
    "mrconfigid": bytes(48),
    "mrowner": bytes(48),
    "mrownerconfig": bytes(48),
    "rtmr0": hashlib.sha384(b"rtmr0").digest(),
    "rtmr1": hashlib.sha384(b"rtmr1").digest(),
    "rtmr2": hashlib.sha384(b"rtmr2").digest(),
    "rtmr3": bytes(48),
}
_TD15_FIELDS = {"tee_tcb_svn2": _TD_FIELDS["tee_tcb_svn"], "mrservicetd": bytes(48)}


@dataclass(frozen=True)
class IntelPki:
    """Everything Intel and one platform have; each argument is what a test wants to be wrong.

    Attributes:
        grade: of the platform, in Intel's words.
        qe_grade: of the quoting enclave.
        floor: the least SVN of the TCB level with this grade.
        below: the grade of a second level, for whatever is below the floor; without it, none is.
        fmspc: the model that the TCB info is for.
        revoked: of ``pck``, ``platform`` and ``signer``.
        period: when TCB info, identity and revocation lists are good.
        flags: whether the platform is dynamic, has cached keys, has SMT.
        advisories: what Intel lists beside the grade.
    """

    grade: str = "UpToDate"
    qe_grade: str = "UpToDate"
    floor: int = SVN
    below: str = ""
    fmspc: bytes = FMSPC
    revoked: tuple[str, ...] = ()
    period: Period = MONTH
    flags: tuple[bool, bool, bool] = (False, False, False)
    advisories: tuple[str, ...] = ()

    @cached_property
    def root(self) -> Authority:
        return _issue("Synthetic SGX Root CA", _AUTHORITY)

    @cached_property
    def platform(self) -> Authority:
        return _issue("Intel SGX PCK Platform CA", _AUTHORITY, by=self.root)

    @cached_property
    def _pck(self) -> Authority:
        extension = x509.UnrecognizedExtension(
            x509.ObjectIdentifier(_SGX_OID), _sgx_extension(self.flags)
        )
        return _issue("Intel SGX PCK Certificate", [*_SIGNS, (extension, False)], by=self.platform)

    @cached_property
    def _signer(self) -> Authority:
        return _issue("Intel SGX TCB Signing", _SIGNS, by=self.root)

    @property
    def pck(self) -> x509.Certificate:
        """The platform's certificate, with Intel's extension."""
        return self._pck.certificate

    @property
    def signer(self) -> x509.Certificate:
        """The certificate of the key that signs TCB info and identities."""
        return self._signer.certificate

    @property
    def root_der(self) -> bytes:
        return to_der(self.root.certificate)

    @property
    def pck_chain(self) -> bytes:
        return to_pem(self.pck, self.platform.certificate, self.root.certificate)

    def collateral(self, tee: str = "tdx") -> dict[str, str]:
        """Return the collateral, in dcap-qvl's JSON form."""
        tcb_info = _json(self.tcb_info(tee))
        identity = _json(self.qe_identity(tee))
        signers = to_pem(self.signer, self.root.certificate).decode()
        return {
            "pck_crl_issuer_chain": to_pem(
                self.platform.certificate, self.root.certificate
            ).decode(),
            "root_ca_crl": self._crl(self.root, "platform", "signer"),
            "pck_crl": self._crl(self.platform, "pck"),
            "tcb_info_issuer_chain": signers,
            "tcb_info": tcb_info,
            "tcb_info_signature": sign_p256(self._signer.key, tcb_info.encode()).hex(),
            "qe_identity_issuer_chain": signers,
            "qe_identity": identity,
            "qe_identity_signature": sign_p256(self._signer.key, identity.encode()).hex(),
        }

    def endorsement(self, tee: str = "tdx") -> dict[str, Any]:
        return {"collateral": self.collateral(tee), "kind": tee}

    def tcb_info(self, tee: str) -> dict[str, Any]:
        levels = [self._level(tee, self.floor, self.grade)]
        levels += [self._level(tee, 0, self.below)] if self.below else []
        zeros, mask = "00" * 8, "FF" * 8
        module = {"mrsigner": "00" * 48, "attributes": zeros, "attributesMask": mask}
        return {
            "id": tee.upper(),
            "version": 3,
            **self._dates(),
            "fmspc": self.fmspc.hex().upper(),
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 18,
            **({"tdxModule": module} if tee == "tdx" else {}),
            "tcbLevels": levels,
        }

    def _level(self, tee: str, svn: int, grade: str) -> dict[str, Any]:
        components = [{"svn": svn} for _ in range(16)]
        # The second byte is the TDX module's version: 0, so that no module identity is sought.
        td = {"tdxtcbcomponents": [components[0], {"svn": 0}, *components[2:]]}
        return {
            "tcb": {
                "sgxtcbcomponents": [{"svn": min(svn, SVN)}] * 16 if tee == "tdx" else components,
                "pcesvn": SVN,
                **(td if tee == "tdx" else {}),
            },
            "tcbDate": "2025-01-01T00:00:00Z",
            "tcbStatus": grade,
            "advisoryIDs": list(self.advisories),
        }

    def qe_identity(self, tee: str) -> dict[str, Any]:
        level = {
            "tcb": {"isvsvn": SVN},
            "tcbDate": "2025-01-01T00:00:00Z",
            "tcbStatus": self.qe_grade,
        }
        return {
            "id": "TD_QE" if tee == "tdx" else "QE",
            "version": 2,
            **self._dates(),
            "tcbEvaluationDataNumber": 18,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11" + "00" * 15,
            "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
            "mrsigner": QE_SIGNER.hex().upper(),
            "isvprodid": 2,
            "tcbLevels": [level],
        }

    def tdx_quote(
        self, report_data: bytes, *, version: int = 4, forged: str = "", **fields: bytes
    ) -> bytes:
        """Return a TD's quote; version 5 has a TD 1.5 body.

        Args:
            report_data: 64 bytes.
            version: 4 or 5.
            forged: as in `_signed`.
            fields: of the body, in place of the synthetic ones.
        """
        body = {**_TD_FIELDS, "report_data": report_data}
        body |= _TD15_FIELDS if version == 5 else {}
        body |= fields
        data = b"".join(body.values())
        descriptor = struct.pack("<HI", 3, len(data)) if version == 5 else b""
        return self._signed(_header(version, 0x81) + descriptor + data, version, forged)

    def sgx_quote(self, report_data: bytes, *, flags: int = 0x05, forged: str = "") -> bytes:
        """Return an enclave's quote of version 3; ``flags`` are its attributes."""
        return self._signed(
            _header(3, 0) + _sgx_report(report_data, flags, b"\xee" * 32, b"\xdd" * 32, 7, 3),
            3,
            forged,
        )

    def _signed(self, signed: bytes, version: int, forged: str) -> bytes:
        """Add what makes it a quote; ``forged``: ``quote``, ``vouching`` or ``qe report``."""
        key = new_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()
        point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        signer = new_key(ec.SECP256R1()) if forged == "quote" else key
        vouched = hashlib.sha256(bytes(64) if forged == "vouching" else point + _QE_AUTH).digest()
        qe_report = _sgx_report(vouched + bytes(32), 0x15, bytes(32), QE_SIGNER, 2, SVN)
        pck_key = new_key(ec.SECP256R1()) if forged == "qe report" else self._pck.key
        chain = self.pck_chain + b"\0"
        inner = qe_report + sign_p256(pck_key, qe_report)
        inner += struct.pack("<H", len(_QE_AUTH)) + _QE_AUTH
        inner += struct.pack("<HI", 5, len(chain)) + chain
        if version > 3:
            inner = struct.pack("<HI", 6, len(inner)) + inner
        auth = sign_p256(signer, signed) + point + inner
        return signed + struct.pack("<I", len(auth)) + auth

    def _dates(self) -> dict[str, str]:
        start, end = self.period
        return {"issueDate": format_time(start), "nextUpdate": format_time(end)}

    def _crl(self, issuer: Authority, *names: str) -> str:
        certificates = {
            "pck": self.pck,
            "platform": self.platform.certificate,
            "signer": self.signer,
        }
        start, end = self.period
        key = issuer.certificate.public_key()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(start)
            .next_update(end)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key), critical=False)
        )
        for name in names:
            if name in self.revoked:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(certificates[name].serial_number)
                    .revocation_date(start)
                    .build()
                )
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER).hex()


class TdxQuoter:
    """Makes ``tdx`` evidence under a synthetic Intel: what the hardware would do.

    Args:
        intel: signs.
        app_compose: dstack's file that says what runs; the event log then measures it.
        fields: of the TD's report, in place of the synthetic ones.
    """

    kind = "tdx"

    def __init__(self, intel: IntelPki, *, app_compose: str = "", **fields: bytes) -> None:
        self._intel = intel
        self._compose = app_compose
        self._fields = fields
        self.endorsements: tuple[dict[str, Any], ...] = (intel.endorsement(),)

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        fields, extra = dict(self._fields), {}
        if self._compose:
            log = event_log(self._compose)
            fields.setdefault("rtmr3", rtmr3(log))
            extra = {"app_compose": self._compose, "event_log": log}
        quote = self._intel.tdx_quote(report_data, **fields)
        return {"kind": self.kind, "quote": encode_base64url(quote), **extra}


class SgxQuoter:
    """Makes ``sgx`` evidence under a synthetic Intel: what the hardware would do."""

    kind = "sgx"

    def __init__(self, intel: IntelPki) -> None:
        self._intel = intel
        self.endorsements: tuple[dict[str, Any], ...] = (intel.endorsement("sgx"),)

    def quote(self, report_data: bytes, now: datetime) -> dict[str, Any]:
        return {"kind": self.kind, "quote": encode_base64url(self._intel.sgx_quote(report_data))}


def event(name: str, payload: bytes, *, version: int = 1) -> dict[str, Any]:
    """Return an event of RTMR3, as dstack's guest agent lists it."""
    kind = 0x08000001
    if version == 2:
        text = {"name": name, "payload": payload.hex(), "type": kind}
        preimage = json.dumps(text, separators=(",", ":"), sort_keys=True).encode()
        extra: dict[str, Any] = {"preimage": preimage.hex(), "version": 2}
    else:
        preimage = kind.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
        extra = {}
    return {
        "digest": hashlib.sha384(preimage).hexdigest(),
        "event": name,
        "event_payload": payload.hex(),
        "event_type": kind,
        "imr": 3,
        **extra,
    }


def event_log(app_compose: str, *, version: int = 1) -> list[dict[str, Any]]:
    """Return the events that dstack measures for an application before it runs."""
    digest = hashlib.sha256(app_compose.encode()).digest()
    return [
        event("system-preparing", b"", version=version),
        event("app-id", digest[:20], version=version),
        event("compose-hash", digest, version=version),
        event("instance-id", b"\x11" * 20, version=version),
        event("boot-mr-done", b"", version=version),
        event("os-image-hash", b"\x22" * 32, version=version),
        event("key-provider", b'{"name":"kms","id":"00ff"}', version=version),
        event("system-ready", b"", version=version),
    ]


def rtmr3(log: list[dict[str, Any]]) -> bytes:
    """Return the register that these events' digests lead to."""
    value = bytes(48)
    for one in log:
        value = hashlib.sha384(value + bytes.fromhex(one["digest"])).digest()
    return value


def sign_p256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return ``r ‖ s``."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _issue(
    name: str, extensions: list[tuple[Any, bool]], *, by: Authority | None = None
) -> Authority:
    """Return a new P-256 key with its certificate, as Intel's are: signed with SHA-256."""
    key = new_key(ec.SECP256R1())
    subject = name_of(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(AROUND_NOON[0])
        .not_valid_after(AROUND_NOON[1])
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return Authority(builder.sign(by.key if by else key, hashes.SHA256()), key)


def _header(version: int, tee: int) -> bytes:
    return struct.pack("<HHIHH", version, 2, tee, 0, 0) + _INTEL_QE + bytes(20)


def _sgx_report(
    report_data: bytes, flags: int, mrenclave: bytes, mrsigner: bytes, product: int, svn: int
) -> bytes:
    attributes = flags.to_bytes(8, "little") + bytes.fromhex("e700000000000000")
    return b"".join(
        (
            bytes([SVN] * 16) + bytes(4) + bytes(28) + attributes,
            mrenclave + bytes(32) + mrsigner + bytes(96),
            struct.pack("<HH", product, svn) + bytes(60) + report_data,
        )
    )


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _sgx_extension(flags: tuple[bool, bool, bool]) -> bytes:
    components = [_entry(f"2.{n}", write_der(INTEGER, bytes([SVN]))) for n in range(1, 18)]
    components.append(_entry("2.18", write_der(OCTET_STRING, bytes([SVN] * 16))))
    values = [write_der(_BOOLEAN, b"\xff" if flag else b"\0") for flag in flags]
    configuration = [_entry(f"7.{n}", value) for n, value in enumerate(values, 1)]
    entries = [
        _entry("1", write_der(OCTET_STRING, b"\x77" * 16)),
        _entry("2", write_der(SEQUENCE, b"".join(components))),
        _entry("3", write_der(OCTET_STRING, bytes(2))),
        _entry("4", write_der(OCTET_STRING, FMSPC)),
        _entry("5", write_der(_ENUMERATED, b"\1")),
        _entry("6", write_der(OCTET_STRING, b"\x66" * 16)),
        _entry("7", write_der(SEQUENCE, b"".join(configuration))),
    ]
    return write_der(SEQUENCE, b"".join(entries))


def _entry(place: str, value: bytes) -> bytes:
    return write_der(SEQUENCE, _oid(f"{_SGX_OID}.{place}") + value)


def _oid(text: str) -> bytes:
    numbers = [int(part) for part in text.split(".")]
    content = bytes([numbers[0] * 40 + numbers[1]])
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return write_der(_OID, content)
