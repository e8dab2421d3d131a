"""Floor 5: how an enclave gets a key, and keeps the right to what it opened with it.

Request, challenge, attest: ask the broker for a challenge, answer it with a statement over keys
made for this one exchange, open the key that was sealed to them. The key comes with a lease:
whoever holds plaintext asks again before it ends, and drops the plaintext when it is refused, or
when the lease ends with the broker out of reach. Protocol: spec/key-release.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn

import anyio
import httpx
from anyio import to_thread

from privity.attest.evidence import Quoter
from privity.attest.grant import Purpose, SignedGrant
from privity.attest.publish import build_statement
from privity.attest.release import BootKeys
from privity.errors import EvidenceError, InputError, MalformedError, PeerError, SealError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_strict
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import Clock, utc_now
from privity.statement import NONCE_BYTES, Software
from privity.wording import failure_words

__all__ = [
    "CHALLENGE_PATH",
    "GRANT_PATH",
    "RELEASE_PATH",
    "RELEASE_PROBLEM",
    "REVOKE_PATH",
    "KeyClient",
    "Released",
    "elapsed",
    "refusal_of",
]

CHALLENGE_PATH = "/challenge"
RELEASE_PATH = "/release"
GRANT_PATH = "/grant"
REVOKE_PATH = "/revoke"

RELEASE_PROBLEM = "urn:privity:problem:release"
"""Type of the problem with which a broker refuses; its ``check`` names what did not hold."""

_EXCHANGE_S = 30.0
_MAX_ANSWER = 262_144
_MAX_SEALED = 4096
_CHECK = re.compile(r"[a-z][a-z ]{0,63}")
_MAX_DETAIL = 300
# What a new attempt may mend: the challenge ran out, or the broker was started anew meanwhile.
_AGAIN = ("challenge",)
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


def elapsed() -> float:
    """Return seconds that go on while the machine sleeps: a lease ends in the owner's time."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True, eq=False)
class Released:
    """A key that a broker released to this process.

    Attributes:
        signed: the owner's grant it rests on.
        key: the artefact key.
        until: when the lease ends, on the client's `elapsed` clock: never after the grant.
        log: number and digest of the broker's log line about this release.
    """

    signed: SignedGrant
    key: bytes = field(repr=False)
    until: float
    log: tuple[int, str]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a released key stays in the process it was released to")


