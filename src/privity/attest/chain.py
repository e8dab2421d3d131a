"""Chains of X.509 certificates (RFC 5280 §6), from a leaf to an anchor the person trusts.

Hardware makers certify their chips' keys with short chains of plain certificates. This verifies
those and refuses the rest of X.509: an extension that is critical and not understood is an error,
and so is a certificate in the chain that the path does not use. Every byte of each counts.

A chain that verified is remembered, by the digest of its bytes and of the anchors, so that the
same chip costs its signatures once. Its validity is compared with the time on every call.
"""

from __future__ import annotations

import hashlib
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtensionOID

from privity.attest.anchor import Anchor
from privity.attest.der import BIT_STRING, SEQUENCE, read_der, write_der
from privity.errors import EvidenceError, MalformedError, OversizeError
from privity.identity.timestamps import format_time

__all__ = [
    "CHAIN",
    "MAX_FILE_BYTES",
    "PERIOD",
    "Chain",
    "check_chain",
    "forget",
    "load_certificates",
    "verify_chain",
]

CHAIN = "certificate chain"
"""The check that a leaf's certificate leads to an anchor."""

PERIOD = "certificate period"
"""The check that every certificate on the way is valid at the time asked about."""

MAX_FILE_BYTES = 65_536

_UNDERSTOOD = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_LEAST_RSA_BITS = 2048
_REMEMBERED = 256

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n")

_Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class Chain:
    """A chain whose signatures, names and constraints hold.

    Attributes:
        leaf: the certificate at its bottom.
        anchor: what it ends in.
        period: when all of it is valid, half-open.
    """

    leaf: x509.Certificate
    anchor: Anchor
    period: tuple[datetime, datetime]

    def check_period(self, now: datetime) -> None:
        """Compare the time with the validity of all certificates.

        Raises:
            EvidenceError: ``.check`` is `PERIOD`.
        """
        start, end = self.period
        if not start <= now < end:
            raise EvidenceError(
                f"the certificates are all valid only from {format_time(start)} "
                f"to {format_time(end)}",
                check=PERIOD,
                hint="ask for fresh evidence; for a kept one, verify it for its own time",
            )


def load_certificates(data: bytes, *, most: int = 10) -> list[x509.Certificate]:
    """Read one DER certificate, or a PEM bundle as tools write it.

    Args:
        data: the file. PEM has lines of 64 characters that end in a line feed, nothing around the
            certificates, and with or without the last line feed.
        most: how many certificates it may have.

    Raises:
        OversizeError: more than `MAX_FILE_BYTES`, or more than ``most`` certificates.
        MalformedError: anything else that is not certificates in their one spelling.

    Guarantees:
        Total, and the certificates alone give the file back
        (tests/property/test_chain_properties.py).
    """
    if len(data) > MAX_FILE_BYTES:
        raise OversizeError(f"a file of certificates has more than {MAX_FILE_BYTES} bytes")
    found = list(_load(bytes(data)))
    if len(found) > most:
        raise OversizeError(f"a file has more than {most} certificates")
    return found


def verify_chain(
    chain: Sequence[x509.Certificate], anchors: Sequence[Anchor], now: datetime
) -> Chain:
    """Verify that a leaf's certificate leads to an anchor, and is valid now.

    Args:
        chain: the leaf first; each is issued by the next, the last by an anchor. An anchor's own
            self-signed certificate may end it.
        anchors: the names and keys trusted.
        now: the time to judge it for.

    Raises:
        EvidenceError: ``.check`` is `CHAIN` or `PERIOD`.

    Guarantees:
        A bit flipped anywhere in any certificate is refused (tests/unit/test_chain.py).
    """
    verified = check_chain(chain, anchors)
    verified.check_period(now)
    return verified


