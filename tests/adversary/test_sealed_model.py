"""A key taken back at the worst moment: while the weights are opened, or loaded."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from privity.errors import EngineError, EvidenceError, InputError, PrivityError
from privity.infer.engines import embedded, hardening
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.hardening import Hardening
from privity.infer.engines.weights import Weights
from privity.node import enclave_role
from privity.node.attestation import AttestationSettings
from privity.node.enclave_role import EnclaveSettings
from privity.node.key_client import Released
from privity.node.memory_file import MemoryFile
from privity.node.sealed_model import SealedModel
from privity.statement import Model
from privity.vault import ArtefactKey, BytesSource, Meta, seal_stream
from releases import KEY, Owner

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files in memory are Linux'"),
]

MARK = b"PLAINTEXT-WEIGHTS-CANARY"
PLAIN = b"GGUF" + MARK * 400_000  # ten chunks


class Revoking:
    """A broker that releases a key, and refuses to renew it when told."""

    def __init__(self, signed: Any) -> None:
        self.signed, self.refuse = signed, anyio.Event()

    async def obtain(self, artefact: str, purpose: Any) -> Released:
        return Released(self.signed, KEY, 1e18, (0, "sha256:" + "0" * 64))

    async def keep(self, released: Released) -> None:
        await self.refuse.wait()
        raise EvidenceError("the owner revoked the grant", check="grant revoked")

    async def aclose(self) -> None:
        pass


class Stalling(BytesSource):
    """A store on a slow line: it stands still at one place, and then goes on."""

    def __init__(self, data: bytes, at: int) -> None:
        super().__init__(data)
        self.at, self.reached, self.go_on = at, threading.Event(), threading.Event()

    def fetch(self, offset: int, length: int) -> bytes:
        if offset >= self.at:
            self.reached.set()
            self.go_on.wait(120)
        return super().fetch(offset, length)


def served(at: int = 1 << 40, **more: Any) -> tuple[SealedModel, Revoking, Stalling]:
    """Return a sealed model, its broker, and its store, which stalls at a place."""
    sink = io.BytesIO()
    meta = Meta("tiny.gguf", "model")
    made = seal_stream(io.BytesIO(PLAIN), sink, meta=meta, recipients=(), key=ArtefactKey(KEY))
    source = Stalling(sink.getvalue(), at)
    broker = Revoking(Owner().signed(artefact=made.id, root=made.root))
    return SealedModel("store", broker, open_source=lambda url: source, **more), broker, source  # type: ignore[arg-type]


@asynccontextmanager
async def starting(model: SealedModel) -> AsyncIterator[None]:
    """Start it meanwhile; it has to fail with words of ours."""

    async def start() -> None:
        with pytest.raises(PrivityError):
            await model.start()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            yield


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not holds():
            await anyio.sleep(0.01)


Children = list[subprocess.Popen[bytes]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Children]]:
    """Put a program of a test's own in place of llama.cpp's; the rest of the engine is as it is."""
    made: Children = []
    real, find = subprocess.Popen, importlib.util.find_spec

    def use(script: str) -> Children:
        def popen(command: Any, **more: Any) -> Any:
            made.append(real([sys.executable, "-c", script], **more))
            return made[-1]

        monkeypatch.setattr(embedded.subprocess, "Popen", popen)
        return made

    def found(name: str, *rest: Any) -> Any:
        return find("json" if name == "xllamacpp" else name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.setattr(embedded, "version", lambda name: "0")
    yield use
    for child in made:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


def holders() -> list[str]:
    """Return who has a memory file open: this process and its children."""
    me = os.getpid()
    children = Path(f"/proc/self/task/{me}/children").read_text().split()
    held = []
    for pid in (str(me), *children):
        folder = f"/proc/{pid}/fd"
        for fd in os.listdir(folder):
            try:
                name = os.readlink(f"{folder}/{fd}")
            except OSError:
                continue  # the listing's own
            if name.startswith("/memfd:privity"):
                held.append(f"{pid}:{fd}")
    return held


async def test_no_plaintext_goes_into_another_file_when_revoked_while_opened(
    tmp_path: Path, program: Callable[[str], Children]
) -> None:
    program("import sys; sys.stdin.read()")
    model, broker, source = served(at=4 << 20)
    files: list[int] = []
    async with starting(model):
        await until(source.reached.is_set)
        assert model._open is not None
        memory = model._open.memory
        fd = memory.fd
        broker.refuse.set()
        await until(lambda: memory.fd == -1)
        # Whatever the process opens next, such as a log, may get the number again.
        while fd not in files and len(files) < 64:
            files.append(os.open(tmp_path / f"log{len(files)}", os.O_RDWR | os.O_CREAT))
        source.go_on.set()
    assert fd in files, "the number was not given again: this shows nothing"
    leaked = [path.name for path in tmp_path.iterdir() if MARK in path.read_bytes()]
    for one in files:
        os.close(one)
    await model.aclose()
    assert leaked == []


@pytest.mark.parametrize("act", ["write", "seal", "lock"])
def test_memory_let_go_takes_nothing_and_says_so(act: str, tmp_path: Path) -> None:
    memory = MemoryFile(1 << 20)
    sink = memory.lock()
    fd = memory.fd
    memory.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == fd  # its number is another file's by now
    acts: dict[str, Callable[[], object]] = {
        "write": lambda: sink.write(MARK),
        "seal": memory.seal,
        "lock": lambda: memory.lock().write(MARK),
    }
    with pytest.raises(EngineError, match="let go"):
        acts[act]()
    os.close(other)
    assert (tmp_path / "other").read_bytes() == b""


# Loading: told what to load, and a while until it listens, deaf to its lifeline meanwhile.
LOADS = """
import json, sys, time
sys.stdin.readline()
open({told!r}, "a").write("told ")
time.sleep({seconds})
print(json.dumps({{"url": "http://127.0.0.1:9"}}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["revoked", "closed"])
async def test_no_engine_outlives_its_key_taken_back_while_it_loads(
    how: str, tmp_path: Path, program: Callable[[str], Children]
) -> None:
    told = tmp_path / "told"
    children = program(LOADS.format(told=str(told), seconds=60))
    model, broker, _ = served()
    async with starting(model):
        await until(told.exists)
        assert len(holders()) == 2  # this process, and the engine's
        if how == "revoked":
            broker.refuse.set()
        else:
            await model.aclose()
            assert children[0].poll() is not None and holders() == []
    await model.aclose()
    assert children[0].poll() is not None, "the engine lives on"
    assert holders() == []


async def test_no_engine_outlives_its_key_taken_back_while_it_is_opened(
    program: Callable[[str], Children],
) -> None:
    children = program("import sys; sys.stdin.read()")
    model, broker, source = served(at=4 << 20)
    async with starting(model):
        await until(source.reached.is_set)
        broker.refuse.set()
        await until(lambda: not holders())
        assert children[0].poll() is not None
        source.go_on.set()
    await model.aclose()
    assert len(children) == 1


async def test_no_engine_outlives_its_key_taken_back_while_it_restarts(
    tmp_path: Path, program: Callable[[str], Children]
) -> None:
    told = tmp_path / "told"
    children = program(LOADS.format(told=str(told), seconds=0))
    model, broker, _ = served()
    await model.start()
    children[0].kill()
    children[0].wait()
    program(LOADS.format(told=str(told), seconds=60))

    async def ask() -> None:
        with pytest.raises(EngineError):
            async with model.turn():
                pytest.fail("a turn of a model that was withdrawn")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: told.read_text() == "told told ")
            broker.refuse.set()
    await model.aclose()
    assert len(children) == 2 and children[1].poll() is not None
    assert holders() == []


