"""The order of offers by preference, from what somebody vouches for and from what is only claimed.

A rank comes from a provider's profile or from the person, never from a peer. What a peer says of
itself, the size in a model's name among it, decides only where nobody vouches for either, counts
only up to a limit, and never between two rungs that are otherwise alike: the stricter route, then
the person's own order does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from privity.infer.aliases import Prefer
from privity.infer.budget import rate
from privity.infer.catalogue import Offer
from privity.infer.decision import Rules, Standings, Wanted
from privity.policy.sensitive import ROUTES

__all__ = ["OfferIndex", "impossible_price", "room", "stated_size", "strictness"]

COUNTED_B = 128.0
"""A larger size in a name counts as this one: claiming more gains nothing."""
_CREDIBLE_B = 3000.0
_UNMEASURED_MS = 1000.0
_READ_CHARACTERS = 200
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d{1,3})x)?(\d{1,6}(?:\.\d{1,3})?)([mb])(?![a-z0-9])")
_DEAREST = math.inf


def stated_size(model: str) -> float | None:
    """Return the number of parameters a model's id states, in thousand millions; else None.

    A number that no model there is has is a lie or no size: it counts as not stated.
    """
    sizes = [
        int(times or 1) * float(number) / (1000 if unit == "m" else 1)
        for times, number, unit in _SIZE.findall(model[:_READ_CHARACTERS].lower())
    ]
    largest = max(sizes, default=0.0)
    return largest if 0 < largest <= _CREDIBLE_B else None


def impossible_price(offer: Offer) -> bool:
    """Tell whether an offer names a price that is none."""
    return offer.price is not None and rate(offer.price) is None


class OfferIndex:
    """Offers, looked up by name and put in order once; made anew when the catalogue changes.

    Args:
        offers: in any order. Of two of one name, the dearer counts: a peer that lists a model
            twice gains nothing.
    """

    def __init__(self, offers: Iterable[Offer]) -> None:
        unique: dict[str, Offer] = {}
        for offer in offers:
            known = unique.get(offer.name)
            if known is None or _caution(offer) > _caution(known):
                unique[offer.name] = offer
        self.by_name: Mapping[str, Offer] = unique
        self.by_model: dict[str, list[Offer]] = {}
        for offer in unique.values():
            self.by_model.setdefault(offer.model, []).append(offer)
        self.rungs = frozenset((offer.route, offer.rung) for offer in unique.values())
        self._ordered: dict[tuple[object, ...], tuple[Offer, ...]] = {}
        self._by_rung: dict[tuple[object, ...], dict[tuple[str, str], list[Offer]]] = {}
        self._rates = {name: _rate(offer) for name, offer in unique.items()}

    def ordered(
        self, prefer: Prefer, wanted: Wanted, standings: Standings, rules: Rules
    ) -> Sequence[Offer]:
        """Return all offers, what is preferred first; the same for the same ones in any order.

        Args:
            prefer: by what.
            wanted: how many tokens; counts by cost alone.
            standings: how soon each rung's answers begin, and its own default model.
            rules: the order of routes and rungs, which decides between what is otherwise alike.
        """
        if prefer is Prefer.CHEAP:
            return self._by_cost(wanted, rules)
        if prefer is Prefer.FAST:
            return self._by_start(standings, rules)
        if prefer is Prefer.ORDER:
            return self._by_order(standings, rules)
        return self._fixed(prefer, rules)

    def in_order(self, offers: Iterable[Offer], rules: Rules) -> list[Offer]:
        """Return offers of one model by the order of routes and rungs, which no peer chooses."""
        place = _Places(rules)
        return sorted(offers, key=lambda one: (place.route(one.route), place.rung(one)))

    def _fixed(self, prefer: Prefer, rules: Rules) -> tuple[Offer, ...]:
        key = _key(prefer, rules)
        found = self._ordered.get(key)
        if found is None:
            keys = _Keys(rules, self._rates)
            by = {Prefer.BEST: keys.best, Prefer.STRICT: keys.strict, Prefer.FAST: keys.small}
            found = tuple(sorted(self.by_name.values(), key=by[prefer]))
            _remember(self._ordered, key, found)
        return found

    def _by_cost(self, wanted: Wanted, rules: Rules) -> list[Offer]:
        """Free first, then by cost in one currency, then what cannot be compared or is unknown."""
        prompt, completion = wanted.prompt_tokens, wanted.completion_tokens
        costs: dict[str, float] = {}
        for name, (currency, per_prompt, per_completion) in self._rates.items():
            if currency is not None and currency != rules.currency:
                costs[name] = _DEAREST
            else:
                costs[name] = prompt * per_prompt + completion * per_completion
        ordered = self._fixed(Prefer.STRICT, rules)
        return sorted(ordered, key=lambda one: costs[one.name])  # stable: ties stay as they are

    def _grouped(self, prefer: Prefer, rules: Rules) -> Mapping[tuple[str, str], list[Offer]]:
        """Return the same order within each rung."""
        ordered = self._fixed(prefer, rules)
        key = _key(prefer, rules)
        found = self._by_rung.get(key)
        if found is None:
            found = {rung: [] for rung in self.rungs}
            for offer in ordered:
                found[offer.route, offer.rung].append(offer)
            _remember(self._by_rung, key, found)
        return found

    def _by_start(self, standings: Standings, rules: Rules) -> list[Offer]:
        """Sort rungs by what was measured; within one, the smaller model comes first."""
        place = _Places(rules)

        def key(rung: tuple[str, str]) -> tuple[Any, ...]:
            standing = standings.get(rung)
            ms = None if standing is None else standing.first_token_ms
            if ms is None or not math.isfinite(ms) or ms < 0:
                ms = _UNMEASURED_MS
            return ms, strictness(rung[0]), place.pair(rung)

        groups = self._grouped(Prefer.FAST, rules)
        return [offer for rung in sorted(self.rungs, key=key) for offer in groups[rung]]

    def _by_order(self, standings: Standings, rules: Rules) -> list[Offer]:
        """By the order of routes, then of rungs; within one, its default and then its best."""
        place = _Places(rules)
        groups = self._grouped(Prefer.BEST, rules)
        ordered: list[Offer] = []
        for rung in sorted(self.rungs, key=lambda one: (place.route(one[0]), place.pair(one))):
            standing = standings.get(rung)
            if standing is not None and standing.default:
                default = self.by_name.get(f"{rung[0]}/{rung[1]}/{standing.default}")
                if default is not None:
                    ordered.append(default)  # and once more below, where it is known already
            ordered += groups[rung]
        return ordered


def _key(prefer: Prefer, rules: Rules) -> tuple[object, ...]:
    """Return what an order depends on besides the offers."""
    return prefer, rules.order, rules.rungs, rules.currency


_Kept = TypeVar("_Kept")


def _remember(kept: dict[tuple[object, ...], _Kept], key: tuple[object, ...], value: _Kept) -> None:
    if len(kept) > 16:
        kept.clear()  # rules change by hand, not by request
    kept[key] = value


class _Places:
    """The person's own order of routes and rungs."""

    def __init__(self, rules: Rules) -> None:
        self._routes = {route: number for number, route in reversed(list(enumerate(rules.order)))}
        self._rungs = {rung: number for number, rung in reversed(list(enumerate(rules.rungs)))}

    def route(self, route: str) -> int:
        return self._routes.get(route, len(self._routes))

    def pair(self, rung: tuple[str, str]) -> tuple[int, str, str]:
        return self._rungs.get(rung, len(self._rungs)), *rung

    def rung(self, offer: Offer) -> tuple[int, str, str]:
        return self.pair((offer.route, offer.rung))


