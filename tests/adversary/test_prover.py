"""Attacks on the offload of proofs: who may be given tokens, and what comes back."""

from __future__ import annotations

import dataclasses
import gzip
import inspect
import logging
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, get_type_hints

import anyio
import httpx
import pytest

from native import needs_kernel
from privity.anon.query import Opening, QueryProof, verify_query
from privity.anon.query_opening import OpenedQuery, check_opening
from privity.anon.query_terms import QueryTerms
from privity.anon.query_witness import PROVER_PATH
from privity.anon.vocabulary import Vocabulary
from privity.attest import DevQuoter, DevRoot, Trust, build_statement, verify_statement
from privity.attested import AttestedEnclave
from privity.errors import EvidenceError, InputError, PeerError, StaleKeyError
from privity.identity.jcs import canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.edge_prover import EdgeProver
from privity.node import prover as prover_module
from privity.node.prover import ProverApp
from privity.seal.asgi import ASGIApp, Receive, Scope, Send, answer
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys
from privity.statement import Keyset
from proved_queries import BUCKET, OPENING, REQUEST, TOKENIZER, TOKENS, VOCABULARY, proved

pytestmark = [pytest.mark.anyio, needs_kernel("QueryKey")]

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TERMS = QueryTerms(VOCABULARY, (BUCKET,))
ARGUMENTS: dict[str, Any] = {
    "vocabulary": VOCABULARY,
    "bucket": BUCKET,
    "digest": REQUEST,
    "opening": OPENING,
}


class Wire(httpx.AsyncBaseTransport):
    """To an app in this process; keeps what passes."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self.seen: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(await request.aread())
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method, request.url, headers=request.headers, content=self.seen[-1]
            )
        )


def attested(keys: GatewayKeys) -> AttestedEnclave:
    root = DevRoot.generate()
    keyset = Keyset(keys.configs_bytes, SigningKey.generate().did)
    statement = build_statement(keyset, [DevQuoter(root, now=NOW)], now=NOW, nonce=b"\0" * 32)
    trust = Trust((root.did,))
    return verify_statement(statement.to_bytes(), nonce=b"\0" * 32, trust=trust, now=NOW)


def edge(app: ASGIApp, *, keys: GatewayKeys | None = None) -> tuple[EdgeProver, Wire]:
    held = GatewayKeys.generate()
    wire = Wire(Gateway(app, held))
    prover = EdgeProver(
        attested(keys or held), f"http://edge.test{GATEWAY_PATH}", inner=wire, unsafe_dev=True
    )
    return prover, wire


@pytest.fixture
async def honest() -> AsyncIterator[tuple[EdgeProver, Wire]]:
    prover, wire = edge(ProverApp([TERMS]))
    yield prover, wire
    await prover.aclose()


async def test_an_attested_enclave_proves_for_a_device(honest: tuple[EdgeProver, Wire]) -> None:
    prover, wire = honest
    proof = await prover.prove(TOKENS, **ARGUMENTS)
    query = verify_query(proof, vocabulary=VOCABULARY, digest=REQUEST)
    assert isinstance(check_opening(query, OPENING, TOKENS), OpenedQuery)
    assert len(wire.seen) == 1
    assert not any(word in wire.seen[0] for word in (b"tokens", OPENING.blinding, OPENING.seed))


async def test_only_an_attested_enclave_is_given_tokens() -> None:
    hints = get_type_hints(EdgeProver.__init__)
    assert hints["enclave"] is AttestedEnclave
    with pytest.raises(AttributeError):
        EdgeProver("https://edge.test", GATEWAY_PATH)  # type: ignore[arg-type]
    with pytest.raises(EvidenceError) as caught:
        EdgeProver(attested(GatewayKeys.generate()), "http://edge.test")
    assert caught.value.check == "dev evidence"
    assert inspect.signature(EdgeProver).parameters["unsafe_dev"].default is False


async def test_a_host_that_answers_under_other_keys_gets_nothing() -> None:
    prover, wire = edge(ProverApp([TERMS]), keys=GatewayKeys.generate())
    with pytest.raises(StaleKeyError):
        await prover.prove(TOKENS, **ARGUMENTS)
    assert len(wire.seen) == 1
    await prover.aclose()


@pytest.mark.parametrize(
    "made",
    [
        b"",
        b"no proof",
        pytest.param(None, id="another's tokens"),
        bytes(9000),
    ],
)
async def test_what_is_no_proof_of_these_tokens_is_not_used(made: bytes | None) -> None:
    other = proved((3, 4)).proof if made is None else made

    async def lies(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, [], other)

    prover, _ = edge(lies)
    with pytest.raises(PeerError):
        await prover.prove(TOKENS, **ARGUMENTS)
    await prover.aclose()


async def test_an_answer_without_end_is_not_read() -> None:
    sent = 0

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            sent += 1
            await send({"type": "http.response.body", "body": bytes(4096), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    prover, _ = edge(endless)
    with pytest.raises(PeerError, match="more than a proof"):
        await prover.prove(TOKENS, **ARGUMENTS)
    await prover.aclose()


async def test_an_answer_is_not_unpacked() -> None:
    async def packed(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, [(b"content-encoding", b"gzip")], gzip.compress(bytes(1 << 20)))

    prover, _ = edge(packed)
    with pytest.raises(PeerError, match="is no proof"):
        await prover.prove(TOKENS, **ARGUMENTS)
    await prover.aclose()


async def test_a_prover_cannot_have_a_device_carry_a_mark() -> None:
    """Else its next questions would be known for the same device's."""
    app, carried = ProverApp([TERMS]), list[bytes | None]()

    async def marking(scope: Scope, receive: Receive, send: Send) -> None:
        carried.append(dict(scope["headers"]).get(b"cookie"))

        async def marked(event: Any) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event["headers"], (b"set-cookie", b"who=device-7")]
            await send(event)

        await app(scope, receive, marked)

    prover, _ = edge(marking)
    for _ in range(2):
        await prover.prove(TOKENS, **ARGUMENTS)
    await prover.aclose()
    assert carried == [None, None]


