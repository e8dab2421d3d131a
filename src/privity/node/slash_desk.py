"""Floor 5: a revealed secret is slashed until no stake of it is left, however long that takes.

The one place where gateways and nodes of the bus try again. A secret that fails holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from privity.anon.field import Field
from privity.errors import PrivityError

__all__ = ["FIRST_S", "SlashDesk"]

logger = logging.getLogger("privity.slashing")

FIRST_S = 2.0
"""Seconds before the second try."""

_DOUBLINGS = 7  # to 256 s


class SlashDesk:
    """Slashes what it is given, again and again until it is known that no stake is left.

    It remembers in memory alone: what a process that ends did not slash is left to the others who
    saw the double signal.

    Args:
        slash: slashes all leaves of a secret and returns how many it did; raises `PrivityError`
            where of one of them it is not known that its stake is gone.
        wait_s: before the second try; twice as long before each further one, 128 times at most.

    Guarantees:
        It goes on for as long as it runs
        (`tests/adversary/test_slashing.py::test_a_ledger_that_is_long_away_saves_no_stake`).
    """

    def __init__(
        self, slash: Callable[[Field], Awaitable[int]], *, wait_s: float = FIRST_S
    ) -> None:
        self._slash, self._wait_s = slash, wait_s
        self._left: dict[Field, None] = {}
        self._came = asyncio.Event()

    def take(self, secret: Field) -> None:
        """Take what a double signal revealed, from the event loop's thread; returns at once."""
        self._left[secret] = None
        self._came.set()

    async def run(self) -> None:
        """Slash what is taken, until cancelled."""
        tries = 0
        while True:
            if self._came.is_set():
                tries = 0
            self._came.clear()
            for secret in tuple(self._left):
                await self._try(secret)
            with suppress(TimeoutError):
                wait_s = self._wait_s * 2 ** min(tries, _DOUBLINGS) if self._left else None
                await asyncio.wait_for(self._came.wait(), wait_s)
            tries += 1

    async def _try(self, secret: Field) -> None:
        try:
            slashed = await self._slash(secret)
        except PrivityError as error:
            logger.warning("a double signal was not slashed yet: %s", error.message)
            return
        except Exception as error:  # ours to mend; meanwhile it saves nobody's stake
            logger.warning("a double signal was not slashed yet: %s", type(error).__name__)
            return
        del self._left[secret]
        if slashed == 0:
            logger.info("no leaf of a revealed secret has a stake left")
