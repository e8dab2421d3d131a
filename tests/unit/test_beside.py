"""What runs beside a role has ended before what it uses is closed."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

import anyio
import pytest

from privity.node.beside import run_beside

pytestmark = pytest.mark.anyio


async def test_what_runs_beside_has_ended_before_what_it_uses_closes() -> None:
    happened: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            happened.append("ended")

    async def close() -> None:
        happened.append("closed")

    async with AsyncExitStack() as stack:
        stack.push_async_callback(close)
        run_beside(stack, work())
        await anyio.lowlevel.checkpoint()
    assert happened == ["ended", "closed"]


async def test_what_failed_beside_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise RuntimeError("its words could quote what it is about")

    with caplog.at_level(logging.WARNING, "privity.node"):
        async with AsyncExitStack() as stack:
            run_beside(stack, work())
            await anyio.lowlevel.checkpoint()
    assert [record.getMessage() for record in caplog.records] == [
        "what ran beside a role had failed: RuntimeError"
    ]
