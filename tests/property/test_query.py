"""Parsers of proved queries are total and have one spelling for each value."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from native import needs_kernel
from privity.anon.query import Opening, QueryProof, verify_query
from privity.anon.query_terms import QueryTerms
from privity.anon.query_witness import QueryWitness
from privity.anon.vocabulary import BUCKETS, Vocabulary
from privity.errors import AdmissionError, MalformedError, OversizeError
from privity.identity.multibase import encode_base64url
from proved_queries import BUCKET, REQUEST, TOKENIZER, VOCABULARY

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
PROOFS = st.builds(
    QueryProof,
    st.sampled_from(BUCKETS),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1024, max_size=4096),
)


@given(st.text(max_size=4000) | st.binary(max_size=3000).map(encode_base64url))
def test_headers_are_read_or_refused(text: str) -> None:
    for read in (QueryProof.from_header, Opening.from_header):
        with suppress(MalformedError):
            assert read(text).to_header() == text


@given(PROOFS)
def test_a_proof_comes_back_from_its_header(proof: QueryProof) -> None:
    assert QueryProof.from_header(proof.to_header()) == proof


@given(st.binary(min_size=32, max_size=32))
def test_an_opening_comes_back_from_its_header(seed: bytes) -> None:
    assert Opening.from_header(Opening(seed).to_header()) == Opening(seed)


@given(
    JSON
    | st.fixed_dictionaries(
        {"size": st.integers() | JSON, "denied": st.lists(st.integers() | JSON), "tokenizer": JSON}
    )
    | st.fixed_dictionaries(
        {
            "size": st.integers(0, 50),
            "denied": st.lists(st.integers(-1, 50), max_size=4),
            "tokenizer": st.just(TOKENIZER),
        }
    )
)
def test_vocabularies_are_read_or_refused(value: object) -> None:
    with suppress(MalformedError):
        assert Vocabulary.from_json(value).to_json() == value


@given(
    JSON
    | st.fixed_dictionaries(
        {
            "buckets": st.lists(st.sampled_from(BUCKETS) | JSON, max_size=4),
            "vocabulary": st.just(VOCABULARY.to_json()) | JSON,
        }
    )
)
def test_terms_of_queries_are_read_or_refused(value: object) -> None:
    with suppress(MalformedError):
        assert QueryTerms.from_json(value).to_json() == value


@given(st.binary(max_size=300))
def test_any_bytes_are_terms_of_queries_or_refused(data: bytes) -> None:
    with suppress(MalformedError):
        assert QueryTerms.from_bytes(data).to_bytes() == data.rstrip()


WITNESSES = st.builds(
    QueryWitness,
    st.lists(st.integers(-5, 2**40), min_size=1, max_size=9).map(tuple),
    st.binary(min_size=32, max_size=32),
    st.sampled_from(BUCKETS),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)


@given(WITNESSES)
def test_a_witness_comes_back_from_its_bytes(witness: QueryWitness) -> None:
    assert QueryWitness.from_bytes(witness.to_bytes()) == witness


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_witness_or_refused(data: bytes) -> None:
    with suppress(MalformedError, OversizeError):
        assert QueryWitness.from_bytes(data).to_bytes() == data


@given(st.integers(1, BUCKETS[-1]))
def test_a_length_has_the_smallest_bucket_that_holds_it(length: int) -> None:
    bucket = QueryTerms(VOCABULARY).bucket_for(length)
    assert length <= bucket
    assert all(smaller < length for smaller in BUCKETS if smaller < bucket)


@needs_kernel("QueryKey")
@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=2144, max_size=2144) | st.binary(min_size=1024, max_size=4096))
def test_no_bytes_but_a_proof_verify(data: bytes) -> None:
    with suppress(AdmissionError):
        verify_query(
            QueryProof(BUCKET, VOCABULARY.digest, bytes(32), data),
            vocabulary=VOCABULARY,
            digest=REQUEST,
        )
        raise AssertionError("bytes that no prover made verified")
