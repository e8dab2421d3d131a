"""Forgers against who is new, and against a relay that one of its clients keeps on probation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from privity.anon.proof_queue import ProofQueue
from privity.errors import AdmissionError
from scripted_verifier import Verifier, ask, checks, claim, prove, settle

pytestmark = pytest.mark.anyio

ROUNDS = 350
KNOWN = 150  # rounds after which the forgers' record is known
FLOOD = 48  # forgeries a round

Tasks = list[asyncio.Task[Any]]
Ask = Callable[[int], Tasks]


async def busy(forgers: int, before: Callable[[ProofQueue], Any], honest: Ask | None) -> int:
    """Return how many of 200 honest proofs are refused beside a proven source and a flood.

    Args:
        forgers: addresses that the flood comes from; 0 for no flood.
        before: makes the honest source's record.
        honest: asks for its proofs in a round; None for a new source in each.
    """
    verifier, chance = Verifier(), random.Random(7)
    queue = ProofQueue(verify=verifier, clock=lambda: verifier.now)
    mine: Tasks = []
    others: Tasks = []
    try:
        await prove(queue, "proven")
        await before(queue)
        verifier.cost = 0.003
        for number in range(ROUNDS):
            good = ask(queue, "proven", 2)
            others += good
            turns = [f"forger {n % forgers}" for n in range(FLOOD if forgers else 0)]
            turns += ["honest"] if number >= KNOWN else []
            chance.shuffle(turns)
            for who in turns:
                if who != "honest":
                    others += ask(queue, who, 1, good=False)
                elif honest is None:
                    mine += ask(queue, f"new {number}", 1)
                else:
                    mine += ask(queue, "relay", 1)
                    others += honest(number)
            while not all(task.done() for task in good):
                await asyncio.sleep(0)
            verifier.now += 0.001
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(mine) == ROUNDS - KNOWN
        return (await checks([task for task in mine if task.done()])).count("busy")
    finally:
        for task in others + mine:
            task.cancel()
        await asyncio.gather(*others, *mine, return_exceptions=True)
        queue.close()


async def nothing(_: ProofQueue) -> None:
    """Leave the source without a record."""


@pytest.mark.parametrize("forgers", [6, 12])
async def test_forgers_leave_room_for_new_sources(forgers: int) -> None:
    assert await busy(forgers, nothing, None) <= 10


async def test_a_relay_that_one_client_forges_through_is_not_shut_out_by_a_flood() -> None:
    queues: list[ProofQueue] = []

    async def demoted(queue: ProofQueue) -> None:
        """Put a relay on probation, where it is no forger."""
        await prove(queue, "relay", 20)
        await checks(ask(queue, "relay", 4, good=False))
        assert queue._lane("relay").standing(queue._clock()) is False
        queues.append(queue)

    def forged(number: int) -> Tasks:
        return ask(queues[-1], "relay", 1, good=False) if number % 6 == 0 else []

    # It asks for more than a fifth of the worker, so that some are refused in any case.
    calm = await busy(0, demoted, forged)
    assert await busy(6, demoted, forged) <= calm + 20


async def test_a_machine_that_stopped_for_a_moment_leaves_no_lane_behind() -> None:
    verifier = Verifier()
    queue = ProofQueue(verify=verifier, clock=lambda: verifier.now)
    honest: Tasks = []
    try:
        await prove(queue, "proven")
        await checks(ask(queue, "relay", 20, good=False))
        await prove(queue, "proven")  # so that nobody is alone
        verifier.cost, verifier.now = 30.0, verifier.now + 5
        await prove(queue, "relay", 1)
        verifier.cost = 0.003
        await prove(queue, "proven", 1)
        honest = ask(queue, "relay", 1)
        waited = verifier.now
        while not honest[0].done() and verifier.now - waited < 60:
            await prove(queue, "proven", 1)  # one of another relay every half second
            verifier.now += 0.5
        assert honest[0].done()
    finally:
        queue.close()
        await asyncio.gather(*honest, return_exceptions=True)


async def test_who_found_room_before_a_slow_upload_is_not_refused_for_what_came_meanwhile() -> None:
    verifier = Verifier()
    queue = ProofQueue(verify=verifier, clock=lambda: verifier.now)
    others: Tasks = []
    try:
        await prove(queue, "proven")
        await checks(ask(queue, "relay", 20, good=False))
        verifier.go.clear()
        others += ask(queue, "proven", 1)  # it keeps the worker
        await settle()
        queue.check_room("relay")  # an honest client's head; its body takes a while
        others += ask(queue, "relay", 6, good=False)  # 4 forgeries wait, and two are refused
        await settle()
        with pytest.raises(AdmissionError, match="too many"):
            queue.check_room("relay")
        mine = asyncio.create_task(queue.verified(claim(True), "relay", had_room=True))
        await settle()
        assert not mine.done()
        verifier.go.set()
        async with asyncio.timeout(60):
            while not mine.done():
                verifier.now += 1
                await asyncio.sleep(0.001)
        assert (await checks([mine])) == ["good"]
    finally:
        verifier.go.set()
        queue.close()
        await asyncio.gather(*others, return_exceptions=True)


async def test_heads_alone_push_nobodys_record_out() -> None:
    verifier = Verifier()
    queue = ProofQueue(verify=verifier, clock=lambda: verifier.now)
    try:
        await prove(queue, "relay")
        for number in range(5000):
            queue.check_room(f"stranger {number}")
        assert queue._lane("relay").standing(queue._clock()) is None
    finally:
        queue.close()
