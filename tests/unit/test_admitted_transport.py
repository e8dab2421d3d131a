"""The proof of a sealed request: over its very bytes, once a request, and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from privity.errors import AdmissionError, InputError
from privity.infer.anonymous.admitted import AdmittedTransport

pytestmark = pytest.mark.anyio


class Prover:
    def __init__(self) -> None:
        self.digests: list[bytes] = []

    async def __call__(self, digest: bytes) -> str:
        self.digests.append(digest)
        return f"proof-{len(self.digests)}"


def carrying(prove: Prover, seen: list[httpx.Request]) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"sealed")

    return httpx.AsyncClient(transport=AdmittedTransport(httpx.MockTransport(answer), prove))


async def test_each_sealed_request_has_a_proof_of_its_own_over_its_own_bytes() -> None:
    prove, seen = Prover(), list[httpx.Request]()
    async with carrying(prove, seen) as client:
        for body in (b"one", b"two", b"one"):
            await client.post("http://exit/t", content=body)
    digests = [hashlib.sha256(body).digest() for body in (b"one", b"two", b"one")]
    assert prove.digests == digests
    assert [request.headers["privity-admission"] for request in seen] == [
        "proof-1",
        "proof-2",
        "proof-3",
    ]
    assert [request.content for request in seen] == [b"one", b"two", b"one"]


async def test_what_only_reads_keys_spends_no_proof() -> None:
    prove, seen = Prover(), list[httpx.Request]()
    async with carrying(prove, seen) as client:
        await client.get("http://exit/t")
    assert not prove.digests and "privity-admission" not in seen[0].headers


async def test_a_streamed_request_is_refused_before_anything_leaves() -> None:
    prove, seen = Prover(), list[httpx.Request]()

    async def drip() -> AsyncIterator[bytes]:
        yield b"never"

    async with carrying(prove, seen) as client:
        with pytest.raises(InputError, match="all of its bytes"):
            await client.post("http://exit/t", content=drip())
    assert not seen and not prove.digests


async def test_no_message_left_means_nothing_sent() -> None:
    seen = list[httpx.Request]()

    async def prove(digest: bytes) -> str:
        raise AdmissionError("none left", check="rate")

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    async with httpx.AsyncClient(
        transport=AdmittedTransport(httpx.MockTransport(answer), prove)
    ) as client:
        with pytest.raises(AdmissionError):
            await client.post("http://exit/t", content=b"x")
    assert not seen