_Rate = tuple[str | None, float, float]


class _Keys:
    """Sort keys; each ends in the name, so that no two offers are equal."""

    def __init__(self, rules: Rules, rates: Mapping[str, _Rate]) -> None:
        self._place = _Places(rules)
        self._rates = rates
        self._currency = rules.currency

    def best(self, offer: Offer) -> tuple[Any, ...]:
        return (*self._capability(offer), strictness(offer.route), *self._rest(offer))

    def strict(self, offer: Offer) -> tuple[Any, ...]:
        return (strictness(offer.route), *self._capability(offer), *self._rest(offer))

    def small(self, offer: Offer) -> tuple[Any, ...]:
        size = stated_size(offer.model)
        return (
            strictness(offer.route),
            *self._place.rung(offer),
            math.inf if size is None else size,
            *self._rest(offer),
        )

    def _capability(self, offer: Offer) -> tuple[int, float]:
        """Put what is vouched for before anything that is only claimed, however large."""
        if offer.rank is not None and math.isfinite(offer.rank):
            return 0, -offer.rank
        return 1, -min(stated_size(offer.model) or 0.0, COUNTED_B)

    def _rest(self, offer: Offer) -> tuple[Any, ...]:
        currency, prompt, completion = self._rates[offer.name]
        compared = currency is None or currency == self._currency
        context = room(offer) or 0
        return (
            prompt + completion if compared else _DEAREST,
            *self._place.rung(offer),
            -(stated_size(offer.model) or 0.0),
            -context,
            offer.model,
        )


def room(offer: Offer) -> int | None:
    """Return the tokens an offer says it holds; None where it says none, or nonsense."""
    context = offer.context
    return context if type(context) is int and context > 0 else None


def strictness(route: str) -> int:
    """Return the place of a route on the ladder, the strictest 0; an unknown one comes last."""
    return ROUTES.index(route) if route in ROUTES else len(ROUTES)


def _rate(offer: Offer) -> _Rate:
    """Return an offer's currency, None where it is free, and its two prices."""
    if offer.price is None:
        # Nobody gives a provider's answer away: a price that is missing there is not known.
        unknown = _DEAREST if offer.route == ROUTES[-1] else 0
        return ("", unknown, unknown) if unknown else (None, 0, 0)
    found = rate(offer.price)
    return (
        ("", _DEAREST, _DEAREST)
        if found is None
        else (
            found.currency,
            found.prompt,
            found.completion,
        )
    )


def _caution(offer: Offer) -> tuple[Any, ...]:
    """Order offers of one name, the last of them promising least."""
    _, prompt, completion = _rate(offer)
    return (
        prompt + completion,
        -(room(offer) or 0),
        -(offer.rank if offer.rank is not None and math.isfinite(offer.rank) else -math.inf),
        json.dumps(offer.to_json(), sort_keys=True, default=str),
    )
