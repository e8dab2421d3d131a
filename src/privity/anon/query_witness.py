"""What an edge prover is given of a query, inside its seal: all but what tags the proof.

Canonical JSON, as both ends are privity's. Whoever has one has the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from privity.anon.vocabulary import BUCKETS
from privity.errors import MalformedError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url

__all__ = ["MAX_WITNESS", "PROVER_PATH", "QueryWitness"]

PROVER_PATH = "/v1/query-proofs"
"""Where a prover takes witnesses, inside its seal."""

MAX_WITNESS = 64 << 10
"""Largest witness, in bytes."""


@dataclass(frozen=True)
class QueryWitness:
    """What the heavy part of a proof is made of.

    Attributes:
        tokens: of the prompt.
        vocabulary: digest of the one they are in, 32 bytes.
        bucket: of the proof.
        digest: SHA-256 of the sealed request, 32 bytes.
        blinding: derived from the opening, 32 bytes; it does not tell the opening.
    """

    tokens: tuple[int, ...] = field(repr=False)
    vocabulary: bytes
    bucket: int
    digest: bytes
    blinding: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON document."""
        return canonical(
            {
                "blinding": encode_base64url(self.blinding),
                "bucket": self.bucket,
                "request": encode_base64url(self.digest),
                "tokens": list(self.tokens),
                "vocabulary": encode_base64url(self.vocabulary),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> QueryWitness:
        """Read what `to_bytes` writes.

        Raises:
            MalformedError: anything else; the message names no token.

        Guarantees:
            Total (tests/property/test_query.py).
        """
        fields = Fields(loads_canonical(data, max_bytes=MAX_WITNESS), "witness")
        blinding = fields.blob("blinding", least=32, most=32)
        bucket = fields.count("bucket", most=BUCKETS[-1])
        digest = fields.blob("request", least=32, most=32)
        tokens = fields.items("tokens", least=1, most=BUCKETS[-1])
        vocabulary = fields.blob("vocabulary", least=32, most=32)
        fields.done()
        if not all(type(token) is int for token in tokens):
            raise MalformedError("witness.tokens must be integers")
        return cls(tuple(tokens), vocabulary, bucket, digest, blinding)
