"""The registry as a device reads it: on a rhythm of its own, whole; and the choice of a way in it.

A guard that lets only its accomplices through would get every request, if failures were answered
by drawing another second relay until one works. So a second relay that failed is counted against
the guard, and after a few different ones the guard is left. A second relay that answered, under its
own seal, that the gateway did not, was let through: nothing is counted then.

Nor is anything where the guard itself cannot be connected to, as it was told no second relay yet.
Else whoever cuts a device off could walk it from guard to guard, and so would each hour offline.
Such a guard is left after a day.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from privity.anon.relays import Guards, RelayEntry, choose_relays, load_guards, save_guards
from privity.errors import InputError, MalformedError
from privity.ledger.client import Ledger
from privity.ledger.credits import KeyRotation
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind, listed_providers

__all__ = ["Chosen", "RegistryView"]

_OLDEST_S = 300.0
"""Seconds a reading is used where nothing reads on a rhythm, such as in a single command."""
_STRIKES = 3
_UNREACHED_S = 24 * 3600.0
"""Seconds for which a guard is kept that cannot be connected to, where the ledger can be read."""
_SHOWN = 8  # accounts in an error


@dataclass(frozen=True)
class Chosen:
    """A gateway and the two relays to it.

    Attributes:
        gateway: the provider's.
        first: the guard.
        second: the relay that the gateway hears from.
        others: how many more gateways of the provider could have been chosen.
    """

    gateway: ProviderEntry
    first: RelayEntry
    second: RelayEntry
    others: int = 0


@dataclass
class _Read:
    at: float
    listing: Listing
    issuer: KeyRotation


@dataclass
class _Strikes:
    """Second relays that failed behind one guard, since one worked."""

    failed: set[str] = field(default_factory=set)


class RegistryView:
    """Reads the registry and the issuer's key, and chooses ways. Run by the device.

    Args:
        ledger: read whole.
        provider: the account to ask; a DID, where one account alone lists it; empty for the only
            account there is.
        guards: the file of the first relays; None to keep none.
        clock: seconds since the epoch.

    Attributes:
        guards_file: as it was given.

    Guarantees:
        A guard behind which different second relays fail is left, and who only cuts a device off
        costs it no guard in a day. Where `read` is called on a rhythm, choosing reads nothing
        (tests/adversary/test_anonymous_way.py).
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        provider: str = "",
        guards: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self.guards_file = guards
        self._guards = Guards() if guards is None else load_guards(guards)
        self._clock = clock
        self._read: _Read | None = None
        self._strikes: dict[str, _Strikes] = {}
        self._left: set[str] = set()
        self._lock = anyio.Lock()

    async def read(self) -> None:
        """Read registry and issuer's key now; raises `PeerError`."""
        async with self._lock:
            await self._read_now()

    async def issuer(self) -> KeyRotation:
        """Return the issuer's key as of the last reading; raises `PeerError`."""
        return (await self._current()).issuer

    async def choose(self, without: Collection[int] = ()) -> Chosen:
        """Return a way for one job: each gateway of the provider is as likely, whatever was before.

        Args:
            without: places of gateways that are left out, as they did not answer just now.

        Raises:
            InputError: no provider, or no two relays of different operators, are registered.
            PeerError: the ledger cannot be read.
        """
        listing = (await self._current()).listing
        gateways = [one for one in self._gateways(listing) if one.index not in without]
        if not gateways:
            raise InputError("the ledger lists no other gateway of the provider")
        gateway = gateways[secrets.randbelow(len(gateways))]
        relays = _relays(listing.entries)
        able = [one for one in relays if one.did not in self._left]
        first, held = self._guards.first(able, enclave_operator=gateway.owner, now=self._clock())
        self._keep(held)
        first, second = choose_relays(relays, enclave_operator=gateway.owner, first=first)
        return Chosen(gateway, first, second, len(gateways) - 1)

    def worked(self, chosen: Chosen) -> None:
        """Note that a way led to its enclave."""
        self._strikes.pop(chosen.first.did, None)
        self.reached(chosen)

    def reached(self, chosen: Chosen) -> None:
        """Note that a way's guard could be connected to."""
        self._keep(self._guards.noted(chosen.first.did, None))

    def unreached(self, chosen: Chosen) -> None:
        """Note that nothing could connect to a way's guard; after a day of that it is left."""
        now, did = int(self._clock()), chosen.first.did
        since = next((one.unreached for one in self._guards.held if one.did == did), None)
        if since is None or since > now:  # a clock was put back
            self._keep(self._guards.noted(did, now))
        elif now - since >= _UNREACHED_S:
            self._leave(did)

    def failed(self, chosen: Chosen) -> None:
        """Note that a way led not even to its second relay; after a few of them a guard is left."""
        self.reached(chosen)
        strikes = self._strikes.setdefault(chosen.first.did, _Strikes())
        strikes.failed.add(chosen.second.did)
        if len(strikes.failed) >= _STRIKES:
            self._leave(chosen.first.did)

    def _leave(self, did: str) -> None:
        self._left.add(did)
        self._strikes.pop(did, None)
        self._keep(self._guards.without(did))

    def _keep(self, guards: Guards) -> None:
        if guards != self._guards:
            self._guards = guards
            if self.guards_file is not None:
                save_guards(self.guards_file, guards)

    def forget(self) -> None:
        """Have the next choice read anew: what is listed did not hold."""
        self._read = None

    async def _current(self) -> _Read:
        """Return what was read; nothing waits for a reading on the rhythm, slow as it may be."""
        read = self._fresh()
        if read is not None:
            return read
        async with self._lock:
            return self._fresh() or await self._read_now()

    def _fresh(self) -> _Read | None:
        read = self._read
        return None if read is None or self._clock() - read.at > _OLDEST_S else read

    async def _read_now(self) -> _Read:
        listing = await self._ledger.providers()
        self._read = read = _Read(self._clock(), listing, await self._ledger.issuer_key())
        return read

    def _gateways(self, listing: Listing) -> list[ProviderEntry]:
        gateways = [
            one for one in listed_providers(listing.entries) if one.kind is ProviderKind.GATEWAY
        ]
        wanted = self._provider.casefold()
        if not wanted or wanted.startswith("did:"):
            # All who say so, before the earliest is believed: a person meant one of them.
            all_ = [one for one in listing.entries if one.kind is ProviderKind.GATEWAY]
            meant = [one for one in all_ if not wanted or one.did.casefold() == wanted]
            wanted = self._only_owner([one.owner for one in meant])
        found = [one for one in gateways if one.owner.casefold() == wanted]
        if not found:
            raise InputError(
                "the ledger lists no gateway" + (f" of {self._provider}" if self._provider else ""),
                hint="check [anonymous] in config.toml; a gateway whose DID another account "
                "listed before does not count",
            )
        return found

    def _only_owner(self, owners: Sequence[str]) -> str:
        """Return the one account among owners; empty where there is none."""
        accounts = sorted(set(owners))
        if len(accounts) > 1:
            shown = ", ".join(accounts[:_SHOWN]) + (", …" if len(accounts) > _SHOWN else "")
            raise InputError(
                f"{len(accounts)} accounts list "
                + (self._provider or "gateways")
                + f" on the ledger: {shown}",
                hint="name the account of the provider you trust, in [anonymous] of config.toml: "
                "`provider`",
            )
        return accounts[0].casefold() if accounts else ""


def _relays(entries: Sequence[ProviderEntry]) -> list[RelayEntry]:
    """Return the registry's relays; what does not have the form of one is left out."""
    found = []
    for one in listed_providers(entries):
        if one.kind is ProviderKind.RELAY:
            try:
                found.append(RelayEntry(one.did, one.owner, one.endpoint, one.keys_digest))
            except MalformedError:
                continue
    return found
