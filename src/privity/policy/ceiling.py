"""The most one party may learn of one asset, and what it is to exceed that."""

from __future__ import annotations

from dataclasses import dataclass

from privity.disclosure import Asset, Cell, Ground, Party, View
from privity.wording import SEEN, WEAKEST_FIRST

__all__ = ["NO_CEILING", "Ceiling", "Offence"]


@dataclass(frozen=True)
class Ceiling:
    """The largest view, and every ground that is accepted for it.

    Attributes:
        view: the most the party may learn.
        grounds: the accepted assumptions. A set, not a scale: whoever accepts a promise does not
            thereby accept a quorum.
    """

    view: View = View.NOTHING
    grounds: frozenset[Ground] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "view", self.view.closed)

    def admits(self, cell: Cell) -> bool:
        """Whether the cell shows no more than this, on accepted grounds alone."""
        return cell.view <= self.view and cell.grounds <= self.grounds

    def __le__(self, other: Ceiling) -> bool:
        return self.view <= other.view and self.grounds <= other.grounds


# That a party has no part in a job, or holds only ciphertext, asks nobody's trust. Anything
# weaker, such as a promise not to look, has to be accepted by name.
NO_CEILING = Ceiling(View.NOTHING, frozenset({Ground.MATHEMATICS}))
"""What holds for a party and asset that a policy does not speak of."""


@dataclass(frozen=True)
class Offence:
    """A cell that exceeds its ceiling."""

    party: Party
    asset: Asset
    cell: Cell
    ceiling: Ceiling

    @property
    def shows_too_much(self) -> bool:
        """Whether the view itself is too large; if not, a ground it rests on is not accepted."""
        return not self.cell.view <= self.ceiling.view

    @property
    def unaccepted(self) -> frozenset[Ground]:
        """The grounds the cell rests on that the ceiling does not accept."""
        return self.cell.grounds - self.ceiling.grounds

    @property
    def least(self) -> Ceiling:
        """The strictest ceiling that is no stricter than the present one and admits the cell."""
        return Ceiling(self.ceiling.view | self.cell.view, self.ceiling.grounds | self.cell.grounds)

    def severity(self) -> tuple[bool, bool, int, int, int]:
        """Sort key, the worst first: too large a view, contents, then the weakest ground."""
        weakest = min((WEAKEST_FIRST.index(g) for g in self.cell.grounds), default=len(Ground))
        return (
            not self.shows_too_much,
            self.asset in SEEN,
            weakest,
            list(Party).index(self.party),
            list(Asset).index(self.asset),
        )
