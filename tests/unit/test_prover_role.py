"""An edge prover as an enclave, and a device that verifies it before it sends a token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from native import needs_kernel
from privity.anon.query import verify_query
from privity.anon.query_opening import OpenedQuery, check_opening
from privity.anon.query_terms import QueryTerms
from privity.anon.query_witness import PROVER_PATH
from privity.attest import DevQuoter, DevRoot, Trust
from privity.attest.log.memory import LogMemory
from privity.errors import EvidenceError, InputError, PeerError, PolicyRefusal, PrivityError
from privity.infer.anonymous import edge_prover
from privity.infer.anonymous.edge_prover import EdgeRoute, configured_queries
from privity.infer.peers import EnclavePeer, NetworkPeer
from privity.infer.routes.confidential import ConfidentialRoute, discover
from privity.node.attestation import AttestationSettings
from privity.node.outside import HEALTH_PATH
from privity.node.prover import ProverApp
from privity.node.prover_role import ProverEnclave, ProverSettings
from privity.policy import Policy
from privity.statement import PATH
from proved_queries import BUCKET, OPENING, REQUEST, TOKENS, VOCABULARY

pytestmark = [pytest.mark.anyio, needs_kernel("QueryKey")]

TERMS = QueryTerms(VOCABULARY, (BUCKET,))
ROOT = DevRoot.generate()
URL = "http://127.0.0.1:1"


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """Run an app's lifespan around its transport."""
    heard, told = anyio.create_memory_object_stream[dict[str, Any]](8), anyio.Event()

    async def send(message: dict[str, Any]) -> None:
        assert message["type"].endswith("complete"), message
        told.set()

    async with anyio.create_task_group() as group:
        await heard[0].send({"type": "lifespan.startup"})
        group.start_soon(app, {"type": "lifespan"}, heard[1].receive, send)
        await told.wait()
        yield httpx.ASGITransport(app=app)
        await heard[0].send({"type": "lifespan.shutdown"})
    for one in heard:
        one.close()


def enclave() -> ProverEnclave:
    quoter = DevQuoter(ROOT, now=datetime.now(UTC))
    return ProverEnclave(ProverApp([TERMS]), [quoter])


def asking(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    inner: httpx.AsyncBaseTransport,
    *,
    policy: str = "dev",
    roots: tuple[str, ...] = (ROOT.did,),
    **settings: Any,
) -> Any:
    """Return the prover of a device with that configuration, which reaches the node in memory."""
    monkeypatch.setattr(edge_prover, "Connections", lambda: inner)
    ceiling = Policy.load(policy)

    async def edge(peer: EnclavePeer, http: httpx.AsyncBaseTransport) -> ConfidentialRoute:
        trust = Trust(roots, policy=ceiling.evidence)
        found = await discover(peer, trust, http, memory=LogMemory(tmp_path / "none"))
        ceiling.admit(EdgeRoute(found))
        return found

    peer = NetworkPeer("http://127.0.0.1:2", "contracts.json", prover=URL, **settings)
    return configured_queries(peer, httpx.MockTransport(away), edge)._prover


def away(request: httpx.Request) -> httpx.Response:
    raise AssertionError("a node on this machine is not reached by a proxy")


async def proved(prover: Any) -> bool:
    proof = await prover.prove(
        TOKENS, vocabulary=VOCABULARY, bucket=BUCKET, digest=REQUEST, opening=OPENING
    )
    query = verify_query(proof, vocabulary=VOCABULARY, digest=REQUEST)
    return isinstance(check_opening(query, OPENING, TOKENS), OpenedQuery)


async def test_a_device_verifies_the_node_and_has_it_prove(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with running(enclave()) as inner:
        prover = asking(monkeypatch, tmp_path, inner)
        assert await proved(prover)
        await prover.aclose()


@pytest.mark.parametrize("policy", ["anonymous", "confidential"])
async def test_a_node_that_stops_nobody_gets_no_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: str
) -> None:
    sent = list[httpx.Request]()

    class Watched(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return await inner.handle_async_request(request)

    async with running(enclave()) as inner:
        with pytest.raises((EvidenceError, PolicyRefusal)):
            await proved(asking(monkeypatch, tmp_path, Watched(), policy=policy))
        with pytest.raises(EvidenceError):
            await proved(asking(monkeypatch, tmp_path, Watched(), roots=()))
    assert {request.method for request in sent} == {"GET"}


async def test_what_may_stand_in_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens")

    inner = httpx.MockTransport(down)
    with pytest.raises(PeerError, match="nothing was spent"):
        await proved(asking(monkeypatch, tmp_path, inner))
    assert await proved(asking(monkeypatch, tmp_path, inner, prover_fallback=True))


async def test_nothing_is_taken_unsealed() -> None:
    async with (
        running(enclave()) as inner,
        httpx.AsyncClient(transport=inner, base_url=URL) as http,
    ):
        assert (await http.post(PROVER_PATH, content=b"{}")).status_code == 404
        assert (await http.get(HEALTH_PATH)).json() == {"status": "ok"}
        assert (await http.get(PATH, params={"nonce": "short"})).status_code == 400
        assert (await http.get(PATH)).status_code == 200


def test_a_node_that_nothing_verifies_is_not_used(tmp_path: Path) -> None:
    peer = NetworkPeer("http://127.0.0.1:2", "contracts.json", prover=URL)
    with pytest.raises(InputError):
        configured_queries(peer, httpx.MockTransport(away), None)


def test_in_what_it_proves_is_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "query.json"
    path.write_bytes(TERMS.to_bytes())
    settings = ProverSettings(AttestationSettings(tmp_path / "root.key"), queries=(path,))
    assert settings.terms() == (TERMS,)
    path.write_bytes(b"{}")
    with pytest.raises(PrivityError):
        settings.terms()
    with pytest.raises(InputError):
        ProverApp([])
