"""What a daemon gets back by itself, and what nobody learns from when it does."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest

from fake_spends import MemorySpends, issuer
from native import needs_kernel
from privity.anon.desk import CreditDesk
from privity.errors import PaymentError, PeerError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.recovery import EVERY_S, TRIES, Recovery
from privity.infer.ladder import Ladder
from privity.infer.rung import Rung

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

LIMIT = 16
HOUR = 3600.0


class World:
    """A wallet with one spend in vain after another, an enclave's desk, and a clock of its own.

    Attributes:
        now: seconds since the epoch; who sleeps moves it.
        asked: when the desk was asked, and for which spend.
        failing: whether there is no way to the desk.
    """

    def __init__(self, folder: Path, *, seed: int = 7, limit: int = LIMIT) -> None:
        self.now = 2_000_000_000.0
        self.issuer = issuer()
        self.desk = CreditDesk(self.issuer, MemorySpends(), clock=lambda: self.now)
        self.wallet = SharedWallet(folder, b"\7" * 32)
        self.asked: list[tuple[float, bytes]] = []
        self.failing = False
        self.until = self.now + 24 * HOUR
        with self.wallet.turn(self.issuer.terms) as mine:
            mine.join(bytes(31) + b"\1", limit)
            mine.joined(3)
        self.recovery = Recovery(
            self._wallet,
            self._way,
            sleep=self._sleep,
            clock=lambda: self.now,
            chance=random.Random(seed),
        )

    def spend(self, *, over: bool = True) -> None:
        """Buy and spend credits in a job that had no answer, here or in another process."""
        with self.wallet.turn(self.issuer.terms) as mine:
            mine._clock = lambda: self.now
            name, request = mine.buy(100)
            mine.bought(name, self.issuer.issue(request, 100))
            reserved = mine.spend(100)
        if over:
            self.wallet.over.add(reserved.id)

    def waiting(self) -> int:
        return len(self.wallet.read().unfinished())

    async def run(self, seconds: float = 24 * HOUR) -> None:
        """Let the daemon go on for so long."""
        self.until = self.now + seconds
        with anyio.CancelScope() as scope:
            self._scope = scope
            await self.recovery.run()

    async def _sleep(self, seconds: float) -> None:
        if self.now + seconds > self.until:
            self._scope.cancel()
        self.now += seconds
        await anyio.sleep(0)

    async def _wallet(self) -> SharedWallet:
        return self.wallet

    async def _way(self) -> httpx.AsyncBaseTransport:
        if self.failing:
            self.asked.append((self.now, b""))
            raise PeerError("no relay answers")
        return httpx.MockTransport(self._serve)

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        spend = decode_base64url(json.loads(request.content)["spend"])
        self.asked.append((self.now, spend))
        try:
            refund = await self.desk.recover(spend)
        except PaymentError as error:
            return httpx.Response(409, json={"error": {"code": error.check}})
        return httpx.Response(200, json={"refund": encode_base64url(refund)})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


async def test_what_was_spent_in_vain_comes_back_by_itself(world: World) -> None:
    for _ in range(3):
        world.spend()
    await world.run(2 * HOUR)
    assert world.waiting() == 0 and world.wallet.read().balance == 300
    assert (world.recovery.spends, world.recovery.credits) == (3, 300)
    assert not world.wallet.over  # nothing is kept of what is settled


async def test_one_spend_is_asked_for_at_a_time_and_far_from_the_next(world: World) -> None:
    """In one breath they would be known for one person's; and a minute has few messages."""
    for _ in range(6):
        world.spend()
    await world.run()
    times = [when for when, _ in world.asked]
    assert len(times) == 6
    assert all(later - earlier >= EVERY_S / 2 for earlier, later in pairwise(times))


@pytest.mark.parametrize("wait", [0.0, 100.0, 500.0])
async def test_when_a_job_breaks_off_does_not_move_the_hour_of_asking(
    tmp_path: Path, wait: float
) -> None:
    """The looks are those of a daemon to which nothing happens: a gateway cannot call one up."""
    quiet, looks = World(tmp_path / "quiet"), list[float]()

    async def look() -> None:
        looks.append(quiet.now)

    quiet.recovery.look = look  # type: ignore[method-assign]
    await quiet.run(HOUR)

    loud = World(tmp_path / "loud")
    broke_off, sleep = loud.now + wait, loud._sleep

    async def slept(seconds: float) -> None:
        until = loud.now + seconds
        if until >= broke_off and not loud.waiting():
            loud.now = broke_off
            loud.spend()
        loud.now = until - seconds
        await sleep(seconds)

    loud.recovery._sleep = slept
    await loud.run(HOUR)
    assert loud.asked[0][0] in looks
    assert loud.asked[0][0] >= broke_off + 120


