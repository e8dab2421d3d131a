"""A spend store in memory, that can be made to fail; and what tests of credits share."""

from __future__ import annotations

from collections.abc import Sequence

from privity.anon.credits import CreditToken, Issuer, IssuerKey, prepare_purchase
from privity.anon.stores import Began, Charged, Fresh, Standing, checked_settlement
from privity.errors import PeerError

DEPLOYMENT = "eip155-31337-0x0000000000000000000000000000000000000001"


class MemorySpends:
    """The spends of one issuer, kept in a dict.

    Attributes:
        fail_settle: how many settlements fail before one is kept.
    """

    def __init__(self) -> None:
        self.kept: dict[bytes, Standing] = {}
        self.fail_settle = 0

    async def begin(
        self, nullifier: bytes, fingerprint: bytes, held: int, *, lease_s: float, now: float
    ) -> Began:
        found = self.kept.get(nullifier)
        began = Fresh() if found is None else found.begun_again(fingerprint, now)
        if type(began).__name__ in ("Fresh", "Lapsed"):
            self.kept[nullifier] = Standing(fingerprint, held, now + lease_s, None, None)
        return began

    async def settle(
        self, nullifier: bytes, fingerprint: bytes, refund: bytes, charged: int
    ) -> bytes:
        if self.fail_settle:
            self.fail_settle -= 1
            raise PeerError("the store failed")
        found = checked_settlement(self.kept.get(nullifier), fingerprint, charged)
        if found.refund is None:
            found = Standing(fingerprint, found.held, found.until, refund, charged)
            self.kept[nullifier] = found
        assert found.refund is not None
        return found.refund

    async def charged_since(self, cursor: int, most: int) -> tuple[Sequence[Charged], int]:
        every = [(name, one.charged) for name, one in self.kept.items() if one.charged]
        return every[cursor : cursor + most], min(len(every), cursor + most)


def issuer(deployment: str = DEPLOYMENT) -> Issuer:
    """Return an issuer with a new key."""
    return Issuer(IssuerKey.generate(), deployment)


def token(of: Issuer, amount: int = 1000) -> CreditToken:
    """Return credits, bought of an issuer."""
    pending, request = prepare_purchase(of.terms, amount)
    return pending.complete(of.issue(request, amount))
