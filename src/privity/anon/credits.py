"""Anonymous credits: bought under a blind signature, spent without a name, the rest refunded blind.

A credit token is a signature of the issuer on a secret nullifier and an amount. A spend proves
that such a token exists and holds at least what is spent; it shows the nullifier, the amount
spent, and nothing else. The refund signs the rest, and what is given back, under a next nullifier
that the issuer does not see. Source: draft-schlesinger-cfrg-act; the crate
``anonymous-credit-tokens`` computes, amounts have 32 bits.

Two refunds of one spend sign the same next nullifier: whoever got both could spend one of them
(tests/adversary/test_credits.py::test_no_refund_is_paid_twice).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from privity.errors import InputError, MalformedError, PaymentError
from privity.hazmat.native import native

if TYPE_CHECKING:
    from types import ModuleType

    from privity_core import Act

__all__ = [
    "MAX_CREDITS",
    "REFUND_BYTES",
    "REQUEST_BYTES",
    "RESPONSE_BYTES",
    "SPEND_BYTES",
    "CreditTerms",
    "CreditToken",
    "Issuer",
    "IssuerKey",
    "PendingPurchase",
    "PendingSpend",
    "VerifiedSpend",
    "prepare_purchase",
]

MAX_CREDITS = 2**32 - 1
"""The most credits one token can hold."""
REQUEST_BYTES, RESPONSE_BYTES, SPEND_BYTES, REFUND_BYTES = 141, 211, 4919, 176
"""Bytes of the four messages; each has one size."""

_PUBLIC_BYTES = 32
_MAX_DEPLOYMENT = 128
_LABEL = b"privity/credits/v1"
_MALFORMED = frozenset({"request", "response", "spend", "refund"})
_MINT = object()

T = TypeVar("T")


@dataclass(frozen=True)
class CreditTerms:
    """Under what tokens are issued: both sides compute the same from public facts.

    Attributes:
        deployment: where they are bought, such as ``eip155-1-0x…``: the ledger's contract.
            1 to 128 characters of printable ASCII, no colon.
        public: the issuer's public key as the ledger shows it, 32 bytes.

    Raises:
        InputError: it cannot be a deployment, or no key.
    """

    deployment: str
    public: bytes

    def __post_init__(self) -> None:
        text = self.deployment
        if not 0 < len(text) <= _MAX_DEPLOYMENT or ":" in text or not _printable(text):
            raise InputError("a deployment is 1 to 128 printable ASCII characters without a colon")
        if len(self.public) != _PUBLIC_BYTES:
            raise InputError("an issuer's public key has 32 bytes")
        _called(lambda: _native().act_check_public(self.public))

    @property
    def context(self) -> bytes:
        """Return what every token under these terms carries in the clear, 32 bytes.

        A constant of deployment and key: the one field by which an issuer could mark tokens.
        """
        return _context(self.deployment, self.public)


@dataclass(frozen=True)
class IssuerKey:
    """The issuer's secret key. Whoever has it can make credits; it lives in the enclave.

    Attributes:
        secret: its encoding, 71 bytes; not shown.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> IssuerKey:
        """Return a new key."""
        return cls(_native().act_generate())

    @classmethod
    def load(cls, secret: bytes) -> IssuerKey:
        """Return the key that `secret` encodes; raises `InputError` for anything else."""
        key = cls(secret)
        _ = key.public
        return key

    @property
    def public(self) -> bytes:
        """Return the public key, 32 bytes."""
        public: bytes = _called(lambda: _native().act_public(self.secret))
        return public


@dataclass(frozen=True)
class VerifiedSpend:
    """A spend that proves credits of this issuer; `Issuer.verify_spend` alone makes these.

    It says nothing of whether the nullifier was used before: the desk does.

    Attributes:
        nullifier: 32 bytes, the same in every spend of one token.
        amount: credits spent, from 0.
        fingerprint: SHA-256 of the spend, 32 bytes.
        data: the spend itself.
    """

    nullifier: bytes
    amount: int
    fingerprint: bytes
    data: bytes = field(repr=False)
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("a VerifiedSpend comes from Issuer.verify_spend alone")

    def known_as(self, fingerprint: bytes) -> VerifiedSpend:
        """Return it under another fingerprint: the same credits for another purpose."""
        return VerifiedSpend(self.nullifier, self.amount, fingerprint, self.data, mint=_MINT)


class Issuer:
    """Issues credits, verifies spends and makes refunds. Run by the enclave.

    Args:
        key: its secret key.
        deployment: as in `CreditTerms`.
    """

    def __init__(self, key: IssuerKey, deployment: str) -> None:
        self._key = key
        self.terms = CreditTerms(deployment, key.public)
        self._act = _act(deployment)
        self._context = self.terms.context

    def issue(self, request: bytes, amount: int) -> bytes:
        """Return the answer to a blind request: ``amount`` credits.

        Requires:
            The amount was paid for exactly this request: the ledger's deposit names its digest.

        Raises:
            MalformedError: it is no request.
            PaymentError: check ``proof`` or ``amount``.
        """
        _check_amount(amount, least=1)
        return _called(lambda: self._act.issue(self._key.secret, request, amount, self._context))

    def verify_spend(self, data: bytes) -> VerifiedSpend:
        """Return a spend of credits of this issuer, under these terms.

        Raises:
            MalformedError: it is no spend.
            PaymentError: check ``proof``: its proof, its key or its context is wrong.
        """
        nullifier, amount, context = _called(lambda: self._act.verify(self._key.secret, data))
        if context != self._context:
            raise PaymentError("the credits were issued under other terms", check="proof")
        fingerprint = hashlib.sha256(data).digest()
        return VerifiedSpend(nullifier, amount, fingerprint, data, mint=_MINT)

    def refund(self, spend: VerifiedSpend, back: int) -> bytes:
        """Return the refund of a spend: its unspent rest, and ``back`` of what it spent.

        Requires:
            The nullifier is kept, durably and for this fingerprint, before it is called.

        Raises:
            PaymentError: check ``amount``: more than was spent.
        """
        _check_amount(back, most=spend.amount)
        return _called(lambda: self._act.refund(self._key.secret, spend.data, back))


