"""W3C Data Integrity proofs of the one cryptosuite ``eddsa-jcs-2022``.

Source: W3C Recommendation "Data Integrity EdDSA Cryptosuites v1.0" §3.3, and "Verifiable
Credential Data Integrity 1.0". Checked against their test vectors. What is narrower here: one
proof per document, the verification method is a did:key, times are whole seconds UTC, and members
of a proof that this module does not know are refused, since they might have changed its meaning.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from privity.attested import Check
from privity.errors import MalformedError, OpenError, ReceiptError
from privity.identity.did_key import verification_method
from privity.identity.fields import Fields
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.multibase import decode, encode_z
from privity.identity.timestamps import CLOCK_SKEW, format_time

__all__ = [
    "CRYPTOSUITE",
    "VerifiedDocument",
    "add_proof",
    "hash_data",
    "verify_proof",
]

CRYPTOSUITE = "eddsa-jcs-2022"

_MAX_CONTEXTS = 16


@dataclass(frozen=True)
class VerifiedDocument:
    """A document whose proof verified.

    Attributes:
        document: what was signed: without the proof, and with the proof's ``@context``.
        signer: the did:key that signed it.
        created: when it says it was signed.
        checks: what was checked, in order.
    """

    document: dict[str, Any]
    signer: str
    created: datetime
    checks: tuple[Check, ...]


def add_proof(document: dict[str, Any], key: SigningKey, *, created: datetime) -> dict[str, Any]:
    """Return ``document`` with a proof by ``key``.

    Args:
        document: JSON-ready data without a ``proof``.
        key: the issuer's key.
        created: the time of signing; written to the whole second.

    Raises:
        MalformedError: the document has a proof already, or no canonical JSON form.
    """
    if "proof" in document:
        raise MalformedError("the document has a proof already")
    proof: dict[str, Any] = {
        "type": "DataIntegrityProof",
        "cryptosuite": CRYPTOSUITE,
        "created": format_time(created),
        "verificationMethod": verification_method(key.did),
        "proofPurpose": "assertionMethod",
    }
    if "@context" in document:
        proof["@context"] = document["@context"]
    proof["proofValue"] = encode_z(key.sign(hash_data(document, proof)))
    return {**document, "proof": proof}


def hash_data(unsecured: dict[str, Any], proof_config: dict[str, Any]) -> bytes:
    """Return the 64 bytes that are signed (§3.3.4).

    ``SHA-256(JCS(proof config)) ‖ SHA-256(JCS(document))``: the proof's hash comes first.
    """
    return (
        hashlib.sha256(canonical(proof_config)).digest()
        + hashlib.sha256(canonical(unsecured)).digest()
    )


def verify_proof(document: Any, *, signer: str, now: datetime) -> VerifiedDocument:
    """Return what ``signer`` signed.

    Args:
        document: a parsed secured document.
        signer: the did:key that must have signed it; never taken from the proof itself.
        now: the time to judge ``created`` and ``expires`` by.

    Raises:
        ReceiptError: ``.check`` is one of ``proof format``, ``proof type``, ``proof purpose``,
            ``proof signer``, ``proof time``, ``proof context``, ``proof signature``.

    Guarantees:
        Changing any member of document or proof is refused (tests/adversary/test_receipt.py).
        Total on parsed JSON (tests/property/test_receipt.py).
    """
    checks: list[Check] = []
    proof, value = _read_type(document, checks)
    created = _check_terms(proof, signer, now, checks)
    unsecured = _unsecured(document, proof, checks)
    try:
        key = VerifyKey(signer)
        key.verify(decode(value, allowed="z"), hash_data(unsecured, proof))
    except (MalformedError, OpenError) as error:
        raise ReceiptError(f"the proof: {error.message}", check="proof signature") from None
    checks.append(Check("proof signature", True, "Ed25519 over canonical JSON"))
    return VerifiedDocument(unsecured, signer, created, tuple(checks))


def _read_type(document: Any, checks: list[Check]) -> tuple[dict[str, Any], str]:
    """Return the proof options and the proof value, of the one type this module knows."""
    proof = document.get("proof") if isinstance(document, dict) else None
    if not isinstance(proof, dict) or not isinstance(proof.get("proofValue"), str):
        raise ReceiptError("the document carries no single proof", check="proof format")
    if (proof.get("type"), proof.get("cryptosuite")) != ("DataIntegrityProof", CRYPTOSUITE):
        raise ReceiptError(
            f"the proof is not a DataIntegrityProof of the suite {CRYPTOSUITE}", check="proof type"
        )
    checks.append(Check("proof type", True, CRYPTOSUITE))
    options = dict(proof)
    return options, options.pop("proofValue")


def _check_terms(
    proof: dict[str, Any], signer: str, now: datetime, checks: list[Check]
) -> datetime:
    """Check purpose, signer and times, and refuse members that are not known."""
    if proof.get("proofPurpose") != "assertionMethod":
        raise ReceiptError("the proof is not made to assert", check="proof purpose")
    if proof.get("verificationMethod") != verification_method(signer):
        raise ReceiptError("the proof names another key than its issuer's", check="proof signer")
    checks.append(Check("proof signer", True, signer))
    fields = Fields({**proof, "@context": None, "expires": proof.get("expires")}, "proof")
    try:
        for known in ("type", "cryptosuite", "proofPurpose", "verificationMethod", "@context"):
            fields.take(known)
        created = fields.time("created")
        expires = fields.optional("expires", fields.time)
        fields.done()
    except MalformedError as error:
        raise ReceiptError(error.message, check="proof format") from None
    if created > now + CLOCK_SKEW:
        raise ReceiptError("the proof was made in the future", check="proof time")
    if expires is not None and (expires <= now or expires <= created):
        raise ReceiptError("the proof has expired", check="proof time")
    checks.append(Check("proof time", True, format_time(created)))
    return created


def _unsecured(
    document: dict[str, Any], proof: dict[str, Any], checks: list[Check]
) -> dict[str, Any]:
    """Return the document without its proof, under the context the proof was made in (§3.3.2)."""
    unsecured = {name: value for name, value in document.items() if name != "proof"}
    if "@context" in proof:
        signed = proof["@context"]
        ours, theirs = _contexts(unsecured.get("@context")), _contexts(signed)
        if ours[: len(theirs)] != theirs:
            raise ReceiptError(
                "the document's @context does not begin with the proof's", check="proof context"
            )
        unsecured["@context"] = signed
        checks.append(Check("proof context", True, f"{len(theirs)} signed"))
    return unsecured


def _contexts(value: Any) -> list[Any]:
    contexts = value if isinstance(value, list) else [value]
    if len(contexts) > _MAX_CONTEXTS:
        raise ReceiptError(f"more than {_MAX_CONTEXTS} contexts", check="proof context")
    return contexts
