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
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
from anyio import to_thread

from privity.anon.credits import CreditTerms
from privity.anon.epochs import EPOCH_S
from privity.anon.membership import RateIdentity
from privity.anon.payment_terms import MAX_BYTES, TERMS_PATH, PaymentTerms
from privity.anon.query_terms import QueryTerms
from privity.anon.relays import (
    Guards,
    RelayEntry,
    choose_relays,
    load_guards,
    save_guards,
    target_name,
)
from privity.anon.rln import Prover
from privity.anon.wallet import Membership
from privity.errors import AdmissionError, InputError, MalformedError, PeerError, PrivityError
from privity.home import home
from privity.infer.anonymous.admitted import AdmittedTransport, ProveQuery
from privity.infer.anonymous.members import FRESH_S, DeviceMembers
from privity.infer.anonymous.paid import PaidTransport
from privity.infer.anonymous.proved import ProvedTransport, QueryMaker, demo_tokens
from privity.infer.anonymous.purse import SharedWallet, person_wallet, wallet_folder
from privity.infer.engines.query_tokens import is_job
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
from privity.ledger.providers import Listing, ProviderEntry, ProviderKind
from privity.seal.connections import Connections
from privity.seal.hops import RelayKeys, exit_url, through_relay
from privity.seal.transport import KeySource, SealedTransport

__all__ = ["Network", "asked", "deployment", "open_network"]

_LISTING_S = 30.0
_AUTHORITY = "https://enclave.privity"
_WORTH_AGAIN = frozenset({"root", "epoch"})
_TIMEOUT = httpx.Timeout(60, connect=30).as_dict()

Find = Callable[[EnclavePeer, httpx.AsyncBaseTransport], Awaitable[ConfidentialRoute]]


