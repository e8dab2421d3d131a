"""A sealed model: opened in memory under a grant, and dropped when that ends."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread

from privity.attest.grant_revocation import GrantRevocation
from privity.errors import EngineError, EvidenceError, InputError, OpenError
from privity.identity.timestamps import utc_now
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.proxy import EngineProxy
from privity.infer.engines.weights import Weights
from privity.node.attestation import AttestationSettings
from privity.node.broker import Broker
from privity.node.enclave import EnclaveApp
from privity.node.enclave_role import EnclaveSettings
from privity.node.key_client import elapsed
from privity.node.sealed_model import SealedModel
from privity.statement import PATH, Model, Statement
from privity.vault import ArtefactKey, BytesSource, Meta, Reader, seal_stream
from releases import KEY, Clock, Owner, app_of, client_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files in memory are Linux'"),
]

WEIGHTS = b"GGUF" + bytes(range(256)) * 5000


class RealTime(Clock):
    def __call__(self):  # type: ignore[no-untyped-def]
        return utc_now()

    def seconds(self) -> float:
        return elapsed()


class FakeEngine(EmbeddedEngine):
    """Reads its weights as the real one does, and answers nothing."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.loaded = b""
        self.ended = False

    @property
    def base_url(self) -> str:
        return "http://127.0.0.1:9"

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def models(self) -> tuple[Model, ...]:
        return (Model(self.weights.model, self.weights.digest(), "fake"),)

    async def start(self) -> None:
        if self.weights.fill is not None:
            await to_thread.run_sync(self.weights.fill)
        self.loaded = self.weights.path.read_bytes()

    async def aclose(self) -> None:
        self.ended = True

    @asynccontextmanager
    async def turn(self, *, wide: bool = False) -> AsyncIterator[Mapping[str, object]]:
        yield {}


def sealed(contents: bytes = WEIGHTS, *, seed: int = 1) -> tuple[bytes, Any]:
    """Seal under `KEY`, with the id that a seed determines."""
    sink = io.BytesIO()
    made = seal_stream(
        io.BytesIO(contents),
        sink,
        meta=Meta("tiny.gguf", "model"),
        recipients=(),
        key=ArtefactKey(KEY),
        entropy=lambda size: bytes([seed]) * size,
    )
    return sink.getvalue(), made


@pytest.fixture
def owner() -> Owner:
    return Owner(clock=RealTime())


@pytest.fixture
def broker(owner: Owner, tmp_path: Path) -> Broker:
    return owner.broker(tmp_path / "broker")


Make = Callable[..., SealedModel]


@pytest.fixture
async def make(owner: Owner, broker: Broker) -> AsyncIterator[Make]:
    made: list[SealedModel] = []

    def build(data: bytes, **more: Any) -> SealedModel:
        client = client_of(owner, app_of(owner, broker))
        opener = {"open_source": lambda url: BytesSource(data), "make_engine": FakeEngine}
        made.append(SealedModel("store", client, **{**opener, **more}))
        return made[-1]

    yield build
    for one in made:
        await one.aclose()


def grant(owner: Owner, broker: Broker, made: Any, **more: Any) -> Any:
    signed = owner.signed(artefact=made.id, root=made.root, **{"lease_s": 1, **more})
    broker.add(signed, KEY)
    return signed


async def dropped(model: SealedModel) -> None:
    with anyio.fail_after(60):
        while model.serving:
            await anyio.sleep(0.02)


async def test_it_is_loaded_from_memory_and_named_by_its_root(
    owner: Owner, broker: Broker, make: Make
) -> None:
    data, made = sealed()
    grant(owner, broker, made)
    model = make(data)
    await model.start()
    await model.start()
    assert model._open is not None
    engine = model._open.engine
    assert isinstance(engine, FakeEngine) and engine.loaded == WEIGHTS
    assert str(engine.weights.path).startswith("/proc/self/fd/")
    assert model.models == (Model("tiny", made.root, "fake"),)
    async with model.turn():
        pass


async def test_a_revoked_grant_drops_it_and_says_so(
    owner: Owner, broker: Broker, make: Make
) -> None:
    data, made = sealed()
    signed = grant(owner, broker, made)
    model = make(data)
    await model.start()
    assert model._open is not None
    memory, engine = model._open.memory, model._open.engine
    broker.revoke(GrantRevocation(signed.digest, owner.key.did, "sold", utc_now()).sign(owner.key))
    await dropped(model)
    await anyio.sleep(0.05)
    assert isinstance(engine, FakeEngine) and engine.ended
    assert memory.fd == -1
    with pytest.raises(EngineError, match=r"withdrawn.*sold"):
        async with model.turn():
            pass
    with pytest.raises(EngineError, match="withdrawn"):
        await model.start()
    # A restart: it gets no key, and the reason is the same.
    again = make(data)
    with pytest.raises(EvidenceError, check=lambda error: error.check == "grant revoked"):
        await again.start()


