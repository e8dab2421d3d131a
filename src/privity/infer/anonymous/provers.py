"""What makes the proofs of queries: this device, or an edge node that the person chose.

A device that can spare a second needs no other. Where there is one, the witness goes to an attested
enclave alone (`edge_prover`); nothing is spent by a proof that does not come, as nothing of a
request leaves before it has one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import anyio
from anyio import to_thread

from privity.anon.query import Opening, QueryProof, prove_query, warm_query
from privity.anon.vocabulary import Vocabulary
from privity.errors import PeerError, PrivityError, SealError, StaleKeyError

__all__ = ["LIMIT_S", "DeviceProver", "OffloadedProver", "QueryProver"]

LIMIT_S = 45.0
"""Seconds that an edge node has in all: to be found, verified and asked, twice if need be.

A request is sealed with its date, a whole minute, before it is proved, and a gateway takes dates of
the last 300 s. So of 240 s this leaves more than 180 to what stands in, which takes seconds, and to
the way.
"""

_REST_S = 120.0


class QueryProver(Protocol):
    """Makes proofs."""

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        """Return a proof; raises as `privity.anon.query.prove_query`, and where it is not made."""

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None:
        """Get ready for a bucket, as far as this device has part in it; raises `PrivityError`."""

    async def aclose(self) -> None:
        """Close what it uses."""


class DeviceProver:
    """Proves on this device: about a second of one core, on a thread."""

    def __init__(self) -> None:
        self._warm: set[tuple[bytes, int]] = set()
        self._warming = anyio.Lock()

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None:
        """Make a bucket's keys, once: two threads would each take the time."""
        async with self._warming:
            if (vocabulary.digest, bucket) not in self._warm:
                await to_thread.run_sync(partial(warm_query, vocabulary, bucket, proving=True))
                self._warm.add((vocabulary.digest, bucket))

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        """Return a proof; raises as `privity.anon.query.prove_query`."""
        await self.warm(vocabulary, bucket)
        proving = partial(
            prove_query,
            tokens,
            vocabulary=vocabulary,
            bucket=bucket,
            digest=digest,
            opening=opening,
        )
        return await to_thread.run_sync(proving)

    async def aclose(self) -> None:
        """Nothing is open."""


class OffloadedProver:
    """Has an edge node prove: found and verified when it is needed, and again when that ages.

    Args:
        find: finds and verifies the node; returns what asks it.
        max_age: seconds a verification is used.
        otherwise: proves where the node does not, and in its stead for two minutes after it
            failed; None where the person did not allow it.
        clock: seconds, monotonic.

    Guarantees:
        Where the node fails or lies there is an error, and no proof made elsewhere but by
        ``otherwise`` (tests/unit/test_offloaded_prover.py). However slow the node is, the request
        is still young enough to be served (tests/adversary/test_slow_prover.py).
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[QueryProver]],
        *,
        max_age: float,
        otherwise: QueryProver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._max_age = max_age
        self._otherwise = otherwise
        self._clock = clock
        self._edge: QueryProver | None = None
        self._found_at = 0.0
        self._resting_until = 0.0
        self._finding = anyio.Lock()

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None:
        """Do nothing: the node has its keys, and what stands in for it makes them in need."""

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        """Return the proof that the node makes, or what stands in for it.

        Raises:
            InputError: the tokens are not well formed.
            EvidenceError: the node's statement does not verify.
            PolicyRefusal: it may not have the tokens.
            PeerError: it cannot be reached, or what it made is no proof of these tokens.
        """

        async def made(prover: QueryProver) -> QueryProof:
            return await prover.prove(
                tokens, vocabulary=vocabulary, bucket=bucket, digest=digest, opening=opening
            )

        if self._otherwise is not None and self._clock() < self._resting_until:
            return await made(self._otherwise)
        try:
            with anyio.fail_after(LIMIT_S):
                return await self._by_edge(made)
        except (PrivityError, TimeoutError) as error:
            self._edge, self._resting_until = None, self._clock() + _REST_S
            if self._otherwise is not None:
                return await made(self._otherwise)
            raise _told(error) from error

    async def _by_edge(self, made: Callable[[QueryProver], Awaitable[QueryProof]]) -> QueryProof:
        try:
            return await made(await self._current())
        except StaleKeyError:  # it was started again: once more, verified anew
            self._edge = None
            return await made(await self._current())

    async def aclose(self) -> None:
        """Forget the node, and close the connections to it."""
        edge, self._edge = self._edge, None
        if edge is not None:
            await edge.aclose()

    async def _current(self) -> QueryProver:
        async with self._finding:
            edge = self._edge
            if edge is None or self._clock() - self._found_at >= self._max_age:
                # Its age counts from before it was asked: never flattering.
                began = self._clock()
                edge = await self._find()
                # One that it replaces may still be asked; it holds no connection open.
                self._edge, self._found_at = edge, began
            return edge


def _told(error: PrivityError | TimeoutError) -> PrivityError:
    """Return what a person is told: nothing was spent, and what they can do."""
    if isinstance(error, PrivityError) and not isinstance(error, PeerError | SealError):
        return error
    why = error.message if isinstance(error, PrivityError) else f"none came in {LIMIT_S:g} seconds"
    return PeerError(
        f"the edge prover made no proof, and nothing was spent: {why}",
        hint="see whether `privity serve prover` runs there; or take `prover` out of [anonymous], "
        "or add `prover_fallback = true`, to prove on this device",
    )
