"""Intel's collateral: what Intel says, for a month at a time, about platforms and their keys.

It has two signed documents (TCB info, which grades the firmware of one model of platform, and the
identity of the quoting enclave), two revocation lists, and the certificates these are signed
under. Source: Intel PCS API v4; the JSON form is that of `dcap-qvl`.

Everything here is verified before `dcap_qvl` sees it: that library ignores one member, takes hex
in either case and PEM with anything around it, so that a bit could flip unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from privity.attest.anchor import Anchor
from privity.attest.chain import Chain, check_chain, load_certificates
from privity.attest.der import BIT_STRING, SEQUENCE, read_der, write_der
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.fields import Fields
from privity.identity.jcs import loads_strict
from privity.identity.multibase import decode_hex
from privity.identity.timestamps import format_time

__all__ = [
    "COLLATERAL",
    "REVOCATION",
    "Collateral",
    "Part",
    "check_p256",
    "check_period",
    "within",
]

COLLATERAL = "collateral"
"""The check that Intel's documents are there, are Intel's, and are of this time."""

REVOCATION = "revocation"
"""The check that no key on the way from Intel to the quote has been revoked."""

MAX_MEMBER_CHARS = 262_144

_SECOND = timedelta(seconds=1)


class Part(NamedTuple):
    """Something with a validity: its name, and the half-open period it is good for."""

    name: str
    start: datetime
    until: datetime


@dataclass(frozen=True)
class Collateral:
    """Intel's collateral, read and not yet verified. Members are those of `dcap-qvl`'s JSON.

    Attributes:
        pck_crl_issuer_chain: PEM: the authority that issued the PCK certificate, and the root.
        root_ca_crl: lower-case hex of the root's revocation list, DER.
        pck_crl: lower-case hex of that authority's revocation list, DER.
        tcb_info_issuer_chain: PEM: the key that signed ``tcb_info``, and the root.
        tcb_info: JSON, exactly as signed.
        tcb_info_signature: lower-case hex of ``r ‖ s``.
        qe_identity_issuer_chain: PEM, as for ``tcb_info``.
        qe_identity: JSON, exactly as signed.
        qe_identity_signature: lower-case hex of ``r ‖ s``.
        pck_certificate_chain: PEM, the same as in the quote; empty where left out.
    """

    pck_crl_issuer_chain: str
    root_ca_crl: str
    pck_crl: str
    tcb_info_issuer_chain: str
    tcb_info: str
    tcb_info_signature: str
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: str
    pck_certificate_chain: str = ""

    @classmethod
    def from_json(cls, value: Any) -> Collateral:
        """Read the JSON object.

        Raises:
            MalformedError: a member is missing, unknown or no text, or hex is not lower-case hex.

        Guarantees:
            Total (tests/property/test_intel_evidence.py).
        """
        reader = Fields(value, "collateral")
        names = [one.name for one in fields(cls)]
        if "pck_certificate_chain" not in value:
            names.remove("pck_certificate_chain")
        found = cls(**{name: reader.text(name, max_chars=MAX_MEMBER_CHARS) for name in names})
        reader.done()
        if not all(getattr(found, name).isascii() for name in names):
            raise MalformedError("collateral: a member is not ASCII")
        for text in (found.root_ca_crl, found.pck_crl):
            decode_hex(text)
        for text in (found.tcb_info_signature, found.qe_identity_signature):
            if len(decode_hex(text)) != 64:
                raise MalformedError("collateral: a signature is not of 64 bytes")
        return found

    def to_json(self) -> dict[str, str]:
        """Return the JSON object, which `dcap_qvl` reads as well."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: text for name, text in found.items() if text}

    def check_authentic(
        self, pck_chain: Sequence[x509.Certificate], anchors: Sequence[Anchor]
    ) -> tuple[Part, ...]:
        """Verify every signature in it, and return its parts with their periods.

        Args:
            pck_chain: the quote's certificates: PCK, its authority, the root.
            anchors: Intel's root, or one that stands in for it.

        Raises:
            EvidenceError: ``.check`` is `COLLATERAL`.
        """
        try:
            return self._parts(pck_chain, anchors)
        except (MalformedError, OversizeError) as error:
            raise EvidenceError(error.message, check=COLLATERAL) from None
        except EvidenceError as error:
            raise EvidenceError(f"collateral: {error.message}", check=COLLATERAL) from None

    def check_revocation(self, pck_chain: Sequence[x509.Certificate]) -> str:
        """Look each certificate up in the list of whoever issued it.

        Requires:
            `check_authentic` passed.

        Raises:
            EvidenceError: ``.check`` is `REVOCATION`.
        """
        root_list, pck_list = _load_crl(self.root_ca_crl), _load_crl(self.pck_crl)
        signers = [self.tcb_info_issuer_chain, self.qe_identity_issuer_chain]
        by_root = [*pck_chain[1:], *(_certificates(text)[0] for text in signers)]
        for listed, certificates in ((pck_list, pck_chain[:1]), (root_list, by_root)):
            for one in certificates:
                if listed.get_revoked_certificate_by_serial_number(one.serial_number) is not None:
                    name = one.subject.rfc4514_string()
                    raise EvidenceError(f"Intel revoked {name!r:.120}", check=REVOCATION)
        return "neither Intel nor the platform's authority revoked a key on the way"

    def _parts(
        self, pck_chain: Sequence[x509.Certificate], anchors: Sequence[Anchor]
    ) -> tuple[Part, ...]:
        if self.pck_certificate_chain and _certificates(self.pck_certificate_chain) != list(
            pck_chain
        ):
            raise MalformedError("collateral of another PCK certificate than the quote's")
        parts, issuers = _signed_parts(self, tuple(anchors))
        # The lists' issuer has to be the authority that issued this very PCK certificate.
        check_chain([*pck_chain[:1], *issuers], anchors)
        return parts


