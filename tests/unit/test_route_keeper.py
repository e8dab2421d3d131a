from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import EvidenceError, PeerError, PolicyRefusal, PrivityError
from privity.infer.routes.keeper import RouteKeeper
from privity.policy import Policy

pytestmark = pytest.mark.anyio
NOTHING = Disclosure()
OPEN_HOST = Disclosure(
    {(Party.HOST, Asset.PROMPT): Cell(View.EVERYTHING, frozenset({Basis(Ground.NOTHING, "x")}))}
)


@dataclass(frozen=True)
class FakeRoute:
    number: int
    disclosure: Disclosure = NOTHING
    name: str = "fake"
    models: tuple[Any, ...] = ()
    enclave: None = None
    terms: None = None

    def transport(self, keys: Any, inner: Any) -> Any:
        raise AssertionError("not used")


class Source:
    """Finds numbered routes, or raises what it is told to; with a clock one can turn."""

    def __init__(self) -> None:
        self.found = 0
        self.now = 0.0
        self.error: PrivityError | None = None
        self.disclosure = Disclosure()

    async def find(self) -> FakeRoute:
        await anyio.sleep(0)
        if self.error is not None:
            raise self.error
        self.found += 1
        return FakeRoute(self.found, self.disclosure)

    def keeper(self, policy: str = "confidential", max_age: float = 100) -> RouteKeeper:
        return RouteKeeper(self.find, Policy.load(policy), max_age=max_age, clock=lambda: self.now)


async def number(keeper: RouteKeeper) -> int:
    route: Any = (await keeper.current()).route
    found: int = route.number
    return found


async def test_a_route_is_found_once_for_all_who_ask() -> None:
    source = Source()
    keeper = source.keeper()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(keeper.current)
    assert source.found == 1
    assert await number(keeper) == 1


async def test_past_half_its_age_it_is_renewed_while_jobs_go_on() -> None:
    source = Source()
    keeper = source.keeper()
    await keeper.current()
    source.now = 51
    assert await number(keeper) == 1
    await anyio.wait_all_tasks_blocked()
    assert await number(keeper) == 2
    await keeper.aclose()


async def test_past_its_age_it_is_not_used() -> None:
    source = Source()
    keeper = source.keeper()
    await keeper.current()
    source.now = 100
    source.error = PeerError("gone")
    with pytest.raises(PeerError):
        await keeper.current()
    assert keeper.problem is source.error
    source.error = None
    assert await number(keeper) == 2
    assert keeper.problem is None


@pytest.mark.parametrize("refusal", ["evidence", "policy"])
async def test_a_later_refusal_ends_a_route_at_once(refusal: str) -> None:
    source = Source()
    keeper = source.keeper()
    first = await keeper.current()
    kind: type[PrivityError] = PolicyRefusal
    if refusal == "evidence":
        kind, source.error = EvidenceError, EvidenceError("no", check="quote signature")
    else:
        source.disclosure = OPEN_HOST
    with pytest.raises(kind):
        await keeper.refresh(first)
    assert keeper.cached is None
    with pytest.raises(kind):
        await keeper.current()


async def test_a_peer_that_cannot_be_reached_does_not_end_a_fresh_route() -> None:
    source = Source()
    keeper = source.keeper()
    await keeper.current()
    source.now, source.error = 60, PeerError("gone")
    assert await number(keeper) == 1
    await anyio.wait_all_tasks_blocked()
    assert await number(keeper) == 1
    await keeper.aclose()


async def test_a_stale_route_is_replaced_once() -> None:
    source = Source()
    keeper = source.keeper()
    stale = await keeper.current()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(keeper.refresh, stale)
    assert source.found == 2


async def test_many_who_wait_for_a_dead_peer_share_its_failure() -> None:
    source = Source()
    source.error = PeerError("gone")
    keeper = source.keeper()
    failures: list[PrivityError] = []
    tries = 0
    find = source.find

    async def counted() -> FakeRoute:
        nonlocal tries
        tries += 1
        return await find()

    keeper._find = counted

    async def one() -> None:
        with pytest.raises(PeerError) as caught:
            await keeper.current()
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
    assert len(failures) == 20
    assert tries <= 2


async def test_kept_fresh_it_finds_an_enclave_that_comes_back() -> None:
    source = Source()
    source.error = PeerError("gone")
    keeper = source.keeper(max_age=0.02)
    async with anyio.create_task_group() as group:
        group.start_soon(keeper.keep_fresh)
        await anyio.wait_all_tasks_blocked()
        assert keeper.cached is None
        source.error = None
        with anyio.fail_after(60):
            while keeper.cached is None:
                await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    assert keeper.problem is None


async def test_each_job_has_a_route_of_its_own() -> None:
    source = Source()
    keeper = RouteKeeper(source.find, Policy.load("confidential"), max_age=100, once=True)
    taken: list[Any] = [(await keeper.take()).route for _ in range(3)]

    async def take() -> None:
        taken.append((await keeper.take()).route)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(take)
    await keeper.aclose()
    assert len({route.number for route in taken}) == 7
