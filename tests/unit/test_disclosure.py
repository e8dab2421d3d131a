"""Disclosures cannot be changed, and read nothing but what they write."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import MalformedError

SEALED = Cell(View.SIZE, frozenset({Basis(Ground.MATHEMATICS, "sealed")}))


def test_a_disclosure_cannot_be_changed() -> None:
    cells = {(Party.HOST, Asset.PROMPT): SEALED}
    labels = {Party.HOST: frozenset({"host · here"})}
    disclosure = Disclosure(cells, labels)
    cells[Party.HOST, Asset.PROMPT] = Cell()
    labels.clear()
    assert disclosure[Party.HOST, Asset.PROMPT] == SEALED
    assert disclosure.labels[Party.HOST] == {"host · here"}
    with pytest.raises(TypeError):
        disclosure.cells[Party.HOST, Asset.PROMPT] = Cell()  # type: ignore[index]
    with pytest.raises(TypeError):
        disclosure.labels[Party.HOST] = frozenset()  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        disclosure.cells = {}  # type: ignore[misc]


def test_an_absent_pair_learns_nothing() -> None:
    assert Disclosure()[Party.HOST, Asset.PROMPT] == Cell(View.NOTHING)


def test_a_label_alone_gives_a_party_its_row() -> None:
    disclosure = Disclosure({}, {Party.RELAY: frozenset({"relay · x"}), Party.HOST: frozenset()})
    assert list(disclosure.parties()) == [Party.RELAY]


def test_incomparable_facets_combine() -> None:
    both = View.SIZE | View.AGGREGATE
    assert not View.SIZE <= View.AGGREGATE
    assert not View.AGGREGATE <= View.SIZE
    assert both.text == "size+aggregate"
    assert View.parse("aggregate+size") == both


def _json(**row: Any) -> dict[str, Any]:
    return {"host": {"views": {"prompt": {"view": "size", **row}}}}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "host",
        {"stranger": {"views": {}}},
        {"host": {}},
        {"host": []},
        {"host": {"views": {}, "hidden": 1}},
        {"host": {"views": {}, "label": "a bare string"}},
        {"host": {"views": {}, "label": [1]}},
        {"host": {"views": {"secret": {"view": "size"}}}},
        {"host": {"views": {"prompt": {}}}},
        {"host": {"views": {"prompt": "size"}}},
        _json(view="some"),
        _json(view=None),
        _json(view=["size"]),
        _json(also="everything"),
        _json(instead="the relay"),
        _json(basis={"ground": "mathematics", "why": ""}),
        _json(basis=["mathematics"]),
        _json(basis=[{"ground": "mathematics"}]),
        _json(basis=[{"ground": "faith", "why": ""}]),
        _json(basis=[{"ground": ["mathematics"], "why": ""}]),
        _json(basis=[{"ground": "mathematics", "why": None}]),
        _json(basis=[{"ground": "mathematics", "why": "", "unless": "friday"}]),
    ],
)
def test_what_is_not_a_disclosure_is_refused(data: object) -> None:
    with pytest.raises(MalformedError):
        Disclosure.from_json(data)
