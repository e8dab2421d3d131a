"""The gateway's view of the members follows the ledger's events, and believes no wrong root."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from native import needs_native
from privity.anon.field import field_from_int
from privity.anon.membership import MemberTree
from privity.errors import PeerError
from privity.infer.anonymous.members import MemberView
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent

pytestmark = [pytest.mark.anyio, needs_native]


def added(index: int, leaf: int | None = None) -> LeafAdded:
    return LeafAdded(index, field_from_int(leaf or 100 + index), 5, index)


def removed(index: int, *, slashed: bool = True) -> LeafRemoved:
    return LeafRemoved(index, field_from_int(100 + index), slashed, 50)


def root_of(events: Sequence[MemberEvent]) -> bytes:
    tree = MemberTree()
    for event in events:
        if isinstance(event, LeafAdded):
            tree.append(field_from_int(int.from_bytes(event.leaf, "little")))
        else:
            tree.remove(event.index)
    return tree.root


class Ledger:
    """A ledger that says what it is told to; ``root`` is the contract's."""

    def __init__(self) -> None:
        self.events: list[MemberEvent] = []
        self.told = 0
        self.rewound = False
        self.root: bytes | None = None
        self.away = False

    async def update(self) -> tuple[Sequence[MemberEvent], bool]:
        if self.away:
            raise PeerError("the ledger is away")
        new, self.told = self.events[self.told :], len(self.events)
        rewound, self.rewound = self.rewound, False
        return new, rewound

    async def check_root(self, root: bytes) -> None:
        if self.root is not None and root != self.root:
            raise PeerError("another root")


async def test_it_knows_the_roots_after_each_of_the_last_events() -> None:
    ledger = Ledger()
    view = MemberView(ledger)
    assert not view.knows(MemberTree().root)
    await view.update()
    assert view.knows(MemberTree().root)
    events = [added(index) for index in range(200)]
    ledger.events = events[:150]
    await view.update()
    for count in range(90, 151):
        assert view.knows(root_of(events[:count])), count
    assert not view.knows(root_of(events[:50]))
    ledger.events = events
    await view.update()
    assert view.knows(root_of(events[:200]))
    assert view.knows(root_of(events[:140]))
    assert view.tree.root == root_of(events)


async def test_a_removed_member_is_not_admitted() -> None:
    ledger = Ledger()
    view = MemberView(ledger)
    ledger.events = [added(0), added(1), added(2)]
    await view.update()
    before = view.tree.root
    ledger.events = [*ledger.events, removed(1, slashed=False)]
    await view.update()
    assert not view.knows(before)
    assert view.knows(root_of(ledger.events))
    now = view.tree.root
    # Slashed while leaving: the leaf was empty, nothing changes, no root is forgotten.
    ledger.events = [*ledger.events, added(3), removed(1)]
    await view.update()
    assert view.knows(now)


async def test_a_left_out_event_is_not_believed() -> None:
    ledger = Ledger()
    view = MemberView(ledger)
    ledger.events = [added(0)]
    await view.update()
    good = view.tree.root
    ledger.root = root_of([added(0), added(1)])
    ledger.events = [added(0), added(1, 666)]
    with pytest.raises(PeerError):
        await view.update()
    assert not view.knows(root_of([added(0), added(1, 666)]))
    assert view.knows(good)
    # Nothing new and still another root: it does not pass for right.
    with pytest.raises(PeerError):
        await view.update()
    ledger.events = [added(0), added(1)]
    await view.update()
    assert view.knows(ledger.root)


async def test_a_reorganisation_builds_the_tree_anew() -> None:
    ledger = Ledger()
    view = MemberView(ledger)
    ledger.events = [added(0), added(1)]
    await view.update()
    gone = view.tree.root
    ledger.events, ledger.told, ledger.rewound = [added(0), added(1, 777)], 2, True
    await view.update()
    assert view.tree.root == root_of([added(0), added(1, 777)])
    assert not view.knows(gone)


@pytest.mark.parametrize(
    "bad",
    [
        [added(0), added(2)],
        [removed(0)],
        [LeafAdded(0, bytes(32), 5, 1)],
        [LeafAdded(0, b"\xff" * 32, 5, 1)],
    ],
)
async def test_events_that_make_no_tree_are_an_error_of_the_peer(bad: Any) -> None:
    ledger = Ledger()
    view = MemberView(ledger)
    ledger.events = bad
    with pytest.raises(PeerError):
        await view.update()
    assert not view.roots


async def test_following_goes_on_when_the_ledger_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ledger = Ledger()
    view = MemberView(ledger)
    following = asyncio.create_task(view.follow(0.001))
    while not view.roots:
        await asyncio.sleep(0.001)
    ledger.away = True
    while "cannot be read" not in caplog.text:
        await asyncio.sleep(0.001)
    assert view.knows(MemberTree().root)
    ledger.away, ledger.events = False, [added(0)]
    while not view.knows(root_of([added(0)])):
        await asyncio.sleep(0.001)
    following.cancel()
    assert caplog.text.count("cannot be read") == 1
