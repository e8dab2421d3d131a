"""Whether the first token of an answer tells that somebody else has sent the same prompt before.

The attack: a victim sends a long prompt; the attacker then sends that prompt and one that nobody
sent, in either order, and compares the times to the first token. Run against an engine that keeps
prefixes, as engines do where nobody forbids it, it shows that the attack works; run against the
same engine behind the enclave's proxy, as it is served, it has to find nothing. The figure is the
probability that the prompt which was sent before is the faster one (Mann-Whitney's U as an AUC):
0.5 is chance. Beside it stands how many tokens the engine said it took from a cache.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import numpy as np
from scipy.stats import mannwhitneyu

from measure import Report, child, title
from privity.infer.engines.embedded import EmbeddedEngine, default_threads
from privity.infer.engines.proxy import EngineProxy
from privity.infer.engines.weights import find_default

WORDS = (
    "harbour letter doctor garden winter engine payment journey window teacher river contract "
    "kitchen answer morning village silver question market bridge summer history paper island "
    "mountain village candle witness orange theatre station blanket mirror captain shadow"
).split()
LENGTH = 60  # words of a prompt
CACHED = re.compile(rb'"cache_n":\s*(\d+)')

Ask = Callable[[str], Awaitable[tuple[float, int]]]
"""Sends a prompt; returns seconds to the first token, and tokens taken from a cache."""


def main() -> None:
    """Attack both, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=60, help="of prompts sent before and new")
    parser.add_argument("--serve-unsafe", action="store_true", help="be the engine that keeps")
    options = parser.parse_args()
    if options.serve_unsafe:
        _serve_unsafe()
    title("Does the time to the first token tell what another person asked?")
    report = Report("prefix")
    asyncio.run(_both(report, options.pairs))
    report.write()


async def _both(report: Report, pairs: int) -> None:
    async with AsyncExitStack() as stack:
        url = stack.enter_context(child(__file__, "--serve-unsafe"))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=120, trust_env=False))
        await _attack(report, "an engine that keeps prefixes", _directly(client, url), pairs)
        engine = EmbeddedEngine()
        stack.push_async_callback(engine.aclose)
        await engine.start()
        proxy = EngineProxy(engine)
        stack.push_async_callback(proxy.aclose)
        transport = httpx.ASGITransport(proxy)
        inside = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://enclave.privity", timeout=120)
        )
        await _attack(report, "the same, as an enclave serves it", _directly(inside, ""), pairs)


async def _attack(report: Report, name: str, ask: Ask, pairs: int) -> None:
    chance = random.Random(7)
    before: list[float] = []
    new: list[float] = []
    kept = 0
    for number in range(-2, pairs):  # the first two warm it up
        sent, unsent = (" ".join(chance.choices(WORDS, k=LENGTH)) for _ in range(2))
        await ask(f"{sent} Please answer.")  # the victim
        turns = [(sent, before), (unsent, new)]
        chance.shuffle(turns)
        for prompt, times in turns:
            seconds, cached = await ask(f"{prompt} Please answer.")
            if number >= 0:
                times.append(seconds)
                kept += cached
        if number >= 0 and number % 20 == 19:
            print(f"    {number + 1} of {pairs} pairs", flush=True)
    _row(report, name, before, new, kept)


def _row(report: Report, name: str, before: list[float], new: list[float], kept: int) -> None:
    auc, low, high = _auc(before, new)
    p = float(mannwhitneyu(before, new).pvalue)
    first, second = statistics.median(before) * 1e3, statistics.median(new) * 1e3
    report.add(
        name,
        f"AUC {auc:.3f} [{low:.3f}, {high:.3f}] (chance 0.5), p {p:.2g}   sent before {first:.1f} "
        f"ms, new {second:.1f} ms   from a cache {kept} tokens, {len(new)} pairs",
        auc=auc,
        low=low,
        high=high,
        p=p,
        seconds_before=first / 1e3,
        seconds_new=second / 1e3,
        cached_tokens=kept,
        pairs=len(new),
    )


def _auc(before: list[float], new: list[float]) -> tuple[float, float, float]:
    """Return how often what was sent before is faster, and where 95 % of resamples have it."""
    faster = np.less.outer(before, new) + 0.5 * np.equal.outer(before, new)
    chance = np.random.default_rng(7)
    drawn = chance.integers(0, len(new), (2000, len(new)))
    means = [faster[np.ix_(rows, rows)].mean() for rows in drawn]  # pairs are drawn together
    low, high = np.percentile(means, (2.5, 97.5))
    return float(faster.mean()), float(low), float(high)


def _directly(client: httpx.AsyncClient, url: str) -> Ask:
    async def ask(prompt: str) -> tuple[float, int]:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 1,
            "temperature": 0,
        }
        began = time.perf_counter()
        answer = await client.post(f"{url}/v1/chat/completions", json=body)
        seconds = time.perf_counter() - began
        if answer.status_code != 200:
            raise RuntimeError(f"the engine answered {answer.status_code}")
        return seconds, sum(map(int, CACHED.findall(answer.content)))

    return ask


def _serve_unsafe() -> None:
    """Serve the same model with prefixes kept for whoever asks, as llama.cpp does by default."""
    import xllamacpp

    weights = find_default()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights.path)
    parameters.model_alias = {weights.model}
    parameters.chat_template = weights.template
    parameters.n_ctx, parameters.n_parallel = 16384, 4
    parameters.cpuparams.n_threads = default_threads()
    parameters.cpuparams_batch.n_threads = default_threads()
    parameters.cache_prompt = True
    parameters.fit_params = False
    parameters.warmup = False
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
