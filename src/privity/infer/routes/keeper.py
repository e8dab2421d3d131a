"""Keeps one admitted route fresh, so that a job need not wait for its verification.

A verified statement is used for at most ``max_age`` seconds; from half of that on it is verified
anew in the background, while jobs go on with the one at hand.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import anyio

from privity.errors import EvidenceError, PeerError, PolicyRefusal, PrivityError
from privity.infer.routes.route import Route
from privity.policy import AdmittedRoute, Policy

__all__ = ["RouteKeeper"]

_RETRY_S = 5.0
_SPARE_S = (2.0, 20.0)
_LONGEST_S = 86400.0  # a local route never ages; no event loop sleeps for ever


class RouteKeeper:
    """Finds a route, has the policy admit it, and does both again when it ages or breaks.

    Args:
        find: finds and verifies a route.
        policy: the ceiling; asked again for every route found.
        max_age: seconds an admitted route is used.
        once: each job has a route of its own, found ahead of need: two receipts then name two
            statements, and have nothing in common by them.
        clock: seconds, monotonic.

    Guarantees:
        No job runs on a route older than ``max_age``, nor on one after a later verification of
        the same enclave was refused (tests/unit/test_route_keeper.py).
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Route]],
        policy: Policy,
        *,
        max_age: float,
        once: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self._once = once
        self._taken: AdmittedRoute[Route] | None = None
        self._find = find
        self._max_age = max_age
        self._clock = clock
        self._admitted: AdmittedRoute[Route] | None = None
        self._found_at = 0.0
        self._lock = anyio.Lock()
        self._background: asyncio.Task[None] | None = None
        self._attempts = 0
        self.problem: PrivityError | None = None
        """Why the last attempt found no admitted route; None after one that did."""

    @property
    def cached(self) -> AdmittedRoute[Route] | None:
        """The route at hand, however old; for showing, not for running."""
        return self._admitted

    async def current(self) -> AdmittedRoute[Route]:
        """Return an admitted route that is fresh enough; cheap when there is one.

        Raises:
            PolicyRefusal: the route there is would disclose more than the policy allows.
            EvidenceError: the enclave's statement does not verify.
            PeerError: the enclave or its relay cannot be reached.
        """
        admitted = self._admitted
        if admitted is not None:
            age = self._clock() - self._found_at
            if age < self._max_age:
                if age > self._max_age / 2:
                    self._renew_in_background()
                return admitted
        return await self.refresh(admitted)

    async def take(self) -> AdmittedRoute[Route]:
        """Return an admitted route for one job: `current`, or a new one where each is used once.

        Raises:
            PrivityError: as `current`.

        Guarantees:
            Where routes are used once, no two jobs have the same
            (`test_each_job_has_a_route_of_its_own`).
        """
        admitted = await self.current()
        if not self._once:
            return admitted
        while admitted is self._taken:
            admitted = await self.refresh(admitted)
        self._taken = admitted
        self._renew_in_background(admitted, random.uniform(*_SPARE_S))  # noqa: S311
        return admitted

    async def refresh(self, stale: AdmittedRoute[Route] | None) -> AdmittedRoute[Route]:
        """Find and admit a route anew, unless another job already replaced ``stale``.

        Raises:
            PrivityError: as `current`.
        """
        seen = self._attempts
        async with self._lock:
            if self._admitted is not None and self._admitted is not stale:
                return self._admitted
            if self._attempts > seen and self.problem is not None:
                raise self.problem  # an attempt that began after this call failed: one is enough
            return await self._renew()

    async def keep_fresh(self) -> None:
        """Renew for as long as this runs; the daemon runs it beside its server.

        Failures are kept in `problem`: a job that needs the route raises them, and the next turn
        tries again, so that an enclave that comes back is found without a restart.
        """
        while True:
            wait = self._max_age / 2
            try:
                await self.refresh(self._admitted)
            except PeerError:
                wait = min(wait, _RETRY_S)
            except PrivityError:
                pass  # a refusal: asking often will not change it
            await anyio.sleep(min(wait, _LONGEST_S))

    async def aclose(self) -> None:
        """Stop the background renewal, if one runs."""
        task, self._background = self._background, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _renew(self) -> AdmittedRoute[Route]:
        self._attempts += 1
        started = self._clock()  # age counts from before the nonce went out: never flattering
        try:
            admitted = self.policy.admit(await self._find())
        except PrivityError as error:
            self.problem = error
            if isinstance(error, EvidenceError | PolicyRefusal):
                self._admitted = None  # what no longer verifies is not used for its remaining age
            raise
        self._admitted, self._found_at, self.problem = admitted, started, None
        return admitted

    def _renew_in_background(
        self, stale: AdmittedRoute[Route] | None = None, delay_s: float = 0.0
    ) -> None:
        if self._background is not None and not self._background.done():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # under another event loop, renewal waits for the full age
        self._background = loop.create_task(self._try_renew(stale or self._admitted, delay_s))

    async def _try_renew(self, stale: AdmittedRoute[Route] | None, delay_s: float) -> None:
        await anyio.sleep(delay_s)  # what is found for the next job says nothing of this one's time
        try:
            await self.refresh(stale)
        except PrivityError:
            return  # kept in `problem`; the next job past the age raises it
