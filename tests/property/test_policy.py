"""Laws of admission: strictness, steps, the least change, and the total reader of policies."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import InputError, PolicyRefusal
from privity.policy import PRESETS, Ceiling, Policy

views = st.integers(0, View.EVERYTHING.value).map(View)
grounds = st.frozensets(st.sampled_from(Ground))
pairs = st.tuples(st.sampled_from(Party), st.sampled_from(Asset))
cells = st.builds(
    Cell, views, st.frozensets(st.builds(Basis, st.sampled_from(Ground), st.just("x")), max_size=3)
)
disclosures = st.builds(Disclosure, st.dictionaries(pairs, cells, max_size=6))
ceilings = st.dictionaries(pairs, st.builds(Ceiling, views, grounds), max_size=6)
printed = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)
own = st.builds(Policy, st.just("mine"), ceilings, printed)
policies = own | st.sampled_from(PRESETS).map(Policy.load)


@dataclass(frozen=True)
class Way:
    """A route with a disclosure of its own."""

    disclosure: Disclosure
    name: str = "way"
    terms: None = None


def admits(policy: Policy, disclosure: Disclosure) -> bool:
    try:
        admitted = policy.admit(Way(disclosure))
    except PolicyRefusal:
        return False
    assert admitted.disclosure == disclosure
    return True


def raised(policy: Policy, more: Policy) -> Policy:
    """Return a policy above `policy`, by the join with another."""
    joined = {
        pair: Ceiling(
            policy[pair].view | more[pair].view, policy[pair].grounds | more[pair].grounds
        )
        for pair in policy.ceilings.keys() | more.ceilings.keys()
    }
    return Policy("raised", joined)


@given(policies, policies, disclosures)
def test_a_stricter_policy_never_admits_more(
    strict: Policy, more: Policy, disclosure: Disclosure
) -> None:
    loose = raised(strict, more)
    assert strict <= loose
    assert admits(strict, disclosure) <= admits(loose, disclosure)


@given(policies, policies, disclosures)
def test_strictness_is_exactly_admitting_no_more(
    a: Policy, b: Policy, disclosure: Disclosure
) -> None:
    if a <= b:
        assert admits(a, disclosure) <= admits(b, disclosure)
        return
    # Not stricter: then some route passes `a` and not `b`. It is found among a's own ceilings.
    witnesses = (
        Disclosure({pair: Cell(a[pair].view, frozenset(Basis(g, "x") for g in a[pair].grounds))})
        for pair in a.ceilings.keys() | b.ceilings.keys()
    )
    assert any(admits(a, one) and not admits(b, one) for one in witnesses)


@given(policies, disclosures, disclosures)
def test_a_further_step_never_turns_a_refusal_into_an_admission(
    policy: Policy, route: Disclosure, step: Disclosure
) -> None:
    assert admits(policy, route | step) <= admits(policy, route)


@given(policies, disclosures, disclosures)
def test_a_route_is_admitted_when_each_of_its_steps_is(
    policy: Policy, a: Disclosure, b: Disclosure
) -> None:
    assert (admits(policy, a) and admits(policy, b)) == admits(policy, a | b)


@given(policies, disclosures, policies)
def test_the_least_change_admits_and_is_least(
    policy: Policy, disclosure: Disclosure, more: Policy
) -> None:
    least = policy.loosened(disclosure, "least")
    assert policy <= least
    assert admits(least, disclosure)
    other = raised(policy, more)
    if admits(other, disclosure):
        assert least <= other


@given(st.sampled_from(PRESETS), disclosures)
def test_the_lines_of_a_refusal_admit_the_route_when_pasted(
    preset: str, disclosure: Disclosure
) -> None:
    policy = Policy.load(preset)
    try:
        policy.admit(Way(disclosure))
    except PolicyRefusal as refusal:
        lines = refusal.report["least_change"]
        assert isinstance(lines, list)
        mine = Policy.parse("\n".join(lines))
        assert admits(mine, disclosure)
        assert mine.ceilings == policy.loosened(disclosure, "x").ceilings
        for name in PRESETS:
            assert (name in refusal.report["presets_that_allow"]) == admits(  # type: ignore[operator]
                Policy.load(name), disclosure
            )


@given(policies, disclosures)
def test_a_refusal_lists_every_offending_cell_and_is_json(
    policy: Policy, disclosure: Disclosure
) -> None:
    offences = policy.offences(disclosure)
    for pair, cell in disclosure.cells.items():
        offends = any((offence.party, offence.asset) == pair for offence in offences)
        assert offends != policy[pair].admits(cell)
    if not offences:
        return
    with pytest.raises(PolicyRefusal) as caught:
        policy.admit(Way(disclosure))
    report = json.loads(json.dumps(caught.value.report))
    assert len(report["offending"]) == len(offences)
    assert Disclosure.from_json(report["disclosure"]) == disclosure


@given(own)
def test_toml_round_trip(policy: Policy) -> None:
    text = policy.to_toml()
    assert Policy.parse(text) == policy
    tomllib.loads(text)


@given(st.text(max_size=60))
@example("a = " + "[" * 5000)
@example("a = " + "9" * 5000)
@example("a = 2020-13-45")
@example("relay = 1\n" * 2)
def test_reading_any_text_is_total(text: str) -> None:
    try:
        Policy.parse(text, origin="their.toml")
    except InputError as error:
        assert error.message.startswith("their.toml: ")


keys = st.sampled_from(
    ["name", "extends", "summary", "all", "view", "grounds", "any", "dev", *Party, *Asset, *Ground]
).map(str)
scalars = keys | st.integers(-5, 5) | st.booleans() | st.floats(allow_nan=False)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


trees = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(trees)
def test_reading_nearly_right_policies_is_total(tree: dict[str, object]) -> None:
    text = "\n".join(f"{json.dumps(key)} = {_toml(value)}" for key, value in tree.items())
    try:
        policy = Policy.parse(text, origin="their.toml")
    except InputError as error:
        assert error.message.startswith("their.toml: ")
        return
    assert set(tree) <= {"name", "extends", "summary", *Party}
    assert Policy.parse(policy.to_toml()) == policy
