"""Has an attested enclave on an edge node make proofs of queries.

A proof needs the tokens: whoever computes it, or any useful part of it, learns them, unless the
witness is shared among several provers who do not collude, which this kernel does not do
(docs/decisions/0005-proved-queries.md). So it goes to nobody but an `AttestedEnclave`, sealed to
its keys, and only where the policy lets such an enclave and its host learn the prompt as it does.
The role: `node.prover_role`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx
from anyio import to_thread

from privity.anon.query import Opening, QueryProof, query_context, verify_query
from privity.anon.query_opening import OpenedQuery, check_opening
from privity.anon.query_witness import PROVER_PATH, QueryWitness
from privity.anon.vocabulary import Vocabulary
from privity.attested import AttestedEnclave
from privity.disclosure import Asset, Disclosure, Party
from privity.errors import AdmissionError, EvidenceError, InputError, PeerError
from privity.home import home
from privity.infer.anonymous.makers import QueryMakers
from privity.infer.anonymous.provers import (
    LIMIT_S,
    DeviceProver,
    OffloadedProver,
    QueryProver,
)
from privity.infer.loopback import is_loopback
from privity.infer.peers import EnclavePeer, NetworkPeer
from privity.infer.routes.confidential import ConfidentialRoute, gateway_url
from privity.seal.connections import Connections
from privity.seal.transport import FixedKeys, SealedTransport, Shape

__all__ = ["Edge", "EdgeProver", "EdgeRoute", "configured_queries"]

_MAX_PROOF = 8192
_MAX_AGE_S = 300.0

Edge = Callable[[EnclavePeer, httpx.AsyncBaseTransport], Awaitable[ConfidentialRoute]]
"""Verifies an edge node, and asks the policy whether it may have tokens; raises `PrivityError`."""


@dataclass(frozen=True)
class EdgeRoute:
    """What a policy is asked before an edge node is given tokens: who learns the prompt by that.

    Attributes:
        inner: the verified node, and the way to it.
    """

    inner: ConfidentialRoute

    @property
    def name(self) -> str:
        """What a refusal calls it."""
        return "edge prover"

    @property
    def disclosure(self) -> Disclosure:
        """The prompt's cells. The person's address goes where they chose to connect."""
        table = self.inner.disclosure
        kept = (Party.ENCLAVE, Party.HOST)
        cells = {
            pair: cell
            for pair, cell in table.cells.items()
            if pair[0] in kept and pair[1] is Asset.PROMPT
        }
        return Disclosure(cells, {Party.ENCLAVE: table.labels.get(Party.ENCLAVE, frozenset())})

    @property
    def terms(self) -> None:
        """None: an enclave proves what it does."""


class EdgeProver:
    """Has an attested enclave make proofs. Run by the client.

    Args:
        enclave: verified; there is no other way to name a prover.
        gateway_url: where its sealed requests are posted.
        inner: carries them; by default a pool of this prover's own.
        shape: how what is sent is padded; None for the default.
        unsafe_dev: give the tokens to ``dev`` evidence too, which keeps them from nobody.
        limit_s: seconds for one proof, the way included.

    Raises:
        EvidenceError: ``check`` is ``dev evidence``: it is that, and was not accepted by name.

    Guarantees:
        Tokens leave sealed to the enclave's keys alone; what comes back is verified and opened
        before it is used (tests/adversary/test_prover.py).
    """

    def __init__(
        self,
        enclave: AttestedEnclave,
        gateway_url: str,
        *,
        inner: httpx.AsyncBaseTransport | None = None,
        shape: Shape | None = None,
        unsafe_dev: bool = False,
        limit_s: float = LIMIT_S,
    ) -> None:
        if enclave.dev and not unsafe_dev:
            raise EvidenceError(
                "the prover's evidence is of the kind dev, which keeps tokens from nobody",
                check="dev evidence",
            )
        keys = FixedKeys(
            enclave.keyset.ohttp, stale="the prover has other keys than it was verified with"
        )
        # Not a client of httpx's: that keeps cookies, by which a prover would know a device again.
        self._sealed = SealedTransport(keys, gateway_url, inner=inner, shape=shape)
        self._limit_s = limit_s

    async def warm(self, vocabulary: Vocabulary, bucket: int) -> None:
        """Do nothing: its keys are there."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sealed.aclose()

    async def prove(
        self,
        tokens: Sequence[int],
        *,
        vocabulary: Vocabulary,
        bucket: int,
        digest: bytes,
        opening: Opening,
    ) -> QueryProof:
        """Return the proof that `privity.anon.query.prove_query` would.

        The opening itself stays here: the prover gets the blinding derived from it, and cannot tag.

        Raises:
            InputError: the prover says that it proves nothing of the kind.
            PeerError: the prover cannot be reached, or what it made is no proof of these tokens.
            SealError: the sealed path failed.
        """
        context = query_context(bucket, vocabulary, digest)
        witness = QueryWitness(
            tuple(tokens), vocabulary.digest, bucket, digest, opening.blinding
        ).to_bytes()
        made = await self._ask(witness)
        proof = QueryProof(bucket, vocabulary.digest, opening.tag(context, made), made)
        await to_thread.run_sync(_refuse_another, proof, vocabulary, digest, opening, tokens)
        return proof

    async def _ask(self, witness: bytes) -> bytes:
        request = httpx.Request(
            "POST",
            f"https://prover.invalid{PROVER_PATH}",
            content=witness,
            extensions={"timeout": httpx.Timeout(self._limit_s).as_dict()},
        )
        try:
            with anyio.fail_after(self._limit_s):
                answered = await self._sealed.handle_async_request(request)
                try:
                    body = await _bounded(answered)
                finally:
                    await answered.aclose()
        except TimeoutError:
            raise PeerError(f"no proof came within {self._limit_s:g} seconds") from None
        if answered.status_code == httpx.codes.BAD_REQUEST:
            said = "".join(
                one for one in body[:200].decode("utf-8", "replace") if one.isprintable()
            )
            raise InputError(
                f"the edge prover refuses this query: {said}",
                hint="it has to be started with this provider's terms: `privity serve prover "
                "--query FILE`",
            )
        if answered.status_code != httpx.codes.OK:
            raise PeerError(f"the prover answered {answered.status_code} in place of a proof")
        return body


