"""A verifier of proofs that says what it is told, for the tests of the queue before it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from privity.anon import rln
from privity.anon.proof_queue import ProofQueue
from privity.anon.rln import Claimed, Proof, VerifiedProof
from privity.errors import AdmissionError

__all__ = ["ZERO", "Verifier", "ask", "checks", "claim", "prove", "settle"]

ZERO: Any = bytes(32)


def claim(good: bool = True, tag: int = 0) -> Claimed:
    return Claimed(Proof(tag, bytes(128), ZERO, ZERO, ZERO), "good" if good else "bad", bytes(32))


class Verifier:
    """Says what each claim's scope says; stops where it is told to; takes the time it is told."""

    def __init__(self) -> None:
        self.batches: list[list[Claimed]] = []
        self.go = threading.Event()
        self.go.set()
        self.now = 0.0
        self.cost = 0.0  # seconds a claim, on this clock

    def __call__(self, claims: Sequence[Claimed]) -> list[VerifiedProof | AdmissionError]:
        self.batches.append(list(claims))
        assert self.go.wait(120)
        self.now += self.cost * len(claims)
        return [
            VerifiedProof(one.proof, one.scope, ZERO, mint=rln._MINT)
            if one.scope == "good"
            else AdmissionError("false", check="proof")
            for one in claims
        ]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def prove(queue: ProofQueue, source: str, times: int = 20) -> None:
    """Make a source a proven one."""
    for _ in range(times):
        await queue.verified(claim(), source)


def ask(queue: ProofQueue, source: str, count: int, good: bool = True) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(queue.verified(claim(good, n), source)) for n in range(count)]


async def checks(tasks: list[asyncio.Task[Any]]) -> list[str]:
    done = await asyncio.gather(*tasks, return_exceptions=True)
    return [one.check if isinstance(one, AdmissionError) else "good" for one in done]
