"""What the enclave makes of a proved query once it has opened the prompt: a match, or evidence.

The gateway verified a proof of *some* tokens. Here they are compared with the prompt's. A proof
that is not of the prompt's tokens has one of two makers, and the tag tells them apart: whoever
sealed the request knows its opening and can tag a proof; a gateway or relay that put another proof
in its place cannot. So evidence that says ``by_maker`` accuses nobody wrongly.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from datetime import datetime
from typing import Any

from privity.anon.query import Opening, QueryProof, VerifiedQuery, commitment, verify_query
from privity.anon.vocabulary import Vocabulary
from privity.errors import AdmissionError, InputError, MalformedError, ReceiptError
from privity.identity.fields import Fields
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.receipt.credential import issue_credential, verify_credential

__all__ = ["Mismatch", "OpenedQuery", "VerifiedMismatch", "check_opening", "verify_mismatch"]

_KIND = "PrivityQueryMismatch"
_MINT = object()


@dataclass(frozen=True)
class OpenedQuery:
    """A proved query whose tokens are the prompt's; `check_opening` alone makes these."""

    query: VerifiedQuery
    _: KW_ONLY
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("an OpenedQuery comes from check_opening")


@dataclass(frozen=True)
class Mismatch:
    """A proof that holds, and is not of the prompt; says nothing of the prompt.

    Attributes:
        query: the proof, verified for the request it came with.
        by_maker: whether who sealed the request made the proof; False where it may have been put
            there on the way.
        found: the commitment to the prompt's tokens under the opening, 32 bytes; None where the
            tag is not of this opening, or the prompt has more tokens than the bucket.
    """

    query: VerifiedQuery
    by_maker: bool
    found: bytes | None

    def refusal(self) -> AdmissionError:
        """Return the error to answer with: ``check`` is ``query-mismatch`` or ``query-opening``."""
        if self.by_maker:
            return AdmissionError(
                "the query proof is not of this prompt's tokens", check="query-mismatch"
            )
        return AdmissionError(
            "the query proof was not made by who sealed this request", check="query-opening"
        )

    def sign(self, key: SigningKey, *, at: datetime) -> dict[str, Any]:
        """Return the evidence as a credential. Run by the enclave, with its receipt key."""
        subject = {
            "byMaker": self.by_maker,
            "found": None if self.found is None else encode_base64url(self.found),
            "proof": self.query.proof.to_header(),
            "request": encode_base64url(self.query.digest),
        }
        return issue_credential(_KIND, subject, key, at=at)


@dataclass(frozen=True)
class VerifiedMismatch:
    """Evidence that was checked; `verify_mismatch` alone makes these.

    Attributes:
        query: the proof, verified again.
        by_maker: whether who sealed the request made it, by the enclave's word.
        issuer: the did:key of the enclave that says so.
    """

    query: VerifiedQuery
    by_maker: bool
    issuer: str
    _: KW_ONLY
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("a VerifiedMismatch comes from verify_mismatch")


def check_opening(
    query: VerifiedQuery, opening: Opening, tokens: Sequence[int]
) -> OpenedQuery | Mismatch:
    """Compare what was proved with the prompt. Run by the enclave; a pure function.

    Args:
        query: verified here too, for the digest of the request as the enclave got it.
        opening: from inside the seal.
        tokens: of the opened prompt, by the same tokenizer.

    Guarantees:
        No other tokens, their order or number included, and no other opening match; a proof put in
        place of the client's never accuses the client (tests/adversary/test_query.py).
    """
    tag = opening.tag(query.context, query.proof.proof)
    if not hmac.compare_digest(tag, query.proof.tag):
        return Mismatch(query, by_maker=False, found=None)
    try:
        found = commitment(tokens, query.vocabulary, query.bucket, opening.blinding)
    except InputError:
        return Mismatch(query, by_maker=True, found=None)
    if hmac.compare_digest(found, query.proof.commitment):
        return OpenedQuery(query, mint=_MINT)
    return Mismatch(query, by_maker=True, found=found)


def verify_mismatch(
    document: Any, *, issuer: str, vocabulary: Vocabulary, now: datetime
) -> VerifiedMismatch:
    """Check an enclave's evidence; run by whoever it is shown to.

    Args:
        document: a parsed credential.
        issuer: the receipt key of an attested enclave, a did:key.
        vocabulary: the provider's.
        now: the time to judge it by.

    Raises:
        ReceiptError: it is not signed by ``issuer``, is malformed, its proof does not hold for its
            request, or what it found is what was proved.
    """
    fields, named, _ = verify_credential(document, _KIND, issuer=issuer, now=now)
    try:
        by_maker, found, proof, request = _read(fields)
        query = verify_query(proof, vocabulary=vocabulary, digest=request)
    except MalformedError as error:
        raise ReceiptError(error.message, check="format") from None
    except AdmissionError as error:
        raise ReceiptError(error.message, check=error.check) from None
    if found == proof.commitment or (found is not None and not by_maker):
        raise ReceiptError("the evidence contradicts itself", check="format")
    return VerifiedMismatch(query, by_maker, named, mint=_MINT)


def _read(fields: Fields) -> tuple[bool, bytes | None, QueryProof, bytes]:
    by_maker = fields.take("byMaker")
    if not isinstance(by_maker, bool):
        raise MalformedError("byMaker is not true or false")
    found = fields.take("found")
    if found is not None and not isinstance(found, str):
        raise MalformedError("found is not text")
    proof = QueryProof.from_header(fields.text("proof", max_chars=24 * 1024))
    request = fields.blob("request", least=32, most=32)
    fields.done()
    return by_maker, None if found is None else _commitment(found), proof, request


def _commitment(text: str) -> bytes:
    data = decode_base64url(text) if len(text) == 43 else b""
    if len(data) != 32:
        raise MalformedError("found is not a commitment")
    return data
