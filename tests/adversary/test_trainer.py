"""A dataset is trained on by the approved program, for its owner, while its owner lets it.

A real broker over HTTP and the real trainer; the training process is played by one that needs no
`train` extra, where a test gets that far. The real one is in tests/e2e/test_private_training.py.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from privity.attest import DevQuoter, DevRoot, Trust, reverifier
from privity.attest.grant import Grant, GrantRevocation, Purpose
from privity.attest.manifest import ReferenceValue
from privity.errors import EngineError, EvidenceError, MalformedError, OpenError
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.node import trainer as trainer_module
from privity.node.broker import Broker
from privity.node.broker_app import BrokerApp
from privity.node.trainer import Finished, Trainer
from privity.node.training_child import Base, Outcome
from privity.train.bundle import NAMES, Bundle
from privity.train.program import measure_program
from privity.train.receipt import verify_receipt
from privity.vault import ArtefactKey, BytesSource, Meta, Reader, read_header, seal_stream, unwrap
from privity.vault.recipients import Identity, new_identity

pytestmark = pytest.mark.anyio

RECORDS = b'{"text":"canary4711"}\n'
BASE = Base(fd=-1, name="none", root="tree-sha256:" + "0" * 64)


class PlayedChild:
    """Stands for the training process: notes what it is given, and ends when it is told to."""

    def __init__(self, base: Base, *, forever: bool = False, **_: Any) -> None:
        self.given = b""
        self.started, self.ended = threading.Event(), threading.Event()
        self._forever = forever

    def run(self, dataset: bytes, on_step: Any = None) -> Outcome:
        self.given = dataset
        self.started.set()
        if self._forever:
            self.ended.wait(120)
            raise EngineError("the training process ended before it was done")
        return Outcome(Bundle(dict.fromkeys(NAMES, b"x")), records=1, steps=2, losses=None)

    def stop(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.stop()


@dataclass
class World:
    """An owner with a broker and a sealed dataset, and somebody who lends a machine."""

    broker: Broker
    url: str
    owner: SigningKey
    vault: Identity
    quoter: DevQuoter
    trust: Trust
    sealed: bytes
    key: bytes
    grant: Grant
    delivered: list[bytes]

    def allow(self, **changed: Any) -> Grant:
        grant = replace(self.grant, **changed)
        self.broker.add(grant.sign(self.owner), self.key)
        return grant

    def revoke(self, grant: Grant) -> None:
        taken = GrantRevocation(grant.digest, self.owner.did, "enough", utc_now())
        self.broker.revoke(taken.sign(self.owner))

    async def train(self, child: PlayedChild | None = None, **changed: Any) -> Finished:
        made = child or PlayedChild(BASE)
        runner = Trainer(self.url, (self.quoter,), BASE, start=lambda *_, **__: made)  # type: ignore[arg-type,return-value]
        sealed = changed.get("sealed", self.sealed)
        return await runner.run(
            BytesSource(sealed), lambda path: self.delivered.append(path.read_bytes())
        )


@pytest.fixture
def world(tmp_path: Path, serve: Callable[..., str]) -> World:
    owner, root = SigningKey.generate(), DevRoot.generate()
    quoter = DevQuoter(root, now=utc_now())
    trust = Trust(dev_roots=(root.did,))
    broker = Broker(tmp_path / "broker", owners=(owner.did,), trust=trust)
    vault, _ = new_identity()
    sink = io.BytesIO()
    meta = Meta("notes.jsonl", "dataset")
    sealed = seal_stream(io.BytesIO(RECORDS), sink, meta=meta, recipients=(vault.recipient,))
    now = utc_now()
    grant = Grant(
        owner=owner.did,
        artefact=sealed.id,
        root=sealed.root,
        name="notes",
        purpose=Purpose.TRAIN,
        issued=now,
        expires=now + timedelta(hours=1),
        measurements=(ReferenceValue("dev", {"measurement": quoter.measurement}),),
        unsafe_dev=True,
        programs=(measure_program(),),
        recipient=str(vault.recipient),
        lease_s=2,
    )
    return World(
        broker=broker,
        url=serve(BrokerApp(broker, (quoter,))),
        owner=owner,
        vault=vault,
        quoter=quoter,
        trust=trust,
        sealed=sink.getvalue(),
        key=sealed.key.unsafe_bytes(),
        grant=grant,
        delivered=[],
    )


async def test_the_adapter_comes_sealed_to_the_owner_with_a_receipt(world: World) -> None:
    world.allow()
    child = PlayedChild(BASE)
    finished = await world.train(child)
    assert child.given == RECORDS and child.ended.is_set()
    (sealed,) = world.delivered
    source = BytesSource(sealed)
    header = read_header(source)
    assert header.id == finished.artefact
    assert len(header.stanzas) == 1
    reader = Reader(source, unwrap(header, world.vault))
    archive = io.BytesIO()
    reader.copy_to(archive)
    bundle = Bundle.parse(archive.getvalue())
    assert bundle.receipt is not None
    verified = verify_receipt(
        bundle.receipt, adapter=bundle.digest, reverify=reverifier(world.trust), now=utc_now()
    )
    said = verified.receipt
    assert (said.dataset, said.grant) == (world.grant.artefact, world.grant.digest)
    assert (said.records_root, said.program) == (world.grant.root, measure_program())
    assert (said.records, said.steps, said.recipient) == (1, 2, str(world.vault.recipient))
    assert verified.enclave.dev


async def test_nobody_else_opens_the_adapter(world: World) -> None:
    world.allow()
    await world.train()
    source = BytesSource(world.delivered[0])
    other, _ = new_identity()
    with pytest.raises(OpenError):
        unwrap(read_header(source), other)
    # Nor does the key of the dataset, which the broker holds too.
    with pytest.raises(OpenError):
        Reader(source, ArtefactKey(world.key))
    assert b"canary4711" not in world.delivered[0]


async def test_whoever_runs_it_is_told_counts_and_nothing_else(world: World) -> None:
    world.allow()
    told = (await world.train()).to_json()
    assert told.keys() == {"done", "adapter", "records", "steps", "seconds"}
    assert "canary4711" not in json.dumps(told)


async def refused(world: World, check: str, **changed: Any) -> None:
    child = PlayedChild(BASE)
    with pytest.raises(EvidenceError) as caught:
        await world.train(child, **changed)
    assert caught.value.check == check
    assert child.given == b"" and world.delivered == []


async def test_a_program_that_is_not_approved_gets_no_key(world: World) -> None:
    world.allow(programs=("sha256:" + "0" * 64,))
    await refused(world, "program")


async def test_a_grant_for_another_purpose_gives_no_key_to_train(world: World) -> None:
    world.allow(purpose=Purpose.SERVE, programs=(), recipient=None)
    await refused(world, "purpose")


async def test_a_grant_that_was_revoked_gives_no_key(world: World) -> None:
    world.revoke(world.allow())
    await refused(world, "grant revoked")


async def test_an_enclave_that_is_not_listed_gets_no_key(world: World) -> None:
    other = ReferenceValue("dev", {"measurement": "sha256:" + "0" * 64})
    world.allow(measurements=(other,))
    await refused(world, "measurement")


async def test_dev_evidence_gets_no_key_unless_it_is_accepted_by_name(world: World) -> None:
    world.allow(unsafe_dev=False)
    await refused(world, "dev evidence")


async def test_a_trainer_holds_the_grant_to_its_own_program(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a broker released the key to what the grant does not list."""
    world.allow()
    monkeypatch.setattr(trainer_module, "measure_program", lambda: "sha256:" + "0" * 64)
    await refused(world, "program")


