"""Proved queries: the hidden tokens of a sealed request are well formed, shown in zero knowledge.

A proof says of one encapsulated request: its maker knows a sequence of 1 to ``bucket`` tokens, each
inside the vocabulary, none of them denied. The gateway checks it before anything costly. Inside the
seal travels the opening; with it the enclave checks that the sequence is the prompt's
(`query_opening.check_opening`). Threat, promise and format: spec/proved-queries.md.

The kernel is halo2 over the Pasta curves, without a trusted setup; see
docs/decisions/0005-proved-queries.md.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from privity.anon.vocabulary import BUCKETS, Vocabulary
from privity.errors import AdmissionError, InputError, MalformedError
from privity.hazmat.kdf import expand, extract
from privity.hazmat.native import native
from privity.identity.multibase import decode_base64url, encode_base64url

if TYPE_CHECKING:
    import privity_core

__all__ = [
    "MAX_HEADER",
    "QUERY_OPENING_HEADER",
    "ClaimedQuery",
    "Opening",
    "QueryProof",
    "VerifiedQuery",
    "commitment",
    "make_proof",
    "prove_query",
    "query_context",
    "verify_queries",
    "verify_query",
    "warm_query",
]

QUERY_OPENING_HEADER = "privity-query-opening"
"""The header, inside the seal, that carries a proof's opening."""

MAX_HEADER = 24 * 1024
"""Most characters of ``privity-query-proof``; proofs of today take less than 3,400."""

_VERSION = 1
_DOMAIN = b"privity/query-proof/v1"
_DIGEST = 32
_SEED = 32
_HEAD = struct.Struct(f">BH{_DIGEST}s{_DIGEST}s")
_LEAST_PROOF, _MOST_PROOF = 1024, 8192


@dataclass(frozen=True)
class Opening:
    """The secret that opens one proof; it travels inside the seal, and is used once.

    Attributes:
        seed: 32 random bytes.

    Raises:
        InputError: not 32 bytes.
    """

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != _SEED:
            raise InputError(f"an opening has {_SEED} bytes")

    @classmethod
    def fresh(cls, randomness: Callable[[int], bytes] = os.urandom) -> Opening:
        """Return a new one: before sealing, for one request alone."""
        return cls(randomness(_SEED))

    @property
    def blinding(self) -> bytes:
        """The 32 bytes that blind the tokens in the proof."""
        return self._derive(b"blinding")

    def tag(self, context: bytes, proof: bytes) -> bytes:
        """Return 32 bytes that only who holds the opening can make for a proof."""
        return hmac.digest(self._derive(b"tag"), context + proof, "sha256")

    def to_header(self) -> str:
        """Return the value of `QUERY_OPENING_HEADER`, 44 characters."""
        return encode_base64url(bytes([_VERSION]) + self.seed)

    @classmethod
    def from_header(cls, text: str) -> Opening:
        """Read what `to_header` writes, and nothing else; raises `MalformedError`."""
        data = decode_base64url(text) if len(text) == 44 else b""
        if len(data) != 1 + _SEED or data[0] != _VERSION:
            raise MalformedError("not the opening of a proved query")
        return cls(data[1:])

    def _derive(self, what: bytes) -> bytes:
        return expand(extract(_DOMAIN, self.seed), what, 32)


