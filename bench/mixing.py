"""Who sent this? An observer of both sides of a relay matches by time; mixing against it.

The observer sees when each client's message goes in and when one comes out, and knows how the relay
mixes, but for what it draws. For each message that comes out it computes how likely each one that
went in is, and names the likeliest. *Found* is how often it is right; chance is one out of the
number of clients. *Effective* is the size of an anonymity set as good as what the observer is left
with: two to the power of its entropy (Serjantov and Danezis, 2002).

The pool is the relay's own (`Mixer`), on a clock that jumps. The peer is the same relay without
mixing. Then the observer also uses answers, which on either side follow the requests: with requests
mixed alone they give it all away; held whole and mixed too, they do not. A last line is a relay on
the real clock, with and without.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import virtual_time  # type: ignore[import-not-found]
from measure import Report, title
from privity.node.mixing import Mixer, MixSettings
from privity.node.relay import relay_app

JITTER_S = 0.002  # mean of what a relay without mixing takes, and hops vary
ANSWER_S = 3.0  # mean time of an answer at the gateway
SEALED = {"content-type": "message/ohttp-chunked-req"}


@dataclass
class Passage:
    """One direction through the relay: when each message came and left."""

    came: list[float]
    left: list[float]

    def waits(self) -> list[float]:
        """Return how long each was held."""
        return [after - before for before, after in zip(self.came, self.left, strict=True)]


def passed(came: list[float], settings: MixSettings | None, drawn: Random) -> Passage:
    """Carry messages that come at these times through a relay."""
    if settings is None:
        return Passage(came, [at + drawn.expovariate(1 / JITTER_S) for at in came])
    left = [0.0] * len(came)

    async def one(mixer: Mixer, number: int) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(came[number] - loop.time())
        await mixer.wait()
        left[number] = loop.time()

    async def run() -> None:
        mixer = Mixer(settings, below=drawn.randrange)
        await asyncio.gather(*(one(mixer, number) for number in range(len(came))))

    virtual_time.run(run())
    return Passage(came, left)


def likelihoods(seen: Passage, settings: MixSettings | None) -> dict[int, dict[int, float]]:
    """Return for each message that left how likely each that came is: one row sums to 1."""
    if settings is None:
        return _by_delay(seen)
    batches: dict[float, list[int]] = defaultdict(list)
    for number, at in enumerate(seen.left):
        batches[round(at, 6)].append(number)
    coming = sorted((at, number) for number, at in enumerate(seen.came))
    there: dict[int, float] = {}  # how likely each is still in the pool
    held = 0  # how many are
    rows: dict[int, dict[int, float]] = {}
    for at, batch in sorted(batches.items()):
        while coming and coming[0][0] <= at + 1e-9:
            there[coming.pop(0)[1]] = 1.0
            held += 1
        latest = at + settings.period_s - settings.longest_s
        overdue = {one for one in there if seen.came[one] < latest}
        certain = sum(there[one] for one in overdue)
        others = max(sum(there.values()) - certain, 1e-12)
        share = min(max((len(batch) - certain) / others, 0.0), 1.0)
        leaving = {one: mass * (1 if one in overdue else share) for one, mass in there.items()}
        total = sum(leaving.values())
        row = {one: mass / total for one, mass in leaving.items()}
        rows.update(dict.fromkeys(batch, row))
        held -= len(batch)
        rest = {
            one: max(mass - leaving[one], 1e-9) for one, mass in there.items() if one not in overdue
        }
        scale = held / sum(rest.values()) if rest else 0.0  # how many stay is seen
        there = {one: mass * scale for one, mass in rest.items()} if held else {}
    return rows


def _by_delay(seen: Passage) -> dict[int, dict[int, float]]:
    """Weigh by the delay: exponential, and no message leaves before it came."""
    order = sorted(range(len(seen.came)), key=seen.came.__getitem__)
    rows = {}
    for number, at in enumerate(seen.left):
        near = [one for one in order if -10 * JITTER_S < seen.came[one] - at <= 0] or [number]
        masses = {one: math.exp((seen.came[one] - at) / JITTER_S) for one in near}
        total = sum(masses.values())
        rows[number] = {one: mass / total for one, mass in masses.items()}
    return rows


def judged(
    rows: dict[int, dict[int, float]], clients: list[int], drawn: Random
) -> tuple[float, float]:
    """Return how often the likeliest client is the right one, and the effective set."""
    found, bits = 0.0, []
    for number, row in rows.items():
        by_client: dict[int, float] = defaultdict(float)
        for one, mass in row.items():
            by_client[clients[one]] += mass
        best = max(by_client.values())
        likeliest = [client for client, mass in by_client.items() if mass > best - 1e-12]
        found += drawn.choice(likeliest) == clients[number]
        bits.append(-sum(mass * math.log2(mass) for mass in by_client.values() if mass > 0))
    return found / len(rows), 2 ** statistics.mean(bits)


def both_ways(
    asked: dict[int, dict[int, float]], answered: dict[int, dict[int, float]]
) -> dict[int, dict[int, float]]:
    """Return what requests and answers say together.

    ``asked[out][in]``; ``answered[in][out]``: an answer goes in at the gateway's side, ``out``, and
    comes out at the client's, ``in``.
    """
    rows = {}
    for out, row in asked.items():
        joint = {one: mass * answered[one].get(out, 0.0) for one, mass in row.items()}
        total = sum(joint.values())
        rows[out] = {one: mass / total for one, mass in joint.items()} if total else row
    return rows


def simulate(report: Report, clients: int, rate: float, count: int, seed: int = 7) -> None:
    """Judge each way to mix at one rate of messages."""
    drawn = Random(seed)
    at, came = 0.0, []
    for _ in range(count):
        at += drawn.expovariate(rate)
        came.append(at)
    whose = [drawn.randrange(clients) for _ in came]
    pool = MixSettings()
    ways = {
        "no mixing": None,
        "timer 0.5 s, nothing kept": MixSettings(threshold=10**6, keep=0, waiting=2 * 10**6),
        "8 or 0.5 s, 4 kept (default)": pool,
        "32 or 2 s, 16 kept, 8 s": MixSettings(threshold=32, period_s=2.0, keep=16, longest_s=8.0),
    }
    for name, settings in ways.items():
        requests = passed(came, settings, drawn)
        asked = likelihoods(requests, settings)
        served = [one + drawn.gammavariate(4, ANSWER_S / 4) for one in requests.left]
        found, effective = judged(asked, whose, drawn)
        joint = {}
        for kind, answering in {"plain": None, "mixed": settings}.items():
            answers = passed(served, answering, drawn)
            joint[kind] = judged(both_ways(asked, likelihoods(answers, answering)), whose, drawn)
        waits = sorted(requests.waits())
        report.add(
            f"simulated, {clients} clients, {rate:g}/s: {name}",
            f"found {found:5.1%} (chance {1 / clients:.1%}), effective {effective:5.1f}; "
            f"seeing answers {joint['plain'][0]:5.1%}, answers mixed {joint['mixed'][0]:5.1%}, "
            f"effective {joint['mixed'][1]:4.1f}; "
            f"held {statistics.median(waits):.2f} s median, {waits[int(0.95 * count)]:.2f} s p95",
            found=found,
            chance=1 / clients,
            effective=effective,
            found_with_answers=joint["plain"][0],
            found_with_answers_mixed=joint["mixed"][0],
            effective_with_answers_mixed=joint["mixed"][1],
            held_median_s=statistics.median(waits),
            held_p95_s=waits[int(0.95 * count)],
        )


class Upstream(httpx.AsyncBaseTransport):
    """The far side of a relay: keeps which message came, in order."""

    def __init__(self) -> None:
        self.order: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Keep the message; answer at once."""
        self.order.append(await request.aread())
        return httpx.Response(200, content=b"answer")


