"""The ladder from the device's side: how far a request climbs, and that it never falls unseen."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import (
    EngineError,
    InputError,
    PeerError,
    PolicyRefusal,
    PrivityError,
    TruncatedError,
)
from privity.identity.keys import SigningKey
from privity.infer.aliases import BUILT_IN, Alias
from privity.infer.asked import read_asked
from privity.infer.breaker import Breaker
from privity.infer.budget import Budget, Spending
from privity.infer.catalogue import Offer, Price
from privity.infer.decision import Fallback, Rules
from privity.infer.journal import Journal
from privity.infer.ladder import Ladder
from privity.infer.receipts import ReceiptStore
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.rung import Rung
from privity.infer.session import PrivateTransport
from privity.policy import Kind, Policy, Terms
from privity.receipt import verify_receipt_file
from privity.statement import Model

pytestmark = pytest.mark.anyio

URL = "http://any/v1/chat/completions"
CANARY = "canary-51b8"
PROMISED = Terms("Example", 0, False, ("eu",), "its terms", date(2026, 1, 1))
ALL = Policy.parse(
    'name = "all"\nextends = "zero-retention"\n[enclave]\nprompt = { view = "everything", '
    'grounds = "any" }\nanswer = { view = "everything", grounds = "any" }'
)

Answering = Callable[[httpx.Request], httpx.Response]


def table(party: Party, ground: Ground | None) -> Disclosure:
    basis = frozenset({Basis(ground, "test")}) if ground else frozenset()
    pairs = [(party, Asset.PROMPT), (party, Asset.ANSWER)]
    return Disclosure({pair: Cell(View.EVERYTHING, basis) for pair in pairs})


TABLES = {
    "local": table(Party.DEVICE, None),
    "confidential": table(Party.ENCLAVE, Ground.HARDWARE),
    "zdr": table(Party.PROVIDER, Ground.PROMISE),
}


@dataclass
class Fake:
    """A rung that answers by a script, and remembers what reached it."""

    route: str
    models: tuple[str, ...] = ("small",)
    answering: Answering | None = None
    find_error: PrivityError | None = None
    disclosure: Disclosure | None = None
    price: Price | None = None
    terms: Terms | None = None
    seen: list[bytes] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.content)
        if self.answering is not None:
            return self.answering(request)
        return httpx.Response(200, json={"choices": [], "by": self.route, "usage": usage(7, 5)})


@dataclass(frozen=True)
class FakeRoute:
    fake: Fake
    enclave: None = None

    @property
    def name(self) -> str:
        return self.fake.route

    @property
    def disclosure(self) -> Disclosure:
        return self.fake.disclosure or TABLES[self.fake.route]

    @property
    def terms(self) -> Terms | None:
        return self.fake.terms or (PROMISED if self.fake.route == "zdr" else None)

    @property
    def models(self) -> tuple[Model, ...]:
        return tuple(Model(one, None, "fake") for one in self.fake.models)

    def transport(self, keys: Any, inner: Any) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.fake.answer)


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def session(
    folder: Path,
    *fakes: Fake,
    policy: Policy = ALL,
    rules: Rules | None = None,
    examine: Any = None,
    spending: Spending | None = None,
) -> PrivateTransport:
    def rung(fake: Fake) -> Rung:
        async def find() -> Any:
            if fake.find_error is not None:
                raise fake.find_error
            return FakeRoute(fake)

        async def listed(_: Any) -> tuple[Offer, ...]:
            name = fake.route + "-1"
            return tuple(Offer(m, fake.route, name, price=fake.price) for m in fake.models)

        keeper = RouteKeeper(find, policy, max_age=math.inf)
        return Rung(fake.route, fake.route + "-1", keeper, listed)

    ladder = Ladder(
        [rung(fake) for fake in fakes], policy, rules=rules, examine=examine, spending=spending
    )
    journal = Journal(ReceiptStore(folder / "receipts"), SigningKey.generate())
    return PrivateTransport(ladder, journal, httpx.MockTransport(never))


def never(request: httpx.Request) -> httpx.Response:
    raise AssertionError("nothing goes but by a route")


async def post(transport: PrivateTransport, model: str = "small", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": CANARY}], **more}
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.post(URL, json=body)


def records(transport: PrivateTransport) -> list[dict[str, Any]]:
    store = transport.journal.store
    return [store.get(one)[1].record["credentialSubject"] for one in sorted(store.ids())]


def failing(error: Exception) -> Answering:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return fail


def three() -> tuple[Fake, Fake, Fake]:
    return Fake("local"), Fake("confidential"), Fake("zdr")


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


def finds(*kinds: Kind) -> Any:
    def examine(path: str, body: Mapping[str, Any]) -> Mapping[Kind, int]:
        return dict.fromkeys(kinds, 1) if CANARY in json.dumps(body) else {}

    return examine


HEALTH = Policy.parse(
    'name = "careful"\nextends = "zero-retention"\n[sensitive]\nhealth = "local"\n'
    '[enclave]\nprompt = { view = "everything", grounds = "any" }\n'
    'answer = { view = "everything", grounds = "any" }'
)


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
