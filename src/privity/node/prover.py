"""Proofs of queries made elsewhere: an attested enclave on an edge node of the person's choosing.

A proof needs the tokens: whoever computes it, or any useful part of it, learns them, unless the
witness is shared among several provers who do not collude, which this kernel does not do
(docs/decisions/0005-proved-queries.md). So the heavy part goes to nobody but an `AttestedEnclave`,
sealed to its keys. A device that can spare a second needs none of this.

`ProverApp` is mounted inside the seal (`privity.seal.gateway.Gateway`); `EdgeProver` is its client.
Both ends are privity's, so the format is canonical JSON, and nothing of it is logged or kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import httpx
from anyio import to_thread

from privity.anon.query import (
    Opening,
    QueryProof,
    make_proof,
    query_context,
    verify_query,
)
from privity.anon.query_opening import OpenedQuery, check_opening
from privity.anon.vocabulary import BUCKETS, Vocabulary
from privity.attested import AttestedEnclave
from privity.errors import (
    AdmissionError,
    EvidenceError,
    InputError,
    MalformedError,
    OversizeError,
    PeerError,
)
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url
from privity.seal.asgi import (
    Receive,
    Scope,
    Send,
    answer,
    answer_lifespan,
    read_body,
    refuse_websocket,
)
from privity.seal.transport import FixedKeys, SealedTransport

__all__ = ["PROVER_PATH", "EdgeProver", "ProverApp"]

PROVER_PATH = "/v1/query-proofs"
"""Where a prover takes witnesses, inside its seal."""

_MAX_BODY = 64 << 10
_MAX_PROOF = 8192
_WITHIN_S = 30.0
_WAIT_S = 120.0
_BYTES = [(b"content-type", b"application/octet-stream")]
_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


class ProverApp:
    """Makes proofs for whoever asks inside the seal. Run by an enclave.

    Args:
        vocabularies: the ones it proves in; keys are made for no other, so that nobody can have it
            make keys without end.
        at_once: proofs at one time; more wait.

    Guarantees:
        It answers with the proof or with which part of the question was wrong, never with a token,
        and logs neither (tests/adversary/test_prover.py).
    """

    def __init__(self, vocabularies: Sequence[Vocabulary], *, at_once: int = 1) -> None:
        self._known = {one.digest: one for one in vocabularies}
        self._places = anyio.CapacityLimiter(at_once)

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
        else:
            await self._serve(receive, send)

    async def _serve(self, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, _MAX_BODY, _WITHIN_S)
            arguments = self._read(body)
            proof = await to_thread.run_sync(make_proof, *arguments, limiter=self._places)
        except OversizeError as error:
            await answer(send, 413, _TEXT, error.message.encode())
        except (InputError, MalformedError) as error:
            await answer(send, 400, _TEXT, error.message.encode())
        else:
            await answer(send, 200, _BYTES, proof)

    def _read(self, body: bytes) -> tuple[list[int], Vocabulary, int, bytes, bytes]:
        """Return the arguments of `make_proof`."""
        fields = Fields(loads_canonical(body, max_bytes=_MAX_BODY), "witness")
        blinding = fields.blob("blinding", least=32, most=32)
        bucket = fields.count("bucket", most=BUCKETS[-1])
        digest = fields.blob("request", least=32, most=32)
        tokens = fields.items("tokens", least=1, most=BUCKETS[-1])
        vocabulary = self._known.get(fields.blob("vocabulary", least=32, most=32))
        fields.done()
        if vocabulary is None:
            raise MalformedError("this prover does not prove in that vocabulary")
        if not all(type(token) is int for token in tokens):
            raise MalformedError("witness.tokens must be integers")
        return tokens, vocabulary, bucket, query_context(bucket, vocabulary, digest), blinding


class EdgeProver:
    """Has an attested enclave make proofs. Run by the client.

    Args:
        enclave: verified; there is no other way to name a prover.
        gateway_url: where its sealed requests are posted.
        inner: carries them; by default a pool of this prover's own.
        unsafe_dev: give the tokens to ``dev`` evidence too, which keeps them from nobody.

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
        unsafe_dev: bool = False,
    ) -> None:
        if enclave.dev and not unsafe_dev:
            raise EvidenceError(
                "the prover's evidence is of the kind dev, which keeps tokens from nobody",
                check="dev evidence",
            )
        keys = FixedKeys(
            enclave.keyset.ohttp, stale="the prover has other keys than it was verified with"
        )
        transport = SealedTransport(keys, gateway_url, inner=inner)
        self._http = httpx.AsyncClient(
            transport=transport, base_url="https://prover.invalid", timeout=_WAIT_S
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

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
            InputError: the tokens are not well formed.
            PeerError: the prover cannot be reached, or what it made is no proof of these tokens.
            SealError: the sealed path failed.
        """
        context = query_context(bucket, vocabulary, digest)
        witness = {
            "blinding": encode_base64url(opening.blinding),
            "bucket": bucket,
            "request": encode_base64url(digest),
            "tokens": list(tokens),
            "vocabulary": encode_base64url(vocabulary.digest),
        }
        made = await self._ask(witness)
        proof = QueryProof(bucket, vocabulary.digest, opening.tag(context, made), made)
        await to_thread.run_sync(_refuse_another, proof, vocabulary, digest, opening, tokens)
        return proof

    async def _ask(self, witness: dict[str, Any]) -> bytes:
        answered = await self._http.post(PROVER_PATH, content=canonical(witness))
        if answered.status_code == httpx.codes.BAD_REQUEST:
            raise InputError(f"the prover makes no proof: {answered.text[:200]}")
        if answered.status_code != httpx.codes.OK or len(answered.content) > _MAX_PROOF:
            raise PeerError(f"the prover answered {answered.status_code} in place of a proof")
        return answered.content


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
