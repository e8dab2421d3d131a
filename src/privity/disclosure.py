"""Floor 2: who could learn what of a job, and on what ground we believe it.

A job touches *assets*; *parties* take part in it. For each pair there is a `View`: the most that
party could learn of that asset. Each view rests on a *basis*: the grounds that must all hold for
it to be no larger. A `Disclosure` is the table of them, and disclosures of successive steps
combine with ``|``.

All four vocabularies are closed sets, so that a policy can speak about every cell there is.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import reduce
from types import MappingProxyType
from typing import Any

from privity.errors import MalformedError

__all__ = ["Asset", "Basis", "Cell", "Disclosure", "Ground", "Party", "View"]


class Asset(enum.StrEnum):
    """What a job touches. The value is the name in policies and receipts."""

    PROMPT = "prompt"
    ANSWER = "answer"
    IDENTITY = "identity"
    """Who asked: a name, an account, a key that comes back."""
    ADDRESS = "address"
    """From where: the network address of the person's device."""
    WEIGHTS = "weights"
    RECORDS = "records"
    UPDATE = "update"
    PAYMENT = "payment"


class Party(enum.StrEnum):
    """Who takes part in a job. The value is the name in policies and receipts."""

    PERSON = "person"
    DEVICE = "device"
    RELAY = "relay"
    ENCLAVE = "enclave"
    """The code a statement measures, and nothing else on that machine."""
    HOST = "host"
    """Whoever owns or operates the machine the enclave or engine runs on."""
    PROVIDER = "provider"
    PEERS = "peers"
    LEDGER = "ledger"
    OBSERVER = "observer"
    """Anyone watching the network between any two of the others."""


class View(enum.Flag):
    """The most a party could learn of an asset: a set of facets, ordered by inclusion.

    `NOTHING` is below all others and `EVERYTHING` above; `SIZE`, `PREDICATE` and `AGGREGATE` are
    incomparable, and combine with ``|``. Whoever has the content has all the rest, so a view with
    `CONTENT` in it always means `EVERYTHING`: see `closed`.
    """

    NOTHING = 0
    SIZE = enum.auto()
    """Its length and timing: after padding, where the way is sealed."""
    PREDICATE = enum.auto()
    """One proved statement about it."""
    AGGREGATE = enum.auto()
    """A noised combination with others' assets."""
    CONTENT = enum.auto()
    EVERYTHING = SIZE | PREDICATE | AGGREGATE | CONTENT

    def __le__(self, other: View) -> bool:
        return self & other == self

    def __lt__(self, other: View) -> bool:
        return self != other and self <= other

    @property
    def closed(self) -> View:
        """The view with all that follows from it: the content tells everything."""
        return View.EVERYTHING if self & View.CONTENT else self

    @property
    def text(self) -> str:
        """The name in policies and receipts, such as ``nothing`` or ``size+predicate``."""
        if self == View.NOTHING:
            return "nothing"
        if self & View.CONTENT:
            return "everything"
        return "+".join(facet.name.lower() for facet in _FACETS if self & facet and facet.name)

    @classmethod
    def parse(cls, text: str) -> View:
        """Read what `text` writes.

        Raises:
            MalformedError: not a view.
        """
        if text == "nothing":
            return cls.NOTHING
        if text == "everything":
            return cls.EVERYTHING
        names = {facet.name.lower(): facet for facet in _FACETS if facet.name}
        try:
            return reduce(lambda a, b: a | b, (names[part] for part in text.split("+")))
        except (AttributeError, KeyError):
            known = ", ".join(["nothing", *names, "everything"])
            raise MalformedError(f"{text!r:.80} is not a view; views are {known}") from None


_FACETS = (View.SIZE, View.PREDICATE, View.AGGREGATE)


class Ground(enum.StrEnum):
    """Why a view is believed to be no larger than stated. The value is the name in policies."""

    MATHEMATICS = "mathematics"
    HARDWARE = "hardware"
    """Attested hardware, its maker, and the code it measured."""
    QUORUM = "quorum"
    """Several operators, of whom enough do not collude."""
    NOISE = "noise"
    PROMISE = "promise"
    """A party's word, with nothing to check it by."""
    NOTHING = "nothing"
    """Nothing stops this party; the view is what it could take."""


@dataclass(frozen=True, order=True)
class Basis:
    """One ground with the reason it applies here, in a few plain words.

    Attributes:
        ground: the closed-set ground, which policies speak about.
        why: completes "mathematics: …", as in ``sealed``; for people, as policies look at the
            ground alone.
    """

    ground: Ground
    why: str


