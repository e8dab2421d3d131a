"""The routing decision: names, abilities, preferences, fallbacks, and the errors."""

from __future__ import annotations

from typing import Any

import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import EngineError, InputError, PeerError, PolicyRefusal
from privity.infer.aliases import BUILT_IN, Alias, Prefer
from privity.infer.budget import Allowance
from privity.infer.catalogue import Offer, Price
from privity.infer.preference import OfferIndex, stated_size
from privity.infer.router import Cause, Fallback, Rules, Standing, Wanted, decide, routing_of
from privity.infer.routing_config import read_aliases, read_budget, read_routing
from privity.policy.sensitive import Kind

PERSON = {(Party.PERSON, Asset.PROMPT): Cell(View.EVERYTHING)}
LOCAL = Disclosure(PERSON | {(Party.DEVICE, Asset.PROMPT): Cell(View.EVERYTHING)})
SEALED = Cell(View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "sealed")}))
ENCLAVE = Disclosure(PERSON | {(Party.HOST, Asset.PROMPT): SEALED})
DIRECT = Disclosure(
    ENCLAVE.cells | {(Party.ENCLAVE, Asset.ADDRESS): Cell(View.EVERYTHING)}  # without a relay
)
PROMISED = Cell(View.EVERYTHING, frozenset({Basis(Ground.PROMISE, "keeps nothing")}))
PROVIDER = Disclosure(PERSON | {(Party.PROVIDER, Asset.PROMPT): PROMISED})

OFFERS = (
    Offer("smollm2-135m", "local", "embedded", 2048),
    Offer("llama-8b", "local", "ollama", 8192, can=frozenset({"tools"})),
    Offer("llama-8b", "confidential", "home", 32768, can=frozenset({"tools"})),
    Offer("llama-70b", "confidential", "home", 131072, can=frozenset({"tools", "vision"})),
    Offer("gpt-5", "zdr", "openai", 400000, Price("USD", 1.25, 10.0), 90, frozenset({"tools"})),
    Offer("llama-8b", "zdr", "hoster", 131072, Price("USD", 0.1, 0.2), can=frozenset({"tools"})),
)
STANDINGS = {
    ("local", "embedded"): Standing(LOCAL, first_token_ms=80.0),
    ("local", "ollama"): Standing(LOCAL, first_token_ms=400.0),
    ("confidential", "home"): Standing(ENCLAVE, first_token_ms=200.0),
    ("zdr", "openai"): Standing(PROVIDER, first_token_ms=600.0),
    ("zdr", "hoster"): Standing(PROVIDER),
}


def names(
    model: str | None,
    *,
    standings: Any = STANDINGS,
    rules: Rules | None = None,
    offers: Any = OFFERS,
    allowance: Allowance | None = None,
    **wanted: Any,
) -> list[str]:
    found = decide(
        Wanted(model, **wanted), offers, standings, Rules() if rules is None else rules, allowance
    )
    return [choice.offer.name for choice in found.choices]


def ceiling(**more: Any) -> Rules:
    return Rules(fallback=Fallback.CEILING, **more)


def broken(*rungs: tuple[str, str]) -> dict[tuple[str, str], Standing]:
    out = {rung: Standing(STANDINGS[rung].disclosure, broken="no answer") for rung in rungs}
    return STANDINGS | out


def refused(*rungs: tuple[str, str]) -> dict[tuple[str, str], Standing]:
    return STANDINGS | {rung: Standing(refused="policy `x` refuses it") for rung in rungs}


def test_a_bare_id_is_the_same_model_in_the_order_of_routes() -> None:
    assert names("llama-8b", rules=ceiling()) == [
        "confidential/home/llama-8b",
        "local/ollama/llama-8b",
        "zdr/hoster/llama-8b",
    ]
    rules = ceiling(order=("zdr", "local", "confidential"))
    assert names("llama-8b", rules=rules)[0] == "zdr/hoster/llama-8b"


