"""Which model answers a request: the decision alone, from words, without any input or output.

Candidates by name → what they can do → what the prompt holds → the policy → their circuits → the
budget → the person's preference. Spec: spec/routing.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privity.disclosure import Disclosure, Party
from privity.infer.aliases import Prefer
from privity.infer.budget import Allowance, amount, rate
from privity.infer.catalogue import Offer
from privity.infer.decision import (
    Cause,
    Choice,
    Decision,
    Fallback,
    PassedOver,
    Rules,
    Standing,
    Standings,
    Wanted,
    routing_of,
)
from privity.infer.naming import Meaning, meaning_of
from privity.infer.preference import (
    OfferIndex,
    impossible_price,
    room,
    stated_size,
    strictness,
)
from privity.infer.unroutable import nothing_left
from privity.policy.sensitive import ROUTES

__all__ = [
    "Cause",
    "Choice",
    "Decision",
    "Fallback",
    "OfferIndex",
    "PassedOver",
    "Rules",
    "Standing",
    "Wanted",
    "decide",
    "routing_of",
]

MOST_CHOICES = 8
_MOST_PASSED = 256
_NOBODY = Standing()
_OURS = frozenset({Party.PERSON, Party.DEVICE})
_TOO_LARGE = 2
"""How many times a named model's context an estimate may be before it is believed."""


def decide(
    wanted: Wanted,
    offers: OfferIndex | Sequence[Offer],
    standings: Standings,
    rules: Rules,
    allowance: Allowance | None = None,
) -> Decision:
    """Return what may answer a request, in order; run by the device before anything is sent.

    Args:
        wanted: what the request asks for.
        offers: every model there is, admitted or not; an index where they are used again.
        standings: what is known of the rungs, by route and rung; those whose models nobody could
            ask for among them.
        rules: the person's.
        allowance: the most it may cost; None for no limit.

    Raises:
        InputError: nobody has such a model, or none that can do what is needed.
        PolicyRefusal: the policy, what the prompt holds or the budget refuses all that would serve.
        PeerError: all that would be admitted cannot be had now.
        EngineError: the same, where they are all engines on the local route.

    Guarantees:
        A choice is admitted, no looser than the prompt allows, and within the allowance; the order
        of the offers and any offer that is refused change nothing
        (tests/property/test_router.py).
        What follows the offer that was meant first is no step down, unless the rules say so: also
        where that offer itself cannot be had
        (tests/adversary/test_router.py::test_no_step_down_the_ladder_in_silence).
    """
    index = offers if isinstance(offers, OfferIndex) else OfferIndex(offers)
    meaning = meaning_of(wanted, index, standings, rules)
    walk = _Walk(wanted, index, standings, rules, allowance, meaning)
    walk.look_at_all()
    return walk.decision()


