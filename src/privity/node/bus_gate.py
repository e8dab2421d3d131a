"""Floor 5: how a node of the bus limits messages: by the ledger's members, each within its rate.

The gate cuts off at once who sends more; the desk tells the operator, and has the ledger slash.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack

from privity.anon.field import field
from privity.anon.messages import NativeEngine, RateGate, Rules, Spam
from privity.errors import PeerError
from privity.ledger.client import Ledger
from privity.ledger.history import MemberHistory
from privity.node.slashing import slash_all
from privity.node.watched_members import LedgerSettings, watch_members

__all__ = ["SpamDesk", "member_gate"]

logger = logging.getLogger("privity.messages")

_TRIES = 8
_WAIT_S = 2.0  # before the second try; twice as long before each further one


async def member_gate(stack: AsyncExitStack, ledger: LedgerSettings) -> RateGate:
    """Return what limits messages by a ledger's members, who are followed from now on.

    Args:
        stack: ends the following.
        ledger: whose members may send.

    Raises:
        PrivityError: as `watch_members`.
    """
    members = await watch_members(stack, ledger)
    desk = SpamDesk(members.history, None if ledger.account is None else members.ledger)
    engine = await asyncio.to_thread(NativeEngine)
    stack.callback(asyncio.create_task(desk.run()).cancel)
    return RateGate(
        engine, lambda: members.view.roots, rules=Rules(), clock=time.time, on_spam=desk.tell
    )


class SpamDesk:
    """Takes what the gate found from the node's thread, and slashes from the caller's loop.

    Args:
        history: the ledger's members, as `MemberView` follows them.
        ledger: with an account as its signer; None to leave slashing to others.
        wait_s: before a second try where the ledger cannot be reached.
    """

    def __init__(
        self, history: MemberHistory, ledger: Ledger | None, *, wait_s: float = _WAIT_S
    ) -> None:
        self._history, self._ledger, self._wait_s = history, ledger, wait_s
        self._loop = asyncio.get_running_loop()
        self._found: asyncio.Queue[bytes] = asyncio.Queue()

    def tell(self, spam: Spam) -> None:
        """Take a finding of `RateGate`, from any thread; returns at once."""
        try:
            self._loop.call_soon_threadsafe(self._found.put_nowait, spam.secret)
        except RuntimeError:  # the role has ended
            return

    async def run(self) -> None:
        """Slash what is found, one after the other, until cancelled."""
        while True:
            secret = await self._found.get()
            logger.warning("a member sent two messages under one id; it is cut off")
            if self._ledger is not None:
                await self._slash(self._ledger, secret)

    async def _slash(self, ledger: Ledger, secret: bytes) -> None:
        """Slash. The gate finds a member once, so what fails for the network is tried again."""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(self._wait_s * 2 ** (attempt - 1))
            try:
                slashed = await slash_all(ledger, self._history, field(secret))
            except PeerError as error:
                logger.warning("the ledger did not slash yet: %s", error.message)
                continue
            if slashed == 0:
                logger.info("the member was slashed or gone already")
            return