def test_a_qualified_name_stays_on_its_route_and_a_full_one_on_its_rung() -> None:
    assert names("zdr/llama-8b", rules=ceiling()) == ["zdr/hoster/llama-8b"]
    assert names("local/ollama/llama-8b", rules=ceiling()) == ["local/ollama/llama-8b"]
    with pytest.raises(EngineError, match="no answer"):
        names("local/ollama/llama-8b", standings=broken(("local", "ollama")), rules=ceiling())


def test_no_name_is_the_first_rung_and_its_default() -> None:
    home = ("confidential", "home")
    assert names(None)[0] == "confidential/home/llama-70b"
    stands = STANDINGS | {home: Standing(ENCLAVE, default="llama-8b")}
    assert names("", standings=stands)[0] == "confidential/home/llama-8b"
    assert names("", rules=Rules(default="private/fast"))[0] == "local/embedded/smollm2-135m"


def test_rungs_that_are_alike_come_as_they_were_configured() -> None:
    offers = [Offer("m", "confidential", rung) for rung in ("a", "b")]
    standings = {("confidential", rung): Standing(ENCLAVE) for rung in ("a", "b")}
    assert names("m", offers=offers, standings=standings)[0] == "confidential/a/m"
    rules = Rules(rungs=(("confidential", "b"), ("confidential", "a")))
    assert names("m", offers=offers, standings=standings, rules=rules)[0] == "confidential/b/m"


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("private/best", ["zdr/openai/gpt-5", "confidential/home/llama-70b"]),
        ("private/fast", ["local/embedded/smollm2-135m", "confidential/home/llama-8b"]),
        ("private/strict", ["local/ollama/llama-8b", "local/embedded/smollm2-135m"]),
        ("private/cheap", ["local/ollama/llama-8b", "local/embedded/smollm2-135m"]),
    ],
)
def test_each_alias_has_its_order(alias: str, expected: list[str]) -> None:
    assert names(alias, rules=ceiling(), prompt_tokens=10, completion_tokens=10)[:2] == expected


def test_cheap_is_by_what_this_request_costs() -> None:
    offers = [
        Offer("a", "zdr", "one", price=Price("USD", 1.0, 100.0)),
        Offer("b", "zdr", "two", price=Price("USD", 10.0, 10.0)),
        Offer("c", "zdr", "three", price=Price("EUR", 0.001, 0.001)),  # not comparable
        Offer("d", "zdr", "four"),  # nobody says
    ]
    standings = {("zdr", offer.rung): Standing(PROVIDER) for offer in offers}
    given: dict[str, Any] = {"offers": offers, "standings": standings}
    long = names("private/cheap", prompt_tokens=1000, completion_tokens=1, **given)
    short = names("private/cheap", prompt_tokens=1, completion_tokens=1000, **given)
    assert [long[0], short[0]] == ["zdr/one/a", "zdr/two/b"]
    assert {*long[2:], *short[2:]} == {"zdr/three/c", "zdr/four/d"}


def test_fast_leaves_a_slow_rung_for_one_that_was_never_measured() -> None:
    slow = STANDINGS | {("local", "embedded"): Standing(LOCAL, first_token_ms=9000.0)}
    only = [Offer("a", "local", "embedded"), Offer("b", "local", "ollama")]
    stands = slow | {("local", "ollama"): Standing(LOCAL)}
    assert names("private/fast", offers=only, standings=stands)[0] == "local/ollama/b"


def test_what_a_model_cannot_do_is_passed_over() -> None:
    vision = frozenset({"vision"})
    assert names("private/best", needs=vision) == ["confidential/home/llama-70b"]
    with pytest.raises(InputError, match="does not take vision"):
        names("gpt-5", needs=vision)


def test_what_nobody_says_it_can_do_is_let_pass_by_name_alone() -> None:
    tools = frozenset({"tools"})
    assert names("smollm2-135m", needs=tools) == ["local/embedded/smollm2-135m"]
    assert "local/embedded/smollm2-135m" not in names("private/strict", needs=tools)


