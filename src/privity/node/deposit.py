"""What an owner sends a broker: a grant, and the artefact's key sealed to that broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privity.attest.grant import SignedGrant
from privity.errors import EvidenceError, OpenError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.multibase import encode_base64url

__all__ = ["Deposit"]

_MAX_SEALED = 4096
_DEPOSIT_LABEL = b"privity/grant-deposit/v1\0"


@dataclass(frozen=True)
class Deposit:
    """A grant with its artefact's key sealed to a broker, signed by the owner as one.

    The signature keeps whoever carries it from putting another key beside the grant.
    """

    signed: SignedGrant
    sealed: bytes
    signature: bytes

    @classmethod
    def make(cls, signed: SignedGrant, sealed: bytes, key: SigningKey) -> Deposit:
        """Return the deposit signed. Run by the owner."""
        return cls(signed, sealed, key.sign(_deposited(signed, sealed)))

    def check(self) -> None:
        """Raise `EvidenceError`, check ``deposit signature``, unless the owner signed it."""
        try:
            message = _deposited(self.signed, self.sealed)
            VerifyKey(self.signed.grant.owner).verify(self.signature, message)
        except OpenError:
            raise EvidenceError(
                "grant and key were not put together by the owner", check="deposit signature"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Return the deposit as JSON-ready data."""
        return {
            "grant": self.signed.to_json(),
            "sealed": encode_base64url(self.sealed),
            "signature": encode_base64url(self.signature),
        }

    @classmethod
    def from_json(cls, value: Any) -> Deposit:
        """Read what `to_json` writes; raises `MalformedError` and `EvidenceError`."""
        fields = Fields(value, "deposit")
        deposit = cls(
            SignedGrant.from_json(fields.object("grant")),
            fields.blob("sealed", most=_MAX_SEALED),
            fields.blob("signature", least=64, most=64),
        )
        fields.done()
        return deposit


def _deposited(signed: SignedGrant, sealed: bytes) -> bytes:
    return _DEPOSIT_LABEL + canonical({"grant": signed.digest, "sealed": encode_base64url(sealed)})
