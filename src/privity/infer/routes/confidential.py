"""The confidential route: sealed to an attested enclave, through a relay where there is one.

Layer 3: the enclave's measured code reads the prompt, its host does not. Who asked is not hidden
from whoever holds both the relay and the host.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import anyio
import httpx

from privity.attest.examine import Examined, examine_statement
from privity.attest.log.memory import LogMemory, Remembered
from privity.attest.trust import Trust
from privity.attest.verify import accept
from privity.attested import AttestedEnclave
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import InputError, PeerError
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import Clock, utc_now
from privity.infer.loopback import is_loopback
from privity.infer.peers import EnclavePeer, LogPeer
from privity.infer.routes.log_view import log_view
from privity.seal.gateway import GATEWAY_PATH
from privity.seal.hops import is_exit_url
from privity.seal.transport import KeySource, SealedTransport, Shape
from privity.statement import MAX_BYTES, MEDIA_TYPE, NONCE_BYTES, Model
from privity.statement import PATH as STATEMENT_PATH
from privity.wording import failure_words

__all__ = [
    "ConfidentialRoute",
    "confidential_disclosure",
    "discover",
    "examine_peer",
    "same_machine",
]

_LOOKS = 3  # at a log that another process of this device follows at the same time
_STATEMENT_S = 30.0  # for all of a statement, however it drips
_CONTENT = (Asset.PROMPT, Asset.ANSWER)
_SEALED = frozenset({Basis(Ground.MATHEMATICS, "sealed")})
_THE_RELAY = frozenset({"the relay"})
# Keys made for one person alone tell that person from all others, whatever a relay hides.
_OWN_KEY = Cell(
    View.EVERYTHING,
    frozenset({Basis(Ground.NOTHING, "its keys are in no log, and may be for you alone")}),
)


@dataclass(frozen=True)
class ConfidentialRoute:
    """A verified enclave and the way to it.

    Attributes:
        enclave: what verification returned.
        peer: where it is reached.
        disclosure: computed from the verified evidence and the way taken.
        shape: how requests and answers are padded.
    """

    enclave: AttestedEnclave
    peer: EnclavePeer
    disclosure: Disclosure
    shape: Shape

    @property
    def name(self) -> str:
        """``confidential``."""
        return "confidential"

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the enclave's keyset."""
        return tuple(self.enclave.keyset.models)

    @property
    def terms(self) -> None:
        """None: an enclave proves what it does."""

    def transport(
        self, keys: KeySource, inner: httpx.AsyncBaseTransport
    ) -> httpx.AsyncBaseTransport:
        """Return a transport that seals to this enclave."""
        return SealedTransport(keys, gateway_url(self.peer), inner=inner, shape=self.shape)


def gateway_url(peer: EnclavePeer) -> str:
    """Return where sealed requests are posted: the relay's resource, or the gateway itself."""
    return peer.relay if peer.relay is not None else peer.url.rstrip("/") + GATEWAY_PATH


async def discover(
    peer: EnclavePeer,
    trust: Trust,
    http: httpx.AsyncBaseTransport,
    *,
    logs: Sequence[LogPeer] = (),
    memory: LogMemory | None = None,
    shape: Shape | None = None,
    clock: Clock = utc_now,
    randomness: Callable[[int], bytes] = os.urandom,
) -> ConfidentialRoute:
    """Fetch the enclave's statement for a fresh nonce and verify it. Run by the device.

    It goes by the same relay as the prompts will, so that the enclave's host does not learn who
    is about to ask.

    Args:
        peer: the enclave and its relay.
        trust: whom the person believes.
        http: connections to the peer.
        logs: where the logs trusted are read.
        memory: what this device has seen of them; by default in the privity home.
        shape: the padding of the route; None for the default.
        clock: the time the evidence is judged at.
        randomness: where the nonce comes from.

    Raises:
        PeerError: the peer cannot be reached or answers something else.
        EvidenceError: the statement does not verify; `.check` names the check.
    """
    memory = memory or LogMemory()
    for left in reversed(range(_LOOKS)):
        examined, now = await examine_peer(
            peer, trust, http, logs=logs, memory=memory, clock=clock, randomness=randomness
        )
        enclave = accept(examined, now)
        if _keep(memory, examined, last=left == 0):
            break
    return ConfidentialRoute(
        enclave,
        peer,
        confidential_disclosure(enclave, peer),
        shape or Shape(),
    )


