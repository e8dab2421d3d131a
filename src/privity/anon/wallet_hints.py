"""What helps where a wallet cannot pay: what is in use, what waits, and how it comes back."""

from __future__ import annotations

import math
from collections.abc import Iterable

from privity.anon.wallet_state import Reserved, State

__all__ = ["YOUNG_S", "recovering", "short_hint"]

YOUNG_S = 300.0
"""Seconds in which a spend may still be on its way: two tries of an edge prover, and the relays."""


def short_hint(amount: int, state: State, now: float) -> str:
    """Return what to do where no token can pay ``amount``.

    Args:
        amount: what was to be held.
        state: the wallet's.
        now: seconds since the epoch.
    """
    parts = []
    busy = [one for one in state.spending.values() if one.pending.before >= amount]
    jobs = [one for one in busy if one.purpose == "job"]
    if jobs:
        soonest = min(jobs, key=lambda one: one.time)
        parts.append(
            f"{soonest.pending.before} credits are in use: they come back with an answer that is "
            f"under way; where it never comes, {recovering([soonest], now)}"
        )
    elif busy:
        parts.append("one that does is being paid out: `privity wallet exit` goes on with it")
    if state.buying:
        count = sum(one.amount for one in state.buying.values())
        parts.append(f"{count} credits that you bought wait: `privity wallet top-up` fetches them")
    return "; ".join(parts) or (
        "what it does not cost comes back with the answer, and a lower limit for the answer's "
        "tokens holds less; `privity wallet top-up` buys more"
    )


def recovering(
    spends: Iterable[Reserved], now: float, command: str = "`privity wallet recover`"
) -> str:
    """Return how what spends did not cost is got back, and from when all of it."""
    left = max((YOUNG_S - (now - one.time) for one in spends if one.time <= now), default=0.0)
    when = f"in {math.ceil(left / 60)} min " if left > 0 else ""
    return f"{when}{command} gets back what was not used"
