"""The ladder from the device's side: how far a request climbs, and that it never falls unseen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fake_rungs import (
    CANARY,
    HEALTH,
    PROMISED,
    URL,
    Fake,
    failing,
    finds,
    post,
    records,
    session,
    three,
    usage,
)
from privity.errors import (
    EngineError,
    InputError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    TruncatedError,
)
from privity.infer.aliases import BUILT_IN, Alias
from privity.infer.breaker import Breaker
from privity.infer.budget import Budget, Spending
from privity.infer.catalogue import Price
from privity.infer.decision import Fallback, Rules
from privity.policy import Kind, Policy
from privity.receipt import verify_receipt_file

pytestmark = pytest.mark.anyio


# What is chosen, and what the receipt says of it


async def test_a_bare_name_means_the_first_route_of_the_order_and_the_receipt_says_why(
    tmp_path: Path,
) -> None:
    local, confidential, zdr = three()
    transport = session(tmp_path, local, confidential, zdr)
    response = await post(transport)
    assert response.json()["by"] == "confidential"
    assert response.headers["privity-route"] == "confidential/confidential-1/small"
    assert local.seen == zdr.seen == []
    (record,) = records(transport)
    assert record["route"] == "confidential" and record["outcome"] == "complete"
    assert record["routing"]["chosen"] == "confidential/confidential-1/small"
    assert record["routing"]["asked"] == "small" and record["routing"]["reasons"]
    assert CANARY not in json.dumps(record)


@pytest.mark.parametrize("route", ["local", "confidential", "zdr"])
async def test_a_qualified_name_goes_where_it_says_with_the_models_own_id(
    route: str, tmp_path: Path
) -> None:
    fakes = three()
    transport = session(tmp_path, *fakes)
    response = await post(transport, f"{route}/{route}-1/small")
    assert response.json()["by"] == route
    (sent,) = next(fake for fake in fakes if fake.route == route).seen
    assert json.loads(sent)["model"] == "small"
    assert all(fake.seen == [] for fake in fakes if fake.route != route)
    (record,) = records(transport)
    assert record["model"] == "small" and record["routing"]["asked"] == f"{route}/{route}-1/small"


async def test_a_receipt_with_its_reasons_verifies_and_keeps_a_providers_terms(
    tmp_path: Path,
) -> None:
    from datetime import UTC, datetime

    transport = session(tmp_path, *three())
    await post(transport, "zdr/zdr-1/small")
    file = transport.journal.store.get("last")[1]
    found = verify_receipt_file(
        file, now=datetime.now(UTC), device=transport.journal.key.did, reverify=None
    )
    routing = found.record.record.routing
    assert routing is not None and routing.mode == "replace"
    assert routing.terms == PROMISED.to_json()


async def test_an_alias_is_never_a_models_name_for_the_engine(tmp_path: Path) -> None:
    local, confidential, zdr = three()
    transport = session(tmp_path, local, confidential, zdr)
    await post(transport, "private/strict")
    (sent,) = local.seen
    assert json.loads(sent)["model"] == "small"


async def test_a_model_nobody_has_is_an_error_and_nothing_leaves(tmp_path: Path) -> None:
    fakes = three()
    with pytest.raises(InputError, match="smal"):
        await post(session(tmp_path, *fakes), "smal")
    assert all(fake.seen == [] for fake in fakes)


# The ceiling


async def test_nothing_goes_to_a_rung_that_the_policy_refuses(tmp_path: Path) -> None:
    _, confidential, zdr = three()
    zdr.models = ("large",)
    transport = session(tmp_path, confidential, zdr, policy=Policy.load("confidential"))
    for name in ("large", "zdr/zdr-1/large"):
        with pytest.raises(PolicyRefusal):
            await post(transport, name)
    assert zdr.seen == [] and confidential.seen == []


async def test_an_enclave_that_cannot_be_had_is_a_refusal_and_nothing_goes_to_a_provider(
    tmp_path: Path,
) -> None:
    confidential, zdr = Fake("confidential"), Fake("zdr")
    confidential.find_error = PeerError("the enclave could not be reached")
    transport = session(tmp_path, confidential, zdr, policy=Policy.load("confidential"))
    with pytest.raises(PeerError, match="could not be reached"):
        await post(transport)
    assert zdr.seen == []


async def test_a_provider_whose_terms_are_too_weak_gets_nothing(tmp_path: Path) -> None:
    zdr = Fake("zdr", terms=replace(PROMISED, retention_days=30))
    with pytest.raises(PolicyRefusal, match="30 days"):
        await post(session(tmp_path, zdr), "zdr/zdr-1/small")
    assert zdr.seen == []


# What a prompt holds


async def test_what_is_about_health_stays_where_the_policy_says(tmp_path: Path) -> None:
    local, confidential, zdr = three()
    transport = session(
        tmp_path, local, confidential, zdr, policy=HEALTH, examine=finds(Kind.HEALTH)
    )
    assert (await post(transport, "private/best")).json()["by"] == "local"
    with pytest.raises(PolicyRefusal):
        await post(transport, "zdr/zdr-1/small")
    assert confidential.seen == zdr.seen == []


async def test_the_only_rung_is_refused_too_where_it_is_too_loose(tmp_path: Path) -> None:
    confidential = Fake("confidential")
    transport = session(tmp_path, confidential, policy=HEALTH, examine=finds(Kind.HEALTH_ID))
    with pytest.raises(PolicyRefusal, match="health-id"):
        await post(transport)
    assert confidential.seen == []


async def test_a_body_that_cannot_be_looked_at_counts_as_holding_everything(
    tmp_path: Path,
) -> None:
    async def streamed() -> AsyncIterator[bytes]:
        yield b'{"model": "small"}'

    confidential = Fake("confidential")
    transport = session(tmp_path, confidential, policy=HEALTH, examine=finds())
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(PolicyRefusal):
            await client.post(URL, content=streamed())
        with pytest.raises(PolicyRefusal):
            await client.post(URL, content=b'{"model": "small", not JSON')
    assert confidential.seen == []


async def test_where_nothing_can_look_nothing_leaves(tmp_path: Path) -> None:
    confidential = Fake("confidential")
    with pytest.raises(InputError, match="nothing on this device can look"):
        await post(session(tmp_path, confidential, policy=HEALTH))
    assert confidential.seen == []


# Falling


@pytest.mark.parametrize("error", [PeerError("gone"), EngineError("gone")])
async def test_a_failure_never_falls_to_what_shows_more_by_itself(
    error: PrivityError, tmp_path: Path
) -> None:
    confidential, zdr = Fake("confidential", answering=failing(error)), Fake("zdr")
    transport = session(tmp_path, confidential, zdr)
    with pytest.raises(type(error)):
        await post(transport)
    assert len(confidential.seen) == 1 and zdr.seen == []
    assert [record["outcome"] for record in records(transport)] == ["failed"]


async def test_by_the_persons_own_rule_it_falls_within_the_ceiling_and_says_so(
    tmp_path: Path,
) -> None:
    confidential, zdr = Fake("confidential", answering=failing(PeerError("gone"))), Fake("zdr")
    transport = session(tmp_path, confidential, zdr, rules=Rules(fallback=Fallback.CEILING))
    response = await post(transport)
    assert response.headers["privity-route"] == "zdr/zdr-1/small"
    first, second = records(transport)
    assert (first["route"], first["outcome"]) == ("confidential", "failed")
    assert (second["route"], second["outcome"]) == ("zdr", "complete")
    assert any("gone" in one["why"] for one in second["routing"]["passed_over"])


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_answer_that_says_it_cannot_counts_as_a_failure(
    status: int, tmp_path: Path
) -> None:
    broken = Fake("confidential", answering=lambda _: httpx.Response(status, json={"error": {}}))
    local = Fake("local")
    transport = session(tmp_path, broken, local)
    assert (await post(transport)).json()["by"] == "local"
    assert [record["outcome"] for record in records(transport)] == ["failed", "complete"]


async def test_an_answer_that_broke_off_is_not_asked_for_elsewhere(tmp_path: Path) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        raise TruncatedError("it stopped")

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=half())

    confidential, local = Fake("confidential", answering=answer), Fake("local")
    transport = session(tmp_path, confidential, local)
    with pytest.raises(TruncatedError):
        await post(transport, stream=True)
    assert local.seen == []


async def test_a_rung_that_keeps_failing_is_left_alone_for_a_while(tmp_path: Path) -> None:
    confidential = Fake("confidential", answering=failing(PeerError("gone")))
    local = Fake("local")
    transport = session(tmp_path, confidential, local)
    for _ in range(6):
        assert (await post(transport)).json()["by"] == "local"
    assert 0 < len(confidential.seen) < 6


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_try_that_never_left_does_not_keep_a_rung_closed(tmp_path: Path) -> None:
    """The one request that may try a rung again is refused for its price: the next one tries."""
    clock, up = Now(), False

    def answer(_: httpx.Request) -> httpx.Response:
        if not up:
            raise PeerError("gone")
        return httpx.Response(200, json={"usage": usage(1, 1)})

    zdr = Fake("zdr", answering=answer, price=Price("USD", 1000.0, 1000.0))
    spending = Spending(Budget("USD", per_day=1_000_000), path=tmp_path / "spending.json")
    transport = session(tmp_path, zdr, spending=spending)
    (rung,) = transport.ladder.rungs
    rung.breaker = Breaker(clock=clock)
    for _ in range(3):
        with pytest.raises(PeerError):
            await post(transport, max_tokens=10)
    clock.now += 3600
    with pytest.raises(PolicyRefusal):
        await post(transport, max_tokens=100_000)
    up = True
    assert (await post(transport, max_tokens=10)).status_code == 200


async def test_a_rung_that_breaks_off_every_answer_is_left_alone(tmp_path: Path) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        raise TruncatedError("it stopped")

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=half())

    confidential, local = Fake("confidential", answering=answer), Fake("local")
    transport = session(tmp_path, confidential, local)
    for _ in range(3):
        with pytest.raises(TruncatedError):
            await post(transport, stream=True)
    assert (await post(transport)).json()["by"] == "local"


@pytest.mark.parametrize("asked", ["work", "private/best"])
async def test_an_alias_is_understood_where_there_is_one_rung_too(
    asked: str, tmp_path: Path
) -> None:
    local = Fake("local")
    rules = Rules(aliases=(*BUILT_IN, Alias("work", models=("small",))))
    await post(session(tmp_path, local, rules=rules), asked)
    assert [json.loads(sent)["model"] for sent in local.seen] == ["small"]


# Money


async def test_no_more_is_spent_than_the_budget_and_the_rest_is_refused(tmp_path: Path) -> None:
    price = Price("USD", 1000.0, 1000.0)
    zdr = Fake("zdr", price=price)
    spending = Spending(Budget("USD", per_day=1_000_000), path=tmp_path / "spending.json")
    transport = session(tmp_path, zdr, spending=spending)
    response = await post(transport, max_tokens=100)
    assert response.status_code == 200
    (spent,) = spending.spent()
    assert spent.day == 12_000  # 7 + 5 tokens, as the provider counted
    with pytest.raises(PolicyRefusal, match="USD"):
        await post(transport, max_tokens=1_000)
    assert len(zdr.seen) == 1


async def test_where_one_pays_an_answer_has_a_limit(tmp_path: Path) -> None:
    zdr = Fake("zdr", price=Price("USD", 1.0, 1.0))
    spending = Spending(Budget("USD", per_day=1_000_000), path=tmp_path / "spending.json")
    await post(session(tmp_path, zdr, spending=spending))
    assert json.loads(zdr.seen[0])["max_completion_tokens"] == 4096


# The list of models


async def test_the_list_names_every_rung_once_and_asks_nobody(tmp_path: Path) -> None:
    fakes = three()
    transport = session(tmp_path, *fakes)
    async with httpx.AsyncClient(transport=transport) as client:
        listed = (await client.get("http://any/v1/models")).json()
        one = await client.get("http://any/v1/models/zdr%2Fzdr-1%2Fsmall")
        none = await client.get("http://any/v1/models/nothing")
    names = [entry["id"] for entry in listed["data"]]
    assert len(names) == len(set(names))
    assert {"small", "private/best", "zdr/zdr-1/small", "local/local-1/small"} <= set(names)
    assert one.json()["owned_by"] == "zdr/zdr-1"
    assert none.status_code == 404
    # In the one form that the clients of both APIs read, as the daemon's own errors are.
    error = none.json()
    assert (error["type"], error["error"]["type"]) == ("error", "privity_error")
    assert error["error"]["code"] == "not_found" and "/v1/models" in error["error"]["hint"]
    assert all(fake.seen == [] for fake in fakes)
