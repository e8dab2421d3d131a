"""The person's wallet, shared by their processes: each opens it for a moment, and lets it go.

A daemon and a command may both ask; what is on disk is the truth between them, so a spend that one
set aside is taken back by whoever has its refund.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from privity.anon.credits import CreditTerms
from privity.anon.wallet import Membership, Reserved, Wallet
from privity.anon.wallet_file import wallet_key
from privity.errors import InputError, PaymentError, PrivityError
from privity.home import home, locked
from privity.identity.keystore import device_key

__all__ = ["Purse", "SharedWallet", "credits_elsewhere", "person_wallet", "wallet_folder"]

_TURN = "turn"
_RECOVERING = "recovering"


class SharedWallet:
    """A wallet that several processes of one person use.

    Args:
        folder: where it is.
        key: of its file.

    Attributes:
        under_way: ids of the spends whose jobs run in this process.
        over: ids of those whose jobs ran here and have ended; `Recovery` drops what came back.
        ended: is set, and replaced, when one of these jobs ends.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        self._inside = anyio.CapacityLimiter(1)
        self.under_way: set[str] = set()
        self.over: set[str] = set()
        self.ended = anyio.Event()

    def __repr__(self) -> str:
        return "SharedWallet(…)"

    @contextmanager
    def turn(self, terms: CreditTerms | None = None) -> Iterator[Wallet]:
        """Wait for the others, open the wallet, and close it again. Blocks; use a thread.

        Raises:
            InputError: its file cannot be used.
            OpenError: it is of another device's key, or altered.
        """
        with locked(self._folder / _TURN):
            with Wallet.open(self._folder, self._key, terms=terms) as wallet:
                yield wallet

    @contextmanager
    def recovering(self) -> Iterator[None]:
        """Hold off that spends are taken back unsent, while they are shown to a desk.

        Many may hold it. A spend that was shown and then taken back would be lost.
        """
        with locked(self._folder / _RECOVERING, shared=True):
            yield

    def unsent(self, spend_id: str) -> None:
        """Take a spend back that never left. While any are being recovered it stays for that."""
        with contextlib.suppress(BlockingIOError, InputError):  # or another process settled it
            with locked(self._folder / _RECOVERING, wait=False), self.turn() as wallet:
                wallet.unsent(spend_id)

    def read(self) -> Wallet:
        """Return the wallet as it is now, to look at."""
        return Wallet.read(self._folder, self._key)

    @property
    def membership(self) -> Membership | None:
        """The registered membership; None where there is none, or the ledger gave no leaf yet."""
        return self.read().membership

    async def take_message_id(self, epoch: int) -> int:
        """Return a message id that no process of this person ever had.

        Raises:
            AdmissionError: check ``rate``: none is left in this epoch.
            InputError: there is no membership.
        """

        def take() -> int:
            with self.turn() as wallet:
                return wallet.take_message_id(epoch)

        return await to_thread.run_sync(take, limiter=self._inside)

    def purse(self, terms: CreditTerms) -> Purse:
        """Return what pays under these terms."""
        return Purse(self, terms, self._inside)


class Purse:
    """Pays for jobs from a shared wallet. See `PaidTransport`."""

    def __init__(
        self, wallet: SharedWallet, terms: CreditTerms, inside: anyio.CapacityLimiter
    ) -> None:
        self._wallet = wallet
        self._terms = terms
        self._inside = inside

    async def spend(self, amount: int) -> Reserved:
        """Set a spend aside, durably.

        A token pays for one job at a time: while jobs of this process have theirs, it is waited
        for one of them to end.

        Raises:
            PaymentError: check ``short``: no token holds so much, and none is about to come back.
        """

        def spend() -> Reserved:
            with self._wallet.turn(self._terms) as wallet:
                return wallet.spend(amount)

        while True:
            began = self._wallet.ended
            try:
                reserved = await to_thread.run_sync(spend, limiter=self._inside)
            except PaymentError as error:
                if error.check != "short" or not self._wallet.under_way:
                    raise
                await began.wait()
                continue
            self._wallet.under_way.add(reserved.id)
            return reserved

    def over(self, spend_id: str) -> None:
        """Note that the job of a spend has ended, however it did."""
        self._wallet.under_way.discard(spend_id)
        self._wallet.over.add(spend_id)
        self._wallet.ended.set()
        self._wallet.ended = anyio.Event()

    async def refunded(self, spend_id: str, refund: bytes) -> int:
        """Take back what was not used, and return what was; raises `PaymentError`."""

        def take() -> int:
            with self._wallet.turn(self._terms) as wallet:
                return wallet.refunded(spend_id, refund)

        # A cancelled reader must not leave credits behind that are at hand.
        cost = 0
        with anyio.CancelScope(shield=True):
            cost = await to_thread.run_sync(take, limiter=self._inside)
        return cost

    async def unsent(self, spend_id: str) -> None:
        """Take a spend back of which not one byte left this device."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._wallet.unsent, spend_id, limiter=self._inside)


def person_wallet(deployment: str) -> SharedWallet:
    """Return this device's wallet of one ledger: ``wallet/DEPLOYMENT/`` in the privity home."""
    return SharedWallet(wallet_folder(deployment), wallet_key(device_key()))


def wallet_folder(deployment: str) -> Path:
    """Return where the wallet of a ledger is, its account's key beside it."""
    return home() / "wallet" / deployment


def credits_elsewhere(deployment: str) -> dict[str, int]:
    """Return what the wallets of other ledgers in the privity home hold, those with credits alone.

    A file that cannot be read is left out: it is not the one that is asked about.
    """
    found = {}
    for folder in sorted(wallet_folder(deployment).parent.glob("*/")):
        if folder.name != deployment:
            with contextlib.suppress(PrivityError):
                wallet = Wallet.read(folder, wallet_key(device_key()))
                found[folder.name] = wallet.balance + wallet.reserved
    return {name: credits_ for name, credits_ in found.items() if credits_}
