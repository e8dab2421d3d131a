"""The gateway's check of proved queries: many at once, on a thread beside the loop.

It is the ``query_check`` of an `AdmissionGateway`, so it sees only requests whose rate was
admitted: a garbage proof costs its maker a message of the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import anyio
from anyio import to_thread

from privity.anon.admission import AdmittedSignal
from privity.anon.query import (
    ClaimedQuery,
    QueryProof,
    VerifiedQuery,
    verify_queries,
    warm_query,
)
from privity.anon.vocabulary import BUCKETS, DESK_VOCABULARY, Vocabulary
from privity.errors import AdmissionError, InputError, MalformedError, OversizeError

__all__ = ["QueryGate"]

_BATCH = 32
_MOST_WAITING = 256


@dataclass(eq=False)
class _Waiting:
    claim: ClaimedQuery
    verdict: VerifiedQuery | AdmissionError | None = None


class QueryGate:
    """Demands a proved query of every request. Run by the gateway.

    A question to the enclave's desk, whose terms a device may not know yet, may be proved in
    `DESK_VOCABULARY` too. For a job that says no less than a proof of other tokens would, and the
    enclave refuses it.

    Args:
        vocabularies: those of the provider's models; a proof names one of them.
        buckets: the ones it takes.
        most_waiting: proofs that wait at one time; more are refused as ``busy``.

    Raises:
        InputError: there is no vocabulary, or a bucket is none.

    Guarantees:
        Every verdict is the one the proof would get alone; a request that goes away takes no other
        verdict with it (tests/adversary/test_query_gate.py).
    """

    def __init__(
        self,
        vocabularies: Sequence[Vocabulary],
        *,
        buckets: Sequence[int] = BUCKETS,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        if not vocabularies or not buckets or not set(buckets) <= set(BUCKETS):
            raise InputError("a query gate has a vocabulary, and buckets that exist")
        self._known = {
            (one.digest, bucket): one for one in vocabularies for bucket in sorted(buckets)
        }
        self._known[DESK_VOCABULARY.digest, BUCKETS[0]] = DESK_VOCABULARY
        self._most = most_waiting
        self._waiting: list[_Waiting] = []
        self._turn = anyio.Lock()

    async def warm(self) -> None:
        """Make the keys before the first request; some seconds, on a thread."""
        for (_, bucket), vocabulary in self._known.items():
            await to_thread.run_sync(partial(warm_query, vocabulary, bucket, proving=False))

    async def __call__(self, header: str | None, signal: AdmittedSignal) -> None:
        """Check the header of an admitted request.

        Raises:
            AdmissionError: ``check`` is ``busy`` where too many wait, else ``query``: there is no
                proof, it is malformed, of another vocabulary or bucket, or does not hold.
        """
        item = _Waiting(self._claim(header, signal.digest))
        if len(self._waiting) >= self._most:
            raise AdmissionError("too many query proofs wait to be verified", check="busy")
        self._waiting.append(item)
        try:
            async with self._turn:  # first come, first served: this one is at the front by then
                if item.verdict is None:
                    await self._settle()
        finally:
            if item in self._waiting:  # it went away before its turn
                self._waiting.remove(item)
        if not isinstance(item.verdict, VerifiedQuery):
            message = item.verdict.message if item.verdict else "the query proof was not verified"
            raise AdmissionError(message, check="query")

    async def _settle(self) -> None:
        """Verify whoever waits, this one among them."""
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        # A request that goes away meanwhile must not lose the others their verdicts.
        with anyio.CancelScope(shield=True):
            verdicts = await to_thread.run_sync(verify_queries, [item.claim for item in batch])
        for item, verdict in zip(batch, verdicts, strict=True):
            item.verdict = verdict

    def _claim(self, header: str | None, digest: bytes) -> ClaimedQuery:
        if header is None:
            raise AdmissionError("this provider wants a proof of each query", check="query")
        try:
            proof = QueryProof.from_header(header)
        except (MalformedError, OversizeError) as error:
            raise AdmissionError(error.message, check="query") from None
        vocabulary = self._known.get((proof.vocabulary, proof.bucket))
        if vocabulary is None:
            raise AdmissionError(
                "the query proof is of a vocabulary or a bucket that this provider does not take",
                check="query",
                hint="read the provider's vocabulary again",
            )
        return ClaimedQuery(proof, vocabulary, digest)