def test_a_model_for_embeddings_answers_nothing() -> None:
    only = [Offer("minilm", "local", "ollama", can=frozenset({"embeddings"}))]
    assert names("private/best", offers=only, needs=frozenset({"embeddings"}))
    with pytest.raises(InputError, match="makes embeddings"):
        names("private/best", offers=only)


def test_the_context_has_to_hold_prompt_and_answer() -> None:
    found = names("private/strict", prompt_tokens=30_000, completion_tokens=2000, rules=ceiling())
    assert found[0] == "confidential/home/llama-70b"
    # An estimate is never below the truth by much, and may be above it: by name it is let try.
    assert names("smollm2-135m", prompt_tokens=3000)
    with pytest.raises(InputError, match="holds 2048 tokens"):
        names("smollm2-135m", prompt_tokens=5000)


def test_what_the_prompt_holds_keeps_it_on_stricter_routes() -> None:
    because = frozenset({Kind.HEALTH})
    assert names("private/best", loosest="confidential", because=because, rules=ceiling()) == [
        "confidential/home/llama-70b",
        "local/ollama/llama-8b",
        "local/embedded/smollm2-135m",
    ]
    with pytest.raises(PolicyRefusal, match="may go to local alone") as caught:
        names("gpt-5", loosest="local", because=because)
    assert "health-condition" in caught.value.hint
    assert caught.value.report["routing"]["passed_over"][0]["cause"] == "sensitive"  # type: ignore[index]


def test_a_rung_that_nobody_admitted_is_never_chosen() -> None:
    assert names("llama-8b", standings={("local", "ollama"): Standing(LOCAL)}) == [
        "local/ollama/llama-8b"
    ]
    with pytest.raises(PolicyRefusal, match="no policy admitted it"):
        names("gpt-5", standings={})


def test_fallback_stricter_shows_nobody_more() -> None:
    assert names("llama-8b") == ["confidential/home/llama-8b", "local/ollama/llama-8b"]
    offers = [Offer("m", "confidential", rung) for rung in ("relayed", "direct")]
    relayed, direct = ("confidential", "relayed"), ("confidential", "direct")
    standings = {relayed: Standing(ENCLAVE), direct: Standing(DIRECT)}
    rules = Rules(rungs=(relayed, direct))
    assert names("m", offers=offers, standings=standings, rules=rules) == ["confidential/relayed/m"]
    rules = Rules(rungs=(direct, relayed))
    assert len(names("m", offers=offers, standings=standings, rules=rules)) == 2


def test_fallback_none_is_one_choice_and_nothing_else() -> None:
    rules = Rules(fallback=Fallback.NONE)
    assert names("llama-8b", rules=rules) == ["confidential/home/llama-8b"]
    with pytest.raises(PeerError, match="no answer") as caught:
        names("llama-8b", standings=broken(("confidential", "home")), rules=rules)
    assert "ceiling" in caught.value.hint


def test_a_choice_says_why_and_what_it_stands_in_for() -> None:
    decision = decide(Wanted("llama-8b"), OFFERS, broken(("confidential", "home")), Rules(), None)
    assert decision.meant == "confidential/home/llama-8b"
    assert [choice.offer.name for choice in decision.choices] == ["local/ollama/llama-8b"]
    assert "in place of confidential/home/llama-8b, by the fallback `stricter`" in (
        decision.choices[0].reasons
    )
    told = routing_of(decision).to_json()
    assert told["meant"] == "confidential/home/llama-8b"
    assert told["chosen"] == "local/ollama/llama-8b"
    assert {one["cause"] for one in told["passed_over"]} == {Cause.BROKEN, Cause.FALLBACK}


