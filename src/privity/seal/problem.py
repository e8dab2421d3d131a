"""What a gateway or a relay says when it cannot serve (RFC 9457 problems).

Each is a constant. The host of a gateway reads those outside the seal, so nothing in one depends on
anything that was decrypted; what the gateway learns from a plaintext is answered with those that
are only ever sent inside it. The client turns a problem back into the error a caller can act on
with `refusal`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from privity.errors import (
    AdmissionError,
    MalformedError,
    OpenError,
    OversizeError,
    PeerError,
    ReplayError,
    SealError,
    StaleKeyError,
)

__all__ = [
    "ADMISSION",
    "ADMISSION_CHECKS",
    "INSIDE_HEADER",
    "MEDIA_TYPE",
    "AdmissionCheck",
    "Problem",
    "Refused",
    "refusal",
]

MEDIA_TYPE = "application/problem+json"

INSIDE_HEADER = b"privity-problem"
"""Field of a sealed response that the gateway wrote itself, in place of the application."""

_IANA = "https://iana.org/assignments/http-problem-types"
_OURS = "urn:privity:problem:"

ADMISSION = f"{_OURS}admission:"
"""Before the name of the check at which a gateway did not admit a request."""


@dataclass(frozen=True)
class Problem:
    """One constant answer, outside the seal or inside it.

    Attributes:
        status: HTTP status code.
        kind: the problem type, a URI.
        title: what it means, for people.
    """

    status: int
    kind: str
    title: str

    @property
    def body(self) -> bytes:
        """The ``application/problem+json`` document."""
        return json.dumps({"type": self.kind, "title": self.title, "status": self.status}).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields to send with `body`."""
        return [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
        ]


