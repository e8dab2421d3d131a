"""Laws of the routing decision, over any offers, standings, rules and wishes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import InputError, PrivityError
from privity.infer.aliases import BUILT_IN, Alias, Prefer
from privity.infer.budget import Allowance, Rate, rate
from privity.infer.catalogue import Offer, Price
from privity.infer.router import (
    Decision,
    Fallback,
    Rules,
    Standing,
    Wanted,
    decide,
    routing_of,
)
from privity.infer.routing_config import read_aliases, read_routing
from privity.policy.sensitive import ROUTES, Kind

MODELS = ("gpt-5", "llama-8b", "llama-70b", "meta/llama-8b", "llama-999999b", "private/best")
RUNGS = ("a", "b", "c")
ABILITIES = ("tools", "vision", "embeddings")

numbers = st.sampled_from([math.nan, math.inf, -1.0]) | st.floats(0, 50) | st.floats(0, 1e-3)
prices = st.builds(Price, st.sampled_from(["USD", "EUR", "usd", ""]), numbers, numbers)
abilities = st.sampled_from([frozenset[str](), frozenset({"tools"})]) | st.frozensets(
    st.sampled_from(ABILITIES)
)
offers = st.builds(
    Offer,
    st.sampled_from(MODELS),
    st.sampled_from(ROUTES),
    st.sampled_from(RUNGS),
    st.none() | st.integers(-1, 200_000),
    st.sampled_from([0, 0, 1]).flatmap(lambda priced: prices if priced else st.none()),
    st.none() | numbers,
    abilities,
)
cells = st.builds(
    Cell,
    st.sampled_from([View.NOTHING, View.SIZE, View.EVERYTHING]),
    st.frozensets(st.builds(Basis, st.sampled_from(Ground), st.just("x")), max_size=1),
)
tables = st.builds(
    Disclosure,
    st.dictionaries(
        st.tuples(st.sampled_from([Party.DEVICE, Party.HOST]), st.just(Asset.PROMPT)), cells
    ),
)
standings = st.builds(
    Standing,
    st.sampled_from([0, 1, 1, 1, 1, 1]).flatmap(lambda admitted: tables if admitted else st.none()),
    st.sampled_from(["", "", "", "", "", "", "refused"]),
    st.sampled_from(["", "", "", "", "", "", "broken"]),
    st.none() | numbers,
    st.sampled_from(["", *MODELS]),
)
rungs = st.tuples(st.sampled_from(ROUTES), st.sampled_from(RUNGS))
worlds = st.tuples(
    st.lists(offers, min_size=3, max_size=12),
    st.dictionaries(rungs, standings, min_size=6, max_size=9),
)
asked = st.sampled_from(
    [
        None,
        "",
        *MODELS,
        *(alias.name for alias in BUILT_IN),
        "mine",
        "zdr/a/gpt-5",
        "local/llama-8b",
    ]
)
wishes = st.builds(
    Wanted,
    asked,
    st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"tools"})]),
    st.integers(0, 1000) | st.integers(0, 100_000),
    st.integers(0, 10_000),
    st.sampled_from([*ROUTES, "zdr", "zdr"]),
    st.frozensets(st.sampled_from(Kind), max_size=2),
)
own = st.builds(
    Alias,
    st.just("mine"),
    st.sampled_from(Prefer),
    st.frozensets(st.sampled_from(ROUTES), min_size=1),
    st.lists(st.sampled_from(MODELS), max_size=3).map(tuple),
)
rules = st.builds(
    Rules,
    st.permutations(ROUTES).map(tuple),
    st.sampled_from([*Fallback, Fallback.CEILING, Fallback.STRICTER]),
    own.map(lambda alias: (*BUILT_IN, alias)),
    st.sampled_from(["", "mine"]),
    st.lists(rungs, max_size=3).map(tuple),
)
allowances = st.none() | st.builds(
    Allowance, st.just("USD"), st.integers(-10, 2_000_000), st.just("day")
)
many = settings(max_examples=300, deadline=None)
World = tuple[list[Offer], dict[tuple[str, str], Standing]]


@dataclass(frozen=True)
class Failed:
    """What a decision that found nothing raised."""

    kind: type[PrivityError]
    message: str
    hint: str


def outcome(
    wanted: Wanted,
    among: Sequence[Offer],
    known: dict[tuple[str, str], Standing],
    by: Rules,
    allowance: Allowance | None,
) -> Decision | Failed:
    try:
        return decide(wanted, among, known, by, allowance)
    except PrivityError as error:
        return Failed(type(error), error.message, error.hint)


def chosen(result: Decision | Failed) -> list[str] | None:
    if isinstance(result, Failed):
        return None
    return [choice.offer.name for choice in result.choices]


@many
@given(wishes, worlds, rules, allowances)
def test_every_choice_is_admitted_strict_enough_and_affordable(
    wanted: Wanted, world: World, by: Rules, allowance: Allowance | None
) -> None:
    found = outcome(wanted, *world, by, allowance)
    if isinstance(found, Failed):
        return
    assert found.choices
    for choice in found.choices:
        offer = choice.offer
        standing = world[1][offer.route, offer.rung]
        assert standing.disclosure is not None and not standing.refused and not standing.broken
        assert ROUTES.index(offer.route) <= ROUTES.index(wanted.loosest)
        assert not offer.can or wanted.needs <= offer.can
        price = None if offer.price is None else rate(offer.price)
        assert offer.price is None or price is not None
        if allowance is None:
            continue
        if price is None:
            assert offer.route != "zdr"
        else:
            cost = price.cost(wanted.prompt_tokens, wanted.completion_tokens)
            assert cost == 0 or (price.currency == "USD" and cost <= allowance.micro)
            assert cost == choice.worst


@many
@given(wishes, worlds, rules, allowances, st.randoms(use_true_random=False))
def test_the_order_of_offers_and_standings_changes_nothing(
    wanted: Wanted, world: World, by: Rules, allowance: Allowance | None, random: Any
) -> None:
    among, known = list(world[0]), list(world[1].items())
    random.shuffle(among)
    random.shuffle(known)
    assert outcome(wanted, *world, by, allowance) == outcome(
        wanted, among, dict(known), by, allowance
    )


@many
@given(wishes, worlds, rules, allowances, st.lists(offers, max_size=4))
def test_offers_that_are_refused_change_no_choice(
    wanted: Wanted, world: World, by: Rules, allowance: Allowance | None, more: list[Offer]
) -> None:
    apart = [replace(offer, rung="refused") for offer in more]
    shut = {(offer.route, offer.rung): Standing(refused="refused") for offer in apart}
    before = outcome(wanted, *world, by, allowance)
    after = outcome(wanted, [*world[0], *apart], world[1] | shut, by, allowance)
    assert chosen(before) == chosen(after)


@many
@given(wishes, worlds, rules, allowances)
def test_no_other_model_answers_to_a_models_name(
    wanted: Wanted, world: World, by: Rules, allowance: Allowance | None
) -> None:
    aliases = {alias.name for alias in by.aliases}
    assume(wanted.model and wanted.model not in aliases)
    found = outcome(wanted, *world, by, allowance)
    if isinstance(found, Decision) and wanted.model:
        ids = {choice.offer.model for choice in found.choices}
        assert len(ids) == 1
        assert wanted.model.endswith(ids.pop())


@many
@given(wishes, worlds, rules, allowances)
def test_what_follows_the_first_shows_nobody_more_unless_the_rules_say_so(
    wanted: Wanted, world: World, by: Rules, allowance: Allowance | None
) -> None:
    found = outcome(wanted, *world, by, allowance)
    if not isinstance(found, Decision) or by.fallback is Fallback.CEILING:
        return
    if by.fallback is Fallback.NONE:
        assert len(found.choices) == 1
    meant = next((one for one in world[0] if one.name == found.meant), None)
    bar = None if meant is None else world[1][meant.route, meant.rung].disclosure
    if bar is None:
        return
    for choice in found.choices:
        table = world[1][choice.offer.route, choice.offer.rung].disclosure
        assert table is not None
        assert others(table) <= others(bar)


def others(table: Disclosure) -> Disclosure:
    return Disclosure(
        {pair: cell for pair, cell in table.cells.items() if pair[0] is not Party.DEVICE}
    )


def test_the_worlds_above_have_decisions_with_several_choices() -> None:
    def several(drawn: Any) -> bool:
        wanted, world, by, allowance = drawn
        return len(chosen(outcome(wanted, *world, by, allowance)) or ()) > 2

    only = settings(
        phases=[Phase.generate], max_examples=20_000
    )  # one is enough; the smallest would take long
    assert find(st.tuples(wishes, worlds, rules, allowances), several, settings=only)


@many
@given(wishes, worlds, rules, allowances)
def test_what_a_receipt_keeps_is_bounded_text(
    wanted: Wanted, world: World, by: Rules, allowance: Allowance | None
) -> None:
    found = outcome(wanted, *world, by, allowance)
    if isinstance(found, Decision):
        told = routing_of(found, found.choices[-1]).to_json()
        assert len(told["passed_over"]) <= 16
        assert found.choices[-1].offer.name == told["chosen"]


@given(prices, st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cost_is_never_below_the_price(price: Price, prompt: int, completion: int) -> None:
    found = rate(price)
    if found is not None:
        assert isinstance(found, Rate)
        exact = prompt * price.prompt + completion * price.completion
        assert found.cost(prompt, completion) >= exact * (1 - 1e-12) - 1e-6
        assert found.cost(prompt, completion) <= exact * (1 + 1e-12) + (prompt + completion) + 1


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
keys = st.sampled_from(["order", "fallback", "default", "budget", "name", "prefer", "routes"])


@given(st.dictionaries(keys, json_like), json_like)
def test_any_settings_are_read_or_refused(table: dict[str, Any], tables: object) -> None:
    for read in (
        lambda: read_routing({"routing": table, "alias": tables}),
        lambda: read_aliases(tables),
    ):
        try:
            read()
        except InputError as error:
            assert error.message
