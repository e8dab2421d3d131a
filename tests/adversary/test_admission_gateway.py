"""What the gateway lets through, what it answers, and what it keeps to itself."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import members
from members import EPOCH, SCOPE, digest
from native import needs_native
from privity import statement
from privity.anon import admission, proof_queue, rln
from privity.anon.admission import Admission
from privity.anon.proof_queue import ProofQueue, QueueLimits
from privity.anon.stores import open_store
from privity.errors import AdmissionError, PeerError
from privity.node import query_gate
from privity.node.admission_gateway import (
    _PROBLEMS,
    AdmissionGateway,
    AdmissionLimits,
    EnclaveUpstream,
)
from privity.seal.gateway import GATEWAY_PATH
from scripted_verifier import Verifier, ask, checks, settle

pytestmark = [pytest.mark.anyio, needs_native]

SEALED = {"content-type": "message/ohttp-req"}
CANARY = {
    "user-agent": "canary-agent",
    "x-forwarded-for": "203.0.113.9",
    "cookie": "canary-cookie",
    "x-canary": "1",
}


class Upstream:
    """An enclave that keeps what it receives, and answers as an enclave does."""

    def __init__(self) -> None:
        self.received: list[tuple[Any, bytes]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.received.append((dict(scope), body))
        await self.hold.wait()
        kind = b"message/ohttp-res" if scope["method"] == "POST" else b"application/json"
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ans", "more_body": True})
        await send({"type": "http.response.body", "body": b"wer"})


class Known:
    def knows(self, root: bytes) -> bool:
        return root == members.member()[1].root


class World:
    """A gateway with all around it."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.upstream = Upstream()
        self.slashed: list[bytes] = []

    def gateway(self, **settings: Any) -> AdmissionGateway:
        settings.setdefault("on_double_signal", self.slash)
        return AdmissionGateway(self.admission, self.upstream, **settings)

    async def slash(self, secret: bytes) -> None:
        self.slashed.append(secret)

    def client(self, **settings: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.gateway(**settings), client=("198.51.100.7", 4242))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_store(f"sqlite:{tmp_path / 'store.db'}") as store:
        admission = Admission(SCOPE, Known(), store, clock=lambda: EPOCH * 60.0)
        yield World(admission)
        admission.close()


def proved(request: str = "request", message_id: int = 0, epoch: int = EPOCH) -> dict[str, str]:
    made = members.proof(request, message_id, epoch)
    return {**SEALED, "privity-admission": made.to_header()}


def refusals() -> dict[str, tuple[dict[str, str], str]]:
    """Return, for each check that a header alone can fail, what fails it, and its body."""
    true = members.proof()
    return {
        "missing": (SEALED, "request"),
        "malformed": ({**SEALED, "privity-admission": "A" * 311}, "request"),
        "epoch": (proved("old", 0, EPOCH - 2), "old"),
        "root": (
            {**SEALED, "privity-admission": replace(true, root=true.y).to_header()},
            "request",
        ),
        "proof": (proved("request"), "another request"),
    }


def check_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    kind: str = answer.json()["type"]
    assert kind.startswith("urn:privity:problem:admission:")
    return kind.rpartition(":")[2]


async def test_what_is_not_admitted_does_not_reach_the_enclave(world: World) -> None:
    async with world.client() as client:
        for check, (headers, body) in refusals().items():
            answer = await client.post(GATEWAY_PATH, headers=headers, content=body.encode())
            assert check_of(answer) == check
        first = await client.post(GATEWAY_PATH, headers=proved(), content=b"request")
        assert (first.status_code, first.content) == (200, b"answer")
        again = await client.post(GATEWAY_PATH, headers=proved(), content=b"request")
        assert check_of(again) == "duplicate"
        other = await client.post(GATEWAY_PATH, headers=proved("second"), content=b"second")
        assert check_of(other) == "double-signal"
    assert [body for _, body in world.upstream.received] == [b"request"]


