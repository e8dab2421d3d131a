"""The signature of an owner under a grant, or under what takes it back."""

from __future__ import annotations

from privity.errors import EvidenceError, MalformedError, OpenError
from privity.identity.fields import Fields
from privity.identity.keys import VerifyKey

__all__ = ["check_signature", "take_signature"]

_SIGNATURE_BYTES = 64


def check_signature(owner: str, signature: bytes, message: bytes, what: str) -> None:
    """Raise `EvidenceError`, check ``<what> signature``, unless the owner signed the message."""
    try:
        VerifyKey(owner).verify(signature, message)
    except (MalformedError, OpenError):
        raise EvidenceError(
            f"the {what} is not signed by the owner it names", check=f"{what} signature"
        ) from None


def take_signature(fields: Fields) -> bytes:
    """Take the member ``signature``; raises `MalformedError`."""
    return fields.blob("signature", least=_SIGNATURE_BYTES, most=_SIGNATURE_BYTES)