def test_a_budget_passes_over_what_costs_more() -> None:
    usd = Allowance("USD", 10_000, "day")  # one cent
    tokens = {"prompt_tokens": 1000, "completion_tokens": 1000}
    assert "zdr/openai/gpt-5" not in names("private/best", allowance=usd, rules=ceiling(), **tokens)
    with pytest.raises(PolicyRefusal, match=r"may cost 0.01125 USD, and the budget per day leaves"):
        names("gpt-5", allowance=usd, **tokens)
    with pytest.raises(PolicyRefusal, match="priced in USD, and the budget is in EUR"):
        names("gpt-5", allowance=Allowance("EUR", 10**9, "day"), **tokens)
    assert names("llama-8b", allowance=Allowance("USD", -5, "day"), **tokens)  # free ones stay


def test_a_price_nobody_knows_is_not_affordable_and_free_routes_are() -> None:
    offers = [Offer("m", "zdr", "openai"), Offer("m", "confidential", "home")]
    with pytest.raises(PolicyRefusal, match="nobody says what it costs"):
        names("zdr/m", offers=offers, allowance=Allowance("USD", 10**9, "day"))
    assert names("zdr/m", offers=offers) == ["zdr/openai/m"]
    assert names("confidential/m", offers=offers, allowance=Allowance("USD", 0, "day"))


def test_a_model_nobody_has_is_an_input_error_with_close_names() -> None:
    with pytest.raises(InputError, match="nobody here has") as caught:
        names("llama-7b")
    assert "llama-8b" in caught.value.hint
    with pytest.raises(InputError, match="no model to ask"):
        decide(Wanted(), [], {}, Rules())


def test_a_rung_whose_models_nobody_knows_may_have_had_it() -> None:
    lost = STANDINGS | {("confidential", "away"): Standing(broken="it cannot be reached")}
    with pytest.raises(PeerError, match="confidential/away: it cannot be reached"):
        names("mixtral-8x7b", standings=lost)
    with pytest.raises(PeerError, match="away"):
        names("confidential/away/mixtral-8x7b", standings=lost)
    shut = STANDINGS | {("confidential", "away"): Standing(refused="policy `x` refuses it")}
    with pytest.raises(PolicyRefusal, match="policy `x` refuses it"):
        names("mixtral-8x7b", standings=shut)


def test_what_is_only_broken_is_a_peer_error_that_says_what_was_refused() -> None:
    standings = broken(("confidential", "home"), ("local", "ollama")) | {
        ("zdr", "hoster"): Standing(refused="policy `confidential` refuses it")
    }
    with pytest.raises(PeerError, match="home: no answer") as caught:
        names("llama-8b", standings=standings)
    assert "refused besides, and not tried: zdr/hoster: policy `confidential`" in caught.value.hint


def test_all_refused_is_a_refusal_that_names_each_rung() -> None:
    with pytest.raises(PolicyRefusal, match="policy `x` refuses it") as caught:
        names("private/best", standings=refused(*STANDINGS))
    assert all(f"{route}/{rung}: " in caught.value.message for route, rung in STANDINGS)
    assert set(caught.value.report) == {"routing"}


def test_an_alias_of_ones_own() -> None:
    mine = Alias(
        "work/careful", models=("zdr/openai/gpt-5", "llama-8b"), needs=frozenset({"tools"})
    )
    rules = ceiling(aliases=(*BUILT_IN, mine))
    assert names("work/careful", rules=rules)[:2] == [
        "zdr/openai/gpt-5",
        "confidential/home/llama-8b",
    ]
    strict = Alias("s", Prefer.STRICT, frozenset({"zdr", "local"}), ("gpt-5", "llama-8b"))
    assert names("s", rules=ceiling(aliases=(strict,))) == [
        "local/ollama/llama-8b",
        "zdr/openai/gpt-5",
        "zdr/hoster/llama-8b",
    ]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("smollm2-135m", 0.135),
        ("Llama-3.1-8B-Instruct-Q4_K_M", 8.0),
        ("mixtral-8x7b", 56.0),
        ("qwen3-235b-a22b", 235.0),
        ("deepseek-r1:671b", 671.0),
        ("gpt-5", None),
        ("model-4bit", None),
        ("llama-999999b", None),
        ("0b", None),
    ],
)
def test_the_size_a_name_states(model: str, size: float | None) -> None:
    assert stated_size(model) == size


