"""The anonymous route: the confidential one, with nobody knowing who asked, or from where.

Layer 3 and who asked: sealed to an attested enclave whose keys are on the public ledger, through
two relays of different operators, admitted by a zero-knowledge proof of membership and paid with
credits that cannot be linked. spec/anonymous.md has what is promised and what is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from privity.attested import AttestedEnclave
from privity.disclosure import Asset, Basis, Cell, Disclosure, Ground, Party, View
from privity.errors import EvidenceError
from privity.infer.peers import EnclavePeer
from privity.infer.routes.confidential import (
    ConfidentialRoute,
    confidential_disclosure,
    same_machine,
)
from privity.seal.transport import KeySource
from privity.statement import Model

__all__ = ["AnonymousRoute", "Way", "anonymous_disclosure", "check_registered"]

_ALONE = Basis(Ground.NOTHING, "you are its only member: there is nobody to hide among")
_CREDITS = Basis(Ground.MATHEMATICS, "a spend proves that it is paid, and nothing else")
_SAME_KEYS = Basis(Ground.MATHEMATICS, "its keys are those on the ledger, the same for everyone")
_APART = Basis(Ground.QUORUM, "two relays of different operators do not collude")
_PURCHASES = Basis(Ground.MATHEMATICS, "the ledger has purchases and members, no jobs")
_PROXY = Basis(Ground.QUORUM, "the proxy does not tell the ledger's node who reads")
_NEAR = Basis(Ground.NOTHING, "relays and host are on one machine")
_FAR_ENDS = (Party.ENCLAVE, Party.HOST, Party.PROVIDER)


@dataclass(frozen=True)
class Way:
    """The way an anonymous request takes, as the ledger lists it.

    Attributes:
        first: URL of the relay that the device connects to.
        second: URL of the relay that the gateway hears from.
        operators: who runs the two.
        gateway: URL of the admission gateway.
        keys_digest: SHA-256 of the enclave's keyset, as the ledger has it.
    """

    first: str
    second: str
    operators: tuple[str, str]
    gateway: str
    keys_digest: bytes


@dataclass(frozen=True)
class AnonymousRoute:
    """A verified enclave behind two relays, and what a request there is admitted and paid with.

    Attributes:
        inner: the enclave, verified, and the end of the way to it.
        way: how it is reached.
        disclosure: computed from the verified evidence, the ledger's entries and the way taken.
        carrier: carries jobs: proved, sealed and paid for.
        desk: carries questions to the enclave's desk: proved and sealed.
    """

    inner: ConfidentialRoute
    way: Way
    disclosure: Disclosure
    carrier: httpx.AsyncBaseTransport
    desk: httpx.AsyncBaseTransport

    @property
    def name(self) -> str:
        """``anonymous``."""
        return "anonymous"

    @property
    def enclave(self) -> AttestedEnclave:
        """What verification returned."""
        return self.inner.enclave

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the enclave's keyset."""
        return self.inner.models

    @property
    def terms(self) -> None:
        """None: an enclave proves what it does."""

    def transport(
        self, keys: KeySource, inner: httpx.AsyncBaseTransport
    ) -> httpx.AsyncBaseTransport:
        """Return a transport that pays, seals, proves and sends by two relays.

        It seals to the keys of the enclave that was verified for this way, and to no others.
        """
        return self.carrier


def check_registered(enclave: AttestedEnclave, keys_digest: bytes) -> None:
    """Refuse an enclave whose keys are not those that everybody finds on the ledger.

    Keys made for one person would tell that person from all others, whatever the relays hide.

    Raises:
        EvidenceError: check ``registered keys``.

    Guarantees:
        Another keyset than the ledger's is refused before anything is sealed to it
        (tests/adversary/test_anonymous_route.py).
    """
    if enclave.keyset.digest != "sha256:" + keys_digest.hex():
        raise EvidenceError(
            "the enclave's keys are not those that the ledger lists for its provider",
            check="registered keys",
            hint="it may have restarted a moment ago; if this goes on, somebody may be trying to "
            "give you keys of your own, to know you by",
        )


def anonymous_disclosure(
    enclave: AttestedEnclave,
    way: Way,
    gateway: EnclavePeer,
    *,
    members: int,
    proxied: bool = False,
    prover: bool = False,
) -> Disclosure:
    """Return who learns what of a job sealed to ``enclave`` by ``way``.

    It never flatters: relays on the host's own machine hide no address from whoever owns it, one
    operator behind both relays is one party, and among one member nobody is hidden.

    Args:
        enclave: what verification returned.
        way: how it is reached.
        gateway: the end of the way.
        members: how many there are to hide among.
        proxied: whether all that leaves goes through a proxy.
        prover: whether an edge node of the person's may prove the job. Its code then reads what
            the enclave does, as the policy let it, and its host sees what whoever watches does.
    """
    cells = dict(confidential_disclosure(enclave, gateway).cells)
    apart = _apart(way)
    address = (
        Cell(View.NOTHING, frozenset({_APART}), frozenset({"the second relay"}))
        if apart
        else Cell(View.EVERYTHING, frozenset({_NEAR}))
    )
    crowd = "the only member" if members == 1 else f"one of {members} members"
    member = Basis(Ground.MATHEMATICS, f"a zero-knowledge proof says: {crowd}")
    nobody = frozenset({member, _CREDITS, _SAME_KEYS})
    who = Cell(View.NOTHING, nobody) if members > 1 else Cell(View.EVERYTHING, frozenset({_ALONE}))
    for party in _FAR_ENDS:
        cells[party, Asset.ADDRESS] = address
        cells[party, Asset.IDENTITY] = who
        cells[party, Asset.PAYMENT] = Cell(View.PREDICATE, frozenset({_CREDITS}))
    cells[Party.RELAY, Asset.IDENTITY] = Cell(View.NOTHING, frozenset({member}))
    # Whoever serves the ledger sees who reads it: all of it, at a time of its own. Not who asks.
    cells[Party.LEDGER, Asset.ADDRESS] = (
        Cell(View.NOTHING, frozenset({_PROXY}), frozenset({"the proxy"}))
        if proxied
        else Cell(View.EVERYTHING)
    )
    cells[Party.LEDGER, Asset.IDENTITY] = Cell(View.NOTHING, frozenset({_PURCHASES}))
    cells[Party.LEDGER, Asset.PAYMENT] = Cell(View.PREDICATE, frozenset({_PURCHASES}))
    cells[Party.PROVIDER, Asset.PROMPT] = cells[Party.HOST, Asset.PROMPT]
    cells[Party.PROVIDER, Asset.ANSWER] = cells[Party.HOST, Asset.ANSWER]
    labels = {
        Party.ENCLAVE: confidential_disclosure(enclave, gateway).labels[Party.ENCLAVE],
        Party.RELAY: frozenset({"relays · 2 operators" if apart else "relays · one machine"}),
    }
    if prover:
        labels[Party.ENCLAVE] |= {"edge prover"}
        labels[Party.OBSERVER] = frozenset({"anyone watching", "edge prover's host"})
    return Disclosure(cells, labels)


def _apart(way: Way) -> bool:
    """Tell whether no single operator or machine holds both ends of the way."""
    if len(set(way.operators)) < 2:
        return False
    ends: Sequence[str] = (way.first, way.second, way.gateway)
    return not any(
        same_machine(one, other) for number, one in enumerate(ends) for other in ends[number + 1 :]
    )