class Network:
    """The anonymous way to a provider. Run by the device; `open_network` makes it.

    Args:
        ledger: read whole; acts only where a wallet's own command does.
        wallet: the person's membership and credits.
        connections: to the first relay.
        provider: the account or DID to ask; empty takes the first that is listed.
        folder: where guards and the members read so far are kept.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        wallet: SharedWallet,
        connections: Connections,
        *,
        provider: str = "",
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = ledger
        self.wallet = wallet
        self.members = DeviceMembers(ledger.members, None if folder is None else folder / "members")
        self._connections = connections
        self._provider = provider
        self._guards = None if folder is None else folder / "guards.json"
        self._clock = clock
        self._listing: tuple[float, Listing] | None = None
        self._provers: dict[str, Prover] = {}
        self._terms: dict[str, PaymentTerms | None] = {}
        self._relay_keys: dict[tuple[str, str, bytes], RelayKeys] = {}
        self._makers: dict[QueryTerms | None, QueryMaker] = {}
        self._warming: set[asyncio.Task[None]] = set()
        self.wants_proofs: set[str] = set()  # providers whose gateways take nothing unproved
        self._followed: set[str] = set()
        self._lock = anyio.Lock()
        self._proving = anyio.Lock()

    async def aclose(self) -> None:
        """Close the connections, and drop what was kept to prove with."""
        for task in self._warming:
            task.cancel()
        for prover in self._provers.values():
            prover.close()
        await self._connections.aclose()
        await self.ledger.aclose()

    # The way

    async def find(self, find: Find) -> AnonymousRoute:
        """Choose a way, verify the enclave at its end, and return the route.

        Args:
            find: fetches and verifies the statement, through the transport it is given.

        Raises:
            InputError: no provider, or no two relays of different operators, are registered; or
                this person is no member yet.
            EvidenceError: the statement does not verify, or its keys are not the ledger's.
            PeerError: the ledger or the way cannot be reached.
        """
        if self.wallet.membership is None:
            raise InputError(
                "you are not a member of this network yet",
                hint="`privity wallet top-up` stakes for you and buys credits",
            )
        listing = await self._listed()
        gateway = self._gateway(listing)
        way, chain = self._way(listing, gateway)
        target = exit_url(target_name(gateway.did))
        peer = EnclavePeer(gateway.endpoint, target, gateway.did)
        try:
            inner = await find(peer, chain)
            check_registered(inner.enclave, gateway.keys_digest)
        except Exception:
            self._listing = None  # it may be the registry that has changed
            raise
        disclosure = anonymous_disclosure(inner.enclave, way, peer)
        self.keep_warm(gateway.owner.lower())

        def job(keys: KeySource) -> _Job:
            return _Job(self, gateway.owner, keys, target, chain, inner)

        return AnonymousRoute(inner, way, disclosure, job, lambda keys: job(keys).sealed)

    async def _listed(self) -> Listing:
        """Return the registry, read anew where it is not of this moment."""
        async with self._lock:
            if self._listing is None or self._clock() - self._listing[0] > _LISTING_S:
                self._listing = (self._clock(), await self.ledger.providers())
            return self._listing[1]

    def _gateway(self, listing: Listing) -> ProviderEntry:
        gateways = [one for one in listing.entries if one.kind is ProviderKind.GATEWAY]
        wanted = self._provider.casefold()
        if wanted:
            found = [
                one for one in gateways if wanted in (one.owner.casefold(), one.did.casefold())
            ]
        else:
            found = [one for one in gateways if one.owner == gateways[0].owner]
        if not found:
            raise InputError(
                "the ledger lists no gateway" + (f" of {self._provider}" if wanted else ""),
                hint="check [anonymous] in config.toml",
            )
        return found[secrets.randbelow(len(found))]

    def _way(
        self, listing: Listing, gateway: ProviderEntry
    ) -> tuple[Way, httpx.AsyncBaseTransport]:
        relays = _relays(listing.entries)
        guards = load_guards(self._guards) if self._guards else Guards()
        first, held = guards.first(relays, enclave_operator=gateway.owner, now=self._clock())
        if self._guards is not None and held != guards:
            save_guards(self._guards, held)
        first, second = choose_relays(relays, enclave_operator=gateway.owner, first=first)
        way = Way(
            first.url,
            second.url,
            (first.operator, second.operator),
            gateway.endpoint,
            gateway.keys_digest,
        )
        keys = self._keys_of(first, second)
        chain = through_relay(
            self._connections, first.url, second.name, keys, target_name(gateway.did)
        )
        return way, chain

    def _keys_of(self, first: RelayEntry, second: RelayEntry) -> RelayKeys:
        key = (first.url, second.did, second.keys_digest)
        if key not in self._relay_keys:
            self._relay_keys[key] = RelayKeys(
                self._connections, first.url, second.name, second.keys_digest
            )
        return self._relay_keys[key]

    # Proof and payment

    async def prove(self, scope: str, digest: bytes) -> str:
        """Return the admission header for a sealed request; uses up one message of this epoch.

        Raises:
            AdmissionError: check ``rate``: none is left in this epoch.
            PeerError: the ledger cannot be read.
        """
        member = self.wallet.membership
        if member is None or member.index is None:
            raise InputError("you are not a member", hint="privity wallet top-up")
        prover = await self._prover(scope, member)
        place = await self.members.place(member.index, member.limit)
        epoch = int(self._clock() // EPOCH_S)
        message_id = await self.wallet.take_message_id(epoch)
        proof = await to_thread.run_sync(
            lambda: prover.prove(place, epoch=epoch, message_id=message_id, digest=digest)
        )
        return proof.to_header()

    def keep_warm(self, scope: str, every_s: float = FRESH_S / 2) -> None:
        """Read the members on a rhythm of its own, and work out ahead what no message changes.

        So a request waits for neither, and the ledger's node sees no reading when one is made.

        Args:
            scope: the provider's account.
            every_s: seconds between two readings; less than after which a view is read anew.
        """
        if scope in self._followed:
            return
        self._followed.add(scope)
        task = asyncio.create_task(self._warm_again(scope, every_s))
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    async def _warm_again(self, scope: str, every_s: float) -> None:
        while True:
            with suppress(PrivityError):  # who proves meets it, and is told
                member = self.wallet.membership
                await self.members.refresh(now=True)
                if member is not None and member.index is not None:
                    place = await self.members.place(member.index, member.limit)
                    prover = await self._prover(scope, member)
                    await to_thread.run_sync(prover.warm, place)
            await anyio.sleep(every_s)

    async def _prover(self, scope: str, member: Membership) -> Prover:
        async with self._proving:  # its keys are loaded once
            if scope not in self._provers:
                self._provers[scope] = await to_thread.run_sync(
                    lambda: Prover(RateIdentity(member.secret), scope)
                )
            return self._provers[scope]

    async def maker(self, terms: QueryTerms | None) -> QueryMaker:
        """Return what proves queries; it makes its keys meanwhile.

        Args:
            terms: the provider's; None for a question to its desk before they are known.

        Raises:
            InputError: the provider's vocabulary is of another model than is on this device.
            MissingDependency: there is no vocabulary on this device.
        """
        if terms not in self._makers:
            tokens = await demo_tokens()
            made = QueryMaker(terms or QueryTerms(tokens.vocabulary), tokens)
            self._makers[terms] = made
            task = asyncio.create_task(_warmed(made))
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)
        return self._makers[terms]

    async def terms(
        self, route: ConfidentialRoute, sealed: httpx.AsyncBaseTransport
    ) -> PaymentTerms | None:
        """Return what an enclave asks for, under the ledger's issuer key; None where nothing.

        Raises:
            PaymentError: check ``issuer``: its key is not the ledger's.
            PeerError: it cannot be reached, or answers something else.
        """
        keyset = route.enclave.keyset.digest
        if keyset not in self._terms:
            status, body = await asked(sealed, "GET", TERMS_PATH)
            if status == 404:
                self._terms[keyset] = None
            else:
                self._terms[keyset] = await self._checked(status, body)
        return self._terms[keyset]

    async def _checked(self, status: int, body: bytes) -> PaymentTerms:
        if status != 200:
            raise PeerError(f"the enclave answered {status} when asked what it costs")
        try:
            terms = PaymentTerms.from_bytes(body)
        except MalformedError as error:
            raise PeerError(f"the enclave's terms of payment: {error.message}") from None
        terms.check_issuer((await self.ledger.issuer_key()).key)
        if terms.deployment != deployment(self.ledger.addresses):
            raise PeerError("the enclave's credits are of another ledger")
        return terms

    def credit_terms(self, terms: PaymentTerms) -> CreditTerms:
        """Return what credits are bought and spent under."""
        return CreditTerms(terms.deployment, terms.issuer)


class _Job(httpx.AsyncBaseTransport):
    """Carries the requests of one route: sealed, proved, and paid for where something is asked."""

    def __init__(
        self,
        network: Network,
        scope: str,
        keys: KeySource,
        target: str,
        chain: httpx.AsyncBaseTransport,
        route: ConfidentialRoute,
    ) -> None:
        async def prove(digest: bytes) -> str:
            return await network.prove(scope.lower(), digest)

        def seal(keys: KeySource, query: ProveQuery | None) -> SealedTransport:
            admitted = AdmittedTransport(chain, prove, query)
            return SealedTransport(keys, target, inner=admitted, shape=route.shape)

        self._seal = seal
        self._keys = keys
        self._network = network
        self._route = route
        self._scope = scope.lower()
        self.sealed = _Again(_Desk(self), network)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        network = self._network
        terms = await network.terms(self._route, self.sealed)
        if terms is None:
            return await self.sealed.handle_async_request(request)
        sealed: httpx.AsyncBaseTransport = self.sealed
        if terms.query is not None:
            maker = await network.maker(terms.query)
            await maker.check(request)  # before anything is spent on it
            sealed = _Again(self.proved(maker), network)
        purse = network.wallet.purse(network.credit_terms(terms))
        paid = PaidTransport(sealed, purse, terms.tariff)
        return await paid.handle_async_request(request)

    def proved(self, maker: QueryMaker) -> ProvedTransport:
        """Return what seals and proves queries."""
        return ProvedTransport(maker, self._seal, self._keys)

    async def ask_desk(self, request: httpx.Request) -> httpx.Response:
        """Carry what is no job; proved where the gateway takes nothing unproved.

        A gateway cannot tell a question to the desk from a job, and refuses both. Before the terms
        are known, which are asked for in the same way, it is believed as far as that: such a proof
        is of no tokens but those of ``{}``. For a job the enclave's terms alone decide.
        """
        network, job = self._network, is_job(request.method, request.url.path)
        if job or self._scope not in network.wants_proofs:
            try:
                return await self._seal(self._keys, None).handle_async_request(request)
            except AdmissionError as error:
                if error.check != "query" or job:
                    raise
            network.wants_proofs.add(self._scope)
        return await self.proved(await network.maker(None)).handle_async_request(request)


class _Desk(httpx.AsyncBaseTransport):
    """Carries questions to the desk of a route."""

    def __init__(self, job: _Job) -> None:
        self._job = job

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._job.ask_desk(request)


class _Again(httpx.AsyncBaseTransport):
    """Sends once more, sealed and proved afresh, what a gateway refused for its list of members.

    When a member is slashed or leaves, gateways forget the trees before, and proofs that are on
    their way are refused. Nothing was opened then, so a spend inside can go along again.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, network: Network) -> None:
        self._inner = inner
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except AdmissionError as error:
            if error.check not in _WORTH_AGAIN:
                raise
        await self._network.members.refresh(now=True)
        return await self._inner.handle_async_request(request)