def test_the_settings_of_routing() -> None:
    routing = {
        "order": ["zdr", "local", "anonymous", "confidential"],
        "fallback": "ceiling",
        "default": "private/best",
        "budget": {"currency": "EUR", "per_day": 1.5},
    }
    aliases = [{"name": "a", "prefer": "best", "routes": ["local"], "needs": ["tools"]}]
    rules, of_rules = read_routing({"routing": routing, "alias": aliases})
    assert of_rules is not None and of_rules.per_day == 1_500_000
    assert rules.order == ("zdr", "local", "anonymous", "confidential")
    assert (rules.fallback, rules.default, rules.currency) == ("ceiling", "private/best", "EUR")
    assert rules.aliases[-1] == Alias(
        "a", Prefer.BEST, frozenset({"local"}), needs=frozenset({"tools"})
    )
    assert read_routing({}) == (Rules(), None)
    budget = read_budget({"budget": {"currency": "USD", "per_request": 0.1, "per_month": "50"}})
    assert budget is not None
    assert (budget.per_request, budget.per_day, budget.per_month) == (100_000, None, 50_000_000)
    assert read_budget({}) is None


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"ordr": []}, "ordr"),
        ({"order": ["local"]}, "order"),
        ({"order": "local"}, "order"),
        ({"fallback": "any"}, "fallback"),
        ({"default": 3}, "default"),
        ({"budget": 5}, "budget"),
        ({"budget": {"currency": "USD"}}, "no limit"),
        ({"budget": {"currency": "usd", "per_day": 1}}, "currency"),
        ({"budget": {"currency": "USD", "per_day": -1}}, "per_day"),
        ({"budget": {"currency": "USD", "per_day": float("nan")}}, "per_day"),
        ({"budget": {"currency": "USD", "per_day": True}}, "per_day"),
        ({"budget": {"currency": "USD", "per_day": "1.0000001"}}, "per_day"),
        ({"budget": {"currency": "USD", "per_day": "1e400000"}}, "per_day"),
        ({"budget": {"currency": "USD", "per_week": 1}}, "per_week"),
    ],
)
def test_a_wrong_setting_is_named(table: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        read_routing({"routing": table})


@pytest.mark.parametrize(
    "tables",
    [
        {},
        [3],
        [{}],
        [{"name": "private/best"}],
        [{"name": "private/mine"}],
        [{"name": "zdr/openai/gpt-5"}],
        [{"name": "local"}],
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a b"}],
        [{"name": "a", "routes": []}],
        [{"name": "a", "routes": ["elsewhere"]}],
        [{"name": "a", "models": []}],
        [{"name": "a", "models": ["x"] * 65}],
        [{"name": "a", "prefer": "worst"}],
        [{"name": "a", "model": "x"}],
    ],
)
def test_a_wrong_alias_is_refused(tables: object) -> None:
    with pytest.raises(InputError):
        read_aliases(tables)


@pytest.mark.parametrize(
    "given", [{"loosest": "anywhere"}, {"prompt_tokens": -1}, {"completion_tokens": True}]
)
def test_a_wish_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Wanted("m", **given)


def test_an_index_is_used_again_for_other_rules() -> None:
    index = OfferIndex(OFFERS)
    for _ in range(2):
        assert names("private/best", offers=index, rules=ceiling())[0] == "zdr/openai/gpt-5"
        rungs = (("zdr", "hoster"), ("local", "ollama"))
        assert names("", offers=index, rules=Rules(rungs=rungs))[0] == "confidential/home/llama-70b"