class _Walk:
    """Goes through the candidates in order, and keeps what may answer and why the rest may not."""

    def __init__(
        self,
        wanted: Wanted,
        index: OfferIndex,
        standings: Standings,
        rules: Rules,
        allowance: Allowance | None,
        meaning: Meaning,
    ) -> None:
        self.choices: list[Choice] = []
        self.meant = ""
        self._wanted = wanted
        self._index = index
        self._standings = standings
        self._rules = rules
        self._allowance = allowance
        self._meaning = meaning
        self._needs = wanted.needs | (meaning.alias.needs if meaning.alias else frozenset())
        self._passed: dict[str, PassedOver] = {}
        self._before: tuple[PassedOver, ...] = ()  # the first choice
        self._causes: set[Cause] = set()
        self._done: set[tuple[str, str]] = set()  # rungs that are chosen, or out as a whole
        self._bar: _Bar | None = None

    @property
    def passed_over(self) -> list[PassedOver]:
        """What was not chosen, some hundreds at most, and of each cause one at least."""
        return list(self._passed.values())

    def look_at_all(self) -> None:
        """Look at the candidates in order, until there are choices enough."""
        for offer in self._meaning.candidates:
            if len(self.choices) == MOST_CHOICES:
                break
            self.look_at(offer)

    def decision(self) -> Decision:
        """Return what was decided; raises the error that says why there is no choice."""
        if not self.choices:
            self.look_at_unlisted()
            known = bool(self._meaning.candidates)
            raise nothing_left(self._wanted, self._index, self.passed_over, known=known)
        alias = self._meaning.alias
        return Decision(
            tuple(self.choices),
            tuple(self.passed_over),
            self._wanted.model or "",
            None if alias is None else alias.name,
            self._rules.fallback,
            self.meant,
            self._before,
        )

    def look_at(self, offer: Offer) -> None:
        """Choose an offer, or note why not."""
        rung = offer.route, offer.rung
        if rung in self._done:
            return
        standing = self._standings.get(rung, _NOBODY)
        why = self._unable(offer)
        if why:
            self._pass(offer.name, *why)
            return
        why = self._refused(offer.route, standing)
        if why is None:
            self._raise_bar(offer, standing)
            why = self._stepping_down(offer, standing)
        if why is None and standing.broken:
            why = Cause.BROKEN, standing.broken
        if why is not None:
            self._done.add(rung)
            self._pass(f"{offer.route}/{offer.rung}", *why)
            return
        worst, dear = self._cost(offer)
        if dear:
            self._pass(offer.name, Cause.BUDGET, dear)
            return
        self._done.add(rung)  # where a rung fails, another model on it would too
        if not self.choices:
            self._before = tuple(self._passed.values())
        self.choices.append(Choice(offer, self._reasons(offer, standing, worst), worst))

    def look_at_unlisted(self) -> None:
        """Note why the rungs cannot be had whose models nobody knows: one might have had it."""
        for route, rung in self._silent():
            standing = self._standings[route, rung]
            why = self._refused(route, standing) or (Cause.BROKEN, standing.broken)
            self._pass(f"{route}/{rung}", *why)

    def _silent(self) -> list[tuple[str, str]]:
        """Return the rungs without any known model that could have had one, in order."""
        meaning = self._meaning
        strictest = meaning.alias is not None and meaning.alias.prefer is Prefer.STRICT
        order = ROUTES if strictest else self._rules.order
        found = [
            rung
            for rung, standing in self._standings.items()
            if rung not in self._index.rungs and (standing.broken or standing.refused)
            if rung[0] in meaning.routes and meaning.rung in (None, rung)
        ]
        return sorted(found, key=lambda one: (_place(order, one[0]), one))

    def _unable(self, offer: Offer) -> tuple[Cause, str] | None:
        """Say what an offer cannot do; of a model that was named, only what is certain."""
        named, can = self._meaning.named, offer.can
        missing = self._needs - can
        if missing and (can or not named):
            said = "does not say that it takes" if not can else "does not take"
            return Cause.ABILITY, f"it {said} {', '.join(sorted(missing))}"
        if can == {"embeddings"} and "embeddings" not in self._needs:
            return Cause.ABILITY, "it makes embeddings, and answers nothing"
        context, prompt = room(offer), self._wanted.prompt_tokens
        if context is not None:
            most = context * _TOO_LARGE if named else context
            answer = (
                self._wanted.completion_tokens if self._wanted.room is None else self._wanted.room
            )
            needed = prompt if named else prompt + answer
            if needed > most:
                return Cause.CONTEXT, f"it holds {context} tokens, and this takes about {needed}"
        if impossible_price(offer):
            return Cause.PRICE, "the price it names is none"
        return None

    def _refused(self, route: str, standing: Standing) -> tuple[Cause, str] | None:
        """Say which rule refuses a rung."""
        if strictness(route) > strictness(self._wanted.loosest):
            return Cause.SENSITIVE, f"what the prompt holds may go to {_up_to(self._wanted)}"
        if standing.refused:
            return Cause.POLICY, standing.refused
        if standing.disclosure is None and not standing.broken:
            return Cause.POLICY, "no policy admitted it"
        return None

    def _raise_bar(self, offer: Offer, standing: Standing) -> None:
        """Remember what is meant first: also where it cannot be had, for what follows it."""
        if self._bar is not None:
            return
        rung = offer.route, offer.rung
        self._bar = _Bar(offer.name, offer.route, rung, standing.disclosure)
        if self._meaning.ordered:
            for silent in self._silent():
                known = self._standings[silent]
                if not self._precedes(silent[0], offer.route):
                    continue
                name, refused = f"{silent[0]}/{silent[1]}", self._refused(silent[0], known)
                if refused is not None:
                    self._pass(name, *refused)
                    continue
                self._pass(name, Cause.BROKEN, known.broken)
                self._bar = _Bar(name, silent[0], silent, known.disclosure)
                break
        self.meant = self._bar.name

    def _precedes(self, route: str, other: str) -> bool:
        """Tell whether one route is meant before another, whatever models they have."""
        alias = self._meaning.alias
        strictest = alias is not None and alias.prefer is Prefer.STRICT
        order = ROUTES if strictest else self._rules.order
        return _place(order, route) < _place(order, other)

    def _stepping_down(self, offer: Offer, standing: Standing) -> tuple[Cause, str] | None:
        """Say why an offer may not stand in for what was meant first."""
        bar, fallback = self._bar, self._rules.fallback
        if bar is None or fallback is Fallback.CEILING:
            return None
        if fallback is Fallback.NONE:
            if bar.rung == (offer.route, offer.rung):
                return None  # perhaps with a model that costs less
            return Cause.FALLBACK, f"nothing may stand in for {bar.name}"
        if bar.admits(offer.route, standing.disclosure):
            return None
        return Cause.FALLBACK, f"it would show somebody more than {bar.name}"

    def _cost(self, offer: Offer) -> tuple[int | None, str]:
        """Return the most an offer may cost, and why that is too much."""
        price = None if offer.price is None else rate(offer.price)
        if price is None:
            free = offer.route != ROUTES[-1]
            too = "" if free or self._allowance is None else "nobody says what it costs"
            return (0 if free else None), too
        worst = price.cost(self._wanted.prompt_tokens, self._wanted.completion_tokens)
        left = self._allowance
        if left is None or worst == 0:
            return worst, ""
        if price.currency != left.currency:
            return worst, f"it is priced in {price.currency}, and the budget is in {left.currency}"
        if worst > left.micro:
            rest = amount(max(left.micro, 0), left.currency)
            return worst, (
                f"it may cost {amount(worst, price.currency)}, and the budget per {left.window} "
                f"leaves {rest}"
            )
        return worst, ""

    def _reasons(self, offer: Offer, standing: Standing, worst: int | None) -> tuple[str, ...]:
        """Say why an offer is chosen."""
        alias = self._meaning.alias
        prefer = Prefer.ORDER if alias is None else alias.prefer
        first = {
            Prefer.BEST: _capability(offer),
            Prefer.FAST: _start(standing),
            Prefer.STRICT: "the strictest route first",
            Prefer.CHEAP: "what costs least first",
            Prefer.ORDER: "asked for by name" if self._meaning.named else "by your order",
        }[prefer]
        reasons = [first]
        if strictness(self._wanted.loosest) < len(ROUTES) - 1:
            reasons.append(f"what the prompt holds may go to {_up_to(self._wanted)}")
        if offer.name != self.meant and f"{offer.route}/{offer.rung}" != self.meant:
            reasons.append(f"in place of {self.meant}, by the fallback `{self._rules.fallback}`")
        if worst is None:
            reasons.append("nobody says what it costs")
        elif worst and offer.price is not None:
            reasons.append(f"costs at most {amount(worst, offer.price.currency)}")
        return tuple(reasons)

    def _pass(self, name: str, cause: Cause, why: str) -> None:
        # The first of each cause always: which error is raised depends on them.
        if len(self._passed) < _MOST_PASSED or cause not in self._causes:
            self._causes.add(cause)
            self._passed.setdefault(name, PassedOver(name, cause, why))


