"""Floor 5: proofs of queries made for others, inside the seal of an attested enclave.

A proof needs the tokens, so the heavy part goes to nobody but measured code
(docs/decisions/0005-proved-queries.md). The client is `infer.anonymous.edge_prover.EdgeProver`;
`prover_role` runs this as a process. Nothing of a witness is logged or kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio
from anyio import to_thread

from privity.anon.query import make_proof, query_context, warm_query
from privity.anon.query_terms import QueryTerms
from privity.anon.query_witness import MAX_WITNESS, PROVER_PATH, QueryWitness
from privity.errors import InputError, MalformedError, OversizeError
from privity.seal.asgi import (
    Receive,
    Scope,
    Send,
    answer,
    answer_lifespan,
    read_body,
    refuse_websocket,
)

__all__ = ["ProverApp"]

_WITHIN_S = 30.0
_MOST_WAITING = 64
_BYTES = [(b"content-type", b"application/octet-stream")]
_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


class ProverApp:
    """Makes proofs for whoever asks inside the seal. Run by an enclave.

    Args:
        terms: in what it proves; keys are made for nothing else, so that nobody can have it make
            keys without end.
        at_once: proofs at one time; more wait.
        most_waiting: those that may wait; more are refused.

    Guarantees:
        It answers with the proof or with which part of the question was wrong, never with a token,
        and logs neither (tests/adversary/test_prover.py).
    """

    def __init__(
        self,
        terms: Sequence[QueryTerms],
        *,
        at_once: int = 1,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        if not terms:
            raise InputError("a prover has terms of queries to prove in")
        self._known = {
            (one.vocabulary.digest, bucket): one.vocabulary
            for one in terms
            for bucket in one.buckets
        }
        self._places = anyio.CapacityLimiter(at_once)
        self._most = at_once + most_waiting
        self._asked = 0

    async def warm(self) -> None:
        """Make the keys to prove with; seconds for each vocabulary, on a thread.

        Raises:
            MissingDependency: the native wheel is not installed.
        """
        for (_, bucket), vocabulary in self._known.items():
            await to_thread.run_sync(partial(warm_query, vocabulary, bucket, proving=True))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
        elif scope["type"] != "http":
            await refuse_websocket(send)
        elif scope["path"] != PROVER_PATH:
            await answer(send, 404, _TEXT, b"a prover serves " + PROVER_PATH.encode())
        elif scope["method"] != "POST":
            await answer(send, 405, [*_TEXT, (b"allow", b"POST")], b"a witness is posted")
        elif self._asked >= self._most:
            await answer(send, 503, _TEXT, b"too many proofs wait to be made")
        else:
            self._asked += 1
            try:
                await self._serve(receive, send)
            finally:
                self._asked -= 1

    async def _serve(self, receive: Receive, send: Send) -> None:
        try:
            witness = QueryWitness.from_bytes(await read_body(receive, MAX_WITNESS, _WITHIN_S))
            proof = await to_thread.run_sync(self._proof, witness, limiter=self._places)
        except OversizeError as error:
            await answer(send, 413, _TEXT, error.message.encode())
        except (InputError, MalformedError) as error:
            await answer(send, 400, _TEXT, error.message.encode())
        else:
            await answer(send, 200, _BYTES, proof)

    def _proof(self, witness: QueryWitness) -> bytes:
        vocabulary = self._known.get((witness.vocabulary, witness.bucket))
        if vocabulary is None:
            raise MalformedError("this prover does not prove in that vocabulary and bucket")
        context = query_context(witness.bucket, vocabulary, witness.digest)
        return make_proof(witness.tokens, vocabulary, witness.bucket, context, witness.blinding)
