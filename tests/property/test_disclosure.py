"""Laws of disclosures: the lattice of views, composition along a route, and JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import MalformedError
from privity.wording import party_name, printable, summarise

text = st.text(max_size=12)
views = st.integers(0, View.EVERYTHING.value).map(View)
bases = st.frozensets(st.builds(Basis, st.sampled_from(Ground), text), max_size=3)
cells = st.builds(Cell, views, bases, st.frozensets(text, max_size=2))
pairs = st.tuples(st.sampled_from(Party), st.sampled_from(Asset))
labels = st.dictionaries(st.sampled_from(Party), st.frozensets(text, max_size=2), max_size=3)
disclosures = st.builds(Disclosure, st.dictionaries(pairs, cells, max_size=8), labels)

closed_views = views.map(lambda view: view.closed)


@given(closed_views, closed_views, closed_views)
def test_views_are_a_lattice(a: View, b: View, c: View) -> None:
    assert View.NOTHING <= a <= View.EVERYTHING
    assert a <= a
    assert not (a <= b and b <= a) or a == b
    assert not (a <= b and b <= c) or a <= c
    join = a | b
    assert a <= join
    assert b <= join
    assert join == join.closed
    assert not (a <= c and b <= c) or join <= c
    assert (a < b) == (a <= b and a != b)


@given(views)
def test_a_view_reads_back_from_its_name(view: View) -> None:
    assert View.parse(view.text) == view.closed


@given(text | st.none() | st.integers())
def test_reading_a_view_is_total(name: object) -> None:
    try:
        view = View.parse(name)  # type: ignore[arg-type]
    except MalformedError:
        return
    assert set(str(name).split("+")) == set(view.text.split("+"))


@given(disclosures, disclosures, disclosures)
def test_composition_is_commutative_associative_and_idempotent(
    a: Disclosure, b: Disclosure, c: Disclosure
) -> None:
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert a | Disclosure() == a


@given(disclosures, disclosures)
def test_a_further_step_never_makes_a_disclosure_smaller(a: Disclosure, step: Disclosure) -> None:
    assert a <= a | step
    for pair, cell in a.cells.items():
        assert cell <= (a | step)[pair]


@given(disclosures, disclosures, disclosures)
def test_composition_is_monotone_and_the_least_upper_bound(
    a: Disclosure, b: Disclosure, c: Disclosure
) -> None:
    bigger = a | b
    assert a | c <= bigger | c
    assert a <= a
    assert not (a <= c and b <= c) or bigger <= c
    assert not (a <= b and b <= c) or a <= c


@given(disclosures)
def test_json_round_trip(disclosure: Disclosure) -> None:
    data = disclosure.to_json()
    assert Disclosure.from_json(json.loads(json.dumps(data))) == disclosure
    assert Disclosure.from_json(data).to_json() == data


@given(disclosures, disclosures)
def test_json_does_not_depend_on_the_order_of_composition(a: Disclosure, b: Disclosure) -> None:
    assert json.dumps((a | b).to_json()) == json.dumps((b | a).to_json())


names = st.sampled_from(
    [*Party, *Asset, *Ground, "views", "view", "basis", "instead", "label", "ground", "why"]
).map(str)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | text, inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_reading_json_is_total(value: object) -> None:
    try:
        disclosure = Disclosure.from_json(value)
    except MalformedError:
        return
    assert Disclosure.from_json(disclosure.to_json()) == disclosure


@st.composite
def _one_value_changed(draw: st.DrawFn) -> object:
    """JSON of a disclosure with one node anywhere in it replaced or one key added."""
    tree = draw(disclosures).to_json()
    node: object = tree
    while True:
        inner = list(node.keys() if isinstance(node, dict) else range(len(node)))  # type: ignore[arg-type]
        if isinstance(node, dict) and draw(st.booleans()):
            node[draw(text)] = draw(json_values)
            return tree
        if not inner:
            return tree
        key = draw(st.sampled_from(inner))
        child = node[key]  # type: ignore[index]
        if not isinstance(child, dict | list) or draw(st.integers(0, 3)) == 0:
            node[key] = draw(json_values)  # type: ignore[index]
            return tree
        node = child


@given(_one_value_changed())
def test_reading_nearly_right_json_is_total_and_loses_nothing(value: object) -> None:
    try:
        disclosure = Disclosure.from_json(value)
    except MalformedError:
        return
    written = disclosure.to_json()
    assert set(written) >= {name for name, row in value.items() if row["views"]}  # type: ignore[attr-defined]
    for name, row in written.items():
        assert set(row["views"]) == set(value[name]["views"])  # type: ignore[index]


@given(disclosures)
def test_a_summary_is_one_printable_line(disclosure: Disclosure) -> None:
    line = summarise(disclosure)
    assert line == printable(line)
    assert len(line.splitlines()) == 1


@given(disclosures)
def test_a_summary_names_everyone_who_reads_or_could(disclosure: Disclosure) -> None:
    line = summarise(disclosure)
    for party in disclosure.parties():
        if disclosure[party, Asset.PROMPT].view == View.EVERYTHING:
            yours = party in (Party.PERSON, Party.DEVICE)
            assert ("you" if yours else party_name(party, disclosure)) in line
            assert line != "read by: nobody"


@given(st.text())
def test_printable_text_cannot_drive_a_terminal(words: str) -> None:
    shown = printable(words)
    assert shown == printable(shown)
    assert all(char.isprintable() or char == "\u3000" for char in shown)


@pytest.mark.parametrize("facet", [View.CONTENT, View.CONTENT | View.SIZE, ~View.SIZE])
def test_who_has_the_content_has_everything(facet: View) -> None:
    assert Cell(facet).view == View.EVERYTHING