class Refused(Exception):
    """Raised where a request is refused, to be answered outside the seal with `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem


# From the gateway, outside the seal. The type is the one registered by RFC 9458 §5.3.
STALE_KEY = Problem(400, f"{_IANA}#ohttp-key", "key identifier unknown")
UNOPENABLE = Problem(400, f"{_OURS}unopenable", "the sealed request does not open")
REPLAYED = Problem(409, f"{_OURS}replayed", "this sealed request was served before")
OVERSIZE = Problem(413, f"{_OURS}oversize", "the sealed request is too large")
NOT_SEALED = Problem(415, f"{_OURS}not-sealed", "only sealed requests are served here")
BUSY = Problem(503, f"{_OURS}busy", "at the limit of requests at one time")
NO_METHOD = Problem(405, f"{_OURS}method", "method not allowed")
NOT_FOUND = Problem(404, f"{_OURS}not-found", "nothing is served here")
# From the gateway, only ever inside the seal, because they depend on what was decrypted. The type
# of the first is the one registered by RFC 9458 §6.5.1.
DATE = Problem(400, f"{_IANA}#date", "date not acceptable")
MALFORMED = Problem(400, f"{_OURS}malformed", "what was sealed is not a Binary HTTP request")
FIELDS = Problem(431, f"{_OURS}fields", "the header fields of the sealed request are too large")
FAILED = Problem(500, f"{_OURS}failed", "the application inside the seal failed")
UNSTREAMED = Problem(500, f"{_OURS}unstreamed", "the response is too large for an unchunked seal")
# From the relay alone.
NO_TARGET = Problem(404, f"{_OURS}no-target", "the relay knows no such gateway")
UNREACHABLE = Problem(502, f"{_OURS}unreachable", "the relay could not reach the gateway")
SLOW = Problem(504, f"{_OURS}slow", "too little was sent for longer than is waited for")
# From the relay before the gateway would say the same, so that nothing else passes in its fields.
UNADMITTABLE = Problem(400, f"{ADMISSION}malformed", "the admission field is not one")


_REFUSALS: dict[str, Callable[[], SealError | PeerError]] = {
    STALE_KEY.kind: lambda: StaleKeyError(
        "the gateway no longer holds the key this request was sealed to",
        hint="fetch and verify its statement again, then retry",
    ),
    UNOPENABLE.kind: lambda: OpenError(
        "the gateway could not open the request: altered on the way, or sealed to another key",
        hint="retry; if it happens again, the relay or the network alters what you send",
    ),
    REPLAYED.kind: lambda: ReplayError(
        "the gateway has served this sealed request before, so something on the way sent it twice",
        hint="ask again: every new request is sealed afresh",
    ),
    OVERSIZE.kind: lambda: OversizeError("the request is larger than the relay or gateway accepts"),
    BUSY.kind: lambda: PeerError(
        "the relay or gateway is at its limit of requests", hint="try again in a moment"
    ),
    DATE.kind: lambda: PeerError(
        "the clock of this device and that of the gateway are too far apart",
        hint="set this device's clock",
    ),
    MALFORMED.kind: lambda: MalformedError("the gateway could not parse what was sealed to it"),
    FIELDS.kind: lambda: OversizeError(
        "the header fields of the request are larger than the gateway accepts"
    ),
    UNSTREAMED.kind: lambda: OversizeError(
        "the response is too large to be sealed as a whole", hint="ask in chunked Oblivious HTTP"
    ),
    NO_TARGET.kind: lambda: PeerError(
        "the relay does not forward to this gateway", hint="check the relay's URL"
    ),
    NOT_FOUND.kind: lambda: PeerError(
        "no gateway is served at this URL", hint="check the relay's or gateway's URL"
    ),
    UNREACHABLE.kind: lambda: PeerError(
        "the relay could not reach the gateway", hint="is the enclave running?"
    ),
    SLOW.kind: lambda: PeerError("too little was sent for longer than is waited for"),
}


_ADMISSION_CHECK = re.compile(re.escape(ADMISSION) + r"([a-z][a-z-]{0,31})")


@dataclass(frozen=True)
class AdmissionCheck:
    """What a gateway answers where one check of admission fails, and what the client makes of it.

    Attributes:
        status: HTTP status code.
        title: what the gateway says.
        why: why the request was not admitted, for the person who asked.
        hint: what they can do.
    """

    status: int
    title: str
    why: str
    hint: str


ADMISSION_CHECKS = {
    "missing": AdmissionCheck(
        403,
        "the request carries no proof of membership",
        "it carries no proof of membership",
        "join the membership, then ask again",
    ),
    "malformed": AdmissionCheck(
        400,
        "the proof of membership is malformed",
        "its proof of membership is not one",
        "this software may be too old",
    ),
    "epoch": AdmissionCheck(
        403,
        "the proof is of another epoch",
        "its proof is of another time",
        "set this device's clock, then ask again",
    ),
    "root": AdmissionCheck(
        403,
        "the proof is of a list of members that is not among the last ones",
        "the gateway does not know the list of members it is proved for: too old, or newer "
        "than it has read",
        "ask again in a moment; the ledger is read anew",
    ),
    "proof": AdmissionCheck(
        403,
        "the proof does not hold for this request",
        "its proof of membership does not verify",
        "read the ledger again, then retry",
    ),
    "duplicate": AdmissionCheck(
        409,
        "this request was admitted before",
        "it was admitted once before",
        "ask again: every request is proved afresh",
    ),
    "double-signal": AdmissionCheck(
        409,
        "another request used the same message of this epoch",
        "another request used the same message number, which reveals a stake's secret",
        "use one wallet in one place: two copies of it slash each other",
    ),
    "busy": AdmissionCheck(
        503,
        "too many proofs to verify",
        "the gateway has too many proofs to check",
        "try again in a moment",
    ),
    "query": AdmissionCheck(
        403,
        "the proof of what is asked does not hold",
        "the provider wants a proof of what is asked, and there is none that it accepts",
        "ask again: the provider may have changed what it takes; [anonymous] tokenizers has to "
        "name the tokenizer of the model",
    ),
}
"""Every check at which a gateway does not admit a request (spec/admission.md)."""


def refusal(status: int, media_type: str, body: bytes) -> SealError | PeerError | AdmissionError:
    """Return the error that stands for an answer outside the seal. Run by the client.

    The text of the answer is not repeated: whoever wrote it is not trusted, only its type is read.

    Args:
        status: HTTP status code of the outer answer.
        media_type: its content type, with or without parameters.
        body: its body, or the first kilobytes of it.
    """
    kind = None
    if media_type.partition(";")[0].strip().lower() == MEDIA_TYPE:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        kind = document.get("type") if isinstance(document, dict) else None
    if isinstance(kind, str) and kind in _REFUSALS:
        return _REFUSALS[kind]()
    if isinstance(kind, str) and (found := _ADMISSION_CHECK.fullmatch(kind)):
        return _not_admitted(found[1])
    if status == 413:
        return _REFUSALS[OVERSIZE.kind]()
    return PeerError(
        f"the relay or gateway answered outside the protocol (HTTP {status}, no sealed response)",
        hint="check that the URL is that of a relay or gateway",
    )


def _not_admitted(check: str) -> AdmissionError:
    found = ADMISSION_CHECKS.get(check)
    why = "the gateway refused it before it was opened" if found is None else found.why
    hint = "" if found is None else found.hint
    return AdmissionError(f"the request was not admitted: {why}", check=check, hint=hint)
