"""Proves queries on the device: the opening inside the seal, the proof over the sealed bytes.

For a provider that asks for it (`PaymentTerms.query`). The tokens are made here, of the very body
that is sealed, so the model's vocabulary has to be on the device (`makers`). Who computes the proof
is another matter (`provers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from anyio import to_thread

from privity.anon.query import QUERY_OPENING_HEADER, Opening
from privity.anon.query_terms import QueryTerms
from privity.errors import InputError
from privity.infer.anonymous.admitted import ProveQuery
from privity.infer.anonymous.provers import DeviceProver, QueryProver
from privity.infer.engines.query_tokens import ExchangeTokens, tokens_of_exchange

__all__ = ["ProvedTransport", "Query", "QueryMaker"]

_AHEAD = 2


@dataclass(frozen=True)
class Query:
    """One query that is about to be sealed.

    Attributes:
        opening: goes inside the seal.
        prove: returns the header that goes outside, for the digest of the sealed bytes. For one
            sealing alone.
    """

    opening: Opening
    prove: ProveQuery = field(repr=False)


class QueryMaker:
    """Makes queries in one provider's terms. Run by the device.

    Args:
        terms: the provider's.
        tokens: of the model they are of.
        prover: makes the proofs; this device by default.

    Raises:
        InputError: the provider's vocabulary is of another model than the one on this device.

    Guarantees:
        A prover that makes proofs elsewhere gets tokens, and never what tags them
        (tests/adversary/test_prover.py::test_a_prover_cannot_tag_for_the_client).
    """

    def __init__(
        self, terms: QueryTerms, tokens: ExchangeTokens, *, prover: QueryProver | None = None
    ) -> None:
        mine, theirs = tokens.vocabulary, terms.vocabulary
        if (mine.tokenizer, mine.size) != (theirs.tokenizer, theirs.size):
            raise InputError(
                "this provider wants queries proved in the vocabulary of a model that is not on "
                "this device",
                hint="see [anonymous] tokenizers in docs/how-to/configuration.md",
            )
        self._terms = terms
        self._tokens = tokens
        self._prover = prover or DeviceProver()

    async def warm(self) -> None:
        """Make the keys to prove with, the smallest first; about a second, on a thread.

        Those of the largest bucket take more seconds, and are made where it is asked for.
        """
        for bucket in self._terms.buckets[:_AHEAD]:
            await self._prover.warm(self._terms.vocabulary, bucket)

    async def check(self, request: httpx.Request) -> None:
        """Refuse what cannot be proved, before anything is done for it; raises as `begin`."""
        await self._measured(request)

    async def begin(self, request: httpx.Request) -> Query:
        """Return the query of a request.

        Raises:
            InputError: it is too long, cannot be proved, or its body is streamed.
            MalformedError: its body is not what can be proved.
        """
        tokens, bucket = await self._measured(request)
        opening = Opening.fresh()

        async def prove(digest: bytes) -> str:
            proof = await self._prover.prove(
                tokens,
                vocabulary=self._terms.vocabulary,
                bucket=bucket,
                digest=digest,
                opening=opening,
            )
            return proof.to_header()

        return Query(opening, prove)

    async def _measured(self, request: httpx.Request) -> tuple[tuple[int, ...], int]:
        if not isinstance(request.stream, httpx.ByteStream):
            raise InputError(
                "a query is proved over all of its bytes before the first one leaves",
                hint="send it with a content-length, and smaller",
            )
        body = await request.aread()
        tokens = await to_thread.run_sync(
            tokens_of_exchange, self._tokens, request.method, request.url.path, body
        )
        return tokens, self._terms.bucket_for(len(tokens))


class ProvedTransport(httpx.AsyncBaseTransport):
    """Proves each request. Run by the device, above the seal.

    Args:
        maker: makes its query.
        seal: returns what seals once, and asks for the proof below the seal.

    Guarantees:
        Each request has an opening of its own
        (tests/unit/test_proved_transport.py::test_what_is_sent_again_has_another_opening). Two
        proofs of one opening would show that their tokens are the same.
    """

    def __init__(
        self, maker: QueryMaker, seal: Callable[[ProveQuery], httpx.AsyncBaseTransport]
    ) -> None:
        self._maker = maker
        self._seal = seal

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` with its proof.

        Raises:
            InputError: it cannot be proved, or its body is streamed.
            MalformedError: its body is not what can be proved.
            PrivityError: as the transport below.
        """
        query = await self._maker.begin(request)
        request.headers[QUERY_OPENING_HEADER] = query.opening.to_header()
        return await self._seal(query.prove).handle_async_request(request)