async def test_a_job_that_runs_is_left_alone(world: World) -> None:
    world.spend(over=False)
    (one,) = world.wallet.read().unfinished()
    world.wallet.under_way.add(one.id)
    await world.run()
    assert world.asked == []
    world.wallet.under_way.discard(one.id)
    await world.run(2 * HOUR)
    assert world.waiting() == 0


async def test_a_spend_of_another_process_has_the_time_that_a_job_may_take(world: World) -> None:
    began = world.now
    world.spend(over=False)
    await world.run(2 * HOUR)
    assert world.waiting() == 0
    assert world.asked[0][0] >= began + 900


async def test_tries_are_few_and_further_and_further_apart(world: World) -> None:
    world.failing = True
    world.spend()
    await world.run(14 * 24 * HOUR)
    times = [when for when, _ in world.asked]
    assert len(times) == TRIES and world.waiting() == 1
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(later > 1.1 * earlier for earlier, later in pairwise(gaps))
    world.failing = False
    world.spend()  # another one is not held up by it
    await world.run(2 * HOUR)
    assert world.recovery.spends == 1


async def test_no_message_is_taken_of_who_needs_them(world: World, tmp_path: Path) -> None:
    world.spend()
    use = LIMIT // 2 + 1
    epochs = set[int]()
    due = world.recovery._due

    def busy(wallet: Any, read: Any) -> Any:
        epoch = int(world.now // 60)
        epochs.add(epoch)
        with wallet.turn() as mine:
            for _ in range(use):
                mine.take_message_id(epoch)
        return due(wallet, wallet.read())

    world.recovery._due = busy  # type: ignore[method-assign]
    await world.run(6 * HOUR)
    assert len(epochs) > 20 and world.asked == []
    use = LIMIT // 2
    await world.run(HOUR)
    assert world.waiting() == 0

    few = World(tmp_path / "few", limit=4)
    few.spend()
    await few.run()
    assert few.asked == []


async def test_who_spent_nothing_asks_nothing(world: World) -> None:
    await world.run()
    assert world.asked == []


async def test_a_daemon_does_it_and_ends_cleanly(world: World) -> None:
    """Beside its routes, however many; and a desk that answers nonsense does not end those."""
    world.spend()
    renewed = anyio.Event()

    async def keep_fresh() -> None:
        renewed.set()
        await anyio.sleep_forever()

    async def sleep(seconds: float) -> None:
        world.now += seconds
        await anyio.sleep(0.001)

    async def nonsense(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("nonsense")

    world._serve, serve = nonsense, world._serve  # type: ignore[method-assign]
    world.recovery._sleep = sleep
    keeper: Any = SimpleNamespace(keep_fresh=keep_fresh, policy=None)
    rung = Rung("anonymous", "it", keeper, recovery=world.recovery)
    ladder = Ladder([rung], policy=None)  # type: ignore[arg-type]
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(ladder.keep_fresh)
            await renewed.wait()
            while not world.recovery._tried:
                await anyio.sleep(0.001)
            world._serve = serve  # type: ignore[method-assign]
            while world.waiting():
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
    assert world.recovery.spends == 1


async def test_a_spend_that_was_taken_back_meanwhile_is_not_shown(world: World) -> None:
    """Its token is in the wallet again: shown to the desk, the credits would be nobody's."""
    world.spend()
    (one,) = world.wallet.read().unfinished()
    world.now += HOUR
    recovering = world.wallet.recovering

    def after_it_was_taken_back() -> Any:
        world.wallet.unsent(one.id)  # between the look at the wallet and the lock
        return recovering()

    world.wallet.recovering = after_it_was_taken_back  # type: ignore[method-assign]
    await world.recovery.look()
    assert world.asked == []
    with world.wallet.turn(world.issuer.terms) as mine:
        assert mine.balance == 100
        again = mine.spend(100)
    await world.desk.begin(again.spend, least=100)