class KeyClient:
    """Asks one broker for keys. Run by the enclave.

    Args:
        broker: the broker's URL.
        quoters: what makes the evidence; called in a thread.
        receipts: a did:key made in this process's memory. It names the process to the broker: a
            lease goes on for the process that has it, and for no other.
        software: what else the statement names: ``Software("program", digest)`` for training.
        beside: what to state beside the evidence: signed manifests that approve this code, as
            `privity.attest.publish.build_statement` takes them.
        transport: how to reach the broker.
        clock: the enclave's time.
        clock_s: seconds that only grow, by which leases are kept.

    Guarantees:
        Keys are made anew for each exchange, and nothing refers to them after it
        (tests/unit/test_key_client.py::test_each_exchange_has_keys_of_its_own_that_end_with_it). A
        refused renewal ends `keep` at once, an unreachable broker when the lease ends, and never
        later (tests/unit/test_key_client.py::test_a_refused_renewal_ends_it_at_once,
        tests/unit/test_key_client.py::test_a_broker_out_of_reach_ends_it_with_the_lease_and_not_before).
        No lease is held past the end of its grant, by the broker's clock and by this machine's
        (tests/adversary/test_broker_time.py).
    """

    def __init__(
        self,
        broker: str,
        quoters: Sequence[Quoter],
        *,
        receipts: str,
        software: Sequence[Software] = (),
        beside: Sequence[dict[str, Any]] = (),
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = utc_now,
        clock_s: Callable[[], float] = elapsed,
    ) -> None:
        try:
            parsed = httpx.URL(broker)
        except httpx.InvalidURL as error:
            raise InputError(f"the broker's URL is not one: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
            raise InputError(
                f"{broker!r} is not the URL of a broker", hint="such as https://broker.example"
            )
        self._base = broker.rstrip("/")
        self._quoters = tuple(quoters)
        self._receipts = receipts
        self._software, self._beside = tuple(software), tuple(beside)
        self._http = httpx.AsyncClient(
            transport=transport, timeout=_EXCHANGE_S, trust_env=False, follow_redirects=False
        )
        self._clock = clock
        self._clock_s = clock_s

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def obtain(self, artefact: str, purpose: Purpose) -> Released:
        """Return the key of an artefact, freshly released.

        Raises:
            EvidenceError: the broker refuses; ``.check`` names what did not hold; or it is
                ``grant period``: by this machine's clock the grant has ended.
            PeerError: the broker cannot be reached, or answers outside the protocol.
            OpenError: what it sealed is not for this exchange.
        """
        asked_at = self._clock_s()  # before the broker's clock began: the lease is never stretched
        try:
            with anyio.fail_after(_EXCHANGE_S):
                return await self._exchange(artefact, purpose, asked_at)
        except TimeoutError:
            raise PeerError("the broker did not answer in time") from None
        except httpx.HTTPError as error:
            raise PeerError(
                f"the broker cannot be reached: {failure_words(error)}", hint="is it running?"
            ) from None

    async def keep(self, released: Released) -> NoReturn:
        """Renew the lease while the broker lets it; when this raises, the plaintext is dropped.

        Raises:
            EvidenceError: the broker refused to renew it, for the reason in ``.check``; or
                ``lease``: it ended with the broker out of reach; or ``root``: what is granted now
                is another plaintext.
        """
        grant = released.signed.grant
        until = released.until
        while True:
            # At half of what is left, which may be less than the grant's usual lease.
            span = min(float(grant.lease_s), until - self._clock_s())
            await self._sleep_until(until - span / 2)
            renewed = await self._renew(grant.artefact, grant.purpose, until)
            if renewed.signed.grant.root != grant.root:
                raise EvidenceError("what is granted now is another plaintext", check="root")
            grant, until = renewed.signed.grant, renewed.until

    async def _renew(self, artefact: str, purpose: Purpose, until: float) -> Released:
        """Ask until the lease ends."""
        attempt = 0
        last = "no answer"
        while (left := until - self._clock_s()) > 0:
            try:
                with anyio.fail_after(left):
                    return await self.obtain(artefact, purpose)
            except EvidenceError as error:
                if error.check not in _AGAIN:
                    raise
                last = error.message
            except (PeerError, SealError) as error:
                last = error.message
            except TimeoutError:
                break
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
            attempt += 1
            await self._sleep_until(min(self._clock_s() + pause, until))
        raise EvidenceError(f"the lease ended and was not renewed: {last}", check="lease")

    async def _sleep_until(self, moment: float) -> None:
        # In short steps: the event loop's clock stands still while the machine sleeps.
        while (left := moment - self._clock_s()) > 0:
            await anyio.sleep(min(left, 5.0))

    async def _exchange(self, artefact: str, purpose: Purpose, asked_at: float) -> Released:
        asked = {"artefact": artefact, "purpose": purpose.value}
        answer = Fields(await self._post(CHALLENGE_PATH, asked), "challenge")
        try:
            nonce = answer.blob("challenge", least=NONCE_BYTES, most=NONCE_BYTES)
            answer.done()
        except MalformedError as error:
            raise PeerError(f"the broker's challenge is not one: {error.message}") from None
        keys = BootKeys(self._receipts, software=self._software)
        now = self._clock()

        def quote() -> Any:
            return build_statement(
                keys.keyset, self._quoters, now=now, nonce=nonce, beside=self._beside
            )

        statement = await to_thread.run_sync(quote)
        sent = {"challenge": encode_base64url(nonce), "statement": statement.to_json()}
        body = await self._post(RELEASE_PATH, sent)
        released = _released(body, keys, nonce, statement.digest, (artefact, purpose), asked_at)
        return _within_grant(released, asked_at, now)

    async def _post(self, path: str, value: dict[str, Any]) -> Any:
        headers = {"content-type": "application/json"}
        request = self._http.stream(
            "POST", self._base + path, content=canonical(value), headers=headers
        )
        async with request as response:
            data = bytearray()
            async for piece in response.aiter_bytes():
                data += piece
                if len(data) > _MAX_ANSWER:
                    raise PeerError("the broker's answer is larger than any it should give")
        if response.status_code != 200:
            raise refusal_of(response.status_code, bytes(data))
        try:
            return loads_strict(bytes(data))
        except SealError as error:
            raise PeerError(f"the broker's answer does not parse: {error.message}") from None


def refusal_of(status: int, body: bytes) -> EvidenceError | PeerError:
    """Return the error that stands for a broker's answer other than 200.

    Args:
        status: of the HTTP answer.
        body: a problem document, if the broker wrote it.
    """
    try:
        problem = loads_strict(body, max_bytes=_MAX_ANSWER)
    except SealError:
        problem = None
    if not isinstance(problem, dict) or problem.get("type") != RELEASE_PROBLEM:
        return PeerError(
            f"the broker answered outside the protocol (HTTP {status})",
            hint="check that the URL is that of a broker",
        )
    check, detail = problem.get("check"), problem.get("detail")
    if status >= 500 or not isinstance(check, str) or not _CHECK.fullmatch(check):
        return PeerError(f"the broker cannot decide now (HTTP {status})", hint="try again later")
    why = detail[:_MAX_DETAIL] if isinstance(detail, str) else check
    return EvidenceError(f"the broker refuses the key: {why}", check=check)


def _released(
    body: Any,
    keys: BootKeys,
    nonce: bytes,
    statement: str,
    asked: tuple[str, Purpose],
    asked_at: float,
) -> Released:
    try:
        fields = Fields(body, "release")
        sealed = fields.blob("sealed", most=_MAX_SEALED)
        signed = SignedGrant.from_json(fields.object("grant"))
        lease_s = fields.count("lease_s", least=1)
        root = fields.text("root")
        line = fields.inner("log")
        log = (line.count("number"), line.digest("digest"))
        line.done()
        fields.done()
    except (MalformedError, EvidenceError) as error:
        raise PeerError(f"the broker's release is not one: {error.message}") from None
    grant = signed.grant
    if (grant.artefact, grant.purpose) != asked or grant.root != root or lease_s > grant.lease_s:
        raise PeerError("the broker's release is not of the grant it sent with it")
    key = keys.open_key(sealed, nonce=nonce, statement=statement, signed=signed)
    return Released(signed, key, asked_at + lease_s, log)


def _within_grant(released: Released, asked_at: float, now: datetime) -> Released:
    """Return what ends no later than its grant does by the enclave's own clock."""
    left = (released.signed.grant.expires - now).total_seconds()
    if left < 1:
        raise EvidenceError(
            "the grant has ended by this machine's clock",
            check="grant period",
            hint="set the clock if it is wrong; otherwise ask the owner for another grant",
        )
    return replace(released, until=min(released.until, asked_at + left))
