"""Queries are proved on the device: an opening inside the seal, a proof over the sealed bytes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec

import httpx
import pytest

from privity.anon.query import QUERY_OPENING_HEADER, Opening, QueryProof
from privity.anon.query_terms import QueryTerms
from privity.anon.vocabulary import Vocabulary
from privity.errors import InputError
from privity.infer.anonymous.admitted import AdmittedTransport, ProveQuery
from privity.infer.anonymous.proved import ProvedTransport, QueryMaker
from tiny_tokens import tiny_tokens

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        find_spec("tokenizers") is None, reason="the tokenizers library is not installed"
    ),
]
URL = "https://enclave.privity/v1/chat/completions"


class Noting:
    """Makes no proofs, and notes what it was asked to make."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, bytes, Opening]] = []

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        self.asked.append((len(tokens), bucket, digest, opening))
        return QueryProof(bucket, vocabulary.digest, bytes(32), bytes(2000))


class Sealing(httpx.AsyncBaseTransport):
    """Stands for the seal: what it sends on begins with the opening."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sealed = request.headers[QUERY_OPENING_HEADER].encode() + await request.aread()
        outer = httpx.Request("POST", "http://exit/t", content=sealed)
        return await self._inner.handle_async_request(outer)


def proving(
    prover: Noting, seen: list[httpx.Request], buckets: tuple[int, ...] = (128, 512)
) -> ProvedTransport:
    tokens = tiny_tokens()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"sealed")

    async def admit(digest: bytes) -> str:
        return "admitted"

    def seal(query: ProveQuery) -> httpx.AsyncBaseTransport:
        return Sealing(AdmittedTransport(httpx.MockTransport(answer), admit, query))

    maker = QueryMaker(QueryTerms(tokens.vocabulary, buckets), tokens, prover=prover)
    return ProvedTransport(maker, seal)


async def test_the_proof_is_over_the_sealed_bytes_and_the_opening_inside() -> None:
    prover, seen = Noting(), list[httpx.Request]()
    transport = proving(prover, seen)
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post(URL, json={"prompt": "hi"})
        await client.get("https://enclave.privity/v1/models")
    for (_, _, digest, opening), request in zip(prover.asked, seen, strict=True):
        assert digest == hashlib.sha256(request.content).digest()
        assert request.content.startswith(opening.to_header().encode())
        assert opening.to_header() not in str(request.headers)
        assert request.headers["privity-admission"] == "admitted"
        assert QueryProof.from_header(request.headers["privity-query-proof"]).bucket == 128
    assert [length for length, *_ in prover.asked] == [len('{"prompt":"hi"}'), len("{}")]


async def test_what_is_sent_again_has_another_opening() -> None:
    prover, seen = Noting(), list[httpx.Request]()
    transport = proving(prover, seen)
    again = httpx.Request("POST", URL, json={"prompt": "hi"})
    for _ in range(2):
        await transport.handle_async_request(again)
    first, second = (opening.seed for *_, opening in prover.asked)
    assert first != second
    assert [request.content.count(b'{"prompt"') for request in seen] == [1, 1]


async def test_the_smallest_bucket_that_is_taken_is_proved() -> None:
    prover = Noting()
    transport = proving(prover, [], buckets=(128, 2048))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post(URL, json={"prompt": "a" * 200})
        with pytest.raises(InputError, match="2048"):
            await client.post(URL, json={"prompt": "a" * 2048})
    assert [bucket for _, bucket, *_ in prover.asked] == [2048]


async def test_a_stream_is_not_proved() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    prover = Noting()
    transport = proving(prover, [])
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(InputError):
            await client.post(URL, content=pieces())
    assert prover.asked == []


def test_the_vocabulary_of_another_model_is_refused() -> None:
    tokens = tiny_tokens()
    other = Vocabulary(tokens.vocabulary.size, (), "sha256:" + "00" * 32)
    with pytest.raises(InputError, match="not on this device"):
        QueryMaker(QueryTerms(other), tokens)
    stricter = Vocabulary(tokens.vocabulary.size, (5, 256), tokens.vocabulary.tokenizer)
    QueryMaker(QueryTerms(stricter), tokens)