async def loopback(mixing: MixSettings | None, clients: int, each: int) -> tuple[float, float]:
    """Run a relay on the real clock; return how often the n-th out is the n-th in, and its time."""
    drawn, upstream = Random(3), Upstream()
    relay = relay_app({"one": "http://far"}, transport=upstream, mixing=mixing)
    order: list[bytes] = []
    times: list[float] = []

    async def body(name: bytes) -> AsyncIterator[bytes]:
        order.append(name)
        yield name

    async def client(http: httpx.AsyncClient, number: int) -> None:
        loop = asyncio.get_running_loop()
        for turn in range(each):
            await asyncio.sleep(drawn.expovariate(0.5))
            began = loop.time()
            await http.post("http://r/one", content=body(b"%d.%d" % (number, turn)), headers=SEALED)
            times.append(loop.time() - began)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(relay), timeout=60) as http:
        await asyncio.gather(*(client(http, number) for number in range(clients)))
    await relay.aclose()
    same = sum(one == other for one, other in zip(order, upstream.order, strict=True))
    return same / len(order), statistics.median(times)


def main() -> None:
    """Simulate, then run a relay."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=2000)
    count = parser.parse_args().messages
    title("mixing: who sent this, for one who sees both sides of a relay")
    report = Report("mixing")
    for rate in (2.0, 16.0, 64.0):
        simulate(report, 64, rate, count)
    plain = asyncio.run(loopback(None, 32, 4))
    mixed = asyncio.run(loopback(MixSettings(), 32, 4))
    report.add(
        "a relay on the real clock, 32 clients",
        f"n-th out is n-th in {mixed[0]:.1%} mixed, {plain[0]:.1%} not; "
        f"{mixed[1]:.2f} s against {plain[1] * 1000:.1f} ms a request",
        found_mixed=mixed[0],
        found_plain=plain[0],
        mixed_s=mixed[1],
        plain_s=plain[1],
    )
    report.write()


if __name__ == "__main__":
    main()
