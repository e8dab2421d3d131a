"""What may be in a prompt that goes where: the ``[sensitive]`` table of a policy file.

Kinds of personal data are a closed set, so that a policy can speak about every one there is. What
finds them in a text is above this floor; it misses some, and nothing here says otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from privity.errors import InputError

__all__ = ["FLAGGED", "GROUPS", "ROUTES", "Kind", "Mode", "SensitivePolicy"]

ROUTES = ("local", "anonymous", "confidential", "zdr")
"""The rungs of the ladder, from the strictest to the loosest."""


class Mode(enum.StrEnum):
    """What happens to recognised personal data on its way to a provider."""

    REPLACE = "replace"
    """Each is replaced by a stand-in, and restored in the answer."""
    REFUSE = "refuse"
    """A prompt that holds any is not sent."""
    WARN = "warn"
    """It is sent as it is, and the person is told."""


class Kind(enum.StrEnum):
    """A kind of personal data. The value is the name in policies, receipts and tables."""

    PERSON = "person"
    ORGANISATION = "organisation"
    EMAIL = "email"
    PHONE = "phone"
    ADDRESS = "address"
    """Street, house number and what belongs to it."""
    POSTCODE = "postcode"
    PLACE = "place"
    """A town, region or country."""
    DATE = "date"
    """A full date, such as of birth."""
    NATIONAL_ID = "national-id"
    """Of a person at a state: identity card, social security, tax number."""
    PASSPORT = "passport"
    DRIVING_LICENCE = "driving-licence"
    BANK_ACCOUNT = "bank-account"
    """An IBAN, account or routing number, BIC."""
    CARD = "card"
    HEALTH_ID = "health-id"
    """An insurance, patient or record number of health care."""
    HEALTH = "health-condition"
    """Words about somebody's health: a condition, a medicine, a diagnosis code."""
    BELIEF = "belief"
    """Religion, politics, union, ethnicity or orientation (GDPR article 9)."""
    SECRET = "secret"  # noqa: S105 - the name of a kind
    """A password, token, API key, private key or connection string."""
    IP = "ip"
    """An IP or hardware address."""
    URL = "url"
    USERNAME = "username"
    VEHICLE = "vehicle"
    """A number plate or vehicle identification number."""
    WALLET = "wallet"
    """An address or key phrase of a crypto-currency."""
    OWN = "own"
    """A word of the person's own vocabulary."""


FLAGGED = frozenset({Kind.HEALTH, Kind.BELIEF})
"""Kinds that are recognised and never replaced: without them there would be no question left."""

GROUPS: Mapping[str, frozenset[Kind]] = MappingProxyType(
    {
        "health": frozenset({Kind.HEALTH, Kind.HEALTH_ID}),
        "finance": frozenset({Kind.BANK_ACCOUNT, Kind.CARD, Kind.WALLET}),
        "identity": frozenset(
            {Kind.PERSON, Kind.NATIONAL_ID, Kind.PASSPORT, Kind.DRIVING_LICENCE, Kind.DATE}
        ),
        "contact": frozenset({Kind.EMAIL, Kind.PHONE, Kind.ADDRESS, Kind.USERNAME}),
        "secrets": frozenset({Kind.SECRET, Kind.WALLET}),
        "special": FLAGGED,
    }
)
"""Names for several kinds at once; none is the name of a kind."""


@dataclass(frozen=True)
class SensitivePolicy:
    """What recognised personal data demands of the route, and what is done with it.

    Attributes:
        mode: what happens to it on its way to a provider.
        routes: by kind, the loosest route a prompt that holds it may take; a kind that is absent
            may take any.

    Raises:
        InputError: a value outside of these.
    """

    mode: Mode = Mode.REPLACE
    routes: Mapping[Kind, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "routes", MappingProxyType(dict(self.routes)))
        for kind, route in self.routes.items():
            if route not in ROUTES:
                raise InputError(
                    f"sensitive.{kind}: {route!r:.80} is not a route",
                    hint=f"routes are {', '.join(ROUTES)}",
                )

    def __hash__(self) -> int:
        return hash((self.mode, tuple(sorted(self.routes.items()))))

    def __le__(self, other: SensitivePolicy) -> bool:
        """Whether this one is at least as strict: it lets nothing go where `other` does not."""
        mode = self.mode is other.mode or other.mode is Mode.WARN or self.mode is Mode.REFUSE
        return mode and all(
            _rung(self.routes.get(kind)) <= _rung(route) for kind, route in other.routes.items()
        )

    @property
    def asks(self) -> bool:
        """Whether any route depends on what a prompt holds, so that it has to be looked at."""
        return any(route != ROUTES[-1] for route in self.routes.values())

    def loosest(self, found: Iterable[Kind]) -> tuple[str, frozenset[Kind]]:
        """Return the loosest route for a prompt that holds these kinds, and which demand it."""
        strictest, why = len(ROUTES) - 1, frozenset[Kind]()
        for kind in set(found):
            rung = _rung(self.routes.get(kind))
            if rung < strictest:
                strictest, why = rung, frozenset({kind})
            elif rung == strictest and kind in self.routes and rung < len(ROUTES) - 1:
                why |= {kind}
        return ROUTES[strictest], why

    def with_table(self, table: object) -> SensitivePolicy:
        """Return this with what a ``[sensitive]`` table says in place; the rest stays.

        Raises:
            InputError: it is not such a table; the message names the key.
        """
        if not isinstance(table, dict):
            raise InputError("`sensitive` is not a table such as `[sensitive]`")
        mode, routes = self.mode, dict(self.routes)
        # Groups first, so that a kind of its own says more than the group it is in.
        for key, value in sorted(table.items(), key=lambda item: item[0] not in GROUPS):
            if not isinstance(value, str):
                raise InputError(f"sensitive.{key} must be a text")
            if key == "mode":
                mode = _mode(value)
            else:
                routes |= dict.fromkeys(_kinds(key), value)
        return replace(self, mode=mode, routes=routes)

    def to_table(self) -> dict[str, Any]:
        """Return what `with_table` reads, JSON-ready."""
        table = {"mode": self.mode.value}
        for kind in Kind:
            if kind in self.routes:
                table[kind.value] = self.routes[kind]
        return table


def _rung(route: str | None) -> int:
    return len(ROUTES) - 1 if route is None else ROUTES.index(route)


def _mode(value: str) -> Mode:
    if value not in list(Mode):
        raise InputError(
            f"sensitive.mode: {value!r:.80} is not known", hint=f"modes are {', '.join(Mode)}"
        )
    return Mode(value)


def _kinds(key: str) -> frozenset[Kind]:
    if key in GROUPS:
        return GROUPS[key]
    if key in list(Kind):
        return frozenset({Kind(key)})
    known = ", ".join(dict.fromkeys(["mode", *GROUPS, *Kind]))
    raise InputError(f"sensitive: {key!r:.80} is not known", hint=f"known: {known}")
