"""The credit desk: takes a spend once, before a job is served, and refunds it once. In the enclave.

::

    (never seen) --begin--> begun --settle(charged)--> settled: the refund is kept, and given again
                              |
                              +-- its lease is over --retry--> settled with nothing charged

A retry is known by its bytes: the same spend is the same request for money, another spend under
the same nullifier is a double spend. The store decides, atomically and durably, so the same holds
across all desks that share it (`privity.anon.stores`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from privity.anon.credits import Issuer, VerifiedSpend
from privity.anon.stores import Fresh, Lapsed, Running, Settled, SpendStore, Taken
from privity.errors import PaymentError

__all__ = ["LEASE_S", "CreditDesk", "OpenJob", "SettledBefore"]

LEASE_S = 900.0
"""Seconds a job may take; after them its spend is refunded whole, and never served again."""

_EXIT = b"privity/credits/exit/v1\0"


@dataclass(frozen=True)
class SettledBefore:
    """The spend was settled already; nothing is served for it again.

    Attributes:
        refund: what was given back, to be given again.
        charged: credits that were kept.
    """

    refund: bytes = field(repr=False)
    charged: int


class OpenJob:
    """A spend that is begun: a job may be served for it until its lease ends.

    Attributes:
        held: credits it spends at most.

    Requires:
        Whoever serves stops when the lease ends: after it the spend is refunded whole to whoever
        asks with it, and never served again.
    """

    def __init__(self, desk: CreditDesk, spend: VerifiedSpend) -> None:
        self.held = spend.amount
        self._desk = desk
        self._spend = spend

    async def settle(self, charged: int) -> bytes:
        """Keep ``charged`` credits and return the refund of the rest; the first settlement wins.

        Args:
            charged: from 0 to `held`.

        Raises:
            PaymentError: check ``amount``.
            PeerError: the store failed; call again.
        """
        return await self._desk.settle(self._spend, charged)


class CreditDesk:
    """Takes spends and gives refunds. Run by the enclave.

    Args:
        issuer: verifies spends and signs refunds.
        store: remembers them; shared by all desks of one issuer's key.
        clock: seconds since the epoch.
        lease_s: seconds a job may take.

    Guarantees:
        Of two spends of one token at most one is served, at whatever desks and whenever they
        arrive; of one spend at most one refund is given, any number of times
        (tests/adversary/test_credits.py). What a desk took and never settled goes back in full,
        and is not served again (test_a_desk_that_died_owes_the_whole_spend).
    """

    def __init__(
        self,
        issuer: Issuer,
        store: SpendStore,
        *,
        clock: Callable[[], float] = time.time,
        lease_s: float = LEASE_S,
    ) -> None:
        self.issuer = issuer
        self._store = store
        self._clock = clock
        self.lease_s = lease_s

    async def begin(self, data: bytes, *, least: int) -> OpenJob | SettledBefore:
        """Take a spend for a job that is about to be served.

        Args:
            data: the spend.
            least: what the job's class has to hold.

        Raises:
            MalformedError: it is no spend.
            PaymentError: check ``missing``: it is empty; ``proof``; ``short``: it spends less
                than ``least``; ``spent``: its credits were spent before; ``running``: it is being
                served. Except for the last two the credits stay unspent.
            PeerError: the store failed; nothing may be served.
        """
        spend = await self._verified(data)
        if spend.amount < least:
            raise PaymentError(
                f"the request's class holds {least} credits, the spend {spend.amount}",
                check="short",
                hint="fetch the terms of payment anew",
            )
        return await self._begun(spend, recover=False)

    async def check(self, data: bytes) -> None:
        """Verify a spend and take nothing: before something costly is done for whoever has it.

        Raises:
            MalformedError: it is no spend.
            PaymentError: check ``missing`` or ``proof``.
        """
        await self._verified(data)

    async def recover(self, data: bytes) -> bytes:
        """Return the refund of a spend whose answer never came; nothing is served for it.

        A spend this desk never saw is taken and refunded in full.

        Raises:
            MalformedError: it is no spend.
            PaymentError: as `begin`; for ``running``, ask again when the job can be over.
            PeerError: the store failed; ask again.
        """
        found = await self._begun(await self._verified(data), recover=True)
        return found.refund if isinstance(found, SettledBefore) else await found.settle(0)

    async def withdraw(self, data: bytes) -> tuple[int, bytes]:
        """Take a spend for money instead of a job; return its amount and its nullifier.

        What it spends is owed on the ledger, where each nullifier is paid out once. A spend that
        was for a job never is for this, nor the reverse, and asking again gives the same.

        Raises:
            MalformedError: it is no spend.
            PaymentError: check ``missing``, ``proof``, ``short`` (it spends nothing) or ``spent``.
            PeerError: the store failed; ask again.
        """
        spend = await self._verified(data)
        if spend.amount == 0:
            raise PaymentError("a spend of nothing pays nothing out", check="short")
        # Its own fingerprint, so that a job's spend, which may be refunded, is not paid out too.
        spend = spend.known_as(hashlib.sha256(_EXIT + spend.data).digest())
        began = await self._store.begin(
            spend.nullifier, spend.fingerprint, spend.amount, lease_s=0.0, now=self._clock()
        )
        if isinstance(began, Fresh | Lapsed | Running):
            # Nothing charged: the operator's part is what jobs cost, and this is none.
            await self._settled(spend, charged=0, back=0)
        elif not isinstance(began, Settled):
            raise _spent()
        return spend.amount, spend.nullifier

    async def settle(self, spend: VerifiedSpend, charged: int) -> bytes:
        """Settle a begun spend; `OpenJob.settle` calls it."""
        if not 0 <= charged <= spend.amount:
            raise PaymentError("no more can be charged than was held", check="amount")
        return await self._settled(spend, charged=charged, back=spend.amount - charged)

    async def _verified(self, data: bytes) -> VerifiedSpend:
        if not data:
            raise PaymentError("the request carries no spend", check="missing")
        # Some milliseconds of arithmetic without the GIL: in a thread, the loop serves others.
        return await anyio.to_thread.run_sync(self.issuer.verify_spend, data)

    async def _begun(self, spend: VerifiedSpend, *, recover: bool) -> OpenJob | SettledBefore:
        now = self._clock()
        began = await self._store.begin(
            spend.nullifier, spend.fingerprint, spend.amount, lease_s=self.lease_s, now=now
        )
        match began:
            case Fresh():
                return OpenJob(self, spend)
            case Settled(refund, charged):
                return SettledBefore(refund, charged)
            case Lapsed():
                # Who began it died. What it delivered is not known, so nothing is charged; and it
                # is not served again, or a slow job and its retry would both be served.
                refund = await self.settle(spend, 0)
                return SettledBefore(refund, 0)
            case Running(until):
                wait = max(0.0, until - now)
                raise PaymentError(
                    "a job is being served for this spend",
                    check="running",
                    hint=f"ask for its refund again in {wait:.0f} s" if recover else "",
                )
            case Taken():
                raise _spent()

    async def _settled(self, spend: VerifiedSpend, *, charged: int, back: int) -> bytes:
        # A cancelled answer must still settle: the person would lose all of it until the lease
        # ends, and the provider what it charged.
        with anyio.CancelScope(shield=True):
            refund = await anyio.to_thread.run_sync(self.issuer.refund, spend, back)
            kept = await self._store.settle(spend.nullifier, spend.fingerprint, refund, charged)
        return kept


def _spent() -> PaymentError:
    return PaymentError("these credits were spent before", check="spent")
