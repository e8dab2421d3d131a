"""The routing part of a record: what is written is read back, and nothing else is taken."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import MalformedError
from privity.identity.fields import Fields
from privity.receipt import Passed, Routing

texts = st.text(max_size=60)
terms = st.fixed_dictionaries(
    {
        "agreement": texts,
        "as_of": texts,
        "provider": texts,
        "regions": st.lists(texts, max_size=3),
        "retention_days": st.none() | st.integers(0, 3650),
        "source": texts,
        "training": st.none() | st.booleans(),
    }
)
routings = st.builds(
    Routing,
    asked=texts,
    chosen=texts,
    meant=texts,
    fallback=texts,
    reasons=st.lists(texts, max_size=4).map(tuple),
    passed_over=st.lists(st.builds(Passed, texts, texts, texts), max_size=4).map(tuple),
    more=st.integers(0, 999),
    mode=st.sampled_from(["", "replace", "refuse", "warn"]),
    replaced=st.integers(0, 999),
    kept=st.integers(0, 999),
    sent=st.none() | st.just("sha256:" + "0" * 64),
    terms=st.none() | terms,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(routings)
def test_what_is_written_is_read_back(routing: Routing) -> None:
    assert Routing.from_fields(Fields(routing.to_json(), "routing")) == routing


@given(routings, st.data())
def test_a_member_more_less_or_of_another_form_is_refused_or_reads_back(
    routing: Routing, data: st.DataObject
) -> None:
    changed: dict[str, Any] = copy.deepcopy(routing.to_json())
    name = data.draw(st.sampled_from([*changed, "more"]))
    changed[name] = data.draw(anything)
    try:
        found = Routing.from_fields(Fields(changed, "routing"))
    except MalformedError:
        return
    assert found.to_json() == changed


@given(anything)
def test_reading_is_total(value: Any) -> None:
    try:
        Routing.from_fields(Fields(value, "routing"))
    except MalformedError:
        return
    pytest.fail("nothing of this kind is a routing")
