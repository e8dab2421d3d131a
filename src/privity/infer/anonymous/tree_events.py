"""Applies the ledger's events to a tree of members."""

from __future__ import annotations

from collections.abc import Sequence

from privity.anon.field import ZERO, field
from privity.anon.membership import MemberTree
from privity.ledger.members import LeafAdded, MemberEvent

__all__ = ["WINDOW", "apply_events"]

WINDOW = 64
"""Roots that are known at a time, as many as the contract's."""


def apply_events(tree: MemberTree, events: Sequence[MemberEvent], now: float = 0.0) -> None:
    """Apply events; the roots after each of the last ones are known, of earlier ones not."""
    added: list[LeafAdded] = []
    for event in events:
        if isinstance(event, LeafAdded):
            added.append(event)
            continue
        _add(tree, added, now)
        added = []
        # Who is slashed while leaving is removed twice; the tree has it from the first.
        if tree.leaf(event.index) != ZERO:
            tree.remove(event.index, at=now)
    _add(tree, added, now)


def _add(tree: MemberTree, added: Sequence[LeafAdded], now: float) -> None:
    """Add leaves: many in one go, but for the last ones, each of which makes a root of its own."""
    many = max(0, len(added) - WINDOW)
    if many:
        leaves = [field(one.leaf) for one in added[:many]]
        tree.extend(leaves, index=added[0].index, at=now)
    for one in added[many:]:
        tree.append(field(one.leaf), index=one.index, at=now)
