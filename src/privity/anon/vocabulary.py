"""The vocabulary a provider takes queries in: how many tokens, which are denied, what makes them.

Its digest names it in a proof, and it determines the fixed part of the circuit, so that a proof in
one vocabulary is none in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from privity.errors import InputError, MalformedError
from privity.identity.digests import check_digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical

__all__ = [
    "BUCKETS",
    "DESK_TOKENS",
    "DESK_VOCABULARY",
    "MOST_DENIED",
    "MOST_TOKENS",
    "Vocabulary",
]

BUCKETS = (128, 512, 2048)
"""Price buckets: a proof says that a query has at most so many tokens, no more of its length."""

MOST_TOKENS = 1 << 24
"""The largest vocabulary, in tokens."""

MOST_DENIED = 4096
"""The most denied tokens; the circuit grows with how scattered they are."""


@dataclass(frozen=True)
class Vocabulary:
    """What tokens a query may have.

    Attributes:
        size: tokens are 0 to ``size - 1``.
        denied: tokens no query may have, each once, rising.
        tokenizer: ``sha256:`` of whatever makes text into these tokens.

    Raises:
        InputError: one of them is not that.
    """

    size: int
    denied: tuple[int, ...]
    tokenizer: str

    def __post_init__(self) -> None:
        if not 0 < self.size <= MOST_TOKENS:
            raise InputError(f"a vocabulary has 1 to {MOST_TOKENS} tokens")
        rising = all(a < b for a, b in zip(self.denied, self.denied[1:], strict=False))
        inside = not self.denied or (self.denied[0] >= 0 and self.denied[-1] < self.size)
        if len(self.denied) > MOST_DENIED or not (rising and inside):
            raise InputError(f"denied tokens are at most {MOST_DENIED}, rising, of the vocabulary")
        if len(self.denied) == self.size:
            raise InputError("a vocabulary that denies all of its tokens allows no query")
        try:
            check_digest(self.tokenizer)
        except MalformedError as error:
            raise InputError(f"a vocabulary's tokenizer: {error.message}") from None

    @classmethod
    def of(cls, size: int, denied: Iterable[int], tokenizer: str) -> Vocabulary:
        """Return the vocabulary with denied tokens in any order; raises `InputError`."""
        return cls(size, tuple(sorted(set(denied))), tokenizer)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes: ``SHA-256("privity/vocabulary/v1" ‖ 0x00 ‖ JCS(vocabulary))``."""
        return hashlib.sha256(b"privity/vocabulary/v1\0" + canonical(self.to_json())).digest()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready data, as a provider publishes it."""
        return {"denied": list(self.denied), "size": self.size, "tokenizer": self.tokenizer}

    @classmethod
    def from_json(cls, value: Any) -> Vocabulary:
        """Read what `to_json` writes.

        Raises:
            MalformedError: anything else.

        Guarantees:
            Total (tests/property/test_query.py).
        """
        fields = Fields(value, "vocabulary")
        size = fields.count("size", least=1, most=MOST_TOKENS)
        denied = fields.items("denied", most=MOST_DENIED)
        tokenizer = fields.digest("tokenizer")
        fields.done()
        if not all(type(one) is int for one in denied):
            raise MalformedError("vocabulary.denied must be integers")
        try:
            return cls(size, tuple(denied), tokenizer)
        except InputError as error:
            raise MalformedError(error.message) from None


DESK_VOCABULARY = Vocabulary(
    256, (), f"sha256:{hashlib.sha256(b'privity/tokenizer/bytes/v1').hexdigest()}"
)
"""Of bytes: in it a question to a desk is proved where the provider's is not known or not here."""

DESK_TOKENS = (0x7B, 0x7D)
"""Of ``{}``: what such a proof is of."""