@dataclass(frozen=True)
class _Bar:
    """What was meant first, and what it would have shown to whom.

    Attributes:
        name: of the offer, or of a rung whose models nobody knows.
        route: its route.
        rung: its route and rung.
        disclosure: its table; None where it cannot be had and none is known.
    """

    name: str
    route: str
    rung: tuple[str, str]
    disclosure: Disclosure | None

    def admits(self, route: str, disclosure: Disclosure | None) -> bool:
        """Tell whether a table shows nobody else more; by the ladder, where one is not known."""
        if disclosure is None or self.disclosure is None:
            return strictness(route) <= strictness(self.route)
        if disclosure is self.disclosure:
            return True
        return all(
            cell <= self.disclosure[pair]
            for pair, cell in disclosure.cells.items()
            if pair[0] not in _OURS
        )


def _up_to(wanted: Wanted) -> str:
    return "local alone" if wanted.loosest == ROUTES[0] else f"{wanted.loosest} at most"


def _place(order: Sequence[str], route: str) -> int:
    return order.index(route) if route in order else len(order)


def _capability(offer: Offer) -> str:
    if offer.rank is not None:
        return f"the most capable first: rank {offer.rank:g}"
    size = stated_size(offer.model)
    if size is None:
        return "the most capable first: nobody says how capable this one is"
    return f"the most capable first: {size:g}b, by its name alone"


def _start(standing: Standing) -> str:
    if standing.first_token_ms is None:
        return "the soonest first: this one was not measured yet"
    return f"the soonest first: it begins after about {standing.first_token_ms:.0f} ms"