def within(parts: Sequence[Part]) -> tuple[datetime, datetime]:
    """Return the half-open period in which all parts are good; empty if it ends before it starts.

    Requires:
        At least one part.
    """
    return max(one.start for one in parts), min(one.until for one in parts)


def check_p256(key: object, signature: bytes, message: bytes, *, check: str, what: str) -> None:
    """Verify an ECDSA P-256 signature over SHA-256, given as ``r ‖ s``.

    Raises:
        EvidenceError: ``.check`` is ``check``; ``what`` names the signature in the message.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise EvidenceError(f"{what} is by a key that is not P-256", check=check)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise EvidenceError(f"{what} does not verify", check=check) from None


@lru_cache(maxsize=32)
def _signed_parts(
    collateral: Collateral, anchors: tuple[Anchor, ...]
) -> tuple[tuple[Part, ...], tuple[x509.Certificate, ...]]:
    """Verify all that does not depend on a quote; many come with the same collateral.

    The second value is the PCK list's issuer and the root, which the caller has to verify.
    """
    tcb_chain, tcb_dates = _signed(
        "TCB info",
        collateral.tcb_info,
        collateral.tcb_info_signature,
        collateral.tcb_info_issuer_chain,
        anchors,
    )
    qe_chain, qe_dates = _signed(
        "QE identity",
        collateral.qe_identity,
        collateral.qe_identity_signature,
        collateral.qe_identity_issuer_chain,
        anchors,
    )
    issuers = tuple(_certificates(collateral.pck_crl_issuer_chain))
    if len(issuers) != 2:
        raise MalformedError("collateral: the PCK list's issuer and the root were expected")
    root = load_der_public_key(tcb_chain.anchor.spki)
    parts = (
        tcb_dates,
        qe_dates,
        _check_crl("PCK revocation list", collateral.pck_crl, issuers[0], _key_of(issuers[0])),
        _check_crl("root revocation list", collateral.root_ca_crl, issuers[1], root),
        Part("TCB info certificates", *tcb_chain.period),
        Part("QE identity certificates", *qe_chain.period),
    )
    return parts, issuers


def _key_of(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError("collateral: a certificate's key cannot be read") from None


def _signed(
    name: str, text: str, signature: str, chain: str, anchors: tuple[Anchor, ...]
) -> tuple[Chain, Part]:
    """Verify one of Intel's two signed documents; return its chain and its dates."""
    certificates = _certificates(chain)
    # The root itself issues the key that signs these. A longer chain could end in a PCK key.
    if len(certificates) != 2:
        raise MalformedError(f"the {name} must come with its signer's certificate and the root")
    verified = check_chain(certificates, anchors)
    key = verified.leaf.public_key()
    check_p256(
        key,
        decode_hex(signature),
        text.encode(),
        check=COLLATERAL,
        what=f"the signature of the {name}",
    )
    document = Fields(loads_strict(text.encode(), max_bytes=MAX_MEMBER_CHARS * 4), name)
    start, until = document.time("issueDate"), document.time("nextUpdate")
    return verified, Part(name, start, _after(until))


