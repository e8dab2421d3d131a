"""What a provider asks for a request, and where inside the seal credits are bought and returned.

The same document for everyone: the issuer's key in it must be the ledger's, or it is refused
(spec/credits.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from privity.anon.epochs import EPOCH_S
from privity.anon.query_terms import QueryTerms
from privity.anon.tariff import Tariff
from privity.errors import MalformedError, PaymentError, PeerError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url

__all__ = [
    "EXIT_PATH",
    "ISSUE_PATH",
    "MAX_BYTES",
    "RECOVER_PATH",
    "REFUND_TRAILER",
    "SPEND_HEADER",
    "TERMS_PATH",
    "PaymentTerms",
]

SPEND_HEADER = "privity-spend"
"""Header inside the seal that carries a request's spend, in base64url."""
REFUND_TRAILER = "privity-refund"
"""Sealed trailer that carries the blind refund, in base64url."""

TERMS_PATH = "/privity/payment"
"""Inside the seal: GET gives the `PaymentTerms`."""
ISSUE_PATH = "/privity/credits/issue"
"""Inside the seal: POST ``{deposit, request}`` gives ``{response}``."""
RECOVER_PATH = "/privity/credits/recover"
"""Inside the seal: POST ``{spend}`` gives ``{refund}`` of a spend whose answer never came."""
EXIT_PATH = "/privity/credits/exit"
"""Inside the seal: POST ``{spend, to}`` gives ``{amount, nonce, signature}`` for the ledger."""

MAX_BYTES = 1 << 16
"""Largest document of terms, in bytes of canonical JSON."""

_KEY_BYTES = 32


@dataclass(frozen=True)
class PaymentTerms:
    """What one provider asks.

    Attributes:
        issuer: the public key that its credits are signed with, 32 bytes.
        tariff: what a request costs, in credits.
        scope: what admission proofs are made for: the provider's account on the ledger.
        deployment: of the credits: the chain and its contract.
        epoch_s: seconds of one epoch of the rate limit.
        query: in what each request must be proved; None where no proof is asked for.
    """

    issuer: bytes
    tariff: Tariff
    scope: str
    epoch_s: int
    deployment: str
    query: QueryTerms | None = None

    def to_bytes(self) -> bytes:
        """Return the canonical JSON document."""
        query = {} if self.query is None else {"query": self.query.to_json()}
        return canonical(
            {
                **query,
                "deployment": self.deployment,
                "epoch_s": self.epoch_s,
                "issuer": encode_base64url(self.issuer),
                "scope": self.scope,
                "tariff": self.tariff.to_json(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> PaymentTerms:
        """Read what `to_bytes` writes; raises `MalformedError`."""
        if len(data) > MAX_BYTES:
            raise MalformedError(f"the terms of payment are larger than {MAX_BYTES} bytes")
        fields = Fields(loads_canonical(data), "terms of payment")
        terms = cls(
            fields.blob("issuer", least=_KEY_BYTES, most=_KEY_BYTES),
            Tariff.from_json(fields.object("tariff")),
            fields.text("scope"),
            fields.count("epoch_s", least=1, most=86400),
            fields.text("deployment"),
            QueryTerms.from_json(fields.object("query")) if "query" in fields else None,
        )
        fields.done()
        return terms

    def check_network(self, deployment: str, scope: str) -> None:
        """Refuse terms of another ledger, provider or epoch than requests are proved for.

        Args:
            deployment: the ledger's.
            scope: the account that the ledger names for the provider.

        Raises:
            PeerError: they are of another.
        """
        if self.deployment != deployment:
            raise PeerError("the enclave's credits are of another ledger")
        if self.scope.lower() != scope.lower():
            raise PeerError(
                "the enclave's terms are another provider's than the ledger names",
                hint="tell the provider: `scope` in payments.toml is the account that lists "
                "its gateways",
            )
        if self.epoch_s != EPOCH_S:
            raise PeerError(
                f"the enclave counts messages in epochs of {self.epoch_s} s, not {EPOCH_S:.0f}",
                hint="this software or the provider's is too old",
            )

    def check_issuer(self, on_ledger: bytes) -> None:
        """Refuse a key that is not the one on the ledger.

        A key made for one person would mark that person's credits among all others.

        Raises:
            PaymentError: check ``issuer``.
        """
        if self.issuer != on_ledger:
            raise PaymentError(
                "the issuer's key is not the one on the ledger",
                check="issuer",
                hint="nothing was bought or spent; tell the provider, and others who use it",
            )