async def test_another_dataset_under_the_same_key_is_not_trained_on(world: World) -> None:
    world.allow()
    sink = io.BytesIO()
    key = ArtefactKey(world.key)
    chosen = iter([bytes.fromhex(world.grant.artefact)])
    seal_stream(
        io.BytesIO(b'{"text":"other"}'),
        sink,
        meta=Meta("notes.jsonl", "dataset"),
        recipients=(),
        key=key,
        entropy=lambda count: next(chosen),
    )
    await refused(world, "root", sealed=sink.getvalue())


async def test_a_sealed_model_is_no_dataset(world: World) -> None:
    sink = io.BytesIO()
    meta = Meta("notes.gguf", "model")
    sealed = seal_stream(io.BytesIO(RECORDS), sink, meta=meta, recipients=())
    world.key = sealed.key.unsafe_bytes()
    world.allow(artefact=sealed.id, root=sealed.root)
    with pytest.raises(MalformedError, match="a model, not a dataset"):
        await world.train(sealed=sink.getvalue())
    assert world.delivered == []


async def test_a_recipient_that_is_none_trains_nothing(world: World) -> None:
    world.allow(recipient="age1nobody")
    await refused(world, "recipient")


async def test_a_revocation_in_the_midst_ends_the_run(world: World) -> None:
    grant = world.allow(lease_s=2)
    child = PlayedChild(BASE, forever=True)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:

            async def take_back() -> None:
                while not child.started.is_set():
                    await anyio.sleep(0.02)
                assert not child.ended.is_set()
                world.revoke(grant)

            group.start_soon(take_back)
            with pytest.raises(EvidenceError) as caught:
                await world.train(child)
    assert caught.value.check == "grant revoked"
    assert child.ended.is_set() and world.delivered == []


