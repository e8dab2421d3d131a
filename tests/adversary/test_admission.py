"""Each promise of spec/admission.md, attacked with real proofs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import members
import store_servers
from members import EPOCH, LIMIT, SCOPE, digest
from native import needs_native
from privity.anon import rln
from privity.anon.admission import Admission, AdmittedSignal, DoubleSignalError
from privity.anon.field import field_from_int
from privity.anon.membership import MemberTree
from privity.anon.proof_queue import ProofQueue, QueueLimits
from privity.anon.rln import Prover
from privity.anon.stores import Seen, Store, open_store
from privity.errors import AdmissionError, PeerError

pytestmark = [pytest.mark.anyio, needs_native]


class Clock:
    def __init__(self) -> None:
        self.now = EPOCH * 60.0 + 5

    def __call__(self) -> float:
        return self.now


class Known:
    """The roots that are known, to be changed by a test."""

    def __init__(self) -> None:
        self.roots = {bytes(members.member()[1].root)}

    def knows(self, root: bytes) -> bool:
        return root in self.roots


class Watched:
    """A store that says what was asked of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.recorded: list[bytes] = []
        self.fails = False

    async def record(self, scope: str, epoch: int, nullifier: Any, x: Any, y: Any) -> Any:
        if self.fails:
            raise PeerError("postgresql://canary@store failed")
        self.recorded.append(bytes(nullifier))
        return await self.store.record(scope, epoch, nullifier, x, y)

    async def prune(self, before_epoch: int) -> int:
        return await self.store.prune(before_epoch)


class CountingQueue(ProofQueue):
    """Counts what is verified, and can hold it back."""

    def __init__(self, limits: QueueLimits | None = None) -> None:
        super().__init__(limits)
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def verified(self, claim: Any, source: str, **_: Any) -> Any:
        self.asked += 1
        await self.go.wait()
        return await super().verified(claim, source)


class World:
    def __init__(self, store: Store) -> None:
        self.clock, self.known, self.store = Clock(), Known(), Watched(store)
        self.gateways: list[Admission] = []
        self.queue = CountingQueue()

    def gateway(self, **settings: Any) -> Admission:
        settings.setdefault("queue", self.queue if not self.gateways else CountingQueue())
        made = Admission(
            settings.pop("scope", SCOPE),
            self.known,
            settings.pop("store", self.store),
            clock=self.clock,
            **settings,
        )
        self.gateways.append(made)
        return made


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_store(f"sqlite:{tmp_path / 'store.db'}") as store:
        made = World(store)
        made.gateway()
        yield made
        for gateway in made.gateways:
            gateway.close()


async def refused(gateway: Admission, header: str | None, request: str, **more: Any) -> str:
    with pytest.raises(AdmissionError) as caught:
        await gateway.admit(header, digest(request), **more)
    return caught.value.check


def header(request: str = "request", message_id: int = 0, epoch: int = EPOCH) -> str:
    return members.proof(request, message_id, epoch).to_header()


async def test_a_member_is_admitted(world: World) -> None:
    signal = await world.gateways[0].admit(header(), digest("request"))
    assert (signal.scope, signal.epoch, signal.digest) == (SCOPE, EPOCH, digest("request"))


async def test_nothing_is_admitted_without_a_proof(world: World) -> None:
    gateway = world.gateways[0]
    assert await refused(gateway, None, "request") == "missing"
    good = header()
    for bad in ("", good[:-1], good + "A", "é" * 311, "=" * 311, "A" * 311, " " + good[1:]):
        assert await refused(gateway, bad, "request") == "malformed"
    assert world.queue.asked == 0
    with pytest.raises(TypeError):
        AdmittedSignal(SCOPE, EPOCH, digest("request"))


async def test_a_proof_admits_no_other_request(world: World) -> None:
    assert await refused(world.gateways[0], header("request"), "another") == "proof"


async def test_a_proof_made_for_another_provider_is_worth_nothing(world: World) -> None:
    other = world.gateway(scope="did:key:z6MkOther")
    assert await refused(other, header(), "request") == "proof"
    await world.gateways[0].admit(header(), digest("request"))


async def test_no_part_of_a_proof_can_be_changed(world: World) -> None:
    true = members.proof()
    another = members.proof("other", 1)
    for forged in (
        replace(true, proof=another.proof),
        replace(true, y=another.y),
        replace(true, nullifier=another.nullifier),
        replace(true, epoch=EPOCH + 1),
        replace(true, proof=os.urandom(128)),
    ):
        assert await refused(world.gateways[0], forged.to_header(), "request") == "proof"
    assert world.store.recorded == []


