"""Floor 5: how a node of the bus limits messages: by the ledger's members, each within its rate.

The gate cuts off at once who sends more; the desk tells the operator, and has the ledger slash.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, suppress
from functools import partial

from privity.anon.field import field
from privity.anon.messages import NativeEngine, RateGate, Rules, Spam
from privity.ledger.history import MemberHistory
from privity.node.beside import run_beside
from privity.node.slash_desk import FIRST_S, SlashDesk
from privity.node.slashing import Slashes, slash_all
from privity.node.watched_members import LedgerSettings, watch_members

__all__ = ["SpamDesk", "member_gate"]

logger = logging.getLogger("privity.messages")


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
    run_beside(stack, desk.run())
    return RateGate(
        engine, lambda: members.view.roots, rules=Rules(), clock=time.time, on_spam=desk.tell
    )


class SpamDesk:
    """Takes what the gate found from the node's thread, and slashes from the caller's loop.

    Args:
        history: the ledger's members, as `MemberView` follows them.
        ledger: with an account as its signer; None to leave slashing to others.
        wait_s: before a second try where the ledger cannot be reached; see `SlashDesk`.
    """

    def __init__(
        self, history: MemberHistory, ledger: Slashes | None, *, wait_s: float = FIRST_S
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._desk: SlashDesk | None = None
        if ledger is not None:
            self._desk = SlashDesk(partial(slash_all, ledger, history), wait_s=wait_s)

    def tell(self, spam: Spam) -> None:
        """Take a finding of `RateGate`, from any thread; returns at once."""
        with suppress(RuntimeError):  # the role has ended
            self._loop.call_soon_threadsafe(self._take, spam.secret)

    async def run(self) -> None:
        """Slash what is found, until cancelled; the gate finds a member once."""
        if self._desk is not None:
            await self._desk.run()

    def _take(self, secret: bytes) -> None:
        logger.warning("a member sent two messages under one id; it is cut off")
        if self._desk is not None:
            self._desk.take(field(secret))
