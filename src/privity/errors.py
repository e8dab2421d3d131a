"""Floor 0: the one tree of errors.

::

    PrivityError
    ├── InputError             an argument, file or setting the person gave is wrong
    ├── SealError              the sealed path failed
    │   ├── MalformedError     bytes do not parse as what they should be
    │   ├── OpenError          authenticated decryption refused: wrong key or altered bytes
    │   ├── TruncatedError     the stream stopped before its authenticated end
    │   ├── OversizeError      a message is larger than its stated limit
    │   ├── ReplayError        this sealed request was already served
    │   └── StaleKeyError      the gateway no longer holds the key that was sealed to
    ├── EvidenceError          a statement or its evidence did not verify; `.check` names the check
    ├── ReceiptError           a receipt did not verify; `.check` names the check
    ├── PolicyRefusal          the route would disclose more than the policy allows
    ├── AdmissionError         a request was not admitted; `.check` names the check
    ├── PaymentError           a request was not paid for; `.check` names the check
    ├── EngineError            the model engine could not be started or could not answer
    ├── PeerError              another machine could not be reached, or answered wrongly
    └── MissingDependency      an optional part is not installed

A class exists only where a caller acts differently on it. The message says what went wrong and
why; ``hint`` says what to do. Neither ever carries a secret, a prompt or an answer.
"""

from __future__ import annotations

__all__ = [
    "AdmissionError",
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
]


class PrivityError(Exception):
    """Root of every error privity raises on purpose.

    Args:
        message: what went wrong and why, without secrets, prompts or answers.
        hint: what the person can do about it; empty where nothing helps.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(PrivityError):
    """An argument, a file or a setting the person gave is wrong."""


class SealError(PrivityError):
    """The sealed path failed; nothing that was received may be used."""


class MalformedError(SealError):
    """Bytes do not parse as the structure they should be."""


class OpenError(SealError):
    """Authenticated decryption refused: the wrong key, or bytes altered on the way."""


class TruncatedError(SealError):
    """The stream stopped before its authenticated end; what came so far is not the whole."""


class OversizeError(SealError):
    """A message is larger than the limit its receiver states."""


class ReplayError(SealError):
    """The same sealed request arrived a second time."""


class StaleKeyError(SealError):
    """The gateway does not hold the key configuration that was sealed to; fetch it again."""


class EvidenceError(PrivityError):
    """A statement, or the evidence in it, did not verify.

    Attributes:
        check: the name of the check that failed, as `privity receipts verify` prints it.
    """

    def __init__(self, message: str, *, check: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check


class ReceiptError(PrivityError):
    """A receipt did not verify.

    Attributes:
        check: the name of the check that failed, as `privity receipts verify` prints it.
    """

    def __init__(self, message: str, *, check: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check


class PolicyRefusal(PrivityError):
    """The route would disclose more than the policy allows; nothing was sent.

    Attributes:
        report: the refusal as JSON-ready data: the offending cells and the least change.
    """

    def __init__(self, message: str, *, report: dict[str, object], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.report = report


class AdmissionError(PrivityError):
    """A request was not admitted; it was not opened either.

    Attributes:
        check: the name of the check that failed, as the gateway's answer carries it.
        retry_after_s: whole seconds until it may be admitted; None where that is not known.
    """

    def __init__(
        self, message: str, *, check: str, hint: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.check = check
        self.retry_after_s = retry_after_s


class PaymentError(PrivityError):
    """A request was not paid for, or a credit is not what it claims to be; nothing was served.

    Attributes:
        check: the name of the check that failed.
    """

    def __init__(self, message: str, *, check: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check


class EngineError(PrivityError):
    """The model engine could not be started, or could not answer."""


class PeerError(PrivityError):
    """Another machine could not be reached, or answered outside the protocol."""


class MissingDependency(PrivityError):
    """An optional part is not installed; the hint says how to get it."""
