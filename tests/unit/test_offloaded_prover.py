"""A device whose queries an edge node proves: when it is asked, and what a failure does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from privity.anon.query import Opening, QueryProof
from privity.anon.vocabulary import Vocabulary
from privity.errors import (
    EvidenceError,
    InputError,
    OpenError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    StaleKeyError,
)
from privity.infer.anonymous.provers import OffloadedProver

pytestmark = pytest.mark.anyio

VOCABULARY = Vocabulary(1000, (), "sha256:" + "00" * 32)
STALE = StaleKeyError("started again")


class Node:
    """Proves, or fails as it is told to; says in the proof who made it."""

    def __init__(self, name: str, *failures: PrivityError) -> None:
        self.name = name
        self.failures = list(failures)
        self.asked = 0
        self.closed = 0

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None:
        raise AssertionError("nothing is made ready ahead of need")

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return QueryProof(bucket, vocabulary.digest, bytes(32), self.name.encode())

    async def aclose(self) -> None:
        self.closed += 1


class Finding:
    """Finds the nodes it is given, one after the other."""

    def __init__(self, *found: Node | PrivityError) -> None:
        self.left = list(found)
        self.times = 0

    async def __call__(self) -> Node:
        self.times += 1
        one = self.left[0] if len(self.left) == 1 else self.left.pop(0)
        if isinstance(one, PrivityError):
            raise one
        return one


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def offloaded(
    find: Finding, here: Node | None = None, clock: Clock | None = None
) -> OffloadedProver:
    return OffloadedProver(find, max_age=300, otherwise=here, clock=clock or Clock())


async def made(prover: OffloadedProver) -> str:
    proof = await prover.prove(
        (1, 2), vocabulary=VOCABULARY, bucket=128, digest=bytes(32), opening=Opening(bytes(32))
    )
    return proof.proof.decode()


async def test_a_node_is_found_once_and_again_when_that_ages() -> None:
    find, clock = Finding(Node("edge")), Clock()
    prover = offloaded(find, clock=clock)
    await prover.warm(VOCABULARY, 128)
    assert find.times == 0, "nobody is asked before there is something to prove"
    for clock.now, times in ((0, 1), (299, 1), (300, 2)):
        assert await made(prover) == "edge"
        assert find.times == times


@pytest.mark.parametrize("error", [PeerError("it lies"), OpenError("altered")])
async def test_a_failure_says_that_nothing_was_spent(error: PrivityError) -> None:
    prover = offloaded(Finding(Node("edge", error)))
    with pytest.raises(PeerError, match="nothing was spent") as caught:
        await made(prover)
    assert error.message in caught.value.message
    assert "prover_fallback" in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [
        EvidenceError("not what it says", check="measurement"),
        PolicyRefusal("it may not have tokens", report={}),
        InputError("it proves in nothing of the kind"),
    ],
)
async def test_a_refusal_is_told_as_it_is(error: PrivityError) -> None:
    with pytest.raises(type(error)) as caught:
        await made(offloaded(Finding(error)))
    assert caught.value is error


async def test_this_device_stands_in_only_where_that_was_allowed() -> None:
    for failing in (Finding(PeerError("down")), Finding(Node("edge", PeerError("it lies")))):
        assert await made(offloaded(failing, Node("here"))) == "here"
    with pytest.raises(PeerError):
        await made(offloaded(Finding(PeerError("down"))))


async def test_a_node_that_failed_is_verified_again_before_it_is_asked_again() -> None:
    find = Finding(Node("first", PeerError("it broke")), Node("second"))
    prover = offloaded(find)
    with pytest.raises(PeerError):
        await made(prover)
    assert await made(prover) == "second"
    assert find.times == 2


async def test_a_node_that_failed_is_left_alone_for_a_while() -> None:
    """Where another stands in; else each request would wait for it in vain."""
    node, clock = Node("edge", PeerError("it broke")), Clock()
    prover = offloaded(Finding(node), Node("here"), clock)
    for clock.now, who, asked in ((0, "here", 1), (119, "here", 1), (120, "edge", 2)):
        assert await made(prover) == who
        assert node.asked == asked


async def test_a_node_that_was_started_again_is_found_again_once() -> None:
    find = Finding(Node("old", STALE), Node("new"))
    assert await made(offloaded(find)) == "new"
    find = Finding(Node("old", STALE), Node("liar", STALE), Node("new"))
    with pytest.raises(PeerError):
        await made(offloaded(find))
    assert find.times == 2


async def test_what_is_open_is_closed() -> None:
    node = Node("edge")
    prover = offloaded(Finding(node))
    await made(prover)
    await prover.aclose()
    await prover.aclose()
    assert node.closed == 1
