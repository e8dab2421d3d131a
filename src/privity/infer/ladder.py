"""The ladder: every configured way to have a prompt answered, and the climb for one request.

Each way is a `Rung`: an engine on this device, an attested enclave, or a provider. A request climbs
no further than the policy allows, never in silence, and never down from where it failed to a rung
that shows more to anyone, unless the person's settings say so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
from anyio import to_thread

from privity.errors import InputError, PolicyRefusal, PrivityError
from privity.infer.asked import LIMITS, ROOM, Asked, read_asked, with_field
from privity.infer.budget import Allowance, Reservation, Spending, rate
from privity.infer.catalogue import Offer, Shelf
from privity.infer.decision import Choice, Decision, Rules, Standing, Wanted
from privity.infer.router import OfferIndex, decide
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.route import Route
from privity.infer.rung import Rung, glances
from privity.policy import AdmittedRoute, Kind, Policy
from privity.policy.sensitive import ROUTES

__all__ = ["Examine", "Ladder", "Plan", "Step"]

logger = logging.getLogger("privity.ladder")

_AGAIN_S = 60.0

Examine = Callable[[str, Mapping[str, Any]], Mapping[Kind, int]]
"""Counts the personal data in a request's body, by kind; slow, so it has a thread."""


@dataclass(frozen=True)
class Step:
    """One rung to try for one request.

    Attributes:
        rung: which.
        choice: what is asked of it, and why; None where the request goes as it is.
    """

    rung: Rung
    choice: Choice | None = None

    @property
    def offer(self) -> Offer | None:
        """What is asked of it; None where the request goes as it is."""
        return None if self.choice is None else self.choice.offer


@dataclass(frozen=True)
class Plan:
    """What will be tried for one request, in order.

    Attributes:
        asked: what it asks for.
        steps: at least one.
        decision: what decided; None where there was nothing to decide.
    """

    asked: Asked
    steps: tuple[Step, ...]
    decision: Decision | None = None


