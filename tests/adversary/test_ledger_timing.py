"""A ledger's node that is slow, or fails, and sees when questions are asked."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from member_chain import PERIOD_S, Chain, Clock, device
from native import needs_native
from privity.errors import PeerError
from privity.infer.anonymous.registry import RegistryView
from privity.ledger.members import MemberPage
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind
from privity.ledger.wire import Address

pytestmark = [pytest.mark.anyio, needs_native]


class Slow(Chain):
    """A node that can hold its answers back, or fail; counts how often it is asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.go = anyio.Event()
        self.go.set()
        self.failing = False
        self.pages = 0

    async def page(self, since: int | None = None) -> MemberPage | None:
        self.pages += 1
        await self.go.wait()
        if self.failing:
            raise PeerError("not now")
        return await super().page(since)


@pytest.fixture
def chain() -> Slow:
    clock = Clock()
    chain = Slow(clock)
    chain.join()
    clock.now += 10 * PERIOD_S
    return chain


async def test_a_node_that_holds_its_answer_back_holds_no_question_back(chain: Slow) -> None:
    one = device(chain, chain.clock)
    await one.refresh()
    chain.go = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: one.refresh(now=True))  # the rhythm, a moment later
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(60) as scope:
            await one.place(0, 5)  # a question
            await one.wait_until_settled(0)
            assert await one.crowd(0) == 1
        chain.go.set()
    assert not scope.cancelled_caught
    assert chain.pages == 2


async def test_a_leaf_that_the_ledger_does_not_have_yet_is_read_for_once(chain: Slow) -> None:
    one = device(chain, chain.clock)
    for _ in range(3):
        assert await one.crowd(99) == 1
    assert chain.pages == 2


async def test_a_reading_that_failed_is_not_made_up_for_at_the_moment_of_a_question(
    chain: Slow,
) -> None:
    one = device(chain, chain.clock)
    await one.refresh()
    before = (await one.place(0, 5)).root
    chain.failing = True
    with pytest.raises(PeerError):
        await one.refresh(now=True)  # the rhythm; a daemon says nothing of it
    assert chain.pages == 2
    assert (await one.place(0, 5)).root == before
    chain.failing = False
    await one.place(0, 5)
    assert chain.pages == 2
    await one.refresh(now=True)  # the rhythm again, from the start
    assert (await one.place(0, 5)).root == before


async def test_what_was_read_is_not_proved_of_when_it_is_too_old(chain: Slow) -> None:
    one = device(chain, chain.clock)
    await one.refresh()
    chain.clock.now += PERIOD_S
    chain.failing = True
    with pytest.raises(PeerError):
        await one.place(0, 5)


class SlowRegistry:
    """A registry of one gateway and two relays, whose node holds its answer back."""

    def __init__(self) -> None:
        kinds = (ProviderKind.GATEWAY, ProviderKind.RELAY, ProviderKind.RELAY)
        entries = [_entry(number, kind) for number, kind in enumerate(kinds)]
        self.listing = Listing(None, tuple(entries))  # type: ignore[arg-type]
        self.go = anyio.Event()
        self.go.set()

    async def providers(self) -> Listing:
        await self.go.wait()
        return self.listing

    async def issuer_key(self) -> Any:
        return None


def _entry(number: int, kind: ProviderKind) -> ProviderEntry:
    owner, url = f"owner{number}", f"https://o{number}.example"
    digest = bytes([number]) * 32
    return ProviderEntry(number, Address(owner), kind, f"did:key:z{number}", url, digest, 0)


async def test_a_node_that_holds_the_registry_back_holds_no_question_back() -> None:
    ledger: Any = SlowRegistry()
    registry = RegistryView(ledger)
    await registry.read()
    ledger.go = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(registry.read)  # the rhythm
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(60) as scope:
            await registry.choose()  # a question
            await registry.issuer()
        ledger.go.set()
    assert not scope.cancelled_caught
