"""The errors of the device daemon: their statuses and code words, in a body every client reads.

``{"error": {"message", "type", "param", "code", "hint"}}`` is OpenAI's; Anthropic's is the same
with ``"type": "error"`` beside it, and its event has a name. The clients of each take both. The
``type`` is ``privity_error`` for what privity says; an error that the engine itself answered is
passed on as it was.

Each status is what a client can act on: 4xx is for the caller to mend, 502 says that a peer
answered but what it answered may not be used, 503 that trying again later can help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from privity.infer.shapes.errors import own_error
from privity.infer.shapes.events import encode_event

__all__ = ["describe", "error_event", "error_status", "retry_headers", "should_retry"]

# The first that fits; the order is from the special to the general.
_KINDS: tuple[tuple[type[PrivityError], int, str], ...] = (
    (PolicyRefusal, 403, "policy_refused"),
    (InputError, 400, "bad_setting"),
    (OversizeError, 413, "too_large"),
    (TruncatedError, 502, "answer_truncated"),
    (StaleKeyError, 503, "enclave_restarted"),
    (ReplayError, 502, "replayed"),
    (OpenError, 502, "seal_broken"),
    (MalformedError, 502, "peer_malformed"),
    (SealError, 502, "seal_failed"),
    (EvidenceError, 502, "evidence_not_verified"),
    (ReceiptError, 502, "receipt_not_verified"),
    (AdmissionError, 403, "not_admitted"),
    (PaymentError, 402, "not_paid"),
    (PeerError, 502, "peer_unreachable"),
    (EngineError, 503, "engine_unavailable"),
    (MissingDependency, 503, "not_installed"),
)
# Sending the prompt again can help only where nothing was wrong with what came back.
_RETRY = (StaleKeyError, PeerError, EngineError)


def error_status(error: PrivityError) -> tuple[int, str]:
    """Return the HTTP status and the code word of an error."""
    if isinstance(error, AdmissionError) and error.check == "rate":
        return 429, "rate_limited"  # clients wait, and ask again by themselves
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return status, code
    return 500, "internal"


def should_retry(error: PrivityError) -> bool:
    """Tell a client that retries by itself whether to; a refusal stays one."""
    return isinstance(error, _RETRY) or error_status(error)[0] == 429


def retry_headers(error: PrivityError) -> list[tuple[bytes, bytes]]:
    """Return the header fields that tell a client whether to ask again, and when."""
    again = [(b"x-should-retry", b"true" if should_retry(error) else b"false")]
    if isinstance(error, AdmissionError) and error.retry_after_s is not None:
        again.append((b"retry-after", b"%d" % error.retry_after_s))
    return again


def describe(
    error: PrivityError,
    code: str | None = None,
    *,
    hinted: Callable[[str], str] = lambda hint: hint,
) -> bytes:
    """Return the JSON body for an error of privity's tree.

    Args:
        error: what went wrong.
        code: in place of the error's own.
        hinted: what is told in place of the error's hint.
    """
    more: dict[str, Any] = {}
    if isinstance(error, EvidenceError | ReceiptError):
        more["check"] = error.check
    if isinstance(error, PolicyRefusal):
        more["report"] = error.report
    return own_error(error.message, code or error_status(error)[1], hinted(error.hint), **more)


def error_event(error: PrivityError, *, hinted: Callable[[str], str] = lambda hint: hint) -> bytes:
    """Return the error as one server-sent event, for an answer that had already begun.

    The stock ``openai`` client raises ``openai.APIError`` for it, with the message and the code,
    and the stock ``anthropic`` client ``anthropic.APIStatusError``.

    Args:
        error: what went wrong.
        hinted: as for `describe`.
    """
    return encode_event(describe(error, hinted=hinted), b"error")
