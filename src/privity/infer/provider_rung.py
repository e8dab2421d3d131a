"""A provider as a rung of the ladder, and what recognises personal data, loaded when needed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from privity.infer.catalogue import Offer
from privity.infer.config import Config
from privity.infer.peers import ProviderPeer
from privity.infer.providers.profile import load_profile, offers
from privity.infer.routes.keeper import RouteKeeper
from privity.infer.routes.route import Route
from privity.infer.rung import Rung
from privity.policy import Kind, Policy

if TYPE_CHECKING:
    from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser

__all__ = ["LazyPseudonyms", "provider_rung"]


class LazyPseudonyms:
    """What recognises and replaces personal data, made when it is first needed. Thread-safe.

    Args:
        config: names the person's vocabulary, and where the maps are kept.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._made: Pseudonymiser | None = None
        self._lock = threading.Lock()

    def get(self) -> Pseudonymiser:
        """Return it; the first call loads the models, which takes some seconds.

        Raises:
            MissingDependency: the models, or what runs them, are not installed.
            InputError: the vocabulary cannot be read.
        """
        with self._lock:
            if self._made is None:
                # Imported here: a session that goes to no provider never needs them.
                from privity.infer.pseudonyms.detector import load_detector
                from privity.infer.pseudonyms.kept import sealed_maps
                from privity.infer.pseudonyms.pseudonymiser import Pseudonymiser

                detector = load_detector(vocabulary=self._config.words())
                sealed = self._config.keep_pseudonyms == "sealed"
                self._made = Pseudonymiser(detector, keep=sealed_maps() if sealed else None)
            return self._made

    def examine(self, path: str, body: Mapping[str, Any]) -> Mapping[Kind, int]:
        """Count the personal data in a request, by kind; blocking.

        Raises:
            PrivityError: as `get`; or the body cannot be looked at wholly.
        """
        return self.get().examine(path, body)


def provider_rung(
    peer: ProviderPeer, policy: Policy, pseudonyms: Callable[[], Pseudonymiser]
) -> Rung:
    """Return a provider as a rung; nothing is sent to it for that.

    Args:
        peer: as the person configured it.
        policy: what may be asked of it, and what leaves of personal data.
        pseudonyms: returns what replaces personal data; called with the first job.

    Raises:
        InputError: its profile or a setting of it is wrong.
    """
    # Imported here: a session without a provider needs none of it.
    from privity.infer.routes.zero_retention import zero_retention_route

    profile = load_profile(peer.profile)
    route = zero_retention_route(peer, profile, policy=policy, pseudonyms=pseudonyms)
    has = offers(peer, profile)

    async def find() -> Route:
        return route

    async def listed(_: Route) -> tuple[Offer, ...]:
        return has

    return Rung("zdr", peer.name, RouteKeeper(find, policy, max_age=math.inf), listed, lazy=has)