def _keep(memory: LogMemory, examined: Examined, *, last: bool) -> bool:
    """Remember the log's tree; return False where another was remembered while it was judged."""
    logged = examined.logged
    if logged is None:
        return True
    seen = Remembered(logged.size, logged.root)
    try:
        memory.keep(logged.origin, seen, compared=examined.remembered)
    except InputError:
        if last or memory.get(logged.origin) == examined.remembered:
            raise
        return False
    return True


async def examine_peer(
    peer: EnclavePeer,
    trust: Trust,
    http: httpx.AsyncBaseTransport,
    *,
    logs: Sequence[LogPeer] = (),
    memory: LogMemory | None = None,
    clock: Clock = utc_now,
    randomness: Callable[[int], bytes] = os.urandom,
) -> tuple[Examined, datetime]:
    """Fetch the enclave's statement for a fresh nonce, and return what was found, and when.

    Arguments and errors are those of `discover`; what does not verify is among the findings.
    """
    nonce = randomness(NONCE_BYTES)
    data = await _fetch_statement(peer, nonce, http)
    view = await log_view(data, urlsplit(peer.url).netloc, logs, memory or LogMemory())
    now = clock()
    return examine_statement(data, nonce=nonce, trust=trust, now=now, view=view), now


def confidential_disclosure(enclave: AttestedEnclave, peer: EnclavePeer) -> Disclosure:
    """Return who learns what of a job sealed to ``enclave`` by way of ``peer``.

    It never flatters: a development enclave stops nobody on its host; a relay on the enclave's
    own machine hides nothing from whoever owns that machine.
    """
    behind_relay = peer.relay is not None
    apart = behind_relay and not same_machine(peer.url, peer.relay or "")
    cells: dict[tuple[Party, Asset], Cell] = {}
    for asset in _CONTENT:
        cells[Party.PERSON, asset] = Cell(View.EVERYTHING)
        cells[Party.ENCLAVE, asset] = Cell(View.EVERYTHING, _enclave_basis(enclave))
        cells[Party.HOST, asset] = _host_cell(enclave)
        cells[Party.OBSERVER, asset] = Cell(View.SIZE, _SEALED)
        if behind_relay:
            cells[Party.RELAY, asset] = Cell(View.SIZE, _SEALED)
    cells[Party.OBSERVER, Asset.ADDRESS] = Cell(View.EVERYTHING)
    if behind_relay:
        cells[Party.RELAY, Asset.ADDRESS] = Cell(View.EVERYTHING)
    cells[Party.ENCLAVE, Asset.ADDRESS] = _address_cell(behind_relay, apart)
    cells[Party.HOST, Asset.ADDRESS] = _address_cell(behind_relay, apart)
    if enclave.logged is None:
        cells[Party.ENCLAVE, Asset.IDENTITY] = cells[Party.HOST, Asset.IDENTITY] = _OWN_KEY
    return Disclosure(cells, {Party.ENCLAVE: frozenset({_label(enclave)})})


def _enclave_basis(enclave: AttestedEnclave) -> frozenset[Basis]:
    """Return why nobody but the measured code is believed to read what the enclave reads."""
    if enclave.dev:
        return frozenset({Basis(Ground.PROMISE, "plain software")})
    if enclave.approved is None:
        return frozenset({Basis(Ground.PROMISE, "nobody you trust approved this code")})
    return _evidence_basis(enclave)


def _evidence_basis(enclave: AttestedEnclave) -> frozenset[Basis]:
    """Return the grounds on which the host is kept out: all evidence was verified."""
    return frozenset(basis for evidence in enclave.evidence for basis in evidence.basis)


