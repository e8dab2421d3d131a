"""How a refusal is told: the offending cells in words, as data, and the least change.

The least change raises each offending cell's ceiling to the join of itself and the cell, so no
stricter policy above the present one would admit the route (tests/property/test_policy.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from privity.disclosure import Asset, Cell, Disclosure, Ground, Party
from privity.policy.ceiling import Ceiling, Offence
from privity.policy.file import ceiling_lines
from privity.wording import (
    WEAKEST_FIRST,
    ceiling_words,
    cell_sentence,
    printable,
    weakest_first,
)

__all__ = ["hint", "least_change", "message", "report", "terms_message", "terms_report"]

_TOLD = 3  # how many different reasons a message spells out; the report has them all


def message(policy: str, route: str, offences: Sequence[Offence]) -> str:
    """Return what is refused and why, cells alike said together and the worst first."""
    groups: dict[tuple[Party, Cell, Ceiling], list[Asset]] = {}
    for offence in offences:
        groups.setdefault((offence.party, offence.cell, offence.ceiling), []).append(offence.asset)
    clauses = [
        f"{cell_sentence(party, assets, cell)}; "
        f"allowed at most: {ceiling_words(ceiling.view, ceiling.grounds)}"
        for (party, cell, ceiling), assets in list(groups.items())[:_TOLD]
    ]
    left = sum(len(assets) for assets in list(groups.values())[_TOLD:])
    if left:
        clauses.append(f"{left} more {'cell' if left == 1 else 'cells'}")
    return f"policy `{policy}` refuses route `{printable(route)}`: {'. Also, '.join(clauses)}."


def least_change(offences: Iterable[Offence], *, extends: str | None) -> list[str]:
    """Return the lines that would admit the route: a whole file, where it extends a preset."""
    head = [] if extends is None else ['name = "mine"', f'extends = "{extends}"']
    raised = {(offence.party, offence.asset): offence.least for offence in offences}
    lines = head + ceiling_lines(raised)
    return lines if head else lines[1:]


def hint(change: Sequence[str], presets: Sequence[str], *, own_file: bool) -> str:
    """Return what the person can do about it, the least change ready to paste."""
    if presets:
        named = " or ".join(f"`{name}`" for name in presets)
        first = f"policy {named} would allow it"
    else:
        first = "no preset would allow it"
    where = "change your policy file" if own_file else "keep a policy file of your own"
    lines = "\n".join(f"    {line}".rstrip() for line in change)
    return f"{first}; or {where}, with no more than it takes:\n\n{lines}"


def report(
    policy: str,
    route: str,
    disclosure: Disclosure,
    offences: Iterable[Offence],
    change: Sequence[str],
    presets: Sequence[str],
) -> dict[str, object]:
    """Return the refusal as JSON-ready data; enough to draw it again."""
    return {
        "policy": policy,
        "route": route,
        "disclosure": disclosure.to_json(),
        "offending": [_entry(offence) for offence in offences],
        "least_change": list(change),
        "presets_that_allow": list(presets),
    }


def terms_message(policy: str, route: str, found: Sequence[str]) -> str:
    """Return what a provider promises too little of, in words."""
    return f"policy `{policy}` refuses route `{printable(route)}`: " + "; ".join(
        printable(one) for one in found
    )


def terms_report(
    policy: str, route: str, disclosure: Disclosure, found: Sequence[str]
) -> dict[str, object]:
    """Return the refusal of a provider's terms as JSON-ready data, shaped as `report`.

    Args:
        policy: its name.
        route: the route's name.
        disclosure: who would be privy to a job there.
        found: what in the terms the policy does not take, each a sentence.
    """
    return {**report(policy, route, disclosure, (), (), ()), "terms": list(found)}


def _entry(offence: Offence) -> dict[str, object]:
    return {
        "party": offence.party.value,
        "asset": offence.asset.value,
        "view": offence.cell.view.text,
        "grounds": _names(offence.cell.grounds),
        "basis": [
            {"ground": basis.ground.value, "why": basis.why}
            for basis in weakest_first(offence.cell.basis)
        ],
        "ceiling": {
            "view": offence.ceiling.view.text,
            "grounds": _names(offence.ceiling.grounds),
        },
    }


def _names(grounds: Iterable[Ground]) -> list[str]:
    given = set(grounds)
    return [ground.value for ground in WEAKEST_FIRST if ground in given]
