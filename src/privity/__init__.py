"""privity: ask a model privately, and hold a receipt of who was privy to what.

::

    import privity

    answer = privity.ask("What is a zero-knowledge proof?", policy="dev")
    print(answer, answer.receipt_id)

    client = openai.OpenAI(
        base_url="http://enclave.privity/v1", api_key="unused", http_client=privity.http_client()
    )

Each request is verified, admitted by the policy, sealed, and receipted; where any of these fails,
one of the errors below is raised, as it is, through whatever client is above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from privity.errors import (
    AdmissionError,
    EngineError,
    EvidenceError,
    InputError,
    MalformedError,
    MissingDependency,
    OpenError,
    OversizeError,
    PaymentError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    ReceiptError,
    ReplayError,
    SealError,
    StaleKeyError,
    TruncatedError,
)

if TYPE_CHECKING:
    from privity.infer.client import (
        Answer,
        AnswerStream,
        ask,
        async_http_client,
        http_client,
        stream,
    )

__all__ = [
    "AdmissionError",
    "Answer",
    "AnswerStream",
    "EngineError",
    "EvidenceError",
    "InputError",
    "MalformedError",
    "MissingDependency",
    "OpenError",
    "OversizeError",
    "PaymentError",
    "PeerError",
    "PolicyRefusal",
    "PrivityError",
    "ReceiptError",
    "ReplayError",
    "SealError",
    "StaleKeyError",
    "TruncatedError",
    "ask",
    "async_http_client",
    "http_client",
    "stream",
]

_IN_CLIENT = frozenset(
    {"Answer", "AnswerStream", "ask", "async_http_client", "http_client", "stream"}
)


def __getattr__(name: str) -> Any:
    # On first use: importing privity, as every command does, loads no cryptography or network code.
    if name not in _IN_CLIENT:
        raise AttributeError(f"module 'privity' has no attribute {name!r}")
    from privity.infer import client

    value = globals()[name] = getattr(client, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
