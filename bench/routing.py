"""The routing decision over 1,000 models on 50 rungs, beside LiteLLM's router.

Ours weighs every admitted model on 50 rungs; LiteLLM's `Router`, where it is installed (it is not
among our dependencies: ``pip install litellm``, or name its interpreter's site-packages in
PYTHONPATH), picks one of 20 deployments of one model name by its simplest strategy. It checks no
disclosure, no budget and no abilities: the peer does less. Where it is not installed, the peer is
the same choice by a plain loop over all models, labelled so.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from measure import Report, title
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.infer.budget import Allowance
from privity.infer.catalogue import Offer, Price
from privity.infer.router import OfferIndex, Rules, Standing, Wanted, decide

RUNGS, MODELS = 50, 1000
RUNS = 2000
ROUTES = ("local", "confidential", "zdr")


def disclosure(route: str) -> Disclosure:
    """Return a table as large as the real ones."""
    basis = frozenset({Basis(Ground.MATHEMATICS, "sealed")})
    cells = {(Party.PERSON, asset): Cell(View.EVERYTHING) for asset in Asset}
    if route != "local":
        for party in (Party.RELAY, Party.HOST, Party.OBSERVER):
            cells |= {(party, asset): Cell(View.SIZE, basis) for asset in list(Asset)[:4]}
    if route == "zdr":
        cells |= {(Party.PROVIDER, asset): Cell(View.EVERYTHING) for asset in list(Asset)[:4]}
    return Disclosure(cells)


def world() -> tuple[list[Offer], dict[tuple[str, str], Standing]]:
    """Return 1,000 models, every id on 20 rungs, and what is known of the 50 rungs."""
    rungs = [(ROUTES[number % 3], f"rung{number}") for number in range(RUNGS)]
    standings = {
        rung: Standing(
            disclosure(rung[0]),
            broken="it failed 3 times in a row" if number % 10 == 9 else "",
            first_token_ms=50.0 + number,
        )
        for number, rung in enumerate(rungs)
    }
    offers = []
    for number in range(MODELS):
        route, rung = rungs[number % RUNGS]
        price = Price("USD", 0.5 + number / 100, 2.0) if route == "zdr" else None
        can = frozenset({"tools"} if number % 4 else {"tools", "vision"})
        model = f"model-{number // 20}-{1 + number // 20}b"
        offers.append(Offer(model, route, rung, 8192 << (number % 5), price, None, can))
    return offers, standings


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    for _ in range(20):
        run()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def litellm_router(model: str) -> Callable[[], object]:
    """Return LiteLLM's choice among 20 deployments of one name, 1,000 in all."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches one when imported
    import litellm  # type: ignore[import-not-found,unused-ignore]  # outside of our dependencies

    deployments = [
        {
            "model_name": f"model-{number // 20}",
            "litellm_params": {
                "model": f"openai/m{number}",
                "api_key": "x",
                "api_base": "http://x",
            },
        }
        for number in range(MODELS)
    ]
    router: Any = litellm.Router(model_list=deployments)
    messages = [{"role": "user", "content": "hello"}]
    return lambda: router.get_available_deployment(model=model, messages=messages)


def plain_loop(offers: list[Offer], standings: dict[tuple[str, str], Standing]) -> object:
    """Return the cheapest that can, by a loop that looks at every model every time."""
    fit = []
    for offer in offers:
        standing = standings[offer.route, offer.rung]
        if standing.disclosure is None or standing.broken or "tools" not in offer.can:
            continue
        price = offer.price
        cost = 0.0 if price is None else (2000 * price.prompt + 500 * price.completion) / 1e6
        if cost <= 5 and (offer.context or 0) >= 2500:
            fit.append((cost, ROUTES.index(offer.route), offer.name))
    return sorted(fit)[0]


def main() -> None:
    """Measure each kind of decision."""
    title(f"routing: {MODELS} models on {RUNGS} rungs")
    offers, standings = world()
    index, rules = OfferIndex(offers), Rules()
    allowance = Allowance("USD", 5_000_000, "day")
    if find_spec("litellm"):
        peer, run = "LiteLLM's router, 20 deployments", litellm_router("model-3")
    else:
        peer, run = "a plain loop", lambda: plain_loop(offers, standings)
    theirs = timed(run)
    asked = ("private/best", "private/cheap", "private/fast", "private/strict", "", "model-3-4b")
    report = Report("routing")
    for name in asked:
        wanted = Wanted(name, frozenset({"tools"}), 2000, 500)
        ours = timed(partial(decide, wanted, index, standings, rules, allowance))
        report.add(
            f"decision for {name or 'no model'}",
            f"{ours[0]:.3f} ms, p99 {ours[1]:.3f} ms; {peer} {theirs[0]:.3f} ms, "
            f"p99 {theirs[1]:.3f} ms; {theirs[0] / ours[0]:.1f} x as fast; goal 1 ms",
            ours_ms=ours[0],
            ours_p99_ms=ours[1],
            peer=peer,
            peer_ms=theirs[0],
            peer_p99_ms=theirs[1],
            goal_ms=1.0,
        )
    began = time.perf_counter()
    decide(Wanted("private/best"), OfferIndex(offers), standings, rules)
    first = (time.perf_counter() - began) * 1000
    report.add("the first, once a catalogue changes", f"{first:.1f} ms", ours_ms=first)
    report.write()


if __name__ == "__main__":
    main()
