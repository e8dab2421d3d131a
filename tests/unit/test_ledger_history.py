"""The members' history: right across reorganisations, and refusing what cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from privity.errors import MalformedError, PeerError
from privity.ledger.history import MemberHistory
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent, MemberPage
from privity.ledger.wire import Block, Hash

pytestmark = pytest.mark.anyio


class FakeMembers:
    """A chain of blocks, each with a fork's name in its hash and events in it."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, list[MemberEvent]]] = []

    def mine(self, *events: MemberEvent, fork: str = "a") -> None:
        self.blocks.append((fork, list(events)))

    async def block(self, number: int) -> Block | None:
        if not 0 <= number < len(self.blocks):
            return None
        name = f"{number}{self.blocks[number][0]}".encode()
        return Block(number, Hash(name.ljust(32, b".")), 0, 0)

    async def page(self, since: int | None = None) -> MemberPage | None:
        first = since or 0
        last = await self.block(len(self.blocks) - 1)
        if last is None or last.number < first:
            return None
        return MemberPage(first, last, tuple(e for _, part in self.blocks[first:] for e in part))


def added(index: int, leaf: int | None = None) -> LeafAdded:
    return LeafAdded(index, bytes([index + 1 if leaf is None else leaf]) * 32, 5, 0)


def removed(index: int, leaf: int | None = None) -> LeafRemoved:
    return LeafRemoved(index, added(index, leaf).leaf, True, 0)


async def update(history: MemberHistory, chain: FakeMembers) -> tuple[int, int | None]:
    found = await history.update(chain)  # type: ignore[arg-type]
    return len(found.events), found.rewound


async def test_it_goes_on_where_it_ended() -> None:
    chain, history = FakeMembers(), MemberHistory()
    chain.mine(added(0), added(1))
    assert await update(history, chain) == (2, None)
    assert await update(history, chain) == (0, None)
    chain.mine(removed(0), added(2))
    history = MemberHistory.restore(history.dump())
    assert await update(history, chain) == (2, None)
    assert history.events == (added(0), added(1), removed(0), added(2))
    assert history.block == 1


async def test_blocks_that_were_replaced_take_their_events_with_them() -> None:
    chain, history = FakeMembers(), MemberHistory()
    for index in range(4):
        chain.mine(added(index))
        await update(history, chain)
    del chain.blocks[2:]
    chain.mine(added(2, leaf=77), fork="b")
    chain.mine(fork="b")
    assert await update(history, chain) == (1, 2)
    assert history.events == (added(0), added(1), added(2, leaf=77))


async def test_a_whole_other_chain_replaces_everything() -> None:
    chain, history = FakeMembers(), MemberHistory()
    for index in range(3):
        chain.mine(added(index))
        await update(history, chain)
    chain.blocks = [("b", []), ("b", []), ("b", [added(0, leaf=9)])]
    assert await update(history, chain) == (1, 0)
    assert history.events == (added(0, leaf=9),)


async def test_a_node_that_is_behind_takes_nothing_back() -> None:
    chain, history = FakeMembers(), MemberHistory()
    for index in range(3):
        chain.mine(added(index))
        await update(history, chain)
    whole = list(chain.blocks)
    del chain.blocks[1:]
    assert await update(history, chain) == (0, None)
    chain.blocks = []
    with pytest.raises(PeerError, match="shorter chain"):
        await update(history, chain)
    chain.blocks = whole
    assert await update(history, chain) == (0, None)
    assert len(history.events) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        [added(1)],
        [added(0), added(2)],
        [added(0), added(0)],
        [removed(0)],
        [added(0), removed(1)],
        [added(0), removed(0, leaf=99)],
        [added(0), removed(0), removed(0)],
    ],
)
async def test_a_left_out_event_is_found_out(wrong: Sequence[MemberEvent]) -> None:
    chain, history = FakeMembers(), MemberHistory()
    chain.mine(*wrong)
    with pytest.raises(PeerError, match="do not fit together"):
        await update(history, chain)
    assert history.events == ()
    assert history.block is None


async def test_only_the_newest_checkpoints_are_kept() -> None:
    chain, history = FakeMembers(), MemberHistory()
    for index in range(100):
        chain.mine(added(index))
        await update(history, chain)
    assert len(history.dump()) < 100 * 50 + 64 * 50
    chain.blocks[0] = ("b", [added(0, leaf=200)])  # deeper than any checkpoint, and not seen
    assert MemberHistory.restore(history.dump()).events == history.events


@pytest.mark.parametrize("data", [b"", b"\xf6", b"\x80", b"\x83\x01\x80\x80", b"\xff" * 40])
async def test_other_bytes_are_no_history(data: bytes) -> None:
    with pytest.raises(MalformedError):
        MemberHistory.restore(data)
