"""Attacks on slashing: one secret is staked for more than once; one leaf shields another."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from native import needs_native
from privity.anon.field import Field, field_from_int
from privity.anon.membership import RateIdentity
from privity.anon.messages import Spam
from privity.errors import InputError, PeerError
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent
from privity.node import gateway_role
from privity.node.bus_gate import SpamDesk
from privity.node.gateway_role import GatewayApp, GatewaySettings
from privity.node.slash_desk import SlashDesk
from privity.node.slashing import leaves_of, slash_all
from privity.node.watched_members import LedgerSettings, WatchedMembers

pytestmark = [pytest.mark.anyio, needs_native]

SECRET = field_from_int(1 << 190 | 5)


def leaf(limit: int, secret: bytes = SECRET) -> bytes:
    with RateIdentity(secret) as identity:
        return identity.leaf(limit)


class Stakes:
    """Has stakes, as Membership.vy has, and cannot be reached for some of them at first."""

    def __init__(self, *staked: int, away: int | None = None) -> None:
        self.staked = set(staked)
        self.away = away
        self.slashed: list[int] = []

    async def slash(self, index: int, secret: bytes) -> None:
        if index == self.away:
            self.away = None
            raise PeerError("the node is away")
        if index not in self.staked:
            raise InputError("the contract Membership refused slash: no such member")
        self.staked.remove(index)
        self.slashed.append(index)


def history(*events: MemberEvent) -> MemberHistory:
    found = MemberHistory()
    found._events = list(events)
    return found


BOTH = (LeafAdded(0, leaf(1), 1, 1), LeafAdded(1, leaf(60_000), 60_000, 2))


async def test_a_small_stake_shields_no_large_one() -> None:
    stakes = Stakes(0, 1)
    assert await slash_all(stakes, history(*BOTH), SECRET) == 2
    assert stakes.slashed == [1, 0], "the large one first"


async def test_a_stake_that_was_withdrawn_shields_no_later_one() -> None:
    events = (
        LeafAdded(0, leaf(9), 9, 1),
        LeafRemoved(0, leaf(9), False, 2),
        LeafAdded(1, leaf(9), 9, 3),
    )
    stakes = Stakes(1)
    assert await slash_all(stakes, history(*events), SECRET) == 1
    assert stakes.slashed == [1]


async def test_a_leaf_that_cannot_be_slashed_now_keeps_no_other_from_it() -> None:
    stakes = Stakes(0, 1, away=1)
    with pytest.raises(PeerError, match="not slashed yet"):
        await slash_all(stakes, history(*BOTH), SECRET)
    assert stakes.slashed == [0]
    assert await slash_all(stakes, history(*BOTH), SECRET) == 1
    assert stakes.staked == set()


async def test_a_refusal_that_is_not_the_stakes_end_is_no_end() -> None:
    class Poor(Stakes):
        async def slash(self, index: int, secret: bytes) -> None:
            raise InputError("the account cannot pay for the gas")

    with pytest.raises(PeerError, match="not slashed yet"):
        await slash_all(Poor(0), history(*BOTH), SECRET)


async def test_a_node_of_the_bus_slashes_all_leaves_too() -> None:
    stakes: Any = Stakes(0, 1, away=0)
    desk = SpamDesk(history(*BOTH), stakes, wait_s=0.001)
    running = asyncio.create_task(desk.run())
    desk.tell(Spam(1, b"n" * 32, SECRET))
    async with asyncio.timeout(30):
        while stakes.staked:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert stakes.slashed == [1, 0]


class Away(Stakes):
    """Cannot be reached for many tries, and for one stake never."""

    def __init__(self, *staked: int, tries: int, never: int) -> None:
        super().__init__(*staked)
        self.tries, self.never = tries, never

    async def slash(self, index: int, secret: bytes) -> None:
        self.tries -= 1
        if self.tries > 0 or index == self.never:
            raise PeerError("the node is away")
        await super().slash(index, secret)


@pytest.mark.parametrize("role", ["bus", "gateway"])
async def test_a_ledger_that_is_long_away_saves_no_stake(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of the member again: who gave up would leave it its stake for good."""
    other = field_from_int(77)
    stakes: Any = Away(0, 1, 2, tries=40, never=2)
    members = history(LeafAdded(2, leaf(3, other), 3, 1), *BOTH)
    async with AsyncExitStack() as stack:
        if role == "bus":
            spam = SpamDesk(members, stakes, wait_s=1e-6)
            stack.callback(asyncio.create_task(spam.run()).cancel)
        else:
            monkeypatch.setattr(gateway_role, "SlashDesk", partial(SlashDesk, wait_s=1e-6))
            ledger = LedgerSettings("http://ledger.invalid", Path("c"), account=Path("key"))
            app = GatewayApp(GatewaySettings("http://enclave.invalid", "0x0", "s", ledger))
            view: Any = None
            take = app._slashing(stack, WatchedMembers(stakes, members, view))
        # The first in line never comes off, and holds up nobody.
        for secret in (other, SECRET):
            if role == "bus":
                spam.tell(Spam(1, b"n" * 32, secret))
            else:
                assert take is not None
                await take(secret)
        async with asyncio.timeout(60):
            while stakes.staked != {2}:
                await asyncio.sleep(0.001)
            stakes.never = -1
            while stakes.staked:
                await asyncio.sleep(0.001)


async def test_a_mistake_at_one_stake_saves_no_other() -> None:
    """An error of Python's ended the desk, and with it all slashing until the process ends."""
    tries: list[Field] = []

    async def slash(secret: Field) -> int:
        tries.append(secret)
        if len(tries) == 1:
            raise ValueError("an answer that nobody thought of")
        return 1

    desk = SlashDesk(slash, wait_s=1e-6)
    running = asyncio.create_task(desk.run())
    first, second = field_from_int(77), SECRET
    desk.take(first)
    async with asyncio.timeout(60):
        while tries.count(first) < 2 and not running.done():
            await asyncio.sleep(0.001)
        assert not running.done(), "slashing has ended"
        desk.take(second)
        while second not in tries:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_leaves_of_others_and_slashed_ones_are_left_out() -> None:
    other = field_from_int(77)
    events = (
        LeafAdded(0, leaf(3), 3, 1),
        LeafAdded(1, leaf(3, other), 3, 1),
        LeafRemoved(0, leaf(3), True, 2),
        LeafAdded(2, leaf(4), 4, 3),
        LeafRemoved(2, leaf(4), False, 4),
    )
    assert leaves_of(events, SECRET) == (2,)
    assert leaves_of(events, other) == (1,)