@dataclass(frozen=True)
class QueryProof:
    """A proof as it travels, not verified.

    Attributes:
        bucket: one of `BUCKETS`.
        vocabulary: digest of the one it is made in, 32 bytes.
        tag: shows the enclave that who sealed the request made it, 32 bytes.
        proof: as the kernel makes it.
    """

    bucket: int
    vocabulary: bytes
    tag: bytes
    proof: bytes

    @property
    def commitment(self) -> bytes:
        """The 32 bytes with which it commits to the tokens."""
        return self.proof[:32]

    def to_header(self) -> str:
        """Return the value of ``privity-query-proof``; its length tells the bucket at most."""
        head = _HEAD.pack(_VERSION, self.bucket, self.vocabulary, self.tag)
        return encode_base64url(head + self.proof)

    @classmethod
    def from_header(cls, text: str) -> QueryProof:
        """Read what `to_header` writes, and nothing else.

        Raises:
            MalformedError: another length, version, bucket or spelling.

        Guarantees:
            Total, and ``QueryProof.from_header(text).to_header() == text``
            (tests/property/test_query.py).
        """
        if len(text) > MAX_HEADER:
            raise MalformedError(f"a query proof has at most {MAX_HEADER} characters")
        data = decode_base64url(text)
        proof = data[_HEAD.size :]
        if not _LEAST_PROOF <= len(proof) <= _MOST_PROOF:
            raise MalformedError("a query proof of a length that none has")
        version, bucket, vocabulary, tag = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise MalformedError(f"a query proof of version {version} is not known here")
        if bucket not in BUCKETS:
            raise MalformedError("a query proof in a bucket that is none")
        return cls(bucket, vocabulary, tag, proof)


class ClaimedQuery(NamedTuple):
    """A proof with what its verifier knows: its vocabulary, and the request that came with it."""

    proof: QueryProof
    vocabulary: Vocabulary
    digest: bytes


_MINT = object()


@dataclass(frozen=True)
class VerifiedQuery:
    """A proof that holds for a request; `verify_query` and `verify_queries` alone make these.

    It says that *some* well-formed sequence was known to whoever made it. Whether that is what was
    sealed is for the enclave to check.
    """

    proof: QueryProof
    vocabulary: Vocabulary
    digest: bytes
    _: KW_ONLY
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("a VerifiedQuery comes from verify_query")

    @property
    def bucket(self) -> int:
        """Its price bucket: it has at most so many tokens."""
        return self.proof.bucket

    @property
    def context(self) -> bytes:
        """What the proof is bound to."""
        return query_context(self.bucket, self.vocabulary, self.digest)


def query_context(bucket: int, vocabulary: Vocabulary, digest: bytes) -> bytes:
    """Return what a proof's transcript absorbs before anything else; each part has a fixed length.

    Raises:
        InputError: the digest is not of SHA-256, or the bucket is none.
    """
    if len(digest) != _DIGEST:
        raise InputError(f"a query is bound to a SHA-256 digest, not to {len(digest)} bytes")
    if bucket not in BUCKETS:
        raise InputError(f"a bucket is one of {', '.join(map(str, BUCKETS))} tokens")
    return _DOMAIN + b"\0" + bucket.to_bytes(2, "big") + vocabulary.digest + digest


def prove_query(
    tokens: Sequence[int],
    *,
    vocabulary: Vocabulary,
    bucket: int,
    digest: bytes,
    opening: Opening,
) -> QueryProof:
    """Prove a query. Run by the client, after sealing: the opening was sealed with the prompt.

    It takes the processor for about a second; the interpreter's lock is not held.

    Args:
        tokens: of the prompt, by the provider's tokenizer.
        vocabulary: the provider's.
        bucket: see `QueryTerms.bucket_for`.
        digest: SHA-256 of the whole encapsulated request.
        opening: fresh; to use one for two requests shows that their tokens are the same.

    Raises:
        InputError: the tokens are not well formed, or another argument is not what it should be.
        MissingDependency: the native wheel is not installed.
    """
    context = query_context(bucket, vocabulary, digest)
    proof = make_proof(tokens, vocabulary, bucket, context, opening.blinding)
    return QueryProof(bucket, vocabulary.digest, opening.tag(context, proof), proof)


def make_proof(
    tokens: Sequence[int], vocabulary: Vocabulary, bucket: int, context: bytes, blinding: bytes
) -> bytes:
    """Return the kernel's proof: the heavy part, which an attested enclave may do for a client.

    Raises:
        InputError: as of `prove_query`; the message names no token.
    """
    try:
        return _key(vocabulary, bucket).prove(tokens, context, blinding)
    except (OverflowError, TypeError):
        raise InputError("no proof can be made: a token is not one") from None
    except ValueError as error:
        raise InputError(f"no proof can be made: {error}") from None


