"""Who is verified when: batches, lanes, turns, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from privity.anon.proof_queue import ProofQueue, QueueLimits
from privity.anon.rln import Claimed, VerifiedProof
from privity.errors import AdmissionError, InputError
from scripted_verifier import Verifier, ask, checks, claim, prove, settle

pytestmark = pytest.mark.anyio


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


@pytest.fixture
def queue(verifier: Verifier) -> Iterator[ProofQueue]:
    found = ProofQueue(
        QueueLimits(batch=8, waiting=20, probation=30), verify=verifier, clock=lambda: verifier.now
    )
    yield found
    verifier.go.set()
    found.close()


async def test_true_proofs_are_returned_and_false_ones_raised(queue: ProofQueue) -> None:
    verified = await queue.verified(claim(tag=3), "a")
    assert verified.proof.epoch == 3
    with pytest.raises(AdmissionError) as caught:
        await queue.verified(claim(good=False), "a")
    assert caught.value.check == "proof"


async def test_an_idle_worker_begins_at_once_and_what_waits_goes_together(
    queue: ProofQueue, verifier: Verifier
) -> None:
    await prove(queue, "a")
    verifier.batches.clear()
    verifier.go.clear()
    tasks = ask(queue, "a", 17)
    await settle()
    while not verifier.batches:  # the worker's thread has its own time
        await asyncio.sleep(0.001)
    assert [len(batch) for batch in verifier.batches] == [1]
    verifier.go.set()
    assert await checks(tasks) == ["good"] * 17
    assert [len(batch) for batch in verifier.batches] == [1, 8, 8]


async def test_proven_sources_share_a_batch(queue: ProofQueue, verifier: Verifier) -> None:
    for source in "abcd":
        await prove(queue, source)
    verifier.batches.clear()
    verifier.go.clear()
    tasks = [task for source in "abcd" for task in ask(queue, source, 2)]
    await settle()
    verifier.go.set()
    assert await checks(tasks) == ["good"] * 8
    assert [len(batch) for batch in verifier.batches] == [1, 7]


async def test_a_source_of_false_proofs_has_small_batches_of_its_own(
    queue: ProofQueue, verifier: Verifier
) -> None:
    await prove(queue, "good")
    await checks(ask(queue, "bad", 10, good=False))
    verifier.batches.clear()
    verifier.go.clear()
    tasks = ask(queue, "bad", 9, good=False) + ask(queue, "good", 9)
    await settle()
    verifier.go.set()
    assert await checks(tasks) == ["proof"] * 5 + ["busy"] * 4 + ["good"] * 9
    for batch in verifier.batches:
        scopes = {one.scope for one in batch}
        assert len(scopes) == 1
        assert scopes == {"good"} or len(batch) == 1


async def test_a_flood_fills_its_own_lane_alone(queue: ProofQueue, verifier: Verifier) -> None:
    await prove(queue, "good")
    verifier.go.clear()
    flood = ask(queue, "flood", 500, good=False)
    await settle()
    mine = ask(queue, "good", 20)
    stranger = ask(queue, "stranger", 1)
    await settle()
    verifier.go.set()
    assert await checks(mine) == ["good"] * 20
    assert await checks(stranger) == ["good"]
    outcome = await checks(flood)
    assert outcome.count("proof") <= 22
    assert outcome.count("busy") >= 478


async def test_a_flood_from_many_sources_fills_probation_alone(
    queue: ProofQueue, verifier: Verifier
) -> None:
    await prove(queue, "good")
    verifier.go.clear()
    flood = [task for n in range(200) for task in ask(queue, f"flood {n}", 1, good=False)]
    await settle()
    mine = ask(queue, "good", 20)
    await settle()
    verifier.go.set()
    assert await checks(mine) == ["good"] * 20
    assert (await checks(flood)).count("busy") >= 169


async def test_a_flood_leaves_a_proven_source_its_worker(verifier: Verifier) -> None:
    limits = QueueLimits(batch=8, waiting=64, probation=64, share=0.2)
    queue = ProofQueue(limits, verify=verifier, clock=lambda: verifier.now)
    try:
        await prove(queue, "good")
        verifier.cost = 0.01
        spent = {"good": 0, "bad": 0}
        mine: list[asyncio.Task[Any]] = []
        flood: list[asyncio.Task[Any]] = []
        for _ in range(200):
            mine += ask(queue, "good", 2)
            flood += ask(queue, "flood", 10, good=False)
            await settle()
            while not all(task.done() for task in mine):
                await asyncio.sleep(0)
            verifier.now += 0.001
        for batch in verifier.batches:
            for one in batch:
                spent[one.scope] += 1
        assert set(await checks(mine)) == {"good"}
        # Of the time that both wanted the worker, the flood had a twentieth and little more.
        share = spent["bad"] / (spent["good"] + spent["bad"])
        assert 0.02 < share <= 0.08
    finally:
        queue.close()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_a_new_source_does_not_wait_for_forgers(verifier: Verifier) -> None:
    limits = QueueLimits(batch=8, waiting=64, probation=256)
    queue = ProofQueue(limits, verify=verifier, clock=lambda: verifier.now)
    try:
        await prove(queue, "good")
        await checks(ask(queue, "flood", 20, good=False))
        verifier.cost = 0.01
        verifier.batches.clear()
        mine: list[asyncio.Task[Any]] = []
        new: list[asyncio.Task[Any]] = []
        flood: list[asyncio.Task[Any]] = []
        for number in range(400):
            mine += ask(queue, "good", 2)
            flood += ask(queue, "flood", 10, good=False)
            if number % 10 == 0:
                new += ask(queue, f"new {number}", 1)
            await settle()
            while not all(task.done() for task in mine):
                await asyncio.sleep(0)
            verifier.now += 0.001
        bad = sum(one.scope == "bad" for batch in verifier.batches for one in batch)
        assert bad <= 0.08 * sum(map(len, verifier.batches))
        # A newcomer in ten rounds, and a fifth of the time for them: none is left but the last.
        assert sum(task.done() for task in new) >= len(new) - 1
    finally:
        queue.close()
        await asyncio.gather(*flood, *new, return_exceptions=True)


async def test_who_forged_once_is_no_forger_for_long(verifier: Verifier) -> None:
    queue = ProofQueue(verify=verifier, clock=lambda: verifier.now)
    try:
        await prove(queue, "good")
        await checks(ask(queue, "relay", 6, good=False))
        lane = queue._lane("relay")
        assert lane.forges(verifier.now)
        assert not lane.forges(verifier.now + 120), "a verdict weighs half after two minutes"
        verifier.now += 5
        await prove(queue, "relay", 8)
        assert not lane.forges(verifier.now)
    finally:
        queue.close()


async def test_without_proven_sources_those_on_probation_have_the_worker(
    queue: ProofQueue, verifier: Verifier
) -> None:
    verifier.cost = 1.0
    assert await checks(ask(queue, "new", 12)) == ["good"] * 12


async def test_those_on_probation_have_their_turn_when_the_others_are_silent(
    verifier: Verifier,
) -> None:
    # On a real clock: nobody else comes to wake the queue.
    queue = ProofQueue(QueueLimits(share=0.5), verify=verifier)
    try:
        await prove(queue, "good")
        assert await checks(ask(queue, "new", 5)) == ["good"] * 5
    finally:
        queue.close()


async def test_what_was_given_up_is_not_verified(queue: ProofQueue, verifier: Verifier) -> None:
    await prove(queue, "a")
    verifier.batches.clear()
    verifier.go.clear()
    first = ask(queue, "a", 1)
    await settle()
    given_up, kept = ask(queue, "a", 5), ask(queue, "b", 1)
    await settle()
    for task in given_up:
        task.cancel()
    await settle()
    verifier.go.set()
    assert await checks(first + kept) == ["good"] * 2
    assert sum(len(batch) for batch in verifier.batches) == 2


async def test_an_error_of_the_verifier_reaches_all_who_wait(verifier: Verifier) -> None:
    def fail(claims: Sequence[Claimed]) -> list[VerifiedProof | AdmissionError]:
        raise InputError("no keys")

    queue = ProofQueue(verify=fail)
    try:
        with pytest.raises(InputError):
            await queue.verified(claim(), "a")
        with pytest.raises(InputError):  # and it goes on
            await queue.verified(claim(), "a")
    finally:
        queue.close()


async def test_who_waits_when_it_closes_is_told(queue: ProofQueue, verifier: Verifier) -> None:
    verifier.go.clear()
    tasks = ask(queue, "a", 3)
    await settle()
    verifier.go.set()
    queue.close()
    assert (await checks(tasks)).count("busy") >= 2


async def test_sources_are_forgotten_beyond_a_number(
    queue: ProofQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privity.anon.proof_queue._MOST_SOURCES", 10)
    for number in range(50):
        await queue.verified(claim(), f"source {number}")
    assert len(queue._sources) == 10


@pytest.mark.parametrize(
    "bad",
    [
        {"batch": 0},
        {"waiting": 0},
        {"probation": 0},
        {"share": 0.0},
        {"share": 1.1},
        {"forged": 0.0},
    ],
)
async def test_impossible_limits_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        QueueLimits(**bad)
