"""Which two relays carry a person's requests, and for how long the first one stays.

The first relay sees a person's address, the second which gateway is asked; whoever runs both knows
both. So the two are of different operators, and neither is of the enclave's. Operators are drawn
uniformly, then a relay of each: who runs many relays under one name is not chosen more often.

The first relay is kept for weeks, as Tor keeps its guards, and the second is drawn afresh for every
request. With a fresh first relay each time, a person who asks long enough certainly meets two
relays that compare notes; with a kept one, most never do. Why: spec/relays.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from privity.errors import InputError, MalformedError
from privity.home import read_private, write_private

__all__ = [
    "Guard",
    "Guards",
    "RelayEntry",
    "choose_relays",
    "load_guards",
    "save_guards",
    "target_name",
]

_DIGEST_BYTES = 32
_TEXT = re.compile(r"[\x21-\x7e]{1,256}")
_SHORTEST_S = 30 * 86_400
_SPREAD_S = 30 * 86_400
_TYPE = "privity/guards/v2"
_MOST = 64  # guards on one device, and bytes of their file in KiB


def target_name(did: str) -> str:
    """Return the name under which every relay reaches the provider ``did``: 32 hex digits.

    A name that follows from the registry tells no client from another, and need not be asked for.
    """
    return hashlib.sha256(did.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class RelayEntry:
    """One relay, as the registry lists it.

    Attributes:
        did: its identifier.
        operator: who runs it: the account that staked for it.
        url: its base URL.
        keys_digest: SHA-256 of its key configurations.

    Raises:
        MalformedError: a part is none; a registry holds what anyone wrote, so leave such one out.
    """

    did: str
    operator: str
    url: str
    keys_digest: bytes

    def __post_init__(self) -> None:
        if not _TEXT.fullmatch(self.did) or not _TEXT.fullmatch(self.operator):
            raise MalformedError("a relay's DID and operator are visible ASCII of 1 to 256 bytes")
        if len(self.keys_digest) != _DIGEST_BYTES:
            raise MalformedError("the digest of a relay's keys is SHA-256")
        if not _TEXT.fullmatch(self.url) or not _is_base(self.url):
            raise MalformedError("a relay's URL is http(s)://HOST[:PORT], without a query")

    @property
    def name(self) -> str:
        """What other relays call it: `target_name` of its DID."""
        return target_name(self.did)


def choose_relays(
    entries: Iterable[RelayEntry],
    *,
    enclave_operator: str | None,
    rng: Callable[[int], int] = secrets.randbelow,
    first: RelayEntry | None = None,
) -> tuple[RelayEntry, RelayEntry]:
    """Return the first and the second relay for a request. Run by the Client.

    Args:
        entries: the relays of the registry.
        enclave_operator: who runs the enclave; None where nobody is said to.
        rng: gives a uniform number from 0 up to its argument, exclusive.
        first: the guard that is kept; None to draw the first relay too.

    Raises:
        InputError: there are no two operators besides the enclave's, or ``first`` is the enclave's
            or none of ``entries``.

    Guarantees:
        Different operators, and never the enclave's; nor one relay under two accounts: of a pair,
        neither DID, host and port, nor keys are the same
        (tests/property/test_relay_choice.py::test_the_operators_differ_from_each_other_and_the_enclaves).
        Each operator is as likely
        (tests/unit/test_relay_choice.py::test_each_operator_is_as_likely).
    """
    operators = _by_operator(entries, enclave_operator)
    if first is None:
        chosen = _drawn(operators, rng, "a first relay")
    elif first in operators.get(_folded(first.operator), ()):
        chosen = first
    else:
        raise InputError(
            "the first relay is not in the registry, or is of the enclave's operator",
            hint="draw another (`Guards.first`)",
        )
    operators.pop(_folded(chosen.operator), None)
    apart = {
        operator: kept
        for operator, relays in operators.items()
        if (kept := [one for one in relays if not _is_same(one, chosen)])
    }
    return chosen, _drawn(apart, rng, "a second relay")


@dataclass(frozen=True)
class Guard:
    """A first relay that is kept.

    Attributes:
        did: the relay's.
        operator: the account that listed it. With the DID alone, whoever stakes for an entry of
            that DID would become everybody's guard. Its keys may change: operators rotate them.
        until: seconds since the epoch; drawn, so that not all change theirs at one time.
        unreached: since when nothing could connect to it, in seconds since the epoch; None where
            something last could.
    """

    did: str
    operator: str
    until: int
    unreached: int | None = None


@dataclass(frozen=True)
class Guards:
    """The first relays of one device, in the order in which they were drawn.

    There is more than one only where one of them is of an enclave's operator, or has left the
    registry.
    """

    held: tuple[Guard, ...] = ()

    def first(
        self,
        entries: Iterable[RelayEntry],
        *,
        enclave_operator: str | None,
        now: float,
        rng: Callable[[int], int] = secrets.randbelow,
    ) -> tuple[RelayEntry, Guards]:
        """Return the first relay for an enclave, and the guards to keep from now on.

        Args:
            entries: the relays of the registry.
            enclave_operator: who runs the enclave.
            now: seconds since the epoch.
            rng: gives a uniform number from 0 up to its argument, exclusive.

        Raises:
            InputError: the registry has no relay of another operator.

        Guarantees:
            It stays the same while it is listed and its time has not come
            (tests/property/test_relay_choice.py::test_a_guard_is_kept_until_its_time), and it is
            of the same account (tests/adversary/test_registry_attacks.py).
        """
        operators = _by_operator(entries, enclave_operator)
        able = {
            (one.did, operator): one for operator, relays in operators.items() for one in relays
        }
        held = tuple(guard for guard in self.held if guard.until > now)
        for guard in held:
            kept = able.get((guard.did, _folded(guard.operator)))
            if kept is not None:
                return kept, Guards(held)
        chosen = _drawn(operators, rng, "a first relay")
        until = int(now) + _SHORTEST_S + rng(_SPREAD_S)
        return chosen, Guards((*held, Guard(chosen.did, chosen.operator, until))[-_MOST:])

    def noted(self, did: str, unreached: int | None) -> Guards:
        """Return them with what is noted of one, if it is among them."""
        return Guards(
            tuple(replace(one, unreached=unreached) if one.did == did else one for one in self.held)
        )

    def without(self, did: str) -> Guards:
        """Return the others."""
        return Guards(tuple(one for one in self.held if one.did != did))


def load_guards(path: Path) -> Guards:
    """Return the guards in a device's file; none where there is no file.

    Raises:
        InputError: it cannot be read, others can read it, or it holds something else.
    """
    if not path.exists():
        return Guards()
    try:
        document = json.loads(read_private(path))
        if document["type"] != _TYPE or len(document["guards"]) > _MOST:
            raise ValueError("of another type")
        return Guards(tuple(_guard(entry) for entry in document["guards"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} does not hold the first relays of this device",
            hint="remove it to have others drawn",
        ) from error


def save_guards(path: Path, guards: Guards) -> None:
    """Write the guards to a device's file, 0600; raises `InputError`."""
    entries = [
        {name: value for name, value in asdict(guard).items() if value is not None}
        for guard in guards.held
    ]
    try:
        write_private(path, json.dumps({"type": _TYPE, "guards": entries}).encode() + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _guard(entry: dict[str, object]) -> Guard:
    did, operator, until = entry["did"], entry["operator"], entry["until"]
    unreached = entry.get("unreached", 0)
    if not isinstance(did, str) or not isinstance(operator, str):
        raise ValueError("a guard has a DID and an account")
    if type(until) is not int or type(unreached) is not int:
        raise ValueError("a guard's times are seconds")
    return Guard(did, operator, until, unreached or None)


def _by_operator(
    entries: Iterable[RelayEntry], enclave_operator: str | None
) -> dict[str, list[RelayEntry]]:
    """Return the relays that may be used, in one order whatever order they came in."""
    excluded = None if enclave_operator is None else _folded(enclave_operator)
    found: dict[str, list[RelayEntry]] = {}
    for entry in sorted(set(entries), key=lambda one: (_folded(one.operator), one.did, one.url)):
        if _folded(entry.operator) != excluded:
            found.setdefault(_folded(entry.operator), []).append(entry)
    return found


def _drawn(
    operators: dict[str, list[RelayEntry]], rng: Callable[[int], int], what: str
) -> RelayEntry:
    if not operators:
        raise InputError(
            f"the registry has no operator left for {what}",
            hint="two relays of two operators are needed, neither of them the enclave's",
        )
    relays: Sequence[RelayEntry] = operators[list(operators)[rng(len(operators))]]
    return relays[rng(len(relays))]


def _folded(operator: str) -> str:
    """Return an operator's account in one spelling: addresses differ in case by their checksum."""
    return operator.casefold()


def _is_same(one: RelayEntry, other: RelayEntry) -> bool:
    """Tell whether two entries are, or may be, of one relay.

    Only of the pair that is used, and not of all that an operator lists: or an operator that is
    drawn first could list copies of honest relays, and leave as second none but its accomplices.
    """
    same_keys = one.keys_digest == other.keys_digest
    return one.did == other.did or same_keys or _place(one.url) == _place(other.url)


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (parts.hostname or "").rstrip("."), port


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = not parts.query and not parts.fragment and parts.username is None
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and port_is_one
