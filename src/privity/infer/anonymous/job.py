"""Carries the requests of one anonymous route: proved, sealed, and paid for."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import httpx
from anyio import to_thread

from privity.anon.asked import read_request
from privity.anon.payment_terms import ISSUE_PATH, MAX_BYTES, TERMS_PATH
from privity.errors import AdmissionError, PaymentError, PeerError
from privity.infer.anonymous.admitted import AdmittedTransport, ProveQuery
from privity.infer.anonymous.paid import PaidTransport
from privity.infer.anonymous.proved import ProvedTransport, QueryMaker
from privity.infer.routes.confidential import ConfidentialRoute
from privity.seal.transport import FixedKeys, SealedTransport

if TYPE_CHECKING:
    from privity.infer.anonymous.network import Network

__all__ = ["AnonymousJob", "asked", "whole_minute"]

_AUTHORITY = "https://enclave.privity"
_TIMEOUT = httpx.Timeout(60, connect=30).as_dict()
_LIMIT_S = 120.0  # for a whole question: its proof, the tries, the way, the answer
_MINUTE = 60
_TRIES = 3
_WAIT_S = (1.0, 3.0)
_CHANCE = random.SystemRandom()
_CARRY_NO_SPEND = (TERMS_PATH, ISSUE_PATH)


class AnonymousJob(httpx.AsyncBaseTransport):
    """Carries the requests of one route. Run by the device.

    Args:
        network: proves, and pays.
        scope: the provider's account.
        target: URL of the gateway's resource at the second relay.
        chain: carries sealed requests there.
        route: the verified enclave.

    Attributes:
        desk: carries questions to the enclave's desk, which cost nothing.

    Guarantees:
        No job, and nothing that shows a spend, is sent again because somebody outside the
        enclave's seal says that it should be (tests/adversary/test_anonymous_way.py).
    """

    def __init__(
        self,
        network: Network,
        scope: str,
        target: str,
        chain: httpx.AsyncBaseTransport,
        route: ConfidentialRoute,
    ) -> None:
        self._network = network
        self._scope = scope.lower()
        self._target = target
        self._chain = chain
        self._route = route
        self._keys = FixedKeys(  # another route's would not fit this one's gateway
            route.enclave.keyset.ohttp,
            stale="the enclave no longer holds the key this request was sealed to",
            hint="it may have restarted: ask again",
        )
        self.desk: httpx.AsyncBaseTransport = _Desk(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, paid for where the provider asks for something.

        Who has only just joined waits first, where they can pay; their questions to the desk, as
        for the credits of a deposit that the ledger shows, do not.

        Raises:
            AdmissionError: the gateway did not let it in; or check ``rate``: too many this minute.
            PaymentError: the wallet has not enough, or the enclave did not take the spend.
            PrivityError: what else can go wrong on the way.
        """
        network = self._network
        await self._refuse_unpayable(request)
        await network.member_prover.wait_until_settled()
        terms = await network.terms(self._route, self.desk, self._scope)
        if terms is None:
            return await self._sealed(None).handle_async_request(request)
        sealed: httpx.AsyncBaseTransport = self._sealed(None)
        if terms.query is not None:
            maker = await network.queries.for_jobs(terms.query)
            await maker.check(request)  # before anything is spent on it
            sealed = self._proved(maker)
        purse = network.wallet.purse(network.credit_terms(terms))
        return await PaidTransport(sealed, purse, terms.tariff).handle_async_request(request)

    async def _refuse_unpayable(self, request: httpx.Request) -> None:
        """Refuse what an empty wallet cannot pay before anybody waits for it.

        Who has credits does not ask for the terms here: a newcomer's question to the desk would
        say that their first job is about to come.
        """
        wallet = self._network.wallet
        if request.method != "POST" or wallet.under_way:  # what is under way is waited for
            return
        read = await to_thread.run_sync(wallet.read)
        if read.balance:
            return
        terms = await self._network.terms(self._route, self.desk, self._scope)
        if terms is not None:
            body = await request.aread()
            raise read.short(terms.tariff.worst_asked(read_request(body), len(body)))

    async def ask_desk(self, request: httpx.Request) -> httpx.Response:
        """Carry what is no job; proved where the provider takes nothing unproved.

        A gateway cannot tell a question to the desk from a job, and refuses both. Whether it does
        is in the terms, which are asked for in the same way: until they are known its word is
        believed for one question, and never kept, or it would mark a device for good. Before a
        spend is shown the terms are asked for, so that it need not be sent twice.
        """
        network, repeatable = self._network, request.url.path in _CARRY_NO_SPEND
        known = network.known_terms(self._route)
        if known is None and not repeatable:
            # Where they are under another key than the ledger's, what was spent may come back yet.
            with suppress(PaymentError):
                known = await network.terms(self._route, self.desk, self._scope)
        if known is not None and known.query is not None:
            proved = self._proved(await network.queries.for_desk(known.query))
            return await self._asked_again(proved, request)
        try:
            return await self._asked_again(self._sealed(None), request)
        except AdmissionError as error:
            if error.check != "query" or not repeatable or known is not None:
                raise
        proved = self._proved(await network.queries.for_desk(None))
        return await self._asked_again(proved, request)

    async def _asked_again(
        self, sealed: httpx.AsyncBaseTransport, request: httpx.Request
    ) -> httpx.Response:
        """Ask the desk, again where the gateway does not know this list of members yet.

        Who has just joined is ahead of the gateways. Nothing is read meanwhile, and nothing that
        carries a spend is repeated: the same spend twice is the same person's.
        """
        for _ in range(_TRIES if request.url.path in _CARRY_NO_SPEND else 0):
            try:
                return await sealed.handle_async_request(request)
            except AdmissionError as error:
                if error.check != "root":
                    raise
            await anyio.sleep(_CHANCE.uniform(*_WAIT_S))
        return await sealed.handle_async_request(request)

    def _sealed(self, query: ProveQuery | None) -> SealedTransport:
        async def prove(digest: bytes) -> str:
            return await self._network.member_prover.prove(self._scope, digest)

        return SealedTransport(
            self._keys,
            self._target,
            inner=AdmittedTransport(self._chain, prove, query),
            shape=self._route.shape,
            clock=lambda: whole_minute(self._network.clock()),
        )

    def _proved(self, maker: QueryMaker) -> ProvedTransport:
        return ProvedTransport(maker, self._sealed)


