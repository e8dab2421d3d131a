"""The tokens of a whole exchange inside the seal: what a proved query is of, path by path.

Device and enclave call `tokens_of_exchange` on the same method, path and body. A job has the tokens
of what its model reads. All else, such as a question to the desk, has those of ``{}``: no model
reads anything of it, and its proof says nothing but that. Where the provider's vocabulary is not
known, or not on the device, those are `DeskTokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from privity.anon.vocabulary import DESK_TOKENS, DESK_VOCABULARY, Vocabulary
from privity.errors import InputError, MalformedError
from privity.identity.bounded_json import parse_object
from privity.identity.jcs import canonical
from privity.infer.engines.tokens import READ

__all__ = [
    "JOBS",
    "MOST_BESIDE",
    "MOST_BYTES",
    "DeskTokens",
    "ExchangeTokens",
    "is_job",
    "tokens_of_exchange",
]

JOBS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""The paths that can be proved: of others a model reads members that are not in `READ`."""

MOST_BYTES = 256 << 10
"""Most bytes of a job that can be proved; the largest bucket has 4,096 tokens."""

MOST_BESIDE = 1024
"""Most bytes of canonical JSON of what is beside `READ`, which no proof is of."""


class ExchangeTokens(Protocol):
    """Makes what a model reads into tokens: `tokens.RequestTokens`, or `DeskTokens`."""

    vocabulary: Vocabulary

    def of_request(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the tokens of what a model reads of a request; raises `InputError`."""


class DeskTokens:
    """The tokens of what no model reads, in the vocabulary of bytes: no model is needed for it."""

    vocabulary = DESK_VOCABULARY

    def of_request(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the tokens of ``{}``; raises `InputError` for anything else."""
        if body:
            raise InputError("a question to the desk holds nothing that a model reads")
        return DESK_TOKENS


def is_job(method: str, path: str) -> bool:
    """Tell whether a request is one that an engine answers."""
    return method == "POST" and path.startswith("/v1/")


def tokens_of_exchange(
    tokens: ExchangeTokens, method: str, path: str, body: bytes
) -> tuple[int, ...]:
    """Return the tokens that a proof of this request is of. Run by the client and the enclave.

    Raises:
        InputError: queries of this path cannot be proved, the vocabulary cannot spell it, or it
            has more than `MOST_BYTES`.
        MalformedError: the body is not a JSON object, or holds too much beside what is proved.

    Guarantees:
        Requests that differ in what the model reads of them have different tokens, but for at most
        `MOST_BESIDE` bytes (tests/unit/test_query_tokens.py).
    """
    if not is_job(method, path):
        return tokens.of_request({})
    if path not in JOBS:
        raise InputError(f"queries to {path} cannot be proved", hint=f"ask by {JOBS[0]}")
    request = _parsed(body)
    beside = {name: value for name, value in request.items() if name not in READ}
    if len(canonical(beside)) > MOST_BESIDE:
        raise MalformedError(f"a proved query has at most {MOST_BESIDE} bytes that no proof is of")
    return tokens.of_request(request)


def _parsed(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_BYTES:  # making tokens of a text takes hundreds of times its memory
        raise InputError(
            f"a proved query has at most {MOST_BYTES >> 10} KiB",
            hint="ask in fewer words, or a provider that wants no proof of its queries",
        )
    return parse_object(body)