async def test_the_epoch_and_its_neighbours_pass_alone(world: World) -> None:
    gateway = world.gateways[0]
    for off in (-1, 0, 1):
        request = f"epoch {off}"
        await gateway.admit(header(request, 0, EPOCH + off), digest(request))
    asked = world.queue.asked
    for off in (-2, 2):
        assert await refused(gateway, header("late", 0, EPOCH + off), "late") == "epoch"
    assert world.queue.asked == asked


async def test_an_expired_root_is_refused_and_says_so(world: World) -> None:
    world.known.roots = {bytes(32)}
    assert await refused(world.gateways[0], header(), "request") == "root"
    assert world.queue.asked == 0


async def test_the_last_roots_pass(world: World) -> None:
    identity, _, _ = members.member()
    tree = MemberTree(window=3)
    place = tree.place(tree.append(identity.leaf(LIMIT)), LIMIT)
    gateway = Admission(SCOPE, tree, world.store, clock=world.clock)
    world.gateways.append(gateway)
    with Prover_closing(identity) as prover:
        for number in range(2):
            tree.append(field_from_int(100 + number))
            made = prover.prove(place, epoch=EPOCH, message_id=number, digest=digest(str(number)))
            await gateway.admit(made.to_header(), digest(str(number)))
        tree.append(field_from_int(999))
        made = prover.prove(place, epoch=EPOCH, message_id=5, digest=digest("five"))
        assert await refused(gateway, made.to_header(), "five") == "root"


class Prover_closing:
    def __init__(self, identity: Any) -> None:
        self.prover = Prover(identity, SCOPE)

    def __enter__(self) -> Prover:
        return self.prover

    def __exit__(self, *_: object) -> None:
        self.prover.close()


async def test_a_slashed_member_has_no_root_left(world: World) -> None:
    identity, _, _ = members.member()
    tree = MemberTree()
    place = tree.place(tree.append(identity.leaf(LIMIT)), LIMIT)
    gateway = Admission(SCOPE, tree, world.store, clock=world.clock)
    world.gateways.append(gateway)
    with Prover_closing(identity) as prover:
        made = prover.prove(place, epoch=EPOCH, message_id=0, digest=digest("request"))
        tree.remove(place.index)
        assert await refused(gateway, made.to_header(), "request") == "root"


async def test_a_proof_that_waited_is_checked_again(world: World) -> None:
    gateway, queue = world.gateways[0], world.queue
    for change, check in (
        (lambda: setattr(world.clock, "now", world.clock.now + 300), "epoch"),
        (lambda: world.known.roots.clear(), "root"),
    ):
        queue.go.clear()
        waiting = asyncio.create_task(refused(gateway, header(), "request"))
        await asyncio.sleep(0.01)
        change()
        queue.go.set()
        assert await waiting == check
        world.clock.now = EPOCH * 60.0
    assert world.store.recorded == []


async def test_a_replay_is_refused_at_every_gateway_and_costs_one_proof_at_most(
    world: World,
) -> None:
    one, other = world.gateways[0], world.gateway()
    await one.admit(header(), digest("request"))
    assert world.queue.asked == 1
    for _ in range(5):
        assert await refused(one, header(), "request") == "duplicate"
        assert await refused(other, header(), "request") == "duplicate"
    assert world.queue.asked == 1
    assert other._queue.asked == 1  # type: ignore[attr-defined]
    restarted = world.gateway()
    assert await refused(restarted, header(), "request") == "duplicate"


async def test_the_same_request_many_times_at_once_is_admitted_and_verified_once(
    world: World,
) -> None:
    gateway = world.gateways[0]
    tasks = [gateway.admit(header(), digest("request")) for _ in range(50)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, AdmittedSignal) for one in done) == 1
    assert {one.check for one in done if isinstance(one, AdmissionError)} == {"duplicate"}
    assert world.queue.asked == 1


async def test_a_double_signal_reveals_the_secret_and_admits_one(world: World) -> None:
    gateway = world.gateways[0]
    await gateway.admit(header("first", 7), digest("first"))
    with pytest.raises(DoubleSignalError) as caught:
        await gateway.admit(header("second", 7), digest("second"))
    assert caught.value.check == "double-signal"
    assert caught.value.evidence == members.member()[0].unsafe_secret()
    # The first stays admitted: it was served.
    assert await refused(gateway, header("first", 7), "first") == "duplicate"


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'shared.db'}"
        return
    library = {"postgres": "asyncpg", "redis": "redis"}[request.param]
    pytest.importorskip(library, reason=f"the client library of {request.param} is missing")
    start = {"postgres": store_servers.postgres_server, "redis": store_servers.redis_server}
    with start[request.param]() as server:
        yield server.url