async def test_a_broker_that_is_gone_ends_the_run_with_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.allow(lease_s=2)
    child = PlayedChild(BASE, forever=True)

    async def unreachable(*_: object) -> None:
        from privity.errors import PeerError

        raise PeerError("gone")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:

            async def cut() -> None:
                while not child.started.is_set():
                    await anyio.sleep(0.02)
                monkeypatch.setattr("privity.node.key_client.KeyClient._exchange", unreachable)

            group.start_soon(cut)
            with pytest.raises(EvidenceError) as caught:
                await world.train(child)
    assert caught.value.check == "lease"
    assert child.ended.is_set() and world.delivered == []


class Halting(BytesSource):
    """A store, which is the host's, that stops answering in the midst of the dataset."""

    def __init__(self, data: bytes, at: int) -> None:
        super().__init__(data)
        self._left = at
        self.halted, self.go_on = threading.Event(), threading.Event()

    def fetch(self, offset: int, length: int) -> bytes:
        self._left -= 1
        if self._left == 0:
            self.halted.set()
            self.go_on.wait(600)
        return super().fetch(offset, length)


@pytest.mark.parametrize("at", [2, 3, 4])  # head, description, contents; the key is there
async def test_a_revocation_while_the_dataset_is_read_ends_the_run(world: World, at: int) -> None:
    grant = world.allow(lease_s=1)
    source, child = Halting(world.sealed, at), PlayedChild(BASE)
    runner = Trainer(world.url, (world.quoter,), BASE, start=lambda *_, **__: child)  # type: ignore[arg-type,return-value]
    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:

                async def take_back() -> None:
                    while not source.halted.is_set():
                        await anyio.sleep(0.02)
                    world.revoke(grant)

                group.start_soon(take_back)
                with pytest.raises(EvidenceError) as caught:
                    await runner.run(source, lambda path: world.delivered.append(b""))
            assert caught.value.check == "grant revoked"
            # What held the key is gone; one thread waits for the store, and it has none.
            while any(one.name.startswith("privity-lane") for one in threading.enumerate()):
                await anyio.sleep(0.02)
        waiting = [one for one in threading.enumerate() if one.name == "privity-fetch"]
        assert waiting and all(one.daemon for one in waiting)
    finally:
        source.go_on.set()
    assert child.given == b"" and world.delivered == []


async def test_a_run_that_is_cancelled_ends_its_process(world: World) -> None:
    world.allow()
    child = PlayedChild(BASE, forever=True)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(world.train, child)
            while not child.started.is_set():
                await anyio.sleep(0.02)
            group.cancel_scope.cancel()
    assert child.ended.is_set()
