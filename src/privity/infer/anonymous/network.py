"""Everything of the anonymous route together: ledger, relays, members, wallet, and the way there.

::

    PaidTransport            adds the spend inside, takes the refund at the end
      ProvedTransport        where it is asked for: tokenises, adds the opening of a proof inside
        SealedTransport      seals to the enclave
          AdmittedTransport  adds the proofs over the sealed bytes
            through_relay    seals once more, to the second relay
              Connections    to the first relay, one for each request

Nothing that is asked of the ledger is about this person: the registry, the members and the issuer's
key are read whole.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
from anyio import to_thread

from privity.anon.credits import CreditTerms
from privity.anon.payment_terms import TERMS_PATH, PaymentTerms
from privity.anon.relays import target_name
from privity.anon.tariff import Tariff
from privity.errors import MalformedError, PeerError, PrivityError
from privity.home import create_private_once, home
from privity.identity.jcs import canonical
from privity.infer.anonymous.device_members import DeviceMembers
from privity.infer.anonymous.edge_prover import Edge, configured_queries
from privity.infer.anonymous.heard import Heard, is_unconnected
from privity.infer.anonymous.job import AnonymousJob, asked, whole_minute
from privity.infer.anonymous.makers import QueryMakers
from privity.infer.anonymous.member import MemberProver, no_member
from privity.infer.anonymous.purse import SharedWallet, person_wallet, wallet_folder
from privity.infer.anonymous.registry import Chosen, RegistryView
from privity.infer.peers import EnclavePeer, NetworkPeer
from privity.infer.routes.anonymous import (
    AnonymousRoute,
    Way,
    anonymous_disclosure,
    check_registered,
)
from privity.infer.routes.confidential import ConfidentialRoute
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.seal.connections import Connections
from privity.seal.hops import RelayKeys, exit_url, through_relay

__all__ = ["Network", "open_network"]

logger = logging.getLogger("privity.anonymous")

_MOST_TRIED = 3
"""Gateways that are tried for one way, at most: each may take as long as a statement."""

Find = Callable[[EnclavePeer, httpx.AsyncBaseTransport], Awaitable[ConfidentialRoute]]


class Network:
    """The anonymous way to a provider. Run by the device; `open_network` makes it.

    Args:
        ledger: read whole; acts only where a wallet's own command does.
        wallet: the person's membership and credits.
        connections: to the first relay.
        provider: the account to ask; empty for the only one there is.
        folder: where guards, the members read so far and the tariffs seen are kept.
        proxied: whether all that leaves goes through a proxy.
        queries: makes proved queries; by default in the demo model's vocabulary, on this device.
        clock: seconds since the epoch.
        chance: draws the rhythm; the system's by default.

    Attributes:
        member_prover: proves membership.
        queries: makes proved queries, for providers that ask for them.
    """

    def __init__(
        self,
        ledger: Ledger,
        wallet: SharedWallet,
        connections: Connections,
        *,
        provider: str = "",
        folder: Path | None = None,
        proxied: bool = False,
        queries: QueryMakers | None = None,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self.ledger = ledger
        self.wallet = wallet
        self.clock = clock
        self.members = DeviceMembers(
            ledger.members,
            None if folder is None else folder / "members",
            settle_s=ledger.addresses.settle_s,
            clock=clock,
        )
        self.member_prover = MemberProver(wallet, self.members, clock=clock)
        guards = None if folder is None else folder / "guards.json"
        self.registry = RegistryView(ledger, provider=provider, guards=guards, clock=clock)
        self.queries = queries or QueryMakers()
        self._tariffs = None if folder is None else folder / "tariffs"
        self._connections = connections
        self._proxied = proxied
        self._terms: dict[str, PaymentTerms | None] = {}
        self._relay_keys: dict[tuple[str, str, bytes], RelayKeys] = {}
        self._chance = chance or random.SystemRandom()
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: set[str] = set()

    async def aclose(self) -> None:
        """End what runs, close the connections, and drop what was kept to prove with."""
        ending = tuple(self._tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)  # they use what is closed now
        self.member_prover.close()
        await self.queries.aclose()
        await self._connections.aclose()
        await self.ledger.aclose()

    async def find(self, find: Find, *, newcomer: bool = False) -> AnonymousRoute:
        """Choose a way, verify the enclave at its end, and return the route.

        Args:
            find: fetches and verifies the statement, through the transport it is given.
            newcomer: who is no member yet gets the route as it will be with them: to look at
                before they stake, as nothing can be asked on it.

        Raises:
            InputError: no provider, or no two relays of different operators, are registered; or
                this person is no member yet.
            EvidenceError: the statement does not verify, or its keys are not the ledger's.
            PeerError: the ledger or the way cannot be reached.
        """
        member = self.wallet.membership
        if member is None and not newcomer:
            raise no_member()
        chosen, inner = await self._found(find)
        target, chain, peer = self._end(chosen)
        self.registry.worked(chosen)
        scope = chosen.gateway.owner.lower()
        if member is not None:
            self.keep_warm(scope)
        crowd = await self.members.crowd(None if member is None else member.index)
        disclosure = anonymous_disclosure(
            inner.enclave,
            _way(chosen),
            peer,
            members=crowd + (member is None),
            proxied=self._proxied,
            prover=self.queries.elsewhere,
        )
        job = AnonymousJob(self, scope, target, chain, inner)
        return AnonymousRoute(inner, _way(chosen), disclosure, job, job.desk)

    async def _found(self, find: Find) -> tuple[Chosen, ConfidentialRoute]:
        """Choose a way and verify its end; where a gateway does not answer, the way to another.

        Another is tried where the second relay says so under its seal, and nowhere else. A guard
        that could have one drawn by letting none through would choose who is second.
        """
        tried: list[int] = []
        while True:
            chosen = await self.registry.choose(tried)
            tried.append(chosen.gateway.index)
            _, chain, peer = self._end(chosen)
            heard = Heard(chain)
            try:
                inner = await find(peer, heard)
                check_registered(inner.enclave, chosen.gateway.keys_digest)
            except PeerError as error:
                if heard.whole:
                    self.registry.reached(chosen)
                    if chosen.others and len(tried) < _MOST_TRIED:
                        logger.warning("a gateway of the provider did not answer: trying another")
                        continue
                elif is_unconnected(error):
                    self.registry.unreached(chosen)
                    _tell_guard(error, chosen, self.registry.guards_file)
                    raise
                else:
                    self.registry.failed(chosen)
                _tell_way(error, chosen, len(tried))
                raise
            except PrivityError:
                self.registry.forget()  # it may be the registry that has changed
                raise
            return chosen, inner

    def _end(self, chosen: Chosen) -> tuple[str, httpx.AsyncBaseTransport, EnclavePeer]:
        """Return the URL of a way's end, what leads there, and who is there."""
        target = exit_url(target_name(chosen.gateway.did))
        peer = EnclavePeer(chosen.gateway.endpoint, target, chosen.gateway.did)
        return target, self._chain(chosen), peer

    def _chain(self, chosen: Chosen) -> httpx.AsyncBaseTransport:
        first, second = chosen.first, chosen.second
        key = (first.url, second.did, second.keys_digest)
        if key not in self._relay_keys:
            self._relay_keys[key] = RelayKeys(
                self._connections, first.url, second.name, second.keys_digest
            )
        return through_relay(
            self._connections,
            first.url,
            second.name,
            self._relay_keys[key],
            target_name(chosen.gateway.did),
            clock=lambda: whole_minute(self.clock()),
        )

    def keep_warm(self, scope: str, every_s: float | None = None) -> None:
        """Read the ledger on a rhythm of its own, and work out ahead what no message changes.

        So a request waits for neither, and the ledger's node sees no reading when one is made.

        Args:
            scope: the provider's account.
            every_s: seconds between two readings, up to a quarter more or less; by default what
                the members ask for.
        """
        if scope not in self._followed:
            self._followed.add(scope)
            self._run(self._warm_again(scope, every_s or self.members.every_s))

    async def _warm_again(self, scope: str, every_s: float) -> None:
        while True:
            with suppress(PrivityError):  # who needs it meets it, and is told
                await self.member_prover.warm(scope)
            # So that the rhythm of one device is nobody's mark.
            await anyio.sleep(every_s * self._chance.uniform(0.75, 1.25))
            with suppress(PrivityError):
                await self.registry.read()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def known_terms(self, route: ConfidentialRoute) -> PaymentTerms | None:
        """Return an enclave's terms where they were asked for before; None where not."""
        return self._terms.get(route.enclave.keyset.digest)

    async def terms(
        self, route: ConfidentialRoute, desk: httpx.AsyncBaseTransport, scope: str
    ) -> PaymentTerms | None:
        """Return what an enclave asks for, under the ledger's issuer key; None where nothing.

        Args:
            route: to the enclave.
            desk: carries the question.
            scope: the provider's account, as the ledger has it.

        Raises:
            PaymentError: check ``issuer``: its key is not the ledger's.
            PeerError: it cannot be reached, or answers something else.
        """
        keyset = route.enclave.keyset.digest
        if keyset not in self._terms:
            status, body = await asked(desk, "GET", TERMS_PATH)
            self._terms[keyset] = (
                None if status == 404 else await self._checked(status, body, scope)
            )
        return self._terms[keyset]

    async def _checked(self, status: int, body: bytes, scope: str) -> PaymentTerms:
        if status != 200:
            raise PeerError(f"the enclave answered {status} when asked what it costs")
        try:
            terms = PaymentTerms.from_bytes(body)
        except MalformedError as error:
            raise PeerError(f"the enclave's terms of payment: {error.message}") from None
        terms.check_issuer((await self.registry.issuer()).key)
        terms.check_network(self.ledger.addresses.deployment, scope)
        if self._tariffs is not None:
            await to_thread.run_sync(_keep, self._tariffs, terms.tariff)
        return terms

    def credit_terms(self, terms: PaymentTerms) -> CreditTerms:
        """Return what credits are bought and spent under."""
        return CreditTerms(terms.deployment, terms.issuer)


