"""What the name of a model means: one offer, the same model on several rungs, or an alias."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from privity.infer.aliases import Alias, Prefer
from privity.infer.catalogue import Offer
from privity.infer.decision import Rules, Standings, Wanted
from privity.infer.preference import OfferIndex
from privity.policy.sensitive import ROUTES

__all__ = ["Meaning", "meaning_of"]


@dataclass(frozen=True)
class Meaning:
    """What a name means: the offers it can stand for, in order.

    Attributes:
        candidates: the offers.
        alias: the alias it is; None for a model.
        named: whether the caller named one model, so that what is not known of it is let pass.
        routes: the routes that could have more of them, where a rung's models are not known.
        rung: the only rung that could.
        ordered: whether a rung's place is known without knowing its models.
    """

    candidates: Sequence[Offer]
    alias: Alias | None = None
    named: bool = True
    routes: frozenset[str] = frozenset(ROUTES)
    rung: tuple[str, str] | None = None
    ordered: bool = False


def meaning_of(wanted: Wanted, index: OfferIndex, standings: Standings, rules: Rules) -> Meaning:
    """Look a name up: an alias first, so that no peer can call a model by its name.

    Args:
        wanted: the request; where it names no model, the rules' default counts.
        index: every offer there is.
        standings: what is known of the rungs, those whose models nobody knows among them.
        rules: the person's, with the aliases.
    """
    asked = wanted.model or rules.default
    if not asked:
        found = index.ordered(Prefer.ORDER, wanted, standings, rules)
        return Meaning(found, named=False, ordered=True)
    alias = next((one for one in rules.aliases if one.name == asked), None)
    if alias is None:
        return _model(asked, index, standings, rules)
    return Meaning(
        _of_alias(alias, wanted, index, standings, rules),
        alias,
        named=False,
        routes=alias.routes,
        ordered=not alias.models and alias.prefer in (Prefer.ORDER, Prefer.STRICT),
    )


def _of_alias(
    alias: Alias, wanted: Wanted, index: OfferIndex, standings: Standings, rules: Rules
) -> list[Offer]:
    """Return an alias's offers in its order."""
    if not alias.models:
        ordered: Iterable[Offer] = index.ordered(alias.prefer, wanted, standings, rules)
    else:
        listed = [_model(name, index, standings, rules).candidates for name in alias.models]
        ordered = dict.fromkeys(offer for offers in listed for offer in offers)
        if alias.prefer is not Prefer.ORDER:
            meant = {offer.name for offer in ordered}
            every = index.ordered(alias.prefer, wanted, standings, rules)
            ordered = [offer for offer in every if offer.name in meant]
    return [offer for offer in ordered if offer.route in alias.routes]


def _model(asked: str, index: OfferIndex, standings: Standings, rules: Rules) -> Meaning:
    """Look up a model by ``route/rung/id``, ``route/id`` or its bare id, in this order.

    What begins with a rung the person configured means that rung, whatever others call a model.
    """
    route, slash, rest = asked.partition("/")
    if not slash or route not in ROUTES:
        found = index.by_model.get(asked, ())
        return Meaning(index.in_order(found, rules))
    routes = frozenset({route})
    rungs = [
        rung
        for rung in {*index.rungs, *standings}
        if rung[0] == route and rest.startswith(f"{rung[1]}/")
    ]
    if rungs:
        offer = index.by_name.get(asked)
        rung = max(rungs, key=lambda one: len(one[1]))
        return Meaning([] if offer is None else [offer], routes=routes, rung=rung)
    same = [offer for offer in index.by_model.get(rest, ()) if offer.route == route]
    return Meaning(index.in_order(same, rules), routes=routes)
