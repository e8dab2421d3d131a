"""What each of a person's acts on ledger and wallet is done with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from anyio import to_thread

from privity.anon.credits import CreditTerms
from privity.anon.wallet import Wallet
from privity.errors import InputError
from privity.infer.anonymous.desk import Desk
from privity.infer.anonymous.purse import SharedWallet
from privity.ledger.client import Ledger

__all__ = ["Acting", "Told"]

Told = Callable[[str], None]
T = TypeVar("T")


class Acting:
    """A person's wallet and their account on the ledger, to act with. Run by the device.

    Args:
        wallet: the person's.
        ledger: with the person's account as its signer.
        desk: returns the anonymous way to the enclave's desk, verified and admitted.
        told: is told of each step, for a person who waits.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        wallet: SharedWallet,
        ledger: Ledger,
        desk: Desk,
        told: Told = lambda step: None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._wallet = wallet
        self._ledger = ledger
        self._desk = desk
        self._told = told
        self._clock = clock

    @property
    def account(self) -> str:
        """The address of the person's account on the ledger."""
        sender = self._ledger.sender
        if sender is None:
            raise InputError("there is no account to act with")
        return sender.account.address

    async def _terms(self) -> CreditTerms:
        """Return what is bought and spent under: the ledger's key, whatever an enclave says."""
        key = await self._ledger.issuer_key()
        return CreditTerms(self._ledger.addresses.deployment, key.key)

    async def _turn(self, act: Callable[[Wallet], T], terms: CreditTerms | None = None) -> T:
        def run() -> T:
            with self._wallet.turn(terms) as wallet:
                return act(wallet)

        return await to_thread.run_sync(run)