def commitment(
    tokens: Sequence[int], vocabulary: Vocabulary, bucket: int, blinding: bytes
) -> bytes:
    """Return the 32 bytes with which a proof of these tokens begins; of any tokens at all.

    Raises:
        InputError: more tokens than the bucket holds, or what is no token.
    """
    try:
        return bytes(_key(vocabulary, bucket).commit(tokens, blinding))
    except (ValueError, OverflowError, TypeError):
        raise InputError("too many tokens for their bucket, or none") from None


def verify_query(proof: QueryProof, *, vocabulary: Vocabulary, digest: bytes) -> VerifiedQuery:
    """Check one proof; run by the gateway, and by the enclave before it accuses anybody.

    Args:
        proof: as read.
        vocabulary: the verifier's own.
        digest: SHA-256 of the encapsulated request that came with it.

    Raises:
        AdmissionError: ``check`` is ``query-vocabulary`` where it is made in another one, or
            ``query-proof`` where it does not hold for this request.
        InputError: the digest is not one.

    Guarantees:
        A proof for another ciphertext, bucket or vocabulary is refused, and so is one with any bit
        changed but in its tag (tests/adversary/test_query.py).
    """
    (verdict,) = verify_queries([ClaimedQuery(proof, vocabulary, digest)])
    if isinstance(verdict, AdmissionError):
        raise verdict
    return verdict


def verify_queries(claims: Sequence[ClaimedQuery]) -> list[VerifiedQuery | AdmissionError]:
    """Check many proofs for little more than the cost of one; answers are in order.

    Those of one vocabulary and bucket are combined under random weights; where that fails, halves
    are, so that a false one costs the others no verdict.

    Raises:
        InputError: a digest is not one.

    Guarantees:
        Each verdict is the one `verify_query` gives (tests/adversary/test_query.py).
    """
    verdicts: list[VerifiedQuery | AdmissionError] = [_of_another_vocabulary()] * len(claims)
    groups: dict[tuple[Vocabulary, int], list[int]] = {}
    for at, claim in enumerate(claims):
        if hmac.compare_digest(claim.proof.vocabulary, claim.vocabulary.digest):
            groups.setdefault((claim.vocabulary, claim.proof.bucket), []).append(at)
    for (vocabulary, bucket), places in groups.items():
        items = [
            (claims[at].proof.proof, query_context(bucket, vocabulary, claims[at].digest))
            for at in places
        ]
        held = _key(vocabulary, bucket).verify_batch(items)
        for at, good in zip(places, held, strict=True):
            verdicts[at] = VerifiedQuery(*claims[at], mint=_MINT) if good else _refusal()
    return verdicts


def warm_query(vocabulary: Vocabulary, bucket: int, *, proving: bool) -> None:
    """Make the keys ahead of need: up to some seconds, once a process.

    Raises:
        InputError: the bucket is none.
        MissingDependency: the native wheel is not installed.
    """
    key = _key(vocabulary, bucket)
    if proving:
        key.warm()


@lru_cache(maxsize=16)
def _key(vocabulary: Vocabulary, bucket: int) -> privity_core.QueryKey:
    """Return the keys of a vocabulary its caller trusts; never of one that a stranger sent."""
    if bucket not in BUCKETS:
        raise InputError(f"a bucket is one of {', '.join(map(str, BUCKETS))} tokens")
    kernel = native("QueryKey").QueryKey
    try:
        key: privity_core.QueryKey = kernel(vocabulary.size, list(vocabulary.denied), bucket)
    except ValueError as error:
        raise InputError(f"no circuit for this vocabulary: {error}") from None
    return key


def _refusal() -> AdmissionError:
    return AdmissionError("the query proof does not hold for this request", check="query-proof")


def _of_another_vocabulary() -> AdmissionError:
    return AdmissionError(
        "the query proof is made in another vocabulary than this provider's",
        check="query-vocabulary",
        hint="read the provider's vocabulary again",
    )