def _host_cell(enclave: AttestedEnclave) -> Cell:
    """Return the host's view of the contents: what the evidence keeps from it."""
    basis = _evidence_basis(enclave)
    if enclave.dev or not any(one.ground is Ground.HARDWARE for one in basis):
        open_to = {one for one in basis if one.ground is Ground.NOTHING}
        why = Basis(Ground.NOTHING, "nothing attested stops this host")
        return Cell(View.EVERYTHING, frozenset(open_to or {why}))
    if enclave.approved is None:
        why = Basis(Ground.NOTHING, "code that nobody you trust approved may hand it over")
        return Cell(View.EVERYTHING, frozenset({why}))
    return Cell(View.SIZE, basis | _SEALED)


def _address_cell(behind_relay: bool, apart: bool) -> Cell:
    """Return what the far end, enclave or host, learns of the person's address."""
    if not behind_relay:
        return Cell(View.EVERYTHING)
    if not apart:
        why = "the relay is on the host's own machine"
        return Cell(View.EVERYTHING, frozenset({Basis(Ground.NOTHING, why)}))
    why = "relay and host do not compare notes"
    return Cell(View.NOTHING, frozenset({Basis(Ground.QUORUM, why)}), _THE_RELAY)


def _label(enclave: AttestedEnclave) -> str:
    kinds = sorted({evidence.kind for evidence in enclave.evidence})
    return "enclave · dev" if enclave.dev else "enclave · " + " + ".join(kinds)


def same_machine(one: str, other: str) -> bool:
    """Tell whether two URLs name one machine: the same host name, or both this one.

    Names are not resolved, for that would tell a name server which enclave is used; one machine
    under two names therefore goes unnoticed (docs/sharp-edges.md).
    """
    first, second = (urlsplit(url).hostname or "" for url in (one, other))
    return first == second or (is_loopback(first) and is_loopback(second))


async def _fetch_statement(
    peer: EnclavePeer, nonce: bytes, http: httpx.AsyncBaseTransport
) -> bytes:
    base = (peer.relay or peer.url).rstrip("/")
    who = _asked_of(peer)
    request = httpx.Request(
        "GET",
        f"{base}{STATEMENT_PATH}",
        params={"nonce": encode_base64url(nonce)},
        headers={"accept": MEDIA_TYPE},
        extensions={"timeout": httpx.Timeout(15).as_dict()},
    )
    try:
        with anyio.fail_after(_STATEMENT_S):
            response = await http.handle_async_request(request)
            try:
                body = await _bounded(response)
            finally:
                await response.aclose()
    except TimeoutError as error:
        raise PeerError(
            f"{who} did not send the enclave's statement within {_STATEMENT_S:g} seconds",
            hint="it may be overloaded, or slow on purpose: try again, or use another",
        ) from error
    except httpx.HTTPError as error:
        raise PeerError(
            f"{who} could not be reached: {failure_words(error)}",
            hint="is it running, and is the address right? `privity doctor` looks",
        ) from error
    if response.status_code != 200:
        raise PeerError(
            f"{who} answered {response.status_code} when asked for the enclave's statement",
            hint=_down(peer),
        )
    return body


def _asked_of(peer: EnclavePeer) -> str:
    """Return who is asked, by the names that a person knows."""
    if peer.relay is None:
        return f"the enclave at {peer.url}"
    if is_exit_url(peer.relay):
        return f"the way by two relays to {peer.url}"
    return f"the relay at {peer.relay}"


def _down(peer: EnclavePeer) -> str:
    """Return what may be the matter where a relay got no statement."""
    if peer.relay is None:
        return ""
    who = "the gateway, or the enclave behind it," if is_exit_url(peer.relay) else "the enclave"
    return f"{who} may be down or starting"


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise PeerError("the statement's connection is not asynchronous")
    async for chunk in response.stream:
        body += chunk
        if len(body) > MAX_BYTES:
            raise PeerError(f"the enclave's statement is larger than {MAX_BYTES} bytes")
    return bytes(body)
