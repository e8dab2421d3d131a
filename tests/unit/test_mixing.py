"""The pool of a mixing relay, in virtual time; and a relay that mixes, with real connections."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import virtual_time
from privity.errors import InputError
from privity.node.mixing import Mixer, MixSettings
from privity.node.relay import relay_app
from privity.node.relay_role import RelaySettings, make_relay
from privity.seal import problem
from privity.seal.problem import Refused

Serve = Callable[[Any], str]
SEALED = {"content-type": "message/ohttp-chunked-req"}


async def leave(mixer: Mixer, arrivals: list[float]) -> list[tuple[int, float]]:
    """Return which message left when, in order; they come at these times."""
    left: list[tuple[int, float]] = []
    loop = asyncio.get_running_loop()

    async def one(number: int, at: float) -> None:
        await asyncio.sleep(at - loop.time())
        await mixer.wait()
        left.append((number, loop.time()))

    await asyncio.gather(*(one(number, at) for number, at in enumerate(arrivals)))
    return left


def test_a_batch_leaves_when_enough_are_new() -> None:
    settings = MixSettings(threshold=4, keep=0, period_s=100, longest_s=100)
    left = virtual_time.run(leave(Mixer(settings), [0.1, 0.2, 0.3, 0.4]))
    assert sorted(number for number, _ in left) == [0, 1, 2, 3]
    assert {round(at, 6) for _, at in left} == {0.4}


def test_a_tick_is_no_fixed_time_after_a_message_came() -> None:
    settings = MixSettings(threshold=99, keep=0, period_s=0.5, longest_s=0.5)
    left = virtual_time.run(leave(Mixer(settings), [0.1, 0.47, 1.2]))
    assert [round(at, 6) for _, at in left] == [0.5, 0.5, 1.5]


def test_some_are_kept_for_a_later_batch_and_none_for_ever() -> None:
    settings = MixSettings(threshold=99, keep=2, period_s=0.5, longest_s=2.0)
    left = virtual_time.run(leave(Mixer(settings), [0.1] * 5))
    assert Counter(round(at, 6) for _, at in left) == {0.5: 3, 2.0: 2}


def test_each_order_is_as_likely() -> None:
    drawn = random.Random(5)
    settings = MixSettings(threshold=3, keep=0)
    orders: Counter[tuple[int, ...]] = Counter()
    for _ in range(1200):
        mixer = Mixer(settings, below=drawn.randrange)
        left = virtual_time.run(leave(mixer, [0.1, 0.1, 0.1]))
        orders[tuple(number for number, _ in left)] += 1
    assert len(orders) == 6
    chi_squared = sum((count - 200) ** 2 / 200 for count in orders.values())
    assert chi_squared < 20.5  # 5 degrees of freedom, p = 0.001; the seed is fixed


def test_more_than_may_wait_are_refused() -> None:
    async def fill() -> None:
        settings = MixSettings(threshold=2, keep=2, waiting=4, period_s=9, longest_s=9)
        mixer = Mixer(settings, below=lambda _: 0)
        mixer._flush = lambda: None  # type: ignore[method-assign]  # as if none had left yet
        waiting = [asyncio.ensure_future(mixer.wait()) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await mixer.wait()
        assert caught.value.problem == problem.BUSY
        mixer.drain()
        await asyncio.gather(*waiting)

    virtual_time.run(fill())


def test_bytes_held_are_bounded_and_given_back() -> None:
    mixer = Mixer(MixSettings(message_bytes=100, held_bytes=150))
    with mixer.held() as one:
        one.take(100)
        with pytest.raises(Refused) as large, mixer.held() as other:
            other.take(101)
        assert large.value.problem == problem.OVERSIZE
        with pytest.raises(Refused) as full, mixer.held() as other:
            other.take(51)
        assert full.value.problem == problem.BUSY
    with mixer.held() as again:
        again.take(100)


def test_what_a_client_that_left_had_sent_is_forgotten() -> None:
    async def leaving() -> None:
        mixer = Mixer(MixSettings(threshold=99, keep=0, period_s=9, longest_s=9))
        waiting = asyncio.ensure_future(mixer.wait())
        await asyncio.sleep(0)
        assert len(mixer) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(mixer) == 0

    virtual_time.run(leaving())


def test_all_are_let_go_at_the_end() -> None:
    async def ending() -> float:
        mixer = Mixer(MixSettings(threshold=99, keep=4, period_s=9, longest_s=9))
        waiting = [asyncio.ensure_future(mixer.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        mixer.drain()
        await asyncio.gather(*waiting)
        await mixer.wait()  # and nothing is held any more
        return asyncio.get_running_loop().time()

    assert virtual_time.run(ending()) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"keep": -1},
        {"waiting": 3},
        {"period_s": 0.0},
        {"period_s": 3.0},
        {"longest_s": float("inf")},
        {"message_bytes": 0},
        {"held_bytes": 10},
    ],
)
def test_what_is_no_mix_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="mix"):
        MixSettings(**wrong)


async def gateway(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    length = dict(scope["headers"]).get(b"content-length", b"none")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%s:%s" % (length, body)})


@pytest.mark.anyio
@pytest.mark.parametrize("answers", [False, True])
async def test_a_relay_mixes_what_it_carries(serve: Serve, answers: bool) -> None:
    mixing = MixSettings(threshold=4, keep=0, period_s=1.5, answers=answers)
    url = serve(relay_app({"one": serve(gateway)}, mixing=mixing)) + "/one"

    async def streamed() -> Any:
        yield b"stre"
        yield b"amed"

    async with httpx.AsyncClient(timeout=20) as client:
        contents: list[Any] = [b"1", b"22", b"333", streamed()]
        asked = [client.post(url, content=content, headers=SEALED) for content in contents]
        got = await asyncio.gather(*asked)
    # each its own answer, and the far end sees one form of request
    assert [one.content for one in got] == [b"1:1", b"2:22", b"3:333", b"8:streamed"]


@pytest.mark.anyio
async def test_a_mixing_relay_holds_no_more_than_it_may(serve: Serve) -> None:
    mixing = MixSettings(message_bytes=100, held_bytes=100, threshold=1, keep=0)
    url = serve(relay_app({"one": serve(gateway)}, mixing=mixing)) + "/one"
    async with httpx.AsyncClient() as client:
        large = await client.post(url, content=bytes(101), headers=SEALED)
        fits = await client.post(url, content=bytes(100), headers=SEALED)
    assert (large.status_code, large.content) == (413, problem.OVERSIZE.body)
    assert fits.status_code == 200


@pytest.mark.anyio
async def test_the_end_of_a_relay_delivers_what_it_held(tmp_path: Path) -> None:
    mixing = MixSettings(threshold=99, keep=4, period_s=60, longest_s=60)
    upstream = httpx.ASGITransport(gateway)
    settings = RelaySettings({"one": "http://far"}, tmp_path / "keys", mixing=mixing)
    relay = make_relay(settings, transport=upstream)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(relay)) as client:
        asked = asyncio.create_task(client.post("http://relay/one", content=b"q", headers=SEALED))
        for _ in range(50):
            await asyncio.sleep(0.01)
        assert not asked.done()
        relay.drain()
        assert (await asked).content == b"1:q"