class Ladder:
    """All rungs of a session, and which of them a request takes.

    Args:
        rungs: at least one; the first is what a request without a choice takes.
        policy: the ceiling; every rung's keeper has the same.
        rules: how to choose; None for the defaults.
        examine: counts the personal data in a request; None where nothing can.
        spending: upholds the budget; None where there is none.

    Guarantees:
        A request whose contents demand a stricter route takes none that is looser, also where what
        it holds cannot be looked at (tests/adversary/session/test_ladder.py).
        Nothing is sent to a rung that the policy does not admit
        (tests/adversary/session/test_ladder.py).
    """

    def __init__(
        self,
        rungs: Sequence[Rung],
        policy: Policy,
        *,
        rules: Rules | None = None,
        examine: Examine | None = None,
        spending: Spending | None = None,
    ) -> None:
        if not rungs:
            raise InputError("there is no way to have anything answered")
        self.rungs = tuple(rungs)
        self.policy = policy
        self.spending = spending
        self._rules = replace(rules or Rules(), rungs=tuple(rung.key for rung in rungs))
        self._examine = examine
        self._index: tuple[tuple[Offer, ...], OfferIndex] | None = None

    @classmethod
    def of(cls, keeper: RouteKeeper, route: str = "confidential", name: str = "it") -> Ladder:
        """Return a ladder of one rung."""
        return cls([Rung(route, name, keeper)], keeper.policy)

    @property
    def cached(self) -> AdmittedRoute[Route] | None:
        """The first route that is at hand, however old; for showing, not for running."""
        return next((rung.keeper.cached for rung in self.rungs if rung.keeper.cached), None)

    @property
    def problem(self) -> PrivityError | None:
        """Why no rung is at hand; None where one is."""
        if any(rung.keeper.cached and not rung.keeper.problem for rung in self.rungs):
            return None
        return next((rung.keeper.problem for rung in self.rungs if rung.keeper.problem), None)

    async def current(self) -> AdmittedRoute[Route]:
        """Return the first rung's admitted route, or of the first that can be had.

        Raises:
            PrivityError: none can be had; it is what is wrong with the first.
        """
        first: PrivityError | None = None
        for rung in self.rungs:
            try:
                return await rung.keeper.current()
            except PrivityError as error:
                first = first or error
        raise first or InputError("there is no way to have anything answered")

    async def keep_fresh(self) -> None:
        """Renew the routes that age, and get back what was spent in vain, while this runs.

        Guarantees:
            A part that fails ends no other, and begins again
            (tests/adversary/test_recovery_answers.py).
        """
        async with anyio.create_task_group() as group:
            for rung in self.rungs:
                if rung.route == "zdr":  # nobody is asked for that: who would read it can be shown
                    group.start_soon(_kept_up, partial(_found_once, rung))
            for rung in self.kept_fresh:
                group.start_soon(_kept_up, rung.keeper.keep_fresh)
            for rung in self.rungs:
                if rung.recovery is not None:
                    group.start_soon(_kept_up, rung.recovery.run)

    @property
    def kept_fresh(self) -> Sequence[Rung]:
        """The rungs whose routes are found and renewed without being asked for."""
        return [rung for rung in self.rungs if rung.route == "confidential"] or self.rungs[:1]

    async def aclose(self) -> None:
        """Close every rung."""
        for rung in self.rungs:
            await rung.aclose()

    async def shelves(self) -> tuple[Shelf, ...]:
        """Return what every rung has and discloses now, all asked at once."""
        return await glances(self.rungs)

    @property
    def aliases(self) -> tuple[str, ...]:
        """The names of choices of models, privity's own and the person's."""
        return tuple(alias.name for alias in self._rules.aliases)

    @property
    def takes_all(self) -> bool:
        """Whether there is one rung and nothing to choose: requests go there as they are."""
        return len(self.rungs) == 1 and self.rungs[0].route != "zdr"

    async def plan(self, path: str, content: bytes | None) -> Plan:
        """Return what to try for a request, in order. Run by the device before anything is sent.

        Args:
            path: of the request.
            content: its body; None where it is not at hand, being streamed.

        Raises:
            PolicyRefusal: nothing may serve it.
            PeerError: what may serve it cannot be had.
            InputError: nothing has the model it names.
            MissingDependency: what it holds must be looked at, and nothing here can.
        """
        asked = read_asked(path, content)
        loosest, because = await self._sensitive(asked)
        if self.takes_all and not self._is_ours(asked.model):
            rung = self.rungs[0]
            if ROUTES.index(rung.route) > ROUTES.index(loosest):
                raise _too_sensitive(rung, loosest, because)
            return Plan(asked, (Step(rung),))
        wanted = Wanted(
            asked.model or None,
            asked.needs,
            asked.prompt_tokens,
            asked.completion_tokens,
            loosest,
            because,
            # Who sets no limit wants an answer, not one as long as it could be.
            None if asked.limited else min(asked.completion_tokens, ROOM),
        )
        shelves = await glances(self._meant(asked.model))
        decision = self._decide(wanted, shelves, await self._allowance())
        by_key = {rung.key: rung for rung in self.rungs}
        steps = tuple(
            Step(by_key[choice.offer.route, choice.offer.rung], choice)
            for choice in decision.choices
        )
        return Plan(asked, steps, decision)

    def _meant(self, model: str) -> Sequence[Rung]:
        """Return the rungs that a model's name can mean: no other one has to be waited for."""
        route, _, rest = model.partition("/")
        if route not in ROUTES:
            return self.rungs
        there = [rung for rung in self.rungs if rung.route == route]
        named = [rung for rung in there if rest.startswith(f"{rung.name}/")]
        return named or there or self.rungs

    def _is_ours(self, model: str) -> bool:
        """Tell whether a model's name, or none, is one that only the ladder understands."""
        if not model:
            return bool(self._rules.default)
        return model in self.aliases or model.partition("/")[0] in (*ROUTES, "private")

    def _decide(
        self, wanted: Wanted, shelves: Sequence[Shelf], allowance: Allowance | None
    ) -> Decision:
        offers = tuple(offer for shelf in shelves for offer in shelf.offers)
        if self._index is None or self._index[0] != offers:
            self._index = (offers, OfferIndex(offers))
        standings = {(shelf.route, shelf.rung): self._standing(shelf) for shelf in shelves}
        try:
            return decide(wanted, self._index[1], standings, self._rules, allowance)
        except PolicyRefusal:
            if len(shelves) == 1 and isinstance(shelves[0].problem, PolicyRefusal):
                raise shelves[0].problem from None  # its table says more than a list of one
            raise

    def fitted(self, plan: Plan, step: Step, content: bytes | None) -> bytes | None:
        """Return a request's body as a rung shall get it: with the model's own id there.

        And with a limit to the answer, where there is a budget and the request has none.

        Raises:
            InputError: a body that streams cannot be changed, nor looked at.
        """
        offer, asked = step.offer, plan.asked
        if offer is None:
            return content
        if content is None or asked.body is None:
            raise InputError(
                "this request cannot be routed by its contents",
                hint="send JSON, with its length, and no more than 4 MiB of it",
            )
        if offer.model != asked.model:
            content = with_field(content, "model", offer.model)
        fields = LIMITS.get(asked.shape, ())
        if self.spending is not None and offer.price is not None and fields and not asked.limited:
            content = with_field(content, fields[0], asked.completion_tokens)
        return content

    async def reserve(self, step: Step, asked: Asked) -> Reservation | None:
        """Set aside the most a step can cost; None where it costs nothing.

        Raises:
            PolicyRefusal: it is more than the budget has left.
        """
        price = None if step.offer is None else step.offer.price
        known = None if price is None else rate(price)
        if self.spending is None or known is None:
            return None
        cost = known.cost(asked.prompt_tokens, asked.completion_tokens)
        spending, currency = self.spending, known.currency
        return await to_thread.run_sync(lambda: spending.reserve(cost, currency))

    async def settle(
        self, held: Reservation, step: Step, usage: tuple[int | None, int | None], *, sent: bool
    ) -> None:
        """Put what a step did cost in place of what was set aside.

        Args:
            held: what was set aside.
            step: the step.
            usage: tokens of prompt and completion as the provider counted; None where it did not
                say: then what was set aside counts in full.
            sent: whether anything was sent at all.
        """
        price = None if step.offer is None else step.offer.price
        known = None if price is None else rate(price)
        if self.spending is None or known is None:
            return
        prompt, completion = usage
        cost = held.micro
        if not sent:
            cost = 0
        elif prompt is not None and completion is not None:
            cost = known.cost(prompt, completion)
        spending = self.spending
        with suppress(InputError):  # then what was set aside counts in full, which is safe
            await to_thread.run_sync(lambda: spending.settle(held, cost))

    async def _sensitive(self, asked: Asked) -> tuple[str, frozenset[Kind]]:
        """Return the loosest route that what a request holds allows, and the kinds that say so."""
        sensitive = self.policy.sensitive
        if not sensitive.asks:
            return ROUTES[-1], frozenset()
        if asked.body is None:  # what cannot be looked at may hold anything
            return sensitive.loosest(Kind)
        if self._examine is None:
            raise InputError("nothing on this device can look for personal data")
        examine, body = self._examine, asked.body
        found = await to_thread.run_sync(lambda: examine(asked.path, body))
        return sensitive.loosest(kind for kind, count in found.items() if count)

    async def _allowance(self) -> Allowance | None:
        return None if self.spending is None else await to_thread.run_sync(self.spending.allowance)

    def _standing(self, shelf: Shelf) -> Standing:
        breaker = next(rung.breaker for rung in self.rungs if rung.key == (shelf.route, shelf.rung))
        refused = isinstance(shelf.problem, PolicyRefusal)
        message = shelf.problem.message if shelf.problem else ""
        return Standing(
            disclosure=None if refused else shelf.disclosure,
            refused=message if refused else "",
            broken=breaker.broken or ("" if refused else message),
            first_token_ms=breaker.first_token_ms,
            default=shelf.offers[0].model if shelf.offers else "",
        )


async def _kept_up(part: Callable[[], Awaitable[object]]) -> None:
    """Run one part of what a daemon does; again, a while after a mistake of ours ended it."""
    while True:
        try:
            await part()
        except Exception as error:  # its words could quote what it is about
            logger.warning("a part of the daemon begins again: %s", type(error).__name__)
        else:
            return
        await anyio.sleep(_AGAIN_S)


async def _found_once(rung: Rung) -> None:
    with suppress(PrivityError):
        await rung.keeper.current()


def _too_sensitive(rung: Rung, loosest: str, because: frozenset[Kind]) -> PolicyRefusal:
    kinds = ", ".join(sorted(kind.value for kind in because))
    return PolicyRefusal(
        f"what it holds ({kinds}) may go no further than {loosest}; {rung.label} is looser",
        report={"policy": rung.keeper.policy.name, "route": rung.route, "kinds": sorted(because)},
        hint=f"configure a rung of the route {loosest}, or change [sensitive] in your policy",
    )
