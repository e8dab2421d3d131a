"""A rung of the ladder: one configured way to have a prompt answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from privity.disclosure import Disclosure
from privity.errors import PeerError, PolicyRefusal, PrivityError
from privity.infer.anonymous.recovery import Recovery
from privity.infer.breaker import Breaker
from privity.infer.catalogue import Offer, Shelf
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.route import Route

__all__ = ["Rung", "glances"]

_GLANCE_S = 20.0  # for a rung to say what it has, while others wait


@dataclass
class Rung:
    """One configured way to have a prompt answered.

    Attributes:
        route: ``local``, ``anonymous``, ``confidential`` or ``zdr``.
        name: what the person calls it.
        keeper: finds, verifies and admits the route.
        list_offers: returns what an admitted route has; None takes its models as they are.
        shown: its disclosure where that is known before it is started; None asks the keeper.
        lazy: what it has where that is known before it is started.
        recovery: gets back, in a daemon, what its jobs spent in vain; None where nothing is spent.
        version: says which release of an engine it is; empty where it does not say.
        breaker: whether it is worth trying.
    """

    route: str
    name: str
    keeper: RouteKeeper
    list_offers: Callable[[Route], Awaitable[tuple[Offer, ...]]] | None = None
    shown: Disclosure | None = None
    lazy: tuple[Offer, ...] = ()
    version: Callable[[], str] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    recovery: Recovery | None = None
    breaker: Breaker = field(default_factory=Breaker)
    _listed: tuple[Route, tuple[Offer, ...]] | None = field(default=None, repr=False)
    _last: Disclosure | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others: ``("zdr", "openai")``."""
        return self.route, self.name

    @property
    def label(self) -> str:
        """``zdr/openai``."""
        return f"{self.route}/{self.name}"

    async def glance(self) -> Shelf:
        """Return what it has and discloses now; what is wrong with it is part of that."""
        started = self.keeper.cached is not None
        if self.shown is not None and not started:
            offences = self.keeper.policy.offences(self.shown)
            if not offences:
                return self._shelf(self.lazy, self.shown)
        try:
            with anyio.fail_after(_GLANCE_S):
                admitted = await self.keeper.current()
                offers = await self._offers(admitted.route)
        except TimeoutError:
            return self._broken(PeerError(f"{self.label} did not say in time what it has"))
        except PolicyRefusal as refusal:
            return self._shelf(self.lazy, _refused_table(refusal), refusal)
        except PrivityError as error:
            return self._broken(error)
        self._last = admitted.disclosure
        return self._shelf(offers, admitted.disclosure)

    def _broken(self, problem: PrivityError) -> Shelf:
        """Return what it had when it was last seen: it keeps its place while it is down."""
        offers = self.lazy if self._listed is None else self._listed[1]
        return self._shelf(offers, self._last or self.shown, problem)

    def _shelf(
        self,
        offers: tuple[Offer, ...],
        disclosure: Disclosure | None,
        problem: PrivityError | None = None,
    ) -> Shelf:
        version = "" if self.version is None else self.version()
        return Shelf(self.route, self.name, offers, disclosure, problem, version)

    async def _offers(self, route: Route) -> tuple[Offer, ...]:
        if self._listed is not None and self._listed[0] is route:
            return self._listed[1]
        if self.list_offers is not None:
            offers = await self.list_offers(route)
        else:
            offers = tuple(Offer(model.id, self.route, self.name) for model in route.models)
        self._listed = (route, offers)
        return offers

    async def aclose(self) -> None:
        """Stop what it keeps running."""
        await self.keeper.aclose()
        if self.close is not None:
            await self.close()


async def glances(rungs: Sequence[Rung]) -> tuple[Shelf, ...]:
    """Return what rungs have and disclose now, all asked at once, in their order."""
    found: dict[tuple[str, str], Shelf] = {}

    async def look(rung: Rung) -> None:
        found[rung.key] = await rung.glance()

    async with anyio.create_task_group() as group:
        for rung in rungs:
            group.start_soon(look, rung)
    return tuple(found[rung.key] for rung in rungs)


def _refused_table(refusal: PolicyRefusal) -> Disclosure | None:
    with suppress(PrivityError, KeyError):
        return Disclosure.from_json(refusal.report["disclosure"])
    return None
