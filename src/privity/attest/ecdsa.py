"""ECDSA signatures as hardware writes them: two numbers of fixed size, not DER."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from privity.errors import EvidenceError

__all__ = ["verify_p384"]

_SIZE = 48


def verify_p384(
    certificate: x509.Certificate, signature: bytes, message: bytes, check: str
) -> None:
    """Verify a P-384 signature with SHA-384, r ‖ s, both big-endian.

    Raises:
        EvidenceError: ``.check`` is ``check``: the key is of another kind, or did not sign this.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceError("the signing key is not on P-384", check=check)
    r, s = (int.from_bytes(half, "big") for half in (signature[:_SIZE], signature[_SIZE:]))
    try:
        if len(signature) != 2 * _SIZE:
            raise InvalidSignature
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError):
        raise EvidenceError(
            "the signature is not of these bytes by the certified key", check=check
        ) from None
