"""Trust anchors: what a chain of certificates has to end in.

An anchor is a name and a public key (RFC 5280 §6.1.1(d)), not a certificate: who signed a root
adds nothing to the decision to trust it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["Anchor"]


@dataclass(frozen=True)
class Anchor:
    """A public key that is trusted to sign certificates.

    Attributes:
        name: its subject, as RFC 4514 text.
        spki: its DER SubjectPublicKeyInfo.
        not_before: when its certificate begins to be valid; None for no beginning.
        not_after: the last moment it is; None for no end.
    """

    name: str
    spki: bytes
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of_certificate(cls, certificate: x509.Certificate) -> Anchor:
        """Return the anchor that trusting this certificate means."""
        return cls(
            certificate.subject.rfc4514_string(),
            certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )

    @property
    def digest(self) -> str:
        """``sha256:`` of the public key: what to compare with what a vendor publishes."""
        return "sha256:" + hashlib.sha256(self.spki).hexdigest()
