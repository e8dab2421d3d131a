"""What an enclave offers outside the seal, and what it does inside; the engine here is a script."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from privity.attest import DevQuoter, DevRoot, Trust, verify_statement
from privity.errors import EngineError, EvidenceError, InputError
from privity.identity.multibase import encode_base64url
from privity.infer.config import Config
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.opening import SessionSettings, open_session
from privity.infer.receipts import ReceiptStore
from privity.node.attestation import AttestationSettings
from privity.node.enclave import EnclaveApp
from privity.node.enclave_role import EnclaveSettings, serve
from privity.policy.evidence import EvidencePolicy
from privity.receipt import Outcome
from privity.seal.gateway import GATEWAY_PATH
from privity.statement import MEDIA_TYPE, PATH, Beacon, Statement

MEASUREMENT = "sha256:" + "0" * 64
NONCE = bytes(range(32))
HOST = "http://enclave.test"


class Script:
    """A server that looks like llama-server and remembers what it was asked."""

    def __init__(self, owner: str = "llamacpp") -> None:
        self.owner = owner
        self.asked: list[dict[str, Any]] = []
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def _models(self, request: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": "tiny", "owned_by": self.owner}]})

    async def _chat(self, request: Request) -> JSONResponse:
        self.asked.append(await request.json())
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        return JSONResponse({"choices": [{"message": {"content": "hi"}}], "usage": usage})


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def engine_url(script: Script, serve: Callable[..., str]) -> str:
    return serve(script.app)


@pytest.fixture
def root() -> DevRoot:
    return DevRoot.generate()


@asynccontextmanager
async def opened(url: str, root: DevRoot, **options: Any) -> AsyncIterator[EnclaveApp]:
    quoter = DevQuoter(root, now=datetime.now(UTC), measurement=MEASUREMENT)
    app = EnclaveApp(OpenAIServer(url), [quoter], **options)
    await app.open()
    yield app
    await app.aclose()


def outside(app: EnclaveApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST)


def sealed(app: EnclaveApp, root: DevRoot) -> httpx.AsyncClient:
    settings = SessionSettings(policy="dev", enclave=HOST, route="confidential")
    transport = open_session(
        settings, config=Config(dev_roots=(root.did,)), inner=httpx.ASGITransport(app)
    )
    return httpx.AsyncClient(transport=transport, base_url="http://enclave")


@pytest.mark.anyio
async def test_statement_is_bound_to_the_nonce(engine_url: str, root: DevRoot) -> None:
    trust = Trust(dev_roots=(root.did,), policy=EvidencePolicy(max_age=timedelta(minutes=5)))
    async with opened(engine_url, root) as app, outside(app) as client:
        answer = await client.get(PATH, params={"nonce": encode_base64url(NONCE)})
        published = await client.get(GATEWAY_PATH)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["cache-control"] == "no-store"
    now = datetime.now(UTC)
    enclave = verify_statement(answer.content, nonce=NONCE, trust=trust, now=now)
    assert enclave.kinds == ("dev",) and enclave.dev
    assert [model.id for model in enclave.keyset.models] == ["tiny"]
    assert enclave.keyset.ohttp == published.content
    with pytest.raises(EvidenceError):
        verify_statement(answer.content, nonce=bytes(32), trust=trust, now=now)


@pytest.mark.anyio
async def test_without_a_nonce_the_statement_has_a_beacon(engine_url: str, root: DevRoot) -> None:
    async with opened(engine_url, root) as app, outside(app) as client:
        statement = Statement.parse((await client.get(PATH)).content)
    assert isinstance(statement.freshness, Beacon)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query",
    ["nonce=", "nonce=AAAA", "nonce=%00", "nonce=" + "A" * 44, "nonce=" + "A" * 43 + "&nonce=x"],
)
async def test_a_nonce_that_is_none_is_refused(query: str, engine_url: str, root: DevRoot) -> None:
    async with opened(engine_url, root) as app, outside(app) as client:
        answer = await client.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.anyio
async def test_nothing_under_v1_is_served_unsealed(
    engine_url: str, script: Script, root: DevRoot
) -> None:
    async with opened(engine_url, root) as app, outside(app) as client:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            for path in ("/v1", "/v1/models", "/v1/chat/completions", "/v1/anything/else"):
                answer = await client.request(method, path, json={"messages": []})
                assert answer.status_code == 404
                assert "sealed" in answer.json()["title"]
        for path in ("/", "/slots", "/metrics", "/docs", "/V1/models"):
            assert (await client.get(path)).status_code == 404
        assert (await client.post(PATH)).status_code == 405
        assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert script.asked == []


@pytest.mark.anyio
async def test_keys_are_made_anew_each_time(engine_url: str, root: DevRoot) -> None:
    digests, dids = set(), set()
    for _ in range(3):
        async with opened(engine_url, root) as app:
            digests.add(app.keyset.digest)
            dids.add(app.keyset.receipts)
    assert len(digests) == len(dids) == 3
    with pytest.raises(InputError, match="has not started"):
        _ = app.keyset


@pytest.mark.anyio
async def test_a_sealed_job_runs_and_leaves_a_receipt(
    engine_url: str, script: Script, root: DevRoot
) -> None:
    async with opened(engine_url, root) as app, sealed(app, root) as client:
        body = {"model": "tiny", "messages": [], "cache_prompt": True, "id_slot": 1}
        answer = await client.post("/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "hi"
        refused = await client.post("/v1/chat/completions", json={"model": "gpt-4"})
        assert refused.json()["error"]["code"] == "model_not_found"
        listed = await client.get("/v1/models")
        assert [entry["id"] for entry in listed.json()["data"]] == ["tiny"]
        keyset = app.keyset.digest
    assert script.asked == [{"model": "tiny", "messages": [], "cache_prompt": False}]

    receipts = [_receipt(one.headers["privity-receipt-id"]) for one in (answer, refused)]
    for receipt in receipts:
        assert receipt["keyset"] == keyset
        assert [one["kind"] for one in receipt["evidence"]] == ["dev"]
    assert [one["outcome"] for one in receipts] == [Outcome.COMPLETE, Outcome.FAILED]
    assert receipts[0]["tokens"] == {"prompt": 5, "completion": 2}
    assert receipts[0]["model"] == {"id": "tiny", "weights": None, "engine": "llama-server"}
    assert receipts[1]["model"] is None


def _receipt(number: str) -> dict[str, Any]:
    _, file = ReceiptStore().get(number)
    assert file.receipt is not None
    return dict(file.receipt["credentialSubject"])


@pytest.mark.anyio
async def test_a_caller_that_asks_for_no_receipt_is_served_too(
    engine_url: str, root: DevRoot
) -> None:
    from privity.seal import ohttp
    from privity.seal.binary_http import Decoder, encode_request
    from privity.seal.http_message import Content, RequestHead, Trailers
    from privity.seal.key_config import parse_configs, preferred

    async with opened(engine_url, root) as app, outside(app) as client:
        config = preferred(parse_configs((await client.get(GATEWAY_PATH)).content))
        head = RequestHead("POST", "https", "x", "/v1/chat/completions", ())
        body, opener = ohttp.encapsulate_request(config, encode_request(head, b"{}"))
        answer = await client.post(
            GATEWAY_PATH, content=body, headers={"content-type": ohttp.REQUEST_TYPE}
        )
        decoder = Decoder("response")
        events = [*decoder.feed(opener.open(answer.content)), *decoder.finish()]
    content = b"".join(event.data for event in events if isinstance(event, Content))
    assert json.loads(content)["usage"]["prompt_tokens"] == 5
    assert not any(event.fields for event in events if isinstance(event, Trailers))


@pytest.mark.anyio
async def test_an_engine_that_shares_its_cache_is_taken_only_by_name(
    serve: Callable[..., str], root: DevRoot
) -> None:
    url = serve(Script("somebody").app)
    with pytest.raises(EngineError, match="shares prefix caches"):
        async with opened(url, root):
            pass
    async with opened(url, root, unsafe_shared_cache=True) as app:
        assert "prefix cache shared" in app.keyset.models[0].engine


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:8000", "https://engine.example", "http://127.0.0.1.example/", "x"]
)
def test_an_engine_on_another_machine_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would leave the enclave"):
        EnclaveSettings(AttestationSettings(tmp_path / "root"), engine=url)


def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = EnclaveSettings(AttestationSettings(tmp_path / "root"), engine="http://127.0.0.1:9")
    with pytest.raises(EngineError, match="did not answer"):
        serve(settings, on_ready=lambda ready: None)


def test_an_enclave_without_evidence_is_refused() -> None:
    with pytest.raises(InputError):
        EnclaveApp(OpenAIServer("http://127.0.0.1:9"), [])
