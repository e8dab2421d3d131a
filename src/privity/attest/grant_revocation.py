"""The owner's word that a grant is over, signed as the grant was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from privity.attest.grant_signature import check_signature, take_signature
from privity.errors import MalformedError
from privity.identity.did_key import parse_did
from privity.identity.digests import check_digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import format_time, whole_second

__all__ = ["GrantRevocation", "SignedGrantRevocation"]

_REVOCATION_LABEL = b"privity/grant-revocation/v1\0"
_REASON = re.compile(r"[^\x00-\x1f\x7f]{1,256}")


@dataclass(frozen=True)
class GrantRevocation:
    """The owner's word that a grant is over.

    Attributes:
        grant: the grant's digest.
        owner: who gave it, and takes it back.
        reason: for people who read the log.
        time: when.
    """

    grant: str
    owner: str
    reason: str
    time: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "time", whole_second(self.time))
        check_digest(self.grant)
        parse_did(self.owner)
        if not _REASON.fullmatch(self.reason):
            raise MalformedError("a revocation's reason has 1 to 256 printable characters")

    def sign(self, key: SigningKey) -> SignedGrantRevocation:
        """Return the revocation signed. Run by the owner."""
        return SignedGrantRevocation(self, key.sign(_REVOCATION_LABEL + canonical(self.to_json())))

    def to_json(self) -> dict[str, Any]:
        """Return the revocation as JSON-ready data."""
        return {
            "grant": self.grant,
            "owner": self.owner,
            "reason": self.reason,
            "time": format_time(self.time),
            "version": 1,
        }


@dataclass(frozen=True)
class SignedGrantRevocation:
    """A revocation with its owner's signature, which holds.

    Raises:
        EvidenceError: ``.check`` is ``revocation signature``.
    """

    revocation: GrantRevocation
    signature: bytes

    def __post_init__(self) -> None:
        message = _REVOCATION_LABEL + canonical(self.revocation.to_json())
        check_signature(self.revocation.owner, self.signature, message, "revocation")

    def to_json(self) -> dict[str, Any]:
        """Return the signed revocation as JSON-ready data."""
        return {
            "revocation": self.revocation.to_json(),
            "signature": encode_base64url(self.signature),
        }

    @classmethod
    def from_json(cls, value: Any) -> SignedGrantRevocation:
        """Read what `to_json` writes; raises `MalformedError` and `EvidenceError`."""
        fields = Fields(value, "signed revocation")
        inner = fields.inner("revocation")
        inner.constant("version", 1)
        revocation = GrantRevocation(
            grant=inner.digest("grant"),
            owner=inner.text("owner"),
            reason=inner.text("reason"),
            time=inner.time("time"),
        )
        inner.done()
        signed = cls(revocation, take_signature(fields))
        fields.done()
        return signed