async def test_a_double_signal_at_two_gateways_at_once_admits_one(
    world: World, shared_url: str
) -> None:
    secret = members.member()[0].unsafe_secret()
    async with open_store(shared_url) as here, open_store(shared_url) as there:
        one, other = world.gateway(store=here), world.gateway(store=there)
        for message_id in range(8, 12):
            names = (f"here {message_id}", f"there {message_id}")
            both = [header(name, message_id) for name in names]
            done = await asyncio.gather(
                one.admit(both[0], digest(names[0])),
                other.admit(both[1], digest(names[1])),
                return_exceptions=True,
            )
            assert sum(isinstance(found, AdmittedSignal) for found in done) == 1
            (caught,) = (found for found in done if isinstance(found, DoubleSignalError))
            assert caught.evidence == secret


async def test_unverified_nullifiers_are_not_burnt(world: World) -> None:
    gateway, true = world.gateways[0], members.proof("mine", 3)
    forged = replace(members.proof("forged", 4), nullifier=true.nullifier)
    for _ in range(3):
        assert await refused(gateway, forged.to_header(), "forged") == "proof"
    stolen = true.to_header()  # seen on the way, sent with another body before the true one
    assert await refused(gateway, stolen, "another body") == "proof"
    assert world.store.recorded == []
    await gateway.admit(true.to_header(), digest("mine"))


async def test_a_forger_accuses_nobody(world: World) -> None:
    gateway, true = world.gateways[0], members.proof("mine", 5)
    await gateway.admit(true.to_header(), digest("mine"))
    forged = replace(members.proof("forged", 6), nullifier=true.nullifier)
    for attempt in (forged, replace(true, y=forged.y), replace(true, proof=os.urandom(128))):
        assert await refused(gateway, attempt.to_header(), "forged") == "proof"


async def test_garbage_never_reaches_the_worker(world: World) -> None:
    gateway = world.gateways[0]
    for _ in range(1000):
        junk = os.urandom(233)
        text = rln.encode_base64url(junk)
        assert await refused(gateway, text, "junk") in ("malformed", "epoch", "root")
    assert world.queue.asked == 0


async def test_a_flood_of_forgeries_does_not_fill_the_queue_for_others(world: World) -> None:
    queue = ProofQueue(QueueLimits(waiting=8, probation=64))
    gateway = world.gateway(queue=queue)
    true = members.proof("forged", 4)
    flood = [
        asyncio.create_task(
            refused(
                gateway,
                replace(true, nullifier=field_from_int(number)).to_header(),
                "forged",
                source="flood",
            )
        )
        for number in range(400)
    ]
    await asyncio.sleep(0)
    for number in range(20, 24):
        request = f"good {number}"
        await gateway.admit(header(request, number), digest(request), source="good")
    outcome = await asyncio.gather(*flood)
    assert set(outcome) == {"busy", "proof"}
    assert outcome.count("busy") > 300


async def test_what_the_store_cannot_remember_is_not_admitted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = world.gateways[0]
    world.store.fails = True
    assert await refused(gateway, header(), "request") == "busy"
    assert "canary" not in caplog.text
    world.store.fails = False
    await gateway.admit(header(), digest("request"))


async def test_pruning_forgets_nothing_that_passes(world: World) -> None:
    gateway = world.gateways[0]
    await gateway.admit(header("soon", 0, EPOCH - 1), digest("soon"))
    await gateway.admit(header("now", 1), digest("now"))
    assert await gateway.prune() == 0
    assert await refused(gateway, header("soon", 0, EPOCH - 1), "soon") == "duplicate"
    world.clock.now += 3 * 60
    assert await gateway.prune() == 1
    assert await refused(gateway, header("soon", 0, EPOCH - 1), "soon") == "epoch"
    world.clock.now += 60
    assert await gateway.prune() == 1
    assert gateway._admitted == {}


async def test_no_refusal_and_no_log_shows_the_secret_or_the_proof(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = world.gateways[0]
    secret = members.member()[0].unsafe_secret()
    signal = await gateway.admit(header("first", 9), digest("first"), source="203.0.113.9")
    with pytest.raises(DoubleSignalError) as caught:
        await gateway.admit(header("second", 9), digest("second"), source="203.0.113.9")
    error = caught.value
    shown = f"{error!r}{error}{error.hint}{error.args}{caplog.text}"
    number = int.from_bytes(secret, "little")
    for canary in (secret.hex(), repr(bytes(secret)), str(number), header("second", 9)):
        assert canary not in shown
    assert "203.0.113.9" not in shown + repr(signal)


async def test_a_wrong_point_in_the_store_slashes_nobody(world: World) -> None:
    # A store that somebody else wrote to may hold anything.
    true = members.proof("mine", 10)
    x = rln.signal(digest("mine"))
    await world.store.store.record(SCOPE, EPOCH, true.nullifier, x, field_from_int(1))
    assert await refused(world.gateways[0], true.to_header(), "mine") == "duplicate"
    assert await world.store.store.record(SCOPE, EPOCH, true.nullifier, x, x) is Seen.DUPLICATE
