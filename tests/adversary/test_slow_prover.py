"""An edge prover that takes all the time it is given, and what is left for the request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import pytest

import virtual_time
from privity.anon.query import Opening, QueryProof
from privity.anon.vocabulary import Vocabulary
from privity.errors import PeerError, PrivityError, StaleKeyError
from privity.infer.anonymous.provers import LIMIT_S, OffloadedProver
from privity.seal.gateway import GatewayLimits

VOCABULARY = Vocabulary(1000, (), "sha256:" + "00" * 32)
MINUTE_S = 60  # sealed dates are whole minutes
SPARE_S = 120  # for a device that proves after all, and for the way


class Node:
    """Makes proofs, or fails as late as it may."""

    def __init__(self, *failures: PrivityError) -> None:
        self.failures = list(failures)

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None: ...

    async def aclose(self) -> None: ...

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        if self.failures:
            await anyio.sleep(LIMIT_S - 1)
            raise self.failures.pop(0)
        return QueryProof(bucket, vocabulary.digest, bytes(32), b"device")


async def made(here: Node | None) -> tuple[bytes, float]:
    """Return the proof that a device gets in the end, and the seconds that it took."""
    node = Node(StaleKeyError("started again"), PeerError("no proof"))

    async def find() -> Node:
        await anyio.sleep(LIMIT_S - 1)
        return node

    prover = OffloadedProver(find, max_age=300, otherwise=here)
    proof = await prover.prove(
        [1], vocabulary=VOCABULARY, bucket=128, digest=bytes(32), opening=Opening(bytes(32))
    )
    return proof.proof, asyncio.get_running_loop().time()


def test_a_slow_prover_leaves_a_request_young_enough_to_be_served() -> None:
    """The request was sealed, with its date, before the proof was asked for."""
    proof, seconds = virtual_time.run(made(Node()))
    assert proof == b"device"
    assert seconds < GatewayLimits().window_s - MINUTE_S - SPARE_S


def test_who_allowed_no_other_prover_is_told_in_the_same_time() -> None:
    async def told() -> float:
        with pytest.raises(PeerError, match="nothing was spent"):
            await made(None)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(told()) < GatewayLimits().window_s - MINUTE_S - SPARE_S
