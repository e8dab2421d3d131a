"""Gets back, in a daemon, what was spent on answers that never came: by itself, in no hurry.

What is asked is on a rhythm of its own, one spend at a time. A gateway or an enclave that broke a
job off would else see at once that somebody comes back for it, and several that come back together
would be known for one person's.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import httpx
from anyio import to_thread

from privity.anon.epochs import EPOCH_S
from privity.errors import PrivityError

if TYPE_CHECKING:
    from privity.anon.wallet import Reserved, Wallet
    from privity.infer.anonymous.purse import SharedWallet

__all__ = ["EVERY_S", "TRIES", "Recovery"]

logger = logging.getLogger("privity.anonymous")

EVERY_S = 420.0
"""Seconds, about, between two looks at the wallet."""

TRIES = 8
"""How often one spend is asked for; then it is the person's to ask."""

_PAUSE_S = 900.0  # after the first try; each that follows waits twice as long
_ENDED_S = 120.0  # for an enclave to see that who asked has left
_ANY_S = 1200.0  # of another process, whose job may be running: longer than a desk's lease
_LEAST_LIMIT = 8  # with fewer messages an epoch, one is much of what a person has


@dataclass
class _Tried:
    count: int = 0
    until: float = 0.0


class Recovery:
    """Asks for unfinished spends, for as long as it runs. Run by the device's daemon.

    Args:
        wallet: returns the person's; it may be another one after a devnet was started anew.
        desk: returns the anonymous way to the enclave's desk, one of its own for each spend.
        every_s: seconds between two looks, up to half more or less.
        sleep: waits.
        clock: seconds since the epoch.
        chance: draws waits, and which spend is asked for.

    Attributes:
        spends: how many came back.
        credits: how many credits came back with them.

    Guarantees:
        Nothing is asked at a time that an event decides, at most one spend at a look, a few times
        each, and no message is taken of a person who has used half of this epoch's
        (tests/adversary/test_recovery.py).
    """

    def __init__(
        self,
        wallet: Callable[[], Awaitable[SharedWallet]],
        desk: Callable[[], Awaitable[httpx.AsyncBaseTransport]],
        *,
        every_s: float = EVERY_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._wallet = wallet
        self._desk = desk
        self._every_s = every_s
        self._sleep = sleep
        self._clock = clock
        self._chance = chance or random.SystemRandom()
        self._tried: dict[str, _Tried] = {}
        self.spends = 0
        self.credits = 0

    async def run(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await self._sleep(self._every_s * self._chance.uniform(0.5, 1.5))
            # What fails is tried again. A daemon says nothing of it: who asks is told.
            try:
                await self.look()
            except (PrivityError, httpx.HTTPError, OSError):
                pass
            except Exception as error:  # ours to mend; its words could quote what it is about
                logger.warning("a spend could not be recovered: %s", type(error).__name__)

    async def look(self) -> None:
        """Ask for one spend, if one is due.

        Raises:
            PrivityError: it did not come back; or the wallet cannot be read.
        """
        # Imported here: who never asks anonymously needs no native wheel.
        from privity.infer.anonymous.desk import recovered

        wallet = await self._wallet()
        due = self._due(wallet, await to_thread.run_sync(wallet.read))
        if not due:
            return
        one = self._chance.choice(due)
        tried = self._tried.setdefault(one.id, _Tried())
        pause = _PAUSE_S * 2**tried.count * self._chance.uniform(0.75, 1.25)
        tried.count, tried.until = tried.count + 1, self._clock() + pause
        with wallet.recovering():
            # Only now does it stay what it is: it may have been taken back unsent since the look.
            left = await to_thread.run_sync(wallet.read)
            if one.id not in {kept.id for kept in left.unfinished()}:
                return
            cost = await recovered(wallet, self._desk, one)
        self.spends += 1
        self.credits += one.amount - cost

    def _due(self, wallet: SharedWallet, read: Wallet) -> list[Reserved]:
        """Return the spends that may be asked for now."""
        waiting = [one for one in read.unfinished() if one.purpose == "job"]
        names = {one.id for one in waiting}
        self._tried = {name: tried for name, tried in self._tried.items() if name in names}
        wallet.over &= names
        member, now = read.membership, self._clock()
        if member is None or member.index is None or member.limit < _LEAST_LIMIT:
            return []
        if 2 * read.messages_left(int(now // EPOCH_S)) < member.limit:
            return []  # the person needs them
        return [one for one in waiting if self._is_due(wallet, one, now)]

    def _is_due(self, wallet: SharedWallet, one: Reserved, now: float) -> bool:
        tried = self._tried.get(one.id, _Tried())
        if one.id in wallet.under_way or tried.count >= TRIES or now < tried.until:
            return False
        return now >= one.time + (_ENDED_S if one.id in wallet.over else _ANY_S)