async def test_two_admission_fields_are_none(world: World) -> None:
    async with world.client() as client:
        twice = [*proved().items(), ("privity-admission", proved()["privity-admission"])]
        answer = await client.post(GATEWAY_PATH, headers=twice, content=b"request")
        assert check_of(answer) == "malformed"


async def test_the_enclave_receives_two_fields_and_the_body_alone(world: World) -> None:
    async with world.client() as client:
        headers = {**CANARY, **proved(), "privity-query-proof": "cHJvb2Y"}
        await client.post(GATEWAY_PATH + "?canary=1", headers=headers, content=b"request")
    ((scope, body),) = world.upstream.received
    assert dict(scope["headers"]) == {
        b"content-type": b"message/ohttp-req",
        b"content-length": b"7",
        b"privity-query-proof": b"cHJvb2Y",
    }
    assert body == b"request"
    assert scope["client"] is None


async def test_no_address_or_header_of_a_client_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client
    async with world.client(on_double_signal=failing) as client:
        for headers, body in (*refusals().values(), (proved(), "request"), (proved("b"), "b")):
            sent = {**CANARY, **headers}
            await client.post(GATEWAY_PATH, headers=sent, content=body.encode())
        await client.get(GATEWAY_PATH, headers=CANARY)
        await client.get("/elsewhere?canary", headers=CANARY)
    assert "not slashed" in caplog.text
    for canary in ("198.51.100.7", "4242", "203.0.113.9", "canary", proved()["privity-admission"]):
        assert canary not in caplog.text


async def failing(secret: bytes) -> None:
    raise PeerError("the ledger is away")


async def test_a_double_signal_is_handed_over_once_and_its_answer_shows_nothing(
    world: World,
) -> None:
    secret = members.member()[0].unsafe_secret()
    async with world.client() as client:
        await client.post(GATEWAY_PATH, headers=proved("a", 1), content=b"a")
        for request in ("b", "c", "b"):
            answer = await client.post(
                GATEWAY_PATH, headers=proved(request, 1), content=request.encode()
            )
            assert check_of(answer) == "double-signal"
            assert secret.hex() not in answer.text
            assert str(int.from_bytes(secret, "little")) not in answer.text
    assert world.slashed == [secret]


async def test_a_slash_that_failed_is_tried_at_the_next_double_signal(world: World) -> None:
    tries = []

    async def once(secret: bytes) -> None:
        tries.append(secret)
        if len(tries) == 1:
            raise PeerError("the ledger is away")

    async with world.client(on_double_signal=once) as client:
        for request in ("a", "b", "c", "d"):
            await client.post(GATEWAY_PATH, headers=proved(request, 2), content=request.encode())
    assert len(tries) == 2


async def test_fetches_of_one_source_leave_room_for_others(world: World) -> None:
    gate = world.gateway()
    world.upstream.hold.clear()
    clients = [
        httpx.AsyncClient(
            transport=httpx.ASGITransport(gate, client=(address, 1)), base_url="http://gateway"
        )
        for address in ("198.51.100.7", "203.0.113.9")
    ]
    one, other = clients
    async with one, other:
        many = [asyncio.create_task(one.get(GATEWAY_PATH)) for _ in range(64)]
        refused, held = await asyncio.wait(many, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert refused and held
        mine = asyncio.create_task(other.get(GATEWAY_PATH))
        while len(world.upstream.received) < AdmissionLimits().open_each + 1 and not mine.done():
            await asyncio.sleep(0.01)
        world.upstream.hold.set()
        assert (await mine).status_code == 200
        answers = [(await task).status_code for task in many]
        assert answers.count(200) == AdmissionLimits().open_each
        assert (await one.get(GATEWAY_PATH)).status_code == 200, "its share is free again"


async def test_keys_and_statements_pass_without_a_proof_a_few_at_a_time(world: World) -> None:
    async with world.client(limits=AdmissionLimits(open=2)) as client:
        world.upstream.hold.clear()
        held = [asyncio.create_task(client.get(GATEWAY_PATH)) for _ in range(2)]
        while len(world.upstream.received) < 2:
            await asyncio.sleep(0.01)
        assert (await client.get(statement.PATH)).status_code == 503
        world.upstream.hold.set()
        assert {(await one).status_code for one in held} == {200}
        nonce = "?nonce=" + "A" * 43
        assert (await client.get(statement.PATH + nonce)).status_code == 200
    assert world.upstream.received[-1][0]["query_string"] == nonce[1:].encode()
    assert world.upstream.received[-1][0]["headers"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/chat/completions", 404),
        ("POST", statement.PATH, 405),
        ("DELETE", GATEWAY_PATH, 405),
    ],
)
async def test_nothing_else_is_served(world: World, method: str, path: str, status: int) -> None:
    async with world.client() as client:
        answer = await client.request(method, path, headers=proved(), content=b"request")
    assert answer.status_code == status
    assert world.upstream.received == []


