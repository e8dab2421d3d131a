"""Runs something beside a role until what it uses is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

__all__ = ["run_beside"]

logger = logging.getLogger("privity.node")


def run_beside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until ``stack`` closes; what was put on it before is closed only then.

    Args:
        stack: ends the work, and waits for its end.
        work: what runs. That it failed is logged at the end.

    Guarantees:
        Nothing that the work uses is closed under it
        (tests/unit/test_beside.py::test_what_runs_beside_has_ended_before_what_it_uses_closes).
    """
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Exception):
            logger.warning("what ran beside a role had failed: %s", type(ended).__name__)

    stack.push_async_callback(end)
