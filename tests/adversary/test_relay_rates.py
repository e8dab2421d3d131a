"""A flood from one client of a relay: what it may take of the others, and what is kept of it."""

from __future__ import annotations

import itertools
import logging
import math
from typing import Any

import httpx
import pytest

from privity.errors import InputError
from privity.node.client_rates import ClientRates
from privity.node.relay import Relay, RelayLimits, relay_app
from privity.seal import problem

pytestmark = pytest.mark.anyio

REFUSED = problem.Problem(403, problem.ADMISSION + "proof", "the proof does not hold")


class Gateway(httpx.AsyncBaseTransport):
    """Counts what reaches it, and refuses what says so."""

    def __init__(self) -> None:
        self.bad = self.good = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if body == b"bad":
            self.bad += 1
            headers = {"content-type": problem.MEDIA_TYPE}
            return httpx.Response(403, headers=headers, stream=httpx.ByteStream(REFUSED.body))
        self.good += 1
        return httpx.Response(200, stream=httpx.ByteStream(b"answer"))


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def world(**limits: float) -> tuple[Relay, Gateway, Clock]:
    gateway, clock = Gateway(), Clock()
    relay = Relay({"one": "http://gateway"}, RelayLimits(**limits), gateway, clock=clock)  # type: ignore[arg-type]
    return relay, gateway, clock


async def ask(relay: Relay, client: str | None, body: bytes = b"good") -> int:
    """Send one sealed message from an address; return the status of its answer."""
    transport = httpx.ASGITransport(relay, client=(client or "none", 1))
    if client is None:
        inner = relay

        async def without(scope: Any, receive: Any, send: Any) -> None:
            await inner({**scope, "client": None}, receive, send)

        transport = httpx.ASGITransport(without)
    async with httpx.AsyncClient(transport=transport, base_url="http://relay") as sender:
        headers = {"content-type": "message/ohttp-chunked-req"}
        return (await sender.post("/one", content=body, headers=headers)).status_code


async def test_a_client_sends_its_rate_and_no_more() -> None:
    relay, gateway, clock = world(each_per_s=2, each_burst=10)
    statuses = [await ask(relay, "192.0.2.1") for _ in range(15)]
    assert statuses == [200] * 10 + [503] * 5
    clock.now += 1.0
    assert [await ask(relay, "192.0.2.1") for _ in range(3)] == [200, 200, 503]
    assert gateway.good == 12
    await relay.aclose()


async def test_a_flood_from_one_address_leaves_the_others_their_relay() -> None:
    relay, gateway, clock = world(each_per_s=50, each_burst=500)
    served = 0
    for _ in range(10):  # a second: 500 forgeries beside 10 good ones
        for _ in range(50):
            await ask(relay, "192.0.2.1", b"bad")
            clock.now += 0.002
        served += await ask(relay, "192.0.2.2") == 200
    assert served == 10
    assert gateway.bad <= 12  # the flood's 500, as the gateway sees them
    await relay.aclose()


async def test_a_few_refusals_cost_an_honest_client_nothing_it_notices() -> None:
    relay, _, clock = world()
    for _ in range(5):  # a clock that is wrong, a ledger that is read late; or one who tags
        assert await ask(relay, "192.0.2.1", b"bad") == 403
    for _ in range(60):
        assert await ask(relay, "192.0.2.1") == 200
        clock.now += 1.0
    await relay.aclose()


async def test_who_was_refused_much_is_served_again_when_it_stops() -> None:
    relay, _, clock = world(each_per_s=50, each_burst=500)
    while await ask(relay, "192.0.2.1", b"bad") == 403:
        pass
    clock.now += 20.0  # twice the burst's time: a debt is no longer than the burst
    assert await ask(relay, "192.0.2.1") == 200
    await relay.aclose()


@pytest.mark.parametrize("each_per_s", [1e6, 1e9])
async def test_a_rate_at_which_all_come_back_at_once_ends_no_relay(each_per_s: float) -> None:
    """Even who sent last has all tokens again when it is looked: nobody is left to forget."""
    relay, gateway, _ = world(each_per_s=each_per_s, each_burst=1)
    ticks = itertools.count()
    relay._rates._clock = lambda: next(ticks) * 1e-5
    assert [await ask(relay, "192.0.2.1") for _ in range(4)] == [200] * 4
    assert gateway.good == 4 and len(relay._rates) == 0
    await relay.aclose()


async def test_a_hop_that_sees_no_client_is_not_limited() -> None:
    """Behind its own seal, and in a gateway, a relay knows only the hop before: many people."""
    relay, gateway, _ = world(each_per_s=1, each_burst=1)
    assert [await ask(relay, None) for _ in range(20)] == [200] * 20
    assert gateway.good == 20
    await relay.aclose()


async def test_no_address_is_in_a_log_or_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    relay, _, _ = world(each_per_s=1, each_burst=1)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            await ask(relay, "203.0.113.77", b"bad")
    assert "203.0.113.77" not in caplog.text
    assert "203.0.113.77" not in repr(relay) + repr(vars(relay))
    await relay.aclose()


def test_the_table_is_bounded_and_keeps_who_is_in_debt() -> None:
    clock = Clock()
    rates = ClientRates(1, 4, most=100, clock=clock)
    while rates.take("192.0.2.1"):
        pass
    for number in range(1000):
        rates.take(f"10.0.{number // 256}.{number % 256}")
        assert len(rates) <= 100
        assert not rates.take("192.0.2.1")


def test_an_address_of_version_6_is_its_network() -> None:
    """Whoever has one address of a /64 has them all."""
    rates = ClientRates(1, 3, clock=Clock())
    taken = [rates.take(f"2001:db8::{number}") for number in range(1, 6)]
    assert taken == [True, True, True, False, False]
    assert rates.take("2001:db8:0:1::1")
    assert rates.take("::ffff:192.0.2.1") and rates.take("192.0.2.1") and rates.take("192.0.2.1")
    assert not rates.take("192.0.2.1")  # one address, however it is written


@pytest.mark.parametrize(
    "limits",
    [{"each_per_s": 0.0}, {"each_burst": 0.5}, {"each_per_s": math.inf}, {"each_burst": math.nan}],
)
def test_limits_that_let_nothing_through_or_all_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError):
        relay_app({}, RelayLimits(**limits))  # type: ignore[arg-type]