async def asked(
    sealed: httpx.AsyncBaseTransport, method: str, path: str, body: bytes = b""
) -> tuple[int, bytes]:
    """Ask something of the enclave's desk; return the status and the bounded body.

    Raises:
        PrivityError: as the transport.
        PeerError: the answer is too large.
    """
    request = httpx.Request(
        method,
        _AUTHORITY + path,
        headers={"content-type": "application/json"} if body else {},
        content=body,
        extensions={"timeout": _TIMEOUT},
    )
    response = await sealed.handle_async_request(request)
    found = bytearray()
    try:
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise PeerError("the answer cannot be streamed")
        async for piece in response.stream:
            found += piece
            if len(found) > MAX_BYTES:
                raise PeerError("the enclave's desk answered more than it can have to say")
    finally:
        await response.aclose()
    return response.status_code, bytes(found)


async def _warmed(maker: QueryMaker) -> None:
    with suppress(PrivityError):  # whoever proves is told
        await maker.warm()


def deployment(addresses: Addresses) -> str:
    """Return the name of the credits of a ledger: its chain and its contract."""
    return f"eip155-{addresses.chain}-{addresses.credits.lower()}"


def open_network(peer: NetworkPeer) -> Network:
    """Return the network a person configured, with their wallet; nobody is asked anything yet.

    Args:
        peer: the ledger and the way to it.

    Raises:
        InputError: the contracts' file cannot be read, or a setting is wrong.
        MissingDependency: the native wheel, or a library of the ledger, is not installed.
    """
    addresses = Addresses.from_file(home() / peer.contracts)
    folder = wallet_folder(deployment(addresses))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ledger = Ledger(
        peer.ledger, addresses, proxy=peer.proxy or None, confirmations=peer.confirmations
    )
    wallet = person_wallet(deployment(addresses))
    connections = Connections(proxy=peer.proxy or None, isolate=peer.isolate)
    return Network(ledger, wallet, connections, provider=peer.provider, folder=folder)


def _relays(entries: Sequence[ProviderEntry]) -> list[RelayEntry]:
    """Return the registry's relays; what does not have the form of one is left out."""
    found = []
    for one in entries:
        if one.kind is ProviderKind.RELAY:
            try:
                found.append(RelayEntry(one.did, one.owner, one.endpoint, one.keys_digest))
            except MalformedError:
                continue
    return found