def _keep(folder: Path, tariff: Tariff) -> None:
    """Keep a tariff under the digest that receipts name: with them it proves an overcharge."""
    create_private_once(
        folder / f"{tariff.digest.removeprefix('sha256:')}.json", canonical(tariff.to_json())
    )


def _tell_way(error: PeerError, chosen: Chosen, tried: int) -> None:
    """Add to an error's hint which way was taken."""
    way = f"the relays on this way are {chosen.first.url} and {chosen.second.url}"
    if tried > 1:
        way = f"{tried} gateways of the provider were tried; {way}"
    error.hint = f"{error.hint}; {way}" if error.hint else way


def _tell_guard(error: PeerError, chosen: Chosen, file: Path | None) -> None:
    """Have an error's hint say that the guard cannot be connected to, and what helps."""
    error.hint = (
        f"your first relay, {chosen.first.url}, cannot be connected to: are you online? Another "
        "takes its place after a day of that"
    )
    if file is not None:
        error.hint += (
            f", or once you remove {file}; who cuts you off from this one may be waiting for that"
        )


def _way(chosen: Chosen) -> Way:
    first, second, gateway = chosen.first, chosen.second, chosen.gateway
    operators = (first.operator, second.operator)
    return Way(first.url, second.url, operators, gateway.endpoint, gateway.keys_digest)


def open_network(peer: NetworkPeer, edge: Edge | None = None) -> Network:
    """Return the network a person configured, with their wallet; nobody is asked anything yet.

    Args:
        peer: the ledger and the way to it.
        edge: verifies the edge prover, where one is configured.

    Raises:
        InputError: the contracts' file cannot be read, or a setting is wrong.
        MissingDependency: the native wheel, or a library of the ledger, is not installed.
    """
    addresses = Addresses.from_file(home() / peer.contracts)
    folder = wallet_folder(addresses.deployment)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    proxy = peer.proxy or None
    ledger = Ledger(peer.ledger, addresses, proxy=proxy, confirmations=peer.confirmations)
    connections = Connections(proxy=proxy, isolate=peer.isolate)
    return Network(
        ledger,
        person_wallet(addresses.deployment),
        connections,
        provider=peer.provider,
        folder=folder,
        proxied=proxy is not None,
        queries=configured_queries(peer, connections, edge),
    )