def check_chain(
    chain: Sequence[x509.Certificate], anchors: Sequence[Anchor], *, authority: bool = False
) -> Chain:
    """Verify all of a chain but its validity in time; see `verify_chain`.

    Args:
        chain: as in `verify_chain`.
        anchors: as in `verify_chain`.
        authority: whether the first certificate is itself an authority's, and not a leaf.

    Raises:
        EvidenceError: ``.check`` is `CHAIN`.
    """
    if not chain:
        raise EvidenceError("there is no certificate", check=CHAIN)
    name = _name_of(chain, anchors) + bytes((authority,))
    known = _verified.get(name)
    if known is None:
        known = _walk(chain, anchors, authority)
        _verified.put(name, known)
    return known


class _Memory:
    """The chains that verified last; for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._chains: OrderedDict[bytes, Chain] = OrderedDict()

    def get(self, name: bytes) -> Chain | None:
        with self._lock:
            if name in self._chains:
                self._chains.move_to_end(name)
            return self._chains.get(name)

    def put(self, name: bytes, chain: Chain) -> None:
        with self._lock:
            self._chains[name] = chain
            while len(self._chains) > self._most:
                self._chains.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._chains.clear()


_verified = _Memory(_REMEMBERED)


def forget() -> None:
    """Forget all certificates and chains seen, so that the next costs its full price."""
    _verified.clear()
    _load.cache_clear()


def _name_of(chain: Sequence[x509.Certificate], anchors: Sequence[Anchor]) -> bytes:
    """Return a digest of all that decides, except for the time."""
    total = hashlib.sha256()
    for certificate in chain:
        total.update(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest())
    total.update(b"anchors" + _anchors_digest(tuple(anchors)))
    return total.digest()


@lru_cache(maxsize=16)
def _anchors_digest(anchors: tuple[Anchor, ...]) -> bytes:
    return hashlib.sha256(repr(anchors).encode()).digest()


def _walk(chain: Sequence[x509.Certificate], anchors: Sequence[Anchor], authority: bool) -> Chain:
    below = 0  # certificates between this one and the leaf that are not self-issued
    for place, certificate in enumerate(chain, start=int(authority)):
        _check_form(certificate)
        _check_role(certificate, place, below)
        if place and certificate.subject != certificate.issuer:
            below += 1
    for certificate, issuer in pairwise(chain):
        if certificate.issuer != issuer.subject:
            raise _broken(certificate, f"names another issuer than {_called(issuer)}")
        _check_signature(certificate, _public_key(issuer))
    anchor = _anchor_of(chain[-1], anchors)
    starts = [one.not_valid_before_utc for one in chain]
    ends = [_after(one.not_valid_after_utc) for one in chain]
    starts += [anchor.not_before] if anchor.not_before else []
    ends += [_after(anchor.not_after)] if anchor.not_after else []
    return Chain(chain[0], anchor, (max(starts), min(ends)))


def _after(last: datetime) -> datetime:
    """Return the first moment after an inclusive end in whole seconds, where there is one."""
    try:
        return last + timedelta(seconds=1)
    except OverflowError:  # 99991231235959Z, which means: no end (RFC 5280 §4.1.2.5)
        return datetime.max.replace(tzinfo=UTC)


def _anchor_of(last: x509.Certificate, anchors: Sequence[Anchor]) -> Anchor:
    named = [one for one in anchors if one.name == last.issuer.rfc4514_string()]
    if not named:
        raise _broken(last, f"is issued by {last.issuer.rfc4514_string()!r:.120}, who is no anchor")
    for anchor in named[:-1]:
        try:
            _check_signature(last, _anchor_key(anchor.spki))
        except EvidenceError:
            continue
        return anchor
    _check_signature(last, _anchor_key(named[-1].spki))
    return named[-1]


def _check_form(certificate: x509.Certificate) -> None:
    """Refuse what the signature does not cover: the frame and the outer algorithm."""
    der = certificate.public_bytes(Encoding.DER)
    tbs = certificate.tbs_certificate_bytes
    try:
        body = read_der(tbs).content
        version = read_der(body)
        serial = read_der(body, version.end)
        algorithm = read_der(body, serial.end)
    except MalformedError as error:
        raise _broken(certificate, f"is not DER: {error.message}") from None
    inner = body[algorithm.start : algorithm.end]
    signature = write_der(BIT_STRING, b"\0" + certificate.signature)
    if write_der(SEQUENCE, tbs + inner + signature) != der:
        raise _broken(certificate, "has a frame that does not repeat what it signs")


def _check_role(certificate: x509.Certificate, place: int, below: int) -> None:
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _broken(certificate, f"has unreadable extensions: {error}") from None
    constraints: x509.BasicConstraints | None = None
    usage: x509.KeyUsage | None = None
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _broken(certificate, f"needs an extension unknown here: {extension.oid}")
        if isinstance(extension.value, x509.BasicConstraints):
            constraints = extension.value
        elif isinstance(extension.value, x509.KeyUsage):
            usage = extension.value
    if certificate.version is not x509.Version.v3:
        raise _broken(certificate, "is not of version 3")
    authority = constraints is not None and constraints.ca
    if not place:
        if authority or (usage is not None and not usage.digital_signature):
            raise _broken(certificate, "is not of a key that signs evidence")
    elif not authority or usage is None or not usage.key_cert_sign:
        raise _broken(certificate, "is not of an authority")
    elif constraints and constraints.path_length is not None and constraints.path_length < below:
        raise _broken(certificate, "may not issue for an authority this far up")


def _check_signature(certificate: x509.Certificate, key: _Key) -> None:
    try:
        method = certificate.signature_algorithm_parameters
        digest = certificate.signature_hash_algorithm
        if not isinstance(digest, _HASHES):
            raise _broken(certificate, "is signed with a digest not allowed here")
        signed = certificate.tbs_certificate_bytes
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(method, ec.ECDSA):
            key.verify(certificate.signature, signed, method)
        elif isinstance(key, rsa.RSAPublicKey) and isinstance(method, padding.PSS):
            key.verify(certificate.signature, signed, method, digest)
        else:
            raise _broken(certificate, "is signed by a kind of key not allowed here")
    except InvalidSignature:
        raise _broken(certificate, "has a signature that is not its issuer's") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _broken(certificate, f"has an unreadable signature: {error}") from None


def _public_key(certificate: x509.Certificate) -> _Key:
    try:
        return _strong(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm, EvidenceError):
        raise _broken(certificate, "has a public key not allowed here") from None


@lru_cache(maxsize=64)
def _anchor_key(spki: bytes) -> _Key:
    try:
        return _strong(load_der_public_key(spki))
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceError("an anchor's public key cannot be read", check=CHAIN) from None


def _strong(key: object) -> _Key:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    ):
        return key
    raise EvidenceError("a public key of a kind not allowed here", check=CHAIN)


_loading = threading.Lock()


@lru_cache(maxsize=128)
def _load(data: bytes) -> tuple[x509.Certificate, ...]:
    # AMD's chip certificates have the serial number 0, of which cryptography warns, as it does of
    # names of odd lengths. The filter is the process's: hence the lock.
    with _loading, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            if not data.startswith(b"-----"):
                return (_readable(x509.load_der_x509_certificate(data)),)
            text = data if data.endswith(b"\n") else data + b"\n"
            blocks = _PEM.findall(text)
            found = tuple(_readable(x509.load_pem_x509_certificate(block)) for block in blocks)
        # TypeError: of a name whose value is a BIT STRING where no such value belongs.
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
            raise MalformedError("not an X.509 certificate, or not in its one spelling") from None
    if not found or b"".join(one.public_bytes(Encoding.PEM) for one in found) != text:
        raise MalformedError("not PEM certificates in their one spelling")
    return found


def _readable(certificate: x509.Certificate) -> x509.Certificate:
    """Return the certificate with its names read: they are parsed when first asked for."""
    certificate.subject.rfc4514_string()
    certificate.issuer.rfc4514_string()
    return certificate


def _called(certificate: x509.Certificate) -> str:
    return f"{certificate.subject.rfc4514_string()!r:.120}"


def _broken(certificate: x509.Certificate, why: str) -> EvidenceError:
    return EvidenceError(f"the certificate of {_called(certificate)} {why}", check=CHAIN)