async def test_a_broker_out_of_reach_drops_it_when_the_lease_ends(
    owner: Owner, broker: Broker, make: Make
) -> None:
    data, made = sealed()
    grant(owner, broker, made)
    model = make(data)
    await model.start()

    async def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone")

    model._client._http._transport = httpx.MockTransport(gone)
    await anyio.sleep(0.6)
    assert model.serving
    await dropped(model)
    with pytest.raises(EngineError, match="lease ended"):
        async with model.turn():
            pass


async def test_another_artefact_under_the_same_id_is_refused(
    owner: Owner, broker: Broker, make: Make
) -> None:
    """Whoever knows the key could seal other weights under the id; the grant's root decides."""
    _, made = sealed()
    other, forged = sealed(WEIGHTS[::-1])
    assert forged.id == made.id and forged.root != made.root
    grant(owner, broker, made)
    model = make(other)
    with pytest.raises(EvidenceError, check=lambda error: error.check == "root"):
        await model.start()


async def test_contents_without_the_root_the_artefact_claims_are_refused(
    owner: Owner, broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = sealed()
    other, _ = sealed(WEIGHTS[::-1])
    grant(owner, broker, made)
    monkeypatch.setattr(Reader, "root", made.root, raising=False)
    real = Reader.__init__

    def lying(self: Reader, *arguments: Any) -> None:
        real(self, *arguments)
        self.root = made.root

    monkeypatch.setattr(Reader, "__init__", lying)
    with pytest.raises(OpenError):
        await make(other).start()


async def test_another_id_than_the_one_asked_for_is_refused(
    owner: Owner, broker: Broker, make: Make
) -> None:
    data, made = sealed()
    grant(owner, broker, made)
    with pytest.raises(EvidenceError, check=lambda error: error.check == "artefact"):
        await make(data, artefact="f" * 32).start()


async def test_an_altered_artefact_is_not_loaded(owner: Owner, broker: Broker, make: Make) -> None:
    data, made = sealed()
    grant(owner, broker, made)
    altered = bytearray(data)
    altered[-100] ^= 1
    model = make(bytes(altered))
    with pytest.raises(OpenError):
        await model.start()
    assert model._open is None


async def test_a_withdrawn_model_is_listed_no_more_and_asked_for_in_vain(
    owner: Owner, broker: Broker, make: Make
) -> None:
    data, made = sealed()
    signed = grant(owner, broker, made)
    model = make(data)
    await model.start()
    proxy = EngineProxy(model)
    transport = httpx.ASGITransport(proxy)
    async with httpx.AsyncClient(transport=transport, base_url="http://enclave") as http:
        before = (await http.get("/v1/models")).json()["data"]
        revocation = GrantRevocation(signed.digest, owner.key.did, "sold", utc_now())
        broker.revoke(revocation.sign(owner.key))
        await dropped(model)
        after = (await http.get("/v1/models")).json()["data"]
        asked = await http.post("/v1/chat/completions", json={"model": "tiny", "messages": []})
    assert [one["id"] for one in before] == ["tiny"]
    assert after == []
    assert asked.status_code == 502
    assert asked.json()["error"]["code"] == "engine_unavailable"
    assert "withdrawn" in asked.json()["error"]["message"]
    await proxy.aclose()


async def test_the_keyset_names_the_model_by_its_root(
    owner: Owner, broker: Broker, make: Make
) -> None:
    data, made = sealed()
    grant(owner, broker, made)
    app = EnclaveApp(make(data), [owner.quoter()], clock=owner.clock)
    await app.open()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://enclave") as http:
        statement = Statement.parse((await http.get(PATH)).content)
    assert [(one.id, one.weights) for one in statement.keyset.models] == [("tiny", made.root)]
    await app.aclose()


@pytest.mark.parametrize(
    "settings",
    [
        {"artefact": "store"},
        {"broker": "http://broker.test"},
        {"artefact_id": "f" * 32},
        {"artefact": "store", "broker": "http://b", "weights": Path("x.gguf")},
        {"artefact": "store", "broker": "http://b", "engine": "http://127.0.0.1:1"},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        EnclaveSettings(AttestationSettings(tmp_path / "root"), **settings)