@dataclass(frozen=True)
class Cell:
    """What one party could learn of one asset.

    Attributes:
        view: the most it could learn.
        basis: the grounds that must *all* hold for that; empty where no trust is needed at all.
        instead: what the party sees in place of the asset, such as ``the relay`` for an address.
    """

    view: View = View.NOTHING
    basis: frozenset[Basis] = frozenset()
    instead: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "view", self.view.closed)

    @property
    def grounds(self) -> frozenset[Ground]:
        """The closed-set grounds of the basis."""
        return frozenset(basis.ground for basis in self.basis)

    def __or__(self, other: Cell) -> Cell:
        return Cell(self.view | other.view, self.basis | other.basis, self.instead | other.instead)

    def __le__(self, other: Cell) -> bool:
        return self.view <= other.view and self.grounds <= other.grounds


_NO_CELL = Cell()


@dataclass(frozen=True)
class Disclosure:
    """The table of one route: for each party and asset, the view and its basis.

    A pair without a cell learns nothing because it has no part in the job.

    Attributes:
        cells: the table.
        labels: what to call a party here, such as ``enclave · dev``; for people only.

    Guarantees:
        ``|`` is commutative, associative and idempotent, and never makes a disclosure smaller:
        ``a <= a | b`` (tests/property/test_disclosure.py).
        Nothing changes it once made: what a policy admitted is what runs
        (tests/unit/test_disclosure.py::test_a_disclosure_cannot_be_changed).
    """

    cells: Mapping[tuple[Party, Asset], Cell] = field(default_factory=dict)
    labels: Mapping[Party, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = {party: names for party, names in self.labels.items() if names}
        object.__setattr__(self, "cells", MappingProxyType(dict(self.cells)))
        object.__setattr__(self, "labels", MappingProxyType(labels))

    def __getitem__(self, pair: tuple[Party, Asset]) -> Cell:
        return self.cells.get(pair, _NO_CELL)

    def __or__(self, other: Disclosure) -> Disclosure:
        pairs = self.cells.keys() | other.cells.keys()
        names = self.labels.keys() | other.labels.keys()
        return Disclosure(
            {pair: self[pair] | other[pair] for pair in pairs},
            {
                party: self.labels.get(party, frozenset()) | other.labels.get(party, frozenset())
                for party in names
            },
        )

    def __le__(self, other: Disclosure) -> bool:
        return all(cell <= other[pair] for pair, cell in self.cells.items())

    def parties(self) -> Iterator[Party]:
        """Yield the parties with a cell or a label, in the order tables are drawn."""
        present = {party for party, _ in self.cells} | self.labels.keys()
        return (party for party in Party if party in present)

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON-ready data, in an order that does not depend on history."""
        table: dict[str, Any] = {}
        for party in self.parties():
            row: dict[str, Any] = {}
            for asset in Asset:
                cell = self.cells.get((party, asset))
                if cell is None:
                    continue
                entry: dict[str, Any] = {"view": cell.view.text}
                if cell.basis:
                    entry["basis"] = [
                        {"ground": basis.ground.value, "why": basis.why}
                        for basis in sorted(cell.basis)
                    ]
                if cell.instead:
                    entry["instead"] = sorted(cell.instead)
                row[asset.value] = entry
            table[party.value] = {"views": row}
            if self.labels.get(party):
                table[party.value]["label"] = sorted(self.labels[party])
        return table

    @classmethod
    def from_json(cls, data: object) -> Disclosure:
        """Read what `to_json` writes, and nothing else: an unknown key could hide a view.

        Raises:
            MalformedError: not a disclosure.
        """
        cells: dict[tuple[Party, Asset], Cell] = {}
        labels: dict[Party, frozenset[str]] = {}
        try:
            for name, row in _record(data).items():
                party = Party(name)
                fields = _record(row, required={"views"}, optional={"label"})
                labels[party] = frozenset(_string(label) for label in _list(fields, "label"))
                for asset, entry in _record(fields["views"]).items():
                    cells[party, Asset(asset)] = _cell(entry)
        except (TypeError, ValueError) as error:
            raise MalformedError(f"not a disclosure: {error}") from error
        return cls(cells, labels)


def _cell(entry: object) -> Cell:
    fields = _record(entry, required={"view"}, optional={"basis", "instead"})
    basis = [_record(item, required={"ground", "why"}) for item in _list(fields, "basis")]
    return Cell(
        View.parse(_string(fields["view"])),
        frozenset(Basis(Ground(item["ground"]), _string(item["why"])) for item in basis),
        frozenset(_string(text) for text in _list(fields, "instead")),
    )


def _record(
    value: object,
    *,
    required: AbstractSet[str] = frozenset(),
    optional: AbstractSet[str] = frozenset(),
) -> dict[str, Any]:
    """Return `value` if it is an object with the required keys, and only known ones if any."""
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {type(value).__name__}")
    if missing := required - value.keys():
        raise TypeError(f"{min(missing)!r} is missing")
    if required and (unknown := value.keys() - required - optional):
        raise TypeError(f"unknown key {min(map(str, unknown))!r:.80}")
    return value


def _list(fields: Mapping[str, object], key: str) -> list[object]:
    """Return the list under `key`, empty if absent; a bare string is not a list of letters."""
    value = fields.get(key, [])
    if not isinstance(value, list):
        raise TypeError(f"{key!r} is not a list")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value
