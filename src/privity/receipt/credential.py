"""The envelope both kinds of receipt share: a W3C Verifiable Credential (VC data model 2.0)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from privity.attested import Check
from privity.errors import MalformedError, ReceiptError
from privity.identity.did_key import parse_did
from privity.identity.digests import digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.timestamps import format_time
from privity.receipt.data_integrity import add_proof, verify_proof

__all__ = ["CONTEXT", "document_digest", "issue_credential", "verify_credential"]

CONTEXT = [
    "https://www.w3.org/ns/credentials/v2",
    # W3C's own vocabulary for terms without a published one; never fetched, by us or by JCS.
    "https://www.w3.org/ns/credentials/undefined-terms/v2",
]


def document_digest(document: dict[str, Any]) -> str:
    """Return ``sha256:`` of the canonical JSON of a credential, its proof included."""
    return digest(canonical(document))


def issue_credential(
    kind: str, subject: dict[str, Any], key: SigningKey, *, at: datetime
) -> dict[str, Any]:
    """Return a credential of type ``kind`` about ``subject``, issued and signed by ``key``."""
    document = {
        "@context": list(CONTEXT),
        "type": ["VerifiableCredential", kind],
        "issuer": key.did,
        "validFrom": format_time(at),
        "credentialSubject": subject,
    }
    return add_proof(document, key, created=at)


def verify_credential(
    document: Any, kind: str, *, issuer: str | None, now: datetime
) -> tuple[Fields, str, tuple[Check, ...]]:
    """Return the subject, the issuer and what was checked.

    Args:
        document: a parsed credential.
        kind: its second type.
        issuer: the did:key it must be from; None takes the one it names, and its caller says whose
            that is.
        now: the time to judge it by.

    Raises:
        ReceiptError: ``format``, ``issuer`` or a ``proof …`` check failed.
    """
    try:
        fields = Fields(document, kind)
        fields.constant("@context", CONTEXT)
        fields.constant("type", ["VerifiableCredential", kind])
        named = fields.text("issuer")
        parse_did(named)
        valid_from = fields.time("validFrom")
        subject = fields.inner("credentialSubject")
        fields.take("proof")
        fields.done()
    except MalformedError as error:
        raise ReceiptError(error.message, check="format") from None
    if issuer is not None and named != issuer:
        raise ReceiptError("it is issued by another key than expected", check="issuer")
    verified = verify_proof(document, signer=named, now=now)
    if verified.created != valid_from:
        raise ReceiptError("validFrom is not the time it was signed", check="format")
    return subject, named, (Check("issuer", True, named), *verified.checks)
