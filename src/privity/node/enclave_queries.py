"""Floor 5: the enclave compares a job's proof with the prompt it opened, before the engine has it.

The gateway took the proof for some tokens, without reading. Here are the prompt, the opening that
was sealed with it, and the proof as it arrived outside: a job goes on where all three agree. Where
they do not, the answer is a refusal, inside the seal, with evidence signed by the receipt key; it
says whether who sealed the request made the proof (`privity.anon.query_opening`).

`SealedRequests` stands before the seal's gateway and notes what arrived; `QueryMiddleware` stands
before the engine. What no model reads, such as a question to the desk, is not looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial

from anyio import to_thread

from privity.anon.query import (
    QUERY_OPENING_HEADER,
    Opening,
    QueryProof,
    verify_query,
    warm_query,
)
from privity.anon.query_opening import Mismatch, OpenedQuery, check_opening
from privity.anon.query_terms import QueryTerms
from privity.errors import AdmissionError, InputError, MalformedError, OversizeError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import Clock, utc_now
from privity.infer.engines.isolation import MAX_REQUEST
from privity.infer.engines.query_tokens import is_job, tokens_of_exchange
from privity.infer.engines.tokens import RequestTokens, tokens_of_file
from privity.infer.engines.weights import Weights
from privity.node.refusal import refuse
from privity.seal.asgi import ASGIApp, Message, Receive, Scope, Send, read_body, replay
from privity.seal.fields import QUERY_PROOF

__all__ = ["EVIDENCE", "ProvedQueries", "QueryMiddleware", "SealedRequests"]

EVIDENCE = "evidence"
"""Member of a refusal's ``error`` with the signed credential; see `verify_mismatch`."""

_SEALED = "privity.sealed-request"
_OPENING = QUERY_OPENING_HEADER.encode()
_KIND = "query_error"
_WITHIN_S = 30.0


@dataclass(frozen=True)
class ProvedQueries:
    """What an enclave needs to look into proved queries.

    Attributes:
        terms: what it asks for.
        tokens: of the model it serves.

    Raises:
        InputError: the terms' vocabulary is another model's.
    """

    terms: QueryTerms
    tokens: RequestTokens = field(repr=False)

    def __post_init__(self) -> None:
        asked, served = self.terms.vocabulary, self.tokens.vocabulary
        if (asked.tokenizer, asked.size) != (served.tokenizer, served.size):
            raise InputError("the terms of queries are in the vocabulary of another model")

    @classmethod
    def of(cls, terms: QueryTerms, weights: Weights) -> ProvedQueries:
        """Return them for a file of weights.

        Raises:
            InputError: the file has no vocabulary that can be used, or another one.
            MissingDependency: the tokenizers library is not installed.
        """
        return cls(terms, tokens_of_file(weights))

    async def warm(self) -> None:
        """Make the keys to verify with; raises `MissingDependency` without the native wheel."""
        for bucket in self.terms.buckets:
            await to_thread.run_sync(
                partial(warm_query, self.terms.vocabulary, bucket, proving=False)
            )


class _SealedRequest:
    """What arrived outside the seal: the proof, and the digest of all bytes."""

    def __init__(self, proofs: list[bytes], receive: Receive) -> None:
        self._proofs = proofs
        self._receive = receive
        self._hash = hashlib.sha256()
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._ended:
            self._hash.update(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        return message

    def claim(self) -> tuple[str, bytes]:
        """Return the header and the digest; raises `AdmissionError` where there is no one proof."""
        if len(self._proofs) != 1 or not self._ended:
            raise _missing()
        return self._proofs[0].decode("latin-1"), self._hash.digest()


class SealedRequests:
    """Notes of each request what arrived outside the seal. Run by the enclave.

    Args:
        gateway: opens the seal; what it serves inside shares the state of the scope.
    """

    def __init__(self, gateway: ASGIApp) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._gateway(scope, receive, send)
            return
        proofs = [value for name, value in scope["headers"] if name == QUERY_PROOF]
        sealed = _SealedRequest(proofs, receive)
        state = {**scope.get("state", {}), _SEALED: sealed}
        await self._gateway({**scope, "state": state}, sealed.receive, send)


class QueryMiddleware:
    """Lets jobs through to ``app`` whose proof is of their own prompt. Run by the enclave.

    Args:
        app: the engine.
        queries: what is asked for.
        key: signs evidence: the enclave's receipt key.
        clock: the enclave's time.

    Guarantees:
        No job reaches ``app`` whose tokens are not those that were proved
        (tests/adversary/test_enclave_queries.py). Nothing is logged, and evidence holds nothing of
        the prompt.
    """

    def __init__(
        self, app: ASGIApp, queries: ProvedQueries, key: SigningKey, *, clock: Clock = utc_now
    ) -> None:
        self._app = app
        self._queries = queries
        self._key = key
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if not is_job(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive, MAX_REQUEST, _WITHIN_S)
            opening, (header, digest) = _opening(scope), _sealed(scope).claim()
            found = await to_thread.run_sync(
                self._compared, header, digest, opening, scope["path"], body
            )
        except AdmissionError as error:
            await refuse(send, 403, error, kind=_KIND)
        except (InputError, MalformedError, OversizeError) as error:
            await refuse(send, 400, error, kind=_KIND, code="query")
        else:
            if isinstance(found, Mismatch):
                evidence = found.sign(self._key, at=self._clock())
                await refuse(send, 403, found.refusal(), kind=_KIND, more={EVIDENCE: evidence})
                return
            kept = [(name, value) for name, value in scope["headers"] if name != _OPENING]
            await self._app({**scope, "headers": kept}, replay(body, receive), send)

    def _compared(
        self, header: str, digest: bytes, opening: Opening, path: str, body: bytes
    ) -> OpenedQuery | Mismatch:
        """Compare proof, opening and prompt; some milliseconds, on a thread."""
        terms = self._queries.terms
        proof = QueryProof.from_header(header)
        if proof.bucket not in terms.buckets:
            raise AdmissionError("this provider takes no such bucket", check="query-vocabulary")
        query = verify_query(proof, vocabulary=terms.vocabulary, digest=digest)
        return check_opening(
            query, opening, tokens_of_exchange(self._queries.tokens, "POST", path, body)
        )


def _sealed(scope: Scope) -> _SealedRequest:
    found = scope.get("state", {}).get(_SEALED)
    if not isinstance(found, _SealedRequest):
        raise _missing()
    return found


def _opening(scope: Scope) -> Opening:
    values = [value for name, value in scope["headers"] if name == _OPENING]
    if len(values) != 1:
        raise _missing()
    return Opening.from_header(values[0].decode("latin-1"))


def _missing() -> AdmissionError:
    return AdmissionError(
        "this provider wants a proof of each query, and its opening inside the seal",
        check="query-missing",
    )