async def test_what_is_not_sealed_or_too_large_uses_no_message_up(world: World) -> None:
    async with world.client(limits=AdmissionLimits(request_bytes=8)) as client:
        plain = {**proved(), "content-type": "application/json"}
        answer = await client.post(GATEWAY_PATH, headers=plain, content=b"request")
        assert answer.status_code == 415

        async def pieces() -> AsyncIterator[bytes]:
            yield b"12345"
            yield b"6789"

        for content in (b"123456789", pieces()):
            answer = await client.post(GATEWAY_PATH, headers=proved(), content=content)
            assert answer.status_code == 413
        answer = await client.post(GATEWAY_PATH, headers=proved(), content=b"request")
        assert answer.status_code == 200


async def test_slow_uploads_of_one_source_leave_room_for_others(world: World) -> None:
    limits = AdmissionLimits(uploads_each=2, uploads=3, upload_s=60)
    gateway = world.gateway(limits=limits)
    opened, release = [], asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        opened.append(1)
        await release.wait()
        yield b"request"

    def client(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(gateway, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async with client("198.51.100.1") as slow_one, client("198.51.100.2") as other:
        held = [
            asyncio.create_task(slow_one.post(GATEWAY_PATH, headers=proved(), content=slow()))
            for _ in range(2)
        ]
        while len(opened) < 2:
            await asyncio.sleep(0.01)
        more = await slow_one.post(GATEWAY_PATH, headers=proved(), content=b"request")
        assert more.json()["type"] == "urn:privity:problem:busy"
        good = await other.post(GATEWAY_PATH, headers=proved("good", 3), content=b"good")
        assert good.status_code == 200
        release.set()
        assert sorted([(await one).status_code for one in held]) == [200, 409]


async def test_of_a_forger_whose_places_are_taken_no_body_is_read(tmp_path: Path) -> None:
    verifier, read = Verifier(), list[int]()
    queue = ProofQueue(QueueLimits(waiting=1), verify=verifier)
    for _ in range(8):  # the address that `World.client` has
        await checks(ask(queue, "198.51.100.7", 1, good=False))

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"request"

    async with open_store(f"sqlite:{tmp_path / 'store.db'}") as store:
        admission = Admission(SCOPE, Known(), store, clock=lambda: EPOCH * 60.0, queue=queue)
        async with World(admission).client() as client:
            verifier.go.clear()
            verifier.batches.clear()
            ahead = []
            for number in (1, 2):  # one is being verified, one waits
                headers = proved(message_id=number)
                ahead.append(
                    asyncio.create_task(client.post(GATEWAY_PATH, headers=headers, content=body()))
                )
                async with asyncio.timeout(60):
                    while len(read) < number or not verifier.batches:
                        await asyncio.sleep(0.01)
                await settle()
            refused = await client.post(GATEWAY_PATH, headers=proved(), content=body())
            assert check_of(refused) == "busy" and len(read) == 2
            verifier.go.set()
            assert {check_of(await one) for one in ahead} == {"proof"}
        admission.close()


async def test_the_query_is_checked_after_the_member_is(world: World) -> None:
    asked: list[tuple[str | None, bytes]] = []

    async def check(proof: str | None, signal: Any) -> None:
        asked.append((proof, signal.digest))
        if proof != "true":
            raise AdmissionError("no", check="query")

    async with world.client(query_check=check) as client:
        unproved = await client.post(GATEWAY_PATH, headers=SEALED, content=b"request")
        assert check_of(unproved) == "missing"
        assert asked == []
        false = {**proved("x", 5), "privity-query-proof": "false"}
        assert check_of(await client.post(GATEWAY_PATH, headers=false, content=b"x")) == "query"
        true = {**proved("y", 6), "privity-query-proof": "true"}
        assert (await client.post(GATEWAY_PATH, headers=true, content=b"y")).status_code == 200
    assert asked == [("false", digest("x")), ("true", digest("y"))]
    assert [body for _, body in world.upstream.received] == [b"y"]


def test_every_check_has_an_answer_of_its_own() -> None:
    """What the code raises, what the gateway answers and what the page lists are the same."""
    raised = set()
    for module in (admission, proof_queue, query_gate, rln):
        tree = ast.parse(inspect.getsource(module))
        raised |= {
            one.value.value
            for one in ast.walk(tree)
            if isinstance(one, ast.keyword)
            and one.arg == "check"
            and isinstance(one.value, ast.Constant)
        }
    page = Path(__file__).parents[2] / "spec" / "admission.md"
    listed = set(re.findall(r"^\| `([a-z-]+)` \| \d{3} \|", page.read_text(), re.MULTILINE))
    assert raised == set(_PROBLEMS) == listed
    kinds = [json.loads(one.body)["type"] for one in _PROBLEMS.values()]
    assert len(set(kinds)) == len(kinds)


async def test_through_the_relay_code_to_a_real_server(
    world: World, serve: Callable[..., str]
) -> None:
    upstream = EnclaveUpstream(serve(Upstream()))
    gateway = AdmissionGateway(world.admission, upstream)
    transport = httpx.ASGITransport(gateway)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer = await client.post(GATEWAY_PATH, headers=proved(), content=b"request")
            assert (answer.status_code, answer.content) == (200, b"answer")
            assert answer.headers["content-type"] == "message/ohttp-res"
            assert (await client.get(GATEWAY_PATH)).content == b"answer"
            nonce = "?nonce=" + "A" * 43
            assert (await client.get(statement.PATH + nonce)).content == b"answer"
    finally:
        await upstream.aclose()


async def test_its_lifespan_opens_prunes_and_closes(world: World) -> None:
    events: list[str] = []

    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        while True:
            kind = (await receive())["type"]
            events.append(kind)
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return

    admission = Admission(SCOPE, Known(), Pruned(events), clock=lambda: EPOCH * 60.0 + 59.99)
    gateway = AdmissionGateway(admission, upstream)
    received: asyncio.Queue[Any] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    await received.put({"type": "lifespan.startup"})
    running = asyncio.create_task(gateway({"type": "lifespan"}, received.get, sent.put))
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    while "prune" not in events:
        await asyncio.sleep(0.01)
    await received.put({"type": "lifespan.shutdown"})
    assert (await sent.get())["type"] == "lifespan.shutdown.complete"
    await running
    assert events[0] == "lifespan.startup"
    assert events[-1] == "lifespan.shutdown"


class Pruned:
    def __init__(self, events: list[str]) -> None:
        self.events = events

    async def record(self, *_: Any) -> Any:
        raise PeerError("not used")

    async def prune(self, before_epoch: int) -> int:
        self.events.append("prune")
        if self.events.count("prune") == 1:
            raise PeerError("the store is away")
        return 0
