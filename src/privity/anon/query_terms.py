"""What a provider asks of queries, where it wants each proved: a vocabulary, and price buckets.

One document for everyone. It is in the terms of payment, and in the file that a gateway is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privity.anon.vocabulary import BUCKETS, Vocabulary
from privity.errors import InputError, MalformedError
from privity.home import read_file
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical

__all__ = ["MAX_BYTES", "QueryTerms"]

MAX_BYTES = 1 << 16
"""Largest document, in bytes of canonical JSON."""


@dataclass(frozen=True)
class QueryTerms:
    """In what each request must be proved.

    Attributes:
        vocabulary: of the model that answers.
        buckets: those that are taken, rising. The smallest of all is among them: requests that no
            model reads are proved in it.

    Raises:
        InputError: the buckets are not that.
    """

    vocabulary: Vocabulary
    buckets: tuple[int, ...] = BUCKETS

    def __post_init__(self) -> None:
        known = tuple(one for one in BUCKETS if one in self.buckets)
        if self.buckets != known or BUCKETS[0] not in self.buckets:
            raise InputError(
                f"buckets are of {', '.join(map(str, BUCKETS))}, rising, with the first among them"
            )

    def bucket_for(self, length: int) -> int:
        """Return the smallest bucket that holds ``length`` tokens; raises `InputError`."""
        for bucket in self.buckets:
            if 0 < length <= bucket:
                return bucket
        raise InputError(
            f"this provider takes queries of 1 to {self.buckets[-1]} tokens, not {length}",
            hint="ask in fewer words, or a provider that wants no proof of its queries",
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {"buckets": list(self.buckets), "vocabulary": self.vocabulary.to_json()}

    def to_bytes(self) -> bytes:
        """Return the canonical JSON document."""
        return canonical(self.to_json())

    @classmethod
    def from_json(cls, value: Any) -> QueryTerms:
        """Read what `to_json` writes.

        Raises:
            MalformedError: anything else.

        Guarantees:
            Total (tests/property/test_query.py).
        """
        fields = Fields(value, "query terms")
        buckets = fields.items("buckets", least=1, most=len(BUCKETS))
        vocabulary = Vocabulary.from_json(fields.object("vocabulary"))
        fields.done()
        if not all(type(one) is int for one in buckets):
            raise MalformedError("the buckets of query terms must be integers")
        try:
            return cls(vocabulary, tuple(buckets))
        except InputError as error:
            raise MalformedError(error.message) from None

    @classmethod
    def from_bytes(cls, data: bytes) -> QueryTerms:
        """Read what `to_bytes` writes, but for white space at the end; raises `MalformedError`."""
        if len(data) > MAX_BYTES:
            raise MalformedError(f"query terms are larger than {MAX_BYTES} bytes")
        return cls.from_json(loads_canonical(data.rstrip()))

    @classmethod
    def from_file(cls, path: Path) -> QueryTerms:
        """Read a file with the document; raises `InputError`."""
        try:
            return cls.from_bytes(read_file(path, most=MAX_BYTES, what="the terms of queries"))
        except MalformedError as error:
            raise InputError(f"{path}: {error.message}") from error
