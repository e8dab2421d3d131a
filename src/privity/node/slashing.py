"""Floor 5: what follows when a secret has come out: every leaf of it is slashed.

One secret may be staked for many times, with other limits or the same one. Were only one leaf
slashed, a cheater could shield a large stake with a small one that it registered before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from privity.anon.field import Field
from privity.anon.membership import RateIdentity
from privity.errors import InputError, PeerError
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent

__all__ = ["Slashes", "leaves_of", "slash_all"]

logger = logging.getLogger("privity.slashing")

_GONE = "no such member"  # what Membership.vy says of a stake that was slashed or withdrawn


class Slashes(Protocol):
    """Has a ledger slash a leaf, as `ledger.client.Ledger` does."""

    async def slash(self, index: int, secret: bytes) -> object:
        """Slash; raises `InputError` where the contract refuses, `PeerError`."""


def leaves_of(events: Iterable[MemberEvent], secret: Field) -> tuple[int, ...]:
    """Return the places of all leaves of a secret that may have a stake, the largest first.

    One who is leaving has a stake until it is withdrawn, which the events do not say; only leaves
    that were slashed are left out. Slow.

    Args:
        events: of the ledger's members, in order.
        secret: the rate secret.

    Raises:
        MissingDependency: the native wheel is not installed.
    """
    found: dict[int, int] = {}
    with RateIdentity(bytes(secret)) as identity:
        leaves: dict[int, bytes] = {}
        for event in events:
            if isinstance(event, LeafRemoved):
                if event.slashed:
                    found.pop(event.index, None)
            elif isinstance(event, LeafAdded):
                if event.limit not in leaves:
                    leaves[event.limit] = identity.leaf(event.limit)
                if leaves[event.limit] == event.leaf:
                    found[event.index] = event.limit
    return tuple(sorted(found, key=lambda index: (-found[index], index)))


async def slash_all(ledger: Slashes, history: MemberHistory, secret: Field) -> int:
    """Slash every leaf of a secret that has a stake left, and return how many there were.

    A leaf that cannot be slashed now keeps no other from being slashed.

    Args:
        ledger: with an account that pays for the calls.
        history: of the ledger's members.
        secret: what a double signal revealed.

    Raises:
        PeerError: of at least one leaf it is not known that its stake is gone: try again.

    Guarantees:
        No leaf shields another (tests/adversary/test_slashing.py).
    """
    left, slashed = "", 0
    for index in await asyncio.to_thread(leaves_of, history.events, secret):
        try:
            await ledger.slash(index, bytes(secret))
        except InputError as error:
            if _GONE not in error.message:  # else somebody was first, or the stake was withdrawn
                left = error.message
        except PeerError as error:
            left = error.message
        else:
            slashed += 1
            logger.warning("a leaf of a member that sent two messages under one id was slashed")
    if left:
        raise PeerError(f"a leaf was not slashed yet: {left}")
    return slashed