async def _bounded(answered: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answered.aiter_raw():  # nothing is unpacked
        body += piece
        if len(body) > _MAX_PROOF:
            raise PeerError("the prover answered with more than a proof has")
    return bytes(body)


def _refuse_another(
    proof: QueryProof,
    vocabulary: Vocabulary,
    digest: bytes,
    opening: Opening,
    tokens: Sequence[int],
) -> None:
    try:
        query = verify_query(proof, vocabulary=vocabulary, digest=digest)
    except AdmissionError:
        raise PeerError("what the prover made is no proof") from None
    if not isinstance(check_opening(query, opening, tokens), OpenedQuery):
        raise PeerError("what the prover made is a proof of other tokens")


def configured_queries(
    peer: NetworkPeer, connections: httpx.AsyncBaseTransport, edge: Edge | None
) -> QueryMakers:
    """Return what makes queries as the person configured it; nobody is asked anything yet.

    Args:
        peer: the settings.
        connections: what everything of this route leaves by; an edge node on this very machine is
            reached without it.
        edge: verifies the edge node.

    Raises:
        InputError: an edge node is configured, and nothing verifies it.
    """
    tokenizers = [home() / name for name in peer.tokenizers]
    if not peer.prover:
        return QueryMakers(tokenizers)
    if edge is None:
        raise InputError("an edge prover is configured, and nothing here verifies it")
    near = is_loopback(urlsplit(peer.prover).hostname or "")
    inner = Connections() if near else connections
    node = EnclavePeer(peer.prover)

    async def find() -> QueryProver:
        route = await edge(node, inner)
        # Whether dev evidence will do was the policy's to say.
        return EdgeProver(
            route.enclave, gateway_url(node), inner=inner, shape=route.shape, unsafe_dev=True
        )

    otherwise = DeviceProver() if peer.prover_fallback else None
    offloaded = OffloadedProver(find, max_age=_MAX_AGE_S, otherwise=otherwise)
    return QueryMakers(tokenizers, prover=offloaded, elsewhere=not near)
