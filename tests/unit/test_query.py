"""Proved queries at each bucket, their keys, and the arguments they refuse."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from native import needs_kernel
from privity.anon.query import (
    MAX_HEADER,
    Opening,
    QueryProof,
    VerifiedQuery,
    prove_query,
    query_context,
    verify_query,
    warm_query,
)
from privity.anon.query_opening import OpenedQuery, check_opening
from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import BUCKETS, MOST_DENIED, Vocabulary
from privity.errors import InputError, MalformedError
from privity.hazmat.native import native
from proved_queries import BUCKET, OPENING, REQUEST, TOKENIZER, TOKENS, VOCABULARY, proved

DEMO = Vocabulary(49_152, tuple(range(17)), TOKENIZER)
PROOF_BYTES = {128: 2144, 512: 2272, 2048: 2400}


@needs_kernel("QueryKey")
@pytest.mark.slow
@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_full_bucket_is_proved_verified_and_opened(bucket: int) -> None:
    tokens = [17 + at * 23 for at in range(bucket)]
    proof = prove_query(tokens, vocabulary=DEMO, bucket=bucket, digest=REQUEST, opening=OPENING)
    assert len(proof.proof) == PROOF_BYTES[bucket]
    assert len(proof.to_header()) < MAX_HEADER / 7
    query = verify_query(proof, vocabulary=DEMO, digest=REQUEST)
    assert isinstance(check_opening(query, OPENING, tokens), OpenedQuery)


@needs_kernel("QueryKey")
def test_the_statement_is_the_one_that_was_reviewed() -> None:
    """Changes with any change to circuit, intervals or proof system: then proofs are of a new kind.

    The digests are of the verifying keys as halo2 pins them; the vocabularies are SmolLM2's and the
    tests'.
    """
    made = {
        (vocabulary.size, bucket): bytes(
            native().QueryKey(vocabulary.size, list(vocabulary.denied), bucket).fingerprint()
        ).hex()[:32]
        for vocabulary, bucket in ((DEMO, 128), (DEMO, 512), (VOCABULARY, 128))
    }
    assert made == {
        (49_152, 128): "4d61c15d347400ab75252bbdcc182012",
        (49_152, 512): "4b731c1f48b5f6d109aa21523ff22016",
        (1000, 128): "0c29231c23c676e42be4788ab5509e2a",
    }


@needs_kernel("QueryKey")
def test_keys_are_made_for_large_vocabularies() -> None:
    for size, denied in ((262_144, range(0, 106)), (128_256, range(128_000, 128_256))):
        warm_query(Vocabulary.of(size, denied, TOKENIZER), 128, proving=False)


@pytest.mark.parametrize(
    ("size", "denied", "tokenizer"),
    [
        (0, (), TOKENIZER),
        ((1 << 24) + 1, (), TOKENIZER),
        (9, (3, 3), TOKENIZER),
        (9, (4, 3), TOKENIZER),
        (9, (-1,), TOKENIZER),
        (9, (9,), TOKENIZER),
        (2, (0, 1), TOKENIZER),
        (9, (), "sha1:00"),
        (10_000, tuple(range(MOST_DENIED + 1)), TOKENIZER),
    ],
)
def test_what_is_no_vocabulary_is_refused(
    size: int, denied: tuple[int, ...], tokenizer: str
) -> None:
    with pytest.raises(InputError):
        Vocabulary(size, denied, tokenizer)


def test_a_vocabularys_digest_is_of_all_of_it() -> None:
    digests = {
        one.digest
        for one in (
            VOCABULARY,
            dataclasses.replace(VOCABULARY, size=1001),
            dataclasses.replace(VOCABULARY, denied=(0,)),
            dataclasses.replace(VOCABULARY, tokenizer="sha256:" + "11" * 32),
        )
    }
    assert len(digests) == 4
    assert Vocabulary.from_json(VOCABULARY.to_json()) == VOCABULARY
    assert Vocabulary.of(9, [3, 1, 3], TOKENIZER).denied == (1, 3)


@pytest.mark.parametrize("length", [0, -1, BUCKETS[-1] + 1])
def test_a_length_beyond_all_buckets_has_none(length: int) -> None:
    with pytest.raises(InputError):
        QueryTerms(VOCABULARY).bucket_for(length)


def test_a_context_is_of_fixed_parts() -> None:
    context = query_context(BUCKET, VOCABULARY, REQUEST)
    assert context == b"privity/query-proof/v1\0\0\x80" + VOCABULARY.digest + REQUEST
    with pytest.raises(InputError, match="SHA-256"):
        query_context(BUCKET, VOCABULARY, b"short")
    with pytest.raises(InputError, match="bucket"):
        query_context(100, VOCABULARY, REQUEST)


def test_an_opening_is_fresh_and_of_32_bytes() -> None:
    assert Opening.fresh() != Opening.fresh()
    assert Opening.fresh(lambda size: b"\1" * size).seed == b"\1" * 32
    assert len(OPENING.to_header()) == 44
    with pytest.raises(InputError):
        Opening(b"short")


def test_headers_of_another_version_or_bucket_are_refused() -> None:
    proof = QueryProof(BUCKET, bytes(32), bytes(32), bytes(2144))
    assert QueryProof.from_header(proof.to_header()) == proof
    for wrong in (
        "",
        "A" * (MAX_HEADER + 1),
        "B" + proof.to_header()[1:],
        QueryProof(100, bytes(32), bytes(32), bytes(2144)).to_header(),
        QueryProof(BUCKET, bytes(32), bytes(32), bytes(1000)).to_header(),
        QueryProof(BUCKET, bytes(32), bytes(32), bytes(9000)).to_header(),
    ):
        with pytest.raises(MalformedError):
            QueryProof.from_header(wrong)


@needs_kernel("QueryKey")
def test_another_digest_than_sha256_is_an_input_error() -> None:
    short = hashlib.sha256(b"").digest()[:20]
    with pytest.raises(InputError):
        verify_query(proved(TOKENS), vocabulary=VOCABULARY, digest=short)
    assert isinstance(verify_query(proved(), vocabulary=VOCABULARY, digest=REQUEST), VerifiedQuery)
