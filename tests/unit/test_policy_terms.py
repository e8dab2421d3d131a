"""What a policy demands of a provider's terms, and of a route by what a prompt holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from privity.errors import InputError
from privity.policy import PRESETS, Feature, Kind, Mode, Policy, SensitivePolicy, Terms, TermsPolicy
from privity.policy.sensitive import GROUPS, ROUTES

KEEPS_NOTHING = Terms("Example", 0, False, ("eu",), "its terms", date(2026, 1, 1))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (replace(KEEPS_NOTHING, retention_days=30), "for 30 days"),
        (replace(KEEPS_NOTHING, retention_days=None), "does not say how long"),
        (replace(KEEPS_NOTHING, training=True), "trains on"),
        (replace(KEEPS_NOTHING, training=None), "does not say that it never trains"),
    ],
)
def test_by_default_nothing_may_be_kept_or_trained_on(terms: Terms, said: str) -> None:
    (offence,) = TermsPolicy().offences(terms)
    assert said in offence
    assert TermsPolicy().offences(KEEPS_NOTHING) == ()


@pytest.mark.parametrize("regions", [(), ("us",), ("eu", "us")])
def test_a_region_is_demanded_of_all_there_are(regions: tuple[str, ...]) -> None:
    policy = TermsPolicy(regions=frozenset({"eu"}))
    assert policy.offences(replace(KEEPS_NOTHING, regions=regions))
    assert not policy.offences(KEEPS_NOTHING)


def test_tables_are_read_and_written_back() -> None:
    terms = TermsPolicy().with_table(
        {"retention_days": "any", "training": True, "regions": ["eu"], "stateful": ["store"]}
    )
    assert terms == TermsPolicy(None, True, frozenset({"eu"}), frozenset({Feature.STORE}))
    assert TermsPolicy().with_table(terms.to_table()) == terms
    sensitive = SensitivePolicy().with_table({"mode": "refuse", "health": "local"})
    assert sensitive.mode is Mode.REFUSE
    assert sensitive.routes == {Kind.HEALTH: "local", Kind.HEALTH_ID: "local"}
    assert SensitivePolicy().with_table(sensitive.to_table()) == sensitive


def test_a_kind_of_its_own_says_more_than_its_group() -> None:
    table = {"health-condition": "confidential", "health": "local"}
    assert SensitivePolicy().with_table(table).routes[Kind.HEALTH] == "confidential"


@pytest.mark.parametrize(
    "text",
    [
        "[terms]\nretention_days = -1",
        "[terms]\nretention_days = true",
        "[terms]\nretention_day = 1",
        '[terms]\nstateful = ["memory"]',
        "[terms]\ntraining = 0",
        "[sensitive]\nhealth = 1",
        '[sensitive]\nhealth = "home"',
        '[sensitive]\nhealt = "local"',
        '[sensitive]\nmode = "off"',
        "terms = 1",
        "sensitive = []",
    ],
)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"terms|sensitive"):
        Policy.parse(text)


def test_the_strictest_demand_counts_and_says_which_kinds_make_it() -> None:
    policy = SensitivePolicy(routes={Kind.HEALTH: "local", Kind.EMAIL: "confidential"})
    assert policy.loosest([]) == ("zdr", frozenset())
    assert policy.loosest([Kind.PERSON]) == ("zdr", frozenset())
    assert policy.loosest([Kind.EMAIL, Kind.PERSON]) == ("confidential", {Kind.EMAIL})
    assert policy.loosest([Kind.EMAIL, Kind.HEALTH]) == ("local", {Kind.HEALTH})


def test_no_group_is_called_as_a_kind() -> None:
    assert not set(GROUPS) & {kind.value for kind in Kind}
    assert "mode" not in {*GROUPS, *(kind.value for kind in Kind)}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_demand_zero_retention_but_of_a_stand_in(name: str) -> None:
    policy = Policy.load(name)
    assert policy.terms.retention_days == (None if name == "dev" else 0)
    assert policy.terms.training is (name == "dev") and not policy.terms.stateful
    assert policy.sensitive.mode is Mode.REPLACE


def test_order_of_strictness() -> None:
    strict, loose = TermsPolicy(regions=frozenset({"eu"})), TermsPolicy(retention_days=30)
    assert TermsPolicy() <= loose and not loose <= TermsPolicy()
    assert strict <= TermsPolicy() and not TermsPolicy() <= strict
    local, warn = SensitivePolicy(routes={Kind.CARD: "local"}), SensitivePolicy(Mode.WARN)
    assert local <= SensitivePolicy() <= warn
    assert not SensitivePolicy() <= local and not warn <= SensitivePolicy()
    assert ROUTES == ("local", "anonymous", "confidential", "zdr")


def test_a_policy_file_round_trips_with_its_tables() -> None:
    policy = Policy.parse(
        'name = "mine"\nextends = "zero-retention"\n[terms]\nretention_days = 30\n'
        '[sensitive]\nmode = "warn"\nsecrets = "confidential"\n'
    )
    again = Policy.parse(policy.to_toml())
    assert (again.terms, again.sensitive) == (policy.terms, policy.sensitive)
