"""What the ladder reads, bills and records: each request is read in one way alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fake_rungs import (
    CANARY,
    HEALTH,
    URL,
    Fake,
    failing,
    finds,
    post,
    records,
    session,
    three,
)
from privity.errors import (
    InputError,
    PolicyRefusal,
)
from privity.infer.asked import read_asked
from privity.infer.budget import Budget, Spending
from privity.infer.catalogue import Offer, Price
from privity.infer.decision import Fallback, Rules

pytestmark = pytest.mark.anyio


# What can be read in two ways, or not at all


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "small", "x": "canary-51b8", "x": "nothing"}',
        '{"model": "small", "x": "canary-51b8"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"model": "small"}',
        b'{"model": "small", "x": NaN}',
        b"[]",
    ],
)
async def test_what_two_readers_read_differently_counts_as_holding_everything(
    body: bytes, tmp_path: Path
) -> None:
    one, several = Fake("confidential"), Fake("confidential")
    for fakes in ((one,), (several, Fake("zdr"))):
        transport = session(tmp_path, *fakes, policy=HEALTH, examine=finds())
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises((PolicyRefusal, InputError)):
                await client.post(URL, content=body)
    assert one.seen == several.seen == []


@pytest.mark.parametrize("model", [1, ["small"], "s" * 300, True])
async def test_no_other_model_answers_to_a_name_that_is_none(model: Any, tmp_path: Path) -> None:
    fakes = three()
    with pytest.raises(InputError, match="model"):
        await post(session(tmp_path, *fakes), model)
    assert all(fake.seen == [] for fake in fakes)


async def test_a_query_is_not_a_way_past_who_looks(tmp_path: Path) -> None:
    confidential = Fake("confidential")
    transport = session(tmp_path, confidential, policy=HEALTH, examine=finds())
    async with httpx.AsyncClient(transport=transport) as client:
        for method in ("GET", "POST"):
            with pytest.raises(InputError):
                await client.request(method, f"{URL}?q={CANARY}", json={"model": "small"})
        with pytest.raises(PolicyRefusal):
            await client.post(URL, content=b"")
    assert confidential.seen == []


async def test_half_a_character_is_an_error_of_ours_or_passes_as_it_is(tmp_path: Path) -> None:
    local = Fake("local")
    transport = session(tmp_path, local, Fake("zdr"))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post(URL, content=b'{"model": "local/local-1/small", "x": "\\ud800"}')
    assert json.loads(local.seen[0])["x"] == "\ud800"


@pytest.mark.parametrize(
    ("more", "most"),
    [
        ({"max_completion_tokens": 1, "max_tokens": 700_000}, 700_000),
        ({"max_tokens": 700_000.0}, 700_000),
        ({"max_tokens": 100, "n": 7_000}, 700_000),
        ({"max_tokens": 100, "n": 7_000.0}, 700_000),
        ({"max_tokens": "700000"}, 10**9),
        ({"max_tokens": True}, 10**9),
    ],
)
async def test_the_worst_case_is_set_aside(more: Any, most: int, tmp_path: Path) -> None:
    zdr = Fake("zdr", price=Price("USD", 0.0, 1.0))
    spending = Spending(Budget("USD", per_day=600_000), path=tmp_path / "spending.json")
    with pytest.raises(PolicyRefusal, match="USD"):
        await post(session(tmp_path, zdr, spending=spending), **more)
    assert zdr.seen == [] and spending.spent() == ()
    assert read_asked("/v1/chat/completions", json.dumps(more).encode()).completion_tokens == most


async def test_a_stream_that_is_left_early_costs_what_was_set_aside(tmp_path: Path) -> None:
    async def answer() -> AsyncIterator[bytes]:
        first = {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 1, "output_tokens": 1}},
        }
        yield b"data: " + json.dumps(first).encode() + b"\n\n"
        yield b"data: {}\n\n"

    def stream(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=answer())

    zdr = Fake("zdr", answering=stream, price=Price("USD", 0.0, 1000.0))
    spending = Spending(Budget("USD", per_day=10**9), path=tmp_path / "spending.json")
    transport = session(tmp_path, zdr, spending=spending)
    body = {"model": "small", "max_tokens": 100}
    async with httpx.AsyncClient(transport=transport) as client:
        async with client.stream("POST", URL, json=body) as response:
            async for _ in response.aiter_raw():
                break
    (spent,) = spending.spent()
    assert spent.day == 100_000


async def test_an_error_costs_nothing(tmp_path: Path) -> None:
    refused = Fake("zdr", answering=lambda _: httpx.Response(401, json={"error": {}}))
    refused.price = Price("USD", 1.0, 1.0)
    spending = Spending(Budget("USD", per_day=10**9), path=tmp_path / "spending.json")
    await post(session(tmp_path, refused, spending=spending))
    assert all(one.day == 0 for one in spending.spent())


async def test_a_refusal_by_the_policy_is_told_without_its_words(tmp_path: Path) -> None:
    refusal = PolicyRefusal("it holds health-condition", report={})
    zdr, local = Fake("zdr", answering=failing(refusal)), Fake("local")
    transport = session(tmp_path, zdr, local, rules=Rules(fallback=Fallback.CEILING))
    assert (await post(transport, "private/best")).json()["by"] in ("local", "zdr")
    told = json.dumps(records(transport))
    assert "health-condition" not in told


async def test_a_short_question_is_not_passed_over_for_the_length_it_could_have(
    tmp_path: Path,
) -> None:
    local, zdr = Fake("local"), Fake("zdr")
    transport = session(tmp_path, local, zdr)
    (rung, _) = transport.ladder.rungs

    async def listed(_: Any) -> tuple[Offer, ...]:
        return (Offer("small", "local", "local-1", context=4096),)

    rung.list_offers = listed
    assert (await post(transport, "private/strict")).json()["by"] == "local"


async def test_of_a_job_of_which_nothing_left_the_receipt_says_so(tmp_path: Path) -> None:
    zdr = Fake("zdr", answering=failing(InputError("a picture cannot be looked into")))
    transport = session(tmp_path, zdr, Fake("local"))
    with pytest.raises(InputError):
        await post(transport, "zdr/zdr-1/small")
    (record,) = records(transport)
    assert record["outcome"] == "failed" and record["routing"]["sent"] is None
    assert "provider" not in record["disclosure"]
