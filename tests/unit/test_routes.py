"""What the two routes disclose, and that it never flatters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from privity.attest.examine import Examined
from privity.attest.log.memory import LogMemory, Remembered
from privity.attest.trust import Trust
from privity.attested import Approved, Logged, VerifiedEvidence
from privity.disclosure import Asset, Basis, Cell, Ground, Party, View
from privity.errors import InputError, PeerError, PolicyRefusal
from privity.infer.peers import EnclavePeer
from privity.infer.routes import confidential
from privity.infer.routes.confidential import confidential_disclosure, discover
from privity.infer.routes.local import local_disclosure
from privity.policy import Policy
from privity.seal.hops import exit_url

DEV = VerifiedEvidence(
    "dev",
    "sha256:" + "0" * 64,
    frozenset({Basis(Ground.NOTHING, "a dev enclave does not stop its host")}),
    True,
)
HARDWARE = VerifiedEvidence(
    "tdx", "sha256:" + "0" * 64, frozenset({Basis(Ground.HARDWARE, "Intel TDX")}), False
)
NEITHER = VerifiedEvidence(
    "odd", "sha256:" + "0" * 64, frozenset({Basis(Ground.PROMISE, "says so")}), False
)
APPROVED = Approved("privity", "sha256:" + "1" * 64, "did:key:z6Mk")
LOGGED = Logged("log.example", 7, bytes(32), 0)
DIRECT = EnclavePeer("https://enclave.example")
APART = EnclavePeer("https://enclave.example", "https://relay.example/one")
TOGETHER = EnclavePeer("http://127.0.0.1:4001", "http://localhost:4002/devnet")


@dataclass(frozen=True)
class Attested:
    """Stands for an AttestedEnclave, which only verification can make."""

    evidence: tuple[VerifiedEvidence, ...]
    approved: Approved | None = APPROVED
    logged: Logged | None = LOGGED

    @property
    def dev(self) -> bool:
        return any(one.dev for one in self.evidence)


def table(peer: EnclavePeer, *evidence: VerifiedEvidence, **lacks: None) -> Any:
    enclave: Any = Attested(evidence, **lacks)
    return confidential_disclosure(enclave, peer)


@dataclass(frozen=True)
class Named:
    disclosure: Any
    name: str = "route"
    terms: None = None


def admitted_by(policy: str, disclosure: Any) -> bool:
    try:
        Policy.load(policy).admit(Named(disclosure))
    except PolicyRefusal:
        return False
    return True


def test_a_dev_enclave_is_called_so_and_stops_nobody() -> None:
    found = table(APART, DEV)
    assert found.labels[Party.ENCLAVE] == {"enclave · dev"}
    host = found[Party.HOST, Asset.PROMPT]
    assert (host.view, host.grounds) == (View.EVERYTHING, {Ground.NOTHING})
    assert found[Party.ENCLAVE, Asset.ANSWER] == Cell(
        View.EVERYTHING, frozenset({Basis(Ground.PROMISE, "plain software")})
    )
    assert admitted_by("dev", found)
    for policy in ("confidential", "anonymous", "zero-retention", "local-only"):
        assert not admitted_by(policy, found)


def test_attested_hardware_leaves_the_host_the_size() -> None:
    found = table(APART, HARDWARE)
    host = found[Party.HOST, Asset.PROMPT]
    assert host.view == View.SIZE
    assert host.grounds == {Ground.HARDWARE, Ground.MATHEMATICS}
    assert found[Party.ENCLAVE, Asset.PROMPT].grounds == {Ground.HARDWARE}
    assert admitted_by("confidential", found)
    assert admitted_by("anonymous", found)


def test_one_piece_of_dev_evidence_makes_the_whole_dev() -> None:
    found = table(APART, HARDWARE, DEV)
    assert found[Party.HOST, Asset.PROMPT].view == View.EVERYTHING
    assert found[Party.HOST, Asset.PROMPT].grounds == {Ground.NOTHING}
    assert not admitted_by("confidential", found)


def test_evidence_that_is_no_hardware_stops_no_host() -> None:
    found = table(APART, NEITHER)
    assert found[Party.HOST, Asset.PROMPT].view == View.EVERYTHING
    assert not admitted_by("confidential", found)


def test_code_that_nobody_trusted_approved_stops_no_host() -> None:
    found = table(APART, HARDWARE, approved=None)
    assert found[Party.HOST, Asset.PROMPT].view == View.EVERYTHING
    assert found[Party.ENCLAVE, Asset.PROMPT].grounds == {Ground.PROMISE}
    assert not admitted_by("confidential", found)


def test_keys_in_no_log_may_tell_one_person_from_others() -> None:
    found = table(APART, HARDWARE, logged=None)
    for party in (Party.HOST, Party.ENCLAVE):
        assert found[party, Asset.IDENTITY].view == View.EVERYTHING
        assert table(APART, HARDWARE)[party, Asset.IDENTITY].view == View.NOTHING
    assert admitted_by("confidential", found)
    assert not admitted_by("anonymous", found)


@pytest.mark.parametrize("party", [Party.HOST, Party.ENCLAVE])
def test_who_asked_is_hidden_only_by_a_relay_elsewhere(party: Party) -> None:
    apart = table(APART, HARDWARE)[party, Asset.ADDRESS]
    assert (apart.view, apart.grounds) == (View.NOTHING, {Ground.QUORUM})
    assert apart.instead == {"the relay"}
    assert table(DIRECT, HARDWARE)[party, Asset.ADDRESS].view == View.EVERYTHING
    together = table(TOGETHER, HARDWARE)[party, Asset.ADDRESS]
    assert (together.view, together.grounds) == (View.EVERYTHING, {Ground.NOTHING})
    for peer in (DIRECT, TOGETHER):
        assert not admitted_by("anonymous", table(peer, HARDWARE))


def test_a_relay_has_a_row_only_where_there_is_one() -> None:
    assert Party.RELAY not in set(table(DIRECT, DEV).parties())
    relay = table(APART, DEV)[Party.RELAY, Asset.PROMPT]
    assert (relay.view, relay.grounds) == (View.SIZE, {Ground.MATHEMATICS})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:11434/v1", "http://localhost:1234", "http://[::1]:8080/v1"]
)
def test_a_local_engine_shows_nothing_to_anyone_else(url: str) -> None:
    found = local_disclosure(url, "ollama")
    assert set(found.parties()) == {Party.PERSON, Party.DEVICE}
    assert found.labels[Party.DEVICE] == {"your device · ollama"}
    assert admitted_by("local-only", found)


def test_an_engine_elsewhere_is_not_local() -> None:
    found = local_disclosure("http://gpu.example:8000/v1", "vllm")
    assert found[Party.HOST, Asset.PROMPT].view == View.EVERYTHING
    assert found[Party.OBSERVER, Asset.PROMPT].view == View.EVERYTHING
    assert local_disclosure("https://gpu.example/v1", "vllm")[
        Party.OBSERVER, Asset.PROMPT
    ].view == (View.SIZE)
    for policy in ("local-only", "confidential", "anonymous", "zero-retention"):
        assert not admitted_by(policy, found)


@pytest.mark.anyio
@pytest.mark.parametrize("peer", [DIRECT, APART])
async def test_a_statement_that_drips_is_given_up(
    peer: EnclavePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0.02)
                yield b"x"

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Dripping())

    monkeypatch.setattr(confidential, "_STATEMENT_S", 0.1)
    with anyio.fail_after(60), pytest.raises(PeerError, match="within") as caught:
        await discover(peer, Trust(), Slow())
    assert caught.value.hint


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("peer", "named"),
    [
        (DIRECT, "the enclave at https://enclave.example "),
        (APART, "the relay at https://relay.example/one "),
        (
            EnclavePeer("https://enclave.example", exit_url("b2350a")),
            "the way by two relays to https://enclave.example ",
        ),
    ],
)
async def test_who_did_not_answer_has_a_name_that_people_know(
    peer: EnclavePeer, named: str
) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(PeerError) as refused:
        await discover(peer, Trust(), httpx.MockTransport(fails))
    assert refused.value.message.startswith(named + "could not be reached")


@pytest.mark.anyio
@pytest.mark.parametrize("others", [1, 9])
async def test_a_tree_that_was_not_compared_with_the_one_remembered_is_looked_at_again(
    others: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process of this device follows the same log, once or all the time."""
    memory = LogMemory(tmp_path)
    judged: list[Remembered | None] = []
    logged = Logged("log.example", 20, b"\1" * 32, 0)

    async def examine(*_: object, **__: object) -> tuple[Examined, datetime]:
        before = memory.get("log.example")
        judged.append(before)
        if len(judged) <= others:
            memory.keep("log.example", Remembered(len(judged), bytes(32)), compared=before)
        return Examined(None, (), logged=logged, remembered=before), datetime.now(UTC)

    monkeypatch.setattr(confidential, "examine_peer", examine)
    monkeypatch.setattr(confidential, "accept", lambda *_: Attested((HARDWARE,), logged=logged))
    if others == 1:
        await discover(DIRECT, Trust(), httpx.AsyncHTTPTransport(), memory=memory)
        assert judged == [None, Remembered(1, bytes(32))]
        assert memory.get("log.example") == Remembered(20, b"\1" * 32)
    else:
        with pytest.raises(InputError, match="while this one was judged"):
            await discover(DIRECT, Trust(), httpx.AsyncHTTPTransport(), memory=memory)
        assert len(judged) == 3