class _Desk(httpx.AsyncBaseTransport):
    """Carries questions to the desk of a route."""

    def __init__(self, job: AnonymousJob) -> None:
        self._job = job

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._job.ask_desk(request)


def whole_minute(now: float) -> float:
    """Return the minute's start: to the second, a clock that is off would name its device."""
    return now // _MINUTE * _MINUTE


async def asked(
    sealed: httpx.AsyncBaseTransport, method: str, path: str, body: bytes = b""
) -> tuple[int, bytes]:
    """Ask something of the enclave's desk; return the status and the bounded body.

    Raises:
        PrivityError: as the transport.
        PeerError: the answer is too large, or was not whole in time.

    Guarantees:
        Nobody on the way holds a question for longer than its limit, however slowly they let the
        answer drip (tests/adversary/test_desk_time.py).
    """
    request = httpx.Request(
        method,
        _AUTHORITY + path,
        headers={"content-type": "application/json"} if body else {},
        content=body,
        extensions={"timeout": _TIMEOUT},
    )
    try:
        with anyio.fail_after(_LIMIT_S):
            return await _answered(sealed, request)
    except TimeoutError:
        raise PeerError(
            f"the enclave's desk did not answer within {_LIMIT_S:g} seconds",
            hint="it may be overloaded, or somebody on the way slow on purpose: try again",
        ) from None


async def _answered(sealed: httpx.AsyncBaseTransport, request: httpx.Request) -> tuple[int, bytes]:
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