def _check_crl(name: str, text: str, issuer: x509.Certificate, key: object) -> Part:
    found, data = _load_crl(text), decode_hex(text)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedError(f"the {name} is by a key that is not elliptic")
    try:
        # The signature first: names and dates are read once they are known to be the issuer's.
        if not found.is_signature_valid(key) or found.issuer != issuer.subject:
            raise EvidenceError(f"the {name} is not its issuer's", check=COLLATERAL)
        start, until = found.last_update_utc, found.next_update_utc
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedError(f"the {name} cannot be read") from None
    if until is None:
        raise MalformedError(f"the {name} does not say how long it is good for")
    _check_frame(name, data, found)
    return Part(name, start, _after(until))


def _check_frame(name: str, data: bytes, found: x509.CertificateRevocationList) -> None:
    """Refuse what the signature does not cover: the frame and the outer algorithm."""
    body = read_der(found.tbs_certlist_bytes).content
    version = read_der(body)
    algorithm = read_der(body, version.end)
    inner = body[algorithm.start : algorithm.end]
    signature = write_der(BIT_STRING, b"\0" + found.signature)
    if write_der(SEQUENCE, found.tbs_certlist_bytes + inner + signature) != data:
        raise MalformedError(f"the {name} has a frame that does not repeat what it signs")


def _after(last: datetime) -> datetime:
    """Return the first moment after an inclusive end, where years allow it."""
    try:
        return last + _SECOND
    except OverflowError:
        return last


@lru_cache(maxsize=64)
def _load_crl(text: str) -> x509.CertificateRevocationList:
    try:
        return x509.load_der_x509_crl(decode_hex(text))
    except (ValueError, TypeError, x509.InvalidVersion):
        raise MalformedError("collateral: a revocation list cannot be read") from None


def _certificates(text: str) -> list[x509.Certificate]:
    return load_certificates(text.encode(), most=4)


def check_period(parts: Sequence[Part], now: datetime) -> str:
    """Return for how long the parts are good.

    Raises:
        EvidenceError: ``.check`` is `COLLATERAL`; the message names the first part that is not
            of this time.
    """
    for one in sorted(parts, key=lambda part: part.until):
        if now >= one.until:
            raise EvidenceError(
                f"the {one.name} expired: it was good until {format_time(one.until - _SECOND)}",
                check=COLLATERAL,
                hint="ask for fresh collateral; for kept evidence, verify it for its own time",
            )
        if now < one.start:
            raise EvidenceError(
                f"the {one.name} is from the future: {format_time(one.start)}", check=COLLATERAL
            )
    start, until = within(parts)
    return f"Intel's, good from {format_time(start)} to {format_time(until - _SECOND)}"