async def test_a_closed_engine_starts_nothing_in_the_place_of_one_that_ended(
    tmp_path: Path, program: Callable[[str], Children], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed between the end of one child and the start of the next."""
    children = program(LOADS.format(told=str(tmp_path / "told"), seconds=0))
    engine = EmbeddedEngine(Weights(Path("x.gguf"), "x", root="tree-sha256:" + "0" * 64))
    await engine.start()
    children[0].kill()
    children[0].wait()
    ending, go_on, real = threading.Event(), threading.Event(), embedded._Child.stop

    def slow(child: Any) -> None:
        ending.set()
        go_on.wait(120)
        real(child)

    monkeypatch.setattr(embedded._Child, "stop", slow)

    async def start() -> None:
        with pytest.raises(EngineError, match="closed"):
            await engine.start()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            await until(ending.is_set)
            group.start_soon(engine.aclose)
            await until(lambda: engine._closed)
            go_on.set()
    assert len(children) == 1


class Opens(EmbeddedEngine):
    """Has its weights opened, and runs nothing."""

    opened = 0

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    @property
    def models(self) -> tuple[Model, ...]:
        return ()

    async def start(self) -> None:
        assert self.weights.fill is not None
        await to_thread.run_sync(self.weights.fill)
        Opens.opened += 1

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("how", ["revoked", "closed"])
async def test_nothing_is_opened_once_the_key_was_taken_back(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused while the artefact's head is read: the lease runs from before that."""
    monkeypatch.setattr(Opens, "opened", 0)
    model, broker, source = served(make_engine=Opens)
    given = broker.obtain

    async def obtain(*arguments: Any) -> Released:
        source.at = 0  # from now on it stands still
        return await given(*arguments)

    broker.obtain = obtain  # type: ignore[method-assign]
    async with starting(model):
        await until(source.reached.is_set)
        assert model._open is None and model._keeper is not None
        if how == "revoked":
            broker.refuse.set()
            await until(lambda: not model.serving)
        else:
            await model.aclose()
        source.go_on.set()
    await model.aclose()
    assert Opens.opened == 0
    assert holders() == []


async def test_weights_are_not_opened_for_an_engine_that_starts_after_the_refusal() -> None:
    """Refused when the artefact's head was read, before its first chunk is."""
    fills: list[Callable[[], None]] = []

    class Late(Opens):
        async def start(self) -> None:
            assert self.weights.fill is not None
            broker.refuse.set()
            await until(lambda: not model.serving)
            fills.append(self.weights.fill)
            source.at = 0
            source.go_on.set()
            await to_thread.run_sync(self.weights.fill)

        async def aclose(self) -> None:
            await anyio.sleep(0.2)  # the memory is not let go yet when it is asked for

    model, broker, source = served(make_engine=Late)
    async with starting(model):
        pass
    assert not source.reached.is_set(), "the store was asked for chunks"
    with pytest.raises(EngineError, match=r"withdrawn.*revoked"):
        fills[0]()
    await model.aclose()
    assert holders() == []


async def test_a_model_closed_while_it_asks_for_its_key_keeps_no_lease() -> None:
    model, broker, _ = served(make_engine=Opens)
    given, asked = broker.obtain, anyio.Event()

    async def slow(*arguments: Any) -> Released:
        asked.set()
        await anyio.sleep(0.1)
        return await given(*arguments)

    broker.obtain = slow  # type: ignore[method-assign]
    async with starting(model):
        await asked.wait()
        await model.aclose()
    assert model._keeper is None and model._open is None


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_no_key_is_asked_for_where_the_enclaves_memory_may_be_swapped(
    limited: bool, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite limit on locked memory, large enough for the weights, still leaves the rest."""

    class Asked(Exception):
        pass

    def made(*_: Any) -> Any:
        raise Asked

    found = Hardening(no_core_dumps=True, undumpable=True, locked=not limited)
    monkeypatch.setattr(enclave_role, "harden", lambda **_: found)
    monkeypatch.setattr(hardening, "swap_is_on", lambda: True)
    monkeypatch.setattr(EnclaveSettings, "make_engine", made)
    settings = EnclaveSettings(
        AttestationSettings(tmp_path / "root"),
        artefact=str(tmp_path),
        broker="http://127.0.0.1:9",
        unsafe_swap=accepted,
    )
    refused = limited and not accepted
    with pytest.raises(EngineError if refused else Asked):
        enclave_role.serve(settings, on_ready=lambda _: None)


@pytest.mark.parametrize("accepted", [False, True])
def test_the_engines_process_is_told_whether_swap_was_accepted(
    accepted: bool, tmp_path: Path
) -> None:
    settings = EnclaveSettings(
        AttestationSettings(tmp_path / "root"),
        artefact=str(tmp_path),
        broker="http://127.0.0.1:9",
        unsafe_swap=accepted,
    )
    model = settings.make_engine()
    assert isinstance(model, SealedModel)
    engine = model._make_engine(Weights(Path("x.gguf"), "x"))
    assert engine._settings(Weights(Path("x.gguf"), "x")).refuse_swap is not accepted


def test_swap_is_accepted_for_a_sealed_model_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sealed model"):
        EnclaveSettings(AttestationSettings(tmp_path / "root"), unsafe_swap=True)
