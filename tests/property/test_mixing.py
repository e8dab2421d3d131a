"""Whatever comes whenever: all leaves, once, and in time."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

import virtual_time
from privity.node.mixing import Mixer, MixSettings


@settings(max_examples=60, deadline=None)
@given(
    arrivals=st.lists(st.floats(0.001, 20.0), min_size=1, max_size=40),
    threshold=st.integers(1, 10),
    keep=st.integers(0, 6),
    period_s=st.floats(0.05, 1.0),
    periods=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_none_waits_longer_than_the_longest(
    arrivals: list[float], threshold: int, keep: int, period_s: float, periods: int, seed: int
) -> None:
    mix = MixSettings(
        threshold=threshold, keep=keep, period_s=period_s, longest_s=period_s * periods
    )
    mixer = Mixer(mix, below=random.Random(seed).randrange)
    waited: list[float] = []

    async def one(at: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(at - loop.time())
        await mixer.wait()
        waited.append(loop.time() - at)

    async def run() -> None:
        await asyncio.gather(*(one(at) for at in arrivals))

    virtual_time.run(run())
    assert len(waited) == len(arrivals)
    assert max(waited) <= mix.longest_s + mix.period_s + 1e-6
    assert len(mixer) == 0