async def test_a_prover_that_does_not_answer_is_not_waited_for() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    held = GatewayKeys.generate()
    prover = EdgeProver(
        attested(held),
        f"http://edge.test{GATEWAY_PATH}",
        inner=Wire(Gateway(silent, held)),
        unsafe_dev=True,
        limit_s=0.2,
    )
    with pytest.raises(PeerError, match="no proof came"):
        await prover.prove(TOKENS, **ARGUMENTS)
    await prover.aclose()


async def test_what_a_prover_says_moves_no_terminal() -> None:
    async def shouts(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 400, [], b"\x1b[2Jgone" + b"x" * 5000)

    prover, _ = edge(shouts)
    with pytest.raises(InputError, match="gone") as caught:
        await prover.prove(TOKENS, **ARGUMENTS)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300
    await prover.aclose()


async def test_more_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(*_: Any) -> bytes:
        go_on.wait(120)
        return b"proof"

    monkeypatch.setattr(prover_module, "make_proof", slow)
    app = ProverApp([TERMS], most_waiting=1)
    transport = httpx.ASGITransport(app=app)
    codes: list[int] = []
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as http:

        async def one() -> None:
            codes.append((await http.post(PROVER_PATH, content=witness())).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
            while 503 not in codes:
                await anyio.sleep(0.01)
            go_on.set()
    assert sorted(codes) == [200, 200, 503]


async def test_a_prover_cannot_tag_for_the_client(honest: tuple[EdgeProver, Wire]) -> None:
    """It learns the blinding, which does not tell the opening."""
    prover, _ = honest
    proof = await prover.prove(TOKENS, **ARGUMENTS)
    assert proof.tag == OPENING.tag(
        verify_query(proof, vocabulary=VOCABULARY, digest=REQUEST).context, proof.proof
    )
    assert Opening(OPENING.blinding).tag(b"", proof.proof) != proof.tag


async def ask(body: bytes, path: str = PROVER_PATH, method: str = "POST") -> httpx.Response:
    transport = httpx.ASGITransport(app=ProverApp([TERMS]))
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as http:
        return await http.request(method, path, content=body)


def witness(**changed: Any) -> bytes:
    fields = {
        "blinding": "A" * 43,
        "bucket": BUCKET,
        "request": "A" * 43,
        "tokens": [2, 3],
        "vocabulary": encode_base64url(VOCABULARY.digest),
    }
    return canonical({**fields, **changed})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        witness(tokens=[]),
        witness(tokens=[500]),
        witness(tokens=[2**40]),
        witness(tokens=[-1]),
        witness(tokens=["4242"]),
        witness(tokens=[2] * (BUCKET + 1)),
        witness(bucket=3),
        witness(blinding="AA"),
        witness(vocabulary=encode_base64url(Vocabulary(9, (), TOKENIZER).digest)),
        witness(more=1),
    ],
)
async def test_a_wrong_witness_is_refused_without_a_token(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answered = await ask(body)
    assert answered.status_code == 400
    assert not any(one in answered.text for one in ("500", "4242", str(2**40)))
    assert not [one for one in caplog.records if one.name.startswith("privity")]


async def test_other_requests_get_no_proof() -> None:
    assert (await ask(bytes(70_000))).status_code == 413
    assert (await ask(witness(), path="/v1/models")).status_code == 404
    assert (await ask(b"", method="GET")).status_code == 405
    assert (await ask(witness())).status_code == 200


async def test_tokens_that_are_not_well_formed_are_said_to_be(
    honest: tuple[EdgeProver, Wire],
) -> None:
    with pytest.raises(InputError):
        await honest[0].prove((500,), **ARGUMENTS)


def test_a_proof_says_nothing_of_who_made_it() -> None:
    assert {one.name for one in dataclasses.fields(QueryProof)} == {
        "bucket",
        "vocabulary",
        "tag",
        "proof",
    }
