"""What the anonymous route claims, and when it must not: spec/anonymous.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from privity.attested import Approved, VerifiedEvidence
from privity.disclosure import Asset, Basis, Disclosure, Ground, Party, View
from privity.errors import EvidenceError, PolicyRefusal
from privity.infer.peers import EnclavePeer
from privity.infer.routes.anonymous import Way, anonymous_disclosure, check_registered
from privity.policy import Policy
from privity.wording import party_name

HARDWARE = VerifiedEvidence(
    "tdx", "sha256:" + "0" * 64, frozenset({Basis(Ground.HARDWARE, "Intel TDX")}), False
)
DEV = VerifiedEvidence(
    "dev", "sha256:" + "0" * 64, frozenset({Basis(Ground.NOTHING, "does not stop its host")}), True
)
WAY = Way(
    "https://relay.one",
    "https://relay.two",
    ("0xone", "0xtwo"),
    "https://gateway.three",
    bytes(32),
)
GATEWAY = EnclavePeer("https://gateway.three", "http://exit/t", "p")


@dataclass(frozen=True)
class Keyset:
    digest: str = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Enclave:
    """Stands for an AttestedEnclave, which only verification can make."""

    evidence: tuple[VerifiedEvidence, ...] = (HARDWARE,)
    approved: Approved | None = Approved("privity", "sha256:" + "1" * 64, "did:key:z6Mk")  # noqa: RUF009
    logged: None = None
    keyset: Keyset = Keyset()

    @property
    def dev(self) -> bool:
        return any(one.dev for one in self.evidence)


@dataclass(frozen=True)
class Named:
    disclosure: Disclosure
    name: str = "anonymous"
    terms: None = None


def table(
    enclave: Any = None, way: Way = WAY, members: int = 9, *, prover: bool = False
) -> Disclosure:
    given: Any = enclave or Enclave()
    return anonymous_disclosure(given, way, GATEWAY, members=members, prover=prover)


def refused(disclosure: Disclosure) -> bool:
    try:
        Policy.load("anonymous").admit(Named(disclosure))
    except PolicyRefusal:
        return True
    return False


def test_the_policy_of_its_name_admits_it() -> None:
    assert not refused(table())


@pytest.mark.parametrize("party", [Party.ENCLAVE, Party.HOST, Party.PROVIDER])
def test_nobody_at_the_far_end_sees_who_or_where(party: Party) -> None:
    disclosure = table()
    assert disclosure[party, Asset.IDENTITY].view is View.NOTHING
    assert disclosure[party, Asset.IDENTITY].grounds == {Ground.MATHEMATICS}
    assert disclosure[party, Asset.ADDRESS].view is View.NOTHING


def test_the_ledger_has_members_and_purchases_and_its_node_an_address() -> None:
    disclosure = table()
    assert disclosure[Party.LEDGER, Asset.IDENTITY].view is View.NOTHING
    assert disclosure[Party.LEDGER, Asset.ADDRESS].view is View.EVERYTHING
    enclave: Any = Enclave()
    proxied = anonymous_disclosure(enclave, WAY, GATEWAY, members=9, proxied=True)
    assert proxied[Party.LEDGER, Asset.ADDRESS].view is View.NOTHING
    assert not refused(proxied)


def test_among_one_member_nobody_is_hidden() -> None:
    disclosure = table(members=1)
    told = {one.why for one in disclosure.cells[Party.RELAY, Asset.IDENTITY].basis}
    assert told == {"a zero-knowledge proof says: the only member"}
    assert disclosure[Party.HOST, Asset.IDENTITY].view is View.EVERYTHING
    assert refused(disclosure)
    assert not refused(table(members=2))


def test_where_rests_on_two_relays_and_says_so() -> None:
    cell = table()[Party.ENCLAVE, Asset.ADDRESS]
    assert cell.grounds == {Ground.QUORUM}
    assert cell.instead == {"the second relay"}


@pytest.mark.parametrize(
    "way",
    [
        replace(WAY, operators=("0xone", "0xone")),
        replace(WAY, second="https://relay.one/else"),
        replace(WAY, gateway="https://relay.two"),
        replace(WAY, first="http://127.0.0.1:1", second="http://localhost:2"),
    ],
    ids=["one operator", "one machine", "the second is the host's", "loopback"],
)
def test_relays_that_are_not_apart_hide_no_address(way: Way) -> None:
    disclosure = table(way=way)
    assert disclosure[Party.HOST, Asset.ADDRESS].view is View.EVERYTHING
    assert Ground.NOTHING in disclosure[Party.HOST, Asset.ADDRESS].grounds
    assert refused(disclosure)


def test_development_software_is_refused_by_it() -> None:
    assert refused(table(Enclave(evidence=(DEV,))))
    assert refused(table(Enclave(approved=None)))


def test_other_keys_than_the_ledgers_are_refused() -> None:
    enclave: Any = Enclave()
    check_registered(enclave, bytes(32))
    with pytest.raises(EvidenceError) as caught:
        check_registered(enclave, bytes(31) + b"\x01")
    assert caught.value.check == "registered keys"


def test_an_edge_prover_is_named_with_whoever_sees_what_it_and_its_host_do() -> None:
    alone, proved = table(), table(prover=True)
    assert "edge prover" in party_name(Party.ENCLAVE, proved)
    assert "edge prover" in party_name(Party.OBSERVER, proved)
    assert proved[Party.OBSERVER, Asset.ADDRESS].view == View.EVERYTHING
    assert "edge prover" not in str(alone.to_json())
    assert alone.cells == proved.cells
