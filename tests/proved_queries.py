"""A small vocabulary and proofs in it, for the tests of proved queries."""

from __future__ import annotations

import hashlib
from functools import cache

from privity.anon.query import Opening, QueryProof, VerifiedQuery, prove_query, verify_query
from privity.anon.vocabulary import Vocabulary

TOKENIZER = "sha256:" + "00" * 32
VOCABULARY = Vocabulary(1000, (0, 1, 500), TOKENIZER)
BUCKET = 128
TOKENS = (2, 499, 501, 999, 7, 7)
REQUEST = hashlib.sha256(b"an encapsulated request").digest()
OPENING = Opening(b"\5" * 32)


@cache
def proved(
    tokens: tuple[int, ...] = TOKENS,
    *,
    vocabulary: Vocabulary = VOCABULARY,
    bucket: int = BUCKET,
    digest: bytes = REQUEST,
    opening: Opening = OPENING,
) -> QueryProof:
    """Return a proof, made once."""
    return prove_query(tokens, vocabulary=vocabulary, bucket=bucket, digest=digest, opening=opening)


def verified(proof: QueryProof, *, digest: bytes = REQUEST) -> VerifiedQuery:
    """Return what the gateway makes of a proof."""
    return verify_query(proof, vocabulary=VOCABULARY, digest=digest)
