"""What a desk, or a gateway before it, can answer a daemon that asks for what was spent in vain."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest

from adversary.test_recovery import World
from native import needs_kernel
from privity.errors import PrivityError
from privity.infer.ladder import Ladder
from privity.infer.rung import Rung

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

ANSWERS = [
    (409, {"error": {"code": []}}),
    (409, {"error": {"code": {}}}),
    (409, {"error": []}),
    (409, []),
    (200, {"refund": "\ud800"}),
    (200, {"refund": "é"}),
    (200, {"refund": []}),
    (200, []),
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "wallet")
    made.spend()
    made.now += 3600
    return made


def ladder(world: World, keep_fresh: Any) -> Ladder:
    """Return a daemon's ladder, of one rung, whose recovery looks again at once."""

    async def sleep(seconds: float) -> None:
        world.now += seconds
        await anyio.sleep(0.001)

    world.recovery._sleep = sleep
    keeper: Any = SimpleNamespace(keep_fresh=keep_fresh, policy=None)
    rung = Rung("anonymous", "it", keeper, recovery=world.recovery)
    return Ladder([rung], policy=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("status, said", ANSWERS)
async def test_no_answer_of_a_desk_is_an_error_of_pythons(
    world: World, status: int, said: Any
) -> None:
    async def lying(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=json.dumps(said).encode())

    world._serve = lying  # type: ignore[method-assign]
    with pytest.raises(PrivityError):
        await world.recovery.look()


async def test_a_mistake_in_recovery_ends_nothing_and_is_told_without_its_words(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def keep_fresh() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("renewing")

    async def broken(request: httpx.Request) -> httpx.Response:
        raise TypeError("a secret")

    world._serve, serve = broken, world._serve  # type: ignore[method-assign]
    async with anyio.create_task_group() as group:
        group.start_soon(ladder(world, keep_fresh).keep_fresh)
        with anyio.fail_after(30):
            while not caplog.records:
                await anyio.sleep(0.001)
            world._serve = serve  # type: ignore[method-assign]
            while world.waiting():
                await anyio.sleep(0.001)
        assert not ended
        group.cancel_scope.cancel()
    assert world.recovery.spends == 1
    assert "TypeError" in caplog.text and "secret" not in caplog.text


async def test_a_mistake_in_renewing_ends_nothing_and_renewing_begins_again(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privity.infer.ladder._AGAIN_S", 0.0)
    began = 0

    async def keep_fresh() -> None:
        nonlocal began
        began += 1
        if began < 3:
            raise TypeError("a secret")
        await anyio.sleep_forever()

    with caplog.at_level(logging.WARNING):
        async with anyio.create_task_group() as group:
            group.start_soon(ladder(world, keep_fresh).keep_fresh)
            with anyio.fail_after(30):
                while world.waiting() or began < 3:
                    await anyio.sleep(0.001)
            group.cancel_scope.cancel()
    assert "TypeError" in caplog.text and "secret" not in caplog.text
