"""Attacks on the gateway's check of proved queries."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import anyio
import pytest

from native import needs_kernel
from privity.anon import admission
from privity.anon.admission import AdmittedSignal
from privity.anon.query import ClaimedQuery, Opening, VerifiedQuery, verify_queries
from privity.anon.vocabulary import DESK_TOKENS, DESK_VOCABULARY, Vocabulary
from privity.errors import AdmissionError, InputError
from privity.node import query_gate
from privity.node.query_gate import QueryGate
from proved_queries import BUCKET, REQUEST, TOKENIZER, VOCABULARY, proved

pytestmark = [pytest.mark.anyio, needs_kernel("QueryKey")]

OTHER = b"\7" * 32


def signal(digest: bytes = REQUEST) -> AdmittedSignal:
    return AdmittedSignal("did:example:provider", 7, digest, mint=admission._MINT)


async def verdict(gate: QueryGate, header: str | None, digest: bytes = REQUEST) -> str:
    try:
        await gate(header, signal(digest))
    except AdmissionError as error:
        return error.check
    return "passed"


@pytest.mark.parametrize("header", [None, "", "A", "é", "A" * 30_000, "A" * 3000])
async def test_no_query_passes_without_a_proof(header: str | None) -> None:
    assert await verdict(QueryGate([VOCABULARY]), header) == "query"


async def test_a_proof_passes_for_its_own_request_alone() -> None:
    gate = QueryGate([VOCABULARY], buckets=(BUCKET,))
    await gate.warm()
    assert await verdict(gate, proved().to_header()) == "passed"
    assert await verdict(gate, proved().to_header(), OTHER) == "query"


async def test_other_vocabularies_and_buckets_are_not_taken() -> None:
    other = Vocabulary(1001, (), TOKENIZER)
    assert await verdict(QueryGate([other]), proved().to_header()) == "query"
    assert await verdict(QueryGate([VOCABULARY], buckets=(512,)), proved().to_header()) == "query"
    assert await verdict(QueryGate([other, VOCABULARY]), proved().to_header()) == "passed"


async def test_each_of_many_at_once_gets_its_own_verdict() -> None:
    gate = QueryGate([VOCABULARY])
    good = proved()
    bad = dataclasses.replace(good, proof=good.proof[:-1] + bytes([good.proof[-1] ^ 1]))
    proofs = [good, bad, good, proved((3, 4), opening=Opening(b"\2" * 32)), bad] * 10
    found: dict[int, str] = {}

    async def one(at: int) -> None:
        found[at] = await verdict(gate, proofs[at].to_header())

    async with anyio.create_task_group() as group:
        for at in range(len(proofs)):
            group.start_soon(one, at)
    expected = ["passed", "query", "passed", "passed", "query"] * 10
    assert [found[at] for at in range(len(proofs))] == expected


async def test_a_request_that_goes_away_takes_no_other_verdict_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(claims: Sequence[ClaimedQuery]) -> list[VerifiedQuery | AdmissionError]:
        begun.set()
        go_on.wait(120)
        return verify_queries(claims)

    monkeypatch.setattr(query_gate, "verify_queries", slow)
    gate = QueryGate([VOCABULARY])
    found: dict[str, str] = {}

    async def one(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            found[name] = await verdict(gate, proved().to_header())

    scopes = {name: anyio.CancelScope() for name in ("leads", "waits", "leaves", "last")}
    async with anyio.create_task_group() as group:
        group.start_soon(one, "leads", scopes["leads"])
        await anyio.to_thread.run_sync(begun.wait, 10)
        for name in ("waits", "leaves", "last"):
            group.start_soon(one, name, scopes[name])
        await anyio.wait_all_tasks_blocked()
        scopes["leads"].cancel()
        scopes["leaves"].cancel()
        await anyio.sleep(0)
        go_on.set()
    assert found["waits"] == found["last"] == "passed"
    assert "leaves" not in found
    assert not gate._waiting


async def test_more_than_may_wait_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(claims: Sequence[ClaimedQuery]) -> list[VerifiedQuery | AdmissionError]:
        begun.set()
        go_on.wait(120)
        return verify_queries(claims)

    monkeypatch.setattr(query_gate, "verify_queries", slow)
    gate = QueryGate([VOCABULARY], most_waiting=2)
    found: list[str] = []

    async def one() -> None:
        found.append(await verdict(gate, proved().to_header()))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        await anyio.to_thread.run_sync(begun.wait, 10)
        for _ in range(2):
            group.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        assert await verdict(gate, proved().to_header()) == "busy"
        go_on.set()
    assert found == ["passed"] * 3


def test_a_gate_that_takes_nothing_is_an_error() -> None:
    for vocabularies, buckets in (([], (BUCKET,)), ([VOCABULARY], ()), ([VOCABULARY], (100,))):
        with pytest.raises(InputError):
            QueryGate(vocabularies, buckets=buckets)


async def test_a_question_to_the_desk_is_taken_in_bytes_and_in_the_smallest_bucket_alone() -> None:
    gate = QueryGate([VOCABULARY], buckets=(BUCKET, 512))
    small = proved(DESK_TOKENS, vocabulary=DESK_VOCABULARY)
    assert await verdict(gate, small.to_header()) == "passed"
    assert await verdict(gate, small.to_header(), OTHER) == "query"
    large = proved(DESK_TOKENS, vocabulary=DESK_VOCABULARY, bucket=512)
    assert await verdict(gate, large.to_header()) == "query"
    named = dataclasses.replace(proved((3, 4)), vocabulary=DESK_VOCABULARY.digest)
    assert await verdict(gate, named.to_header()) == "query"