@dataclass(frozen=True)
class CreditToken:
    """Credits, as only their holder has them; spent once.

    Attributes:
        terms: under which they were issued.
        balance: how many.
        secret: the token, 211 bytes; not shown.
    """

    terms: CreditTerms
    balance: int
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, terms: CreditTerms, secret: bytes) -> CreditToken:
        """Return the token that `secret` encodes; raises `InputError` for anything else."""
        _nullifier, balance, context = _called(lambda: _native().act_token(secret))
        if context != terms.context:
            raise PaymentError("the credits were issued under other terms", check="context")
        return cls(terms, balance, secret)

    @property
    def nullifier(self) -> bytes:
        """Return what every spend of it shows, 32 bytes."""
        nullifier: bytes = _called(lambda: _native().act_token(self.secret))[0]
        return nullifier

    def spend(self, amount: int) -> tuple[PendingSpend, bytes]:
        """Return what to keep, and the spend to send. Run by the device.

        Requires:
            What is kept is on disk before the spend leaves: without it the refund is worthless.

        Raises:
            PaymentError: check ``short``: it holds less.
        """
        _check_amount(amount)
        if amount > self.balance:
            raise PaymentError("this credit token holds less than the spend", check="short")
        state, data = _called(lambda: _act(self.terms.deployment).spend(self.secret, amount))
        return PendingSpend(self.terms, self.balance, amount, state, data), data


@dataclass(frozen=True)
class PendingPurchase:
    """A purchase that waits for its answer.

    Attributes:
        terms: under which it was asked for.
        amount: credits it has to bring.
        secret: private state, not shown.
        request: what was sent.
    """

    terms: CreditTerms
    amount: int
    secret: bytes = field(repr=False)
    request: bytes = field(repr=False)

    def complete(self, response: bytes) -> CreditToken:
        """Return the credits. Run by the device.

        Raises:
            MalformedError: it is no answer.
            PaymentError: check ``proof``: not this issuer's answer to this request; ``amount``:
                another amount; ``context``: a context that is not everybody's.
        """
        act = _act(self.terms.deployment)
        secret = _called(
            lambda: act.complete(self.secret, self.request, response, self.terms.public)
        )
        token = CreditToken.load(self.terms, secret)
        if token.balance != self.amount:
            raise PaymentError("the issuer gave another amount than was paid for", check="amount")
        return token


@dataclass(frozen=True)
class PendingSpend:
    """A spend that waits for its refund.

    Attributes:
        terms: of the token.
        before: the token's balance.
        amount: what was spent at most.
        secret: private state, not shown.
        data: what was sent.
    """

    terms: CreditTerms
    before: int
    amount: int
    secret: bytes = field(repr=False)
    data: bytes = field(repr=False)

    def complete(self, refund: bytes) -> CreditToken:
        """Return the next token. Run by the device.

        Raises:
            MalformedError: it is no refund.
            PaymentError: check ``proof``: not this issuer's refund of this spend; ``amount``.
        """
        act = _act(self.terms.deployment)
        secret = _called(
            lambda: act.complete_refund(self.secret, self.data, refund, self.terms.public)
        )
        token = CreditToken.load(self.terms, secret)
        if not self.before - self.amount <= token.balance <= self.before:
            raise PaymentError("a refund of more than was spent", check="amount")
        return token

    def charged(self, token: CreditToken) -> int:
        """Return what was kept, going by the token that the refund made."""
        return self.before - token.balance


def prepare_purchase(terms: CreditTerms, amount: int) -> tuple[PendingPurchase, bytes]:
    """Return what to keep, and the blind request to pay for. Run by the device.

    Args:
        terms: the issuer's, with the key that the ledger shows.
        amount: credits that are paid for.

    Raises:
        InputError: it is no amount of credits.
    """
    _check_amount(amount, least=1)
    state, request = _called(lambda: _act(terms.deployment).request())
    return PendingPurchase(terms, amount, state, request), request


def _native() -> ModuleType:
    return native("Act")


@lru_cache(maxsize=16)
def _act(deployment: str) -> Act:
    """Return the protocol under a deployment's parameters; computing them takes milliseconds."""
    act: Act = _native().Act("privity", "credits", deployment, "2026-11-01")
    return act


@lru_cache(maxsize=64)
def _context(deployment: str, public: bytes) -> bytes:
    uniform = hashlib.sha512(_LABEL + b"/context\0" + deployment.encode() + b"\0" + public).digest()
    context: bytes = _called(lambda: _native().act_context(uniform))
    return context


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _check_amount(amount: int, *, least: int = 0, most: int = MAX_CREDITS) -> None:
    if not least <= amount <= most:
        raise PaymentError(f"an amount of credits from {least} to {most} is needed", check="amount")


def _called(call: Callable[[], T]) -> T:
    """Call the native module, and say its errors in ours."""
    try:
        return call()
    except ValueError as error:
        reason = str(error)
    if reason in _MALFORMED:
        raise MalformedError(f"the credits' {reason} is not one")
    if reason in ("proof", "amount"):
        raise PaymentError(f"the credits' {reason} is wrong", check=reason)
    raise InputError(f"the credits' {reason} is not one")
