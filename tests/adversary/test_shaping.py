"""Who sees every size and every time of an answer tries to tell what it says, or how long it is."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from privity.errors import TruncatedError
from privity.hazmat.hpke import KEMS
from privity.seal import chunked_ohttp
from privity.seal.answer import MARK, WHOLE_MOST
from privity.seal.binary_http import (
    Content,
    Decoder,
    RequestHead,
    ResponseHead,
    encode_request,
)
from privity.seal.gateway import GATEWAY_PATH, Gateway
from privity.seal.key_config import GatewayKeys, preferred
from privity.seal.records import RecordReader
from privity.seal.shaping import Pace, Shape
from virtual_time import run

KEYS = GatewayKeys.generate([KEMS[0x0020]])
BUCKET = Shape()
BATCH = Shape(pace=Pace.BATCH)
WHOLE = Shape(pace=Pace.WHOLE)

Said = tuple[float, bytes]
"""Seconds since the last, and what the application then says."""


@dataclass
class Talker:
    """An application that says what it was told to, when it was told to."""

    says: list[Said]
    receipt: int = 1500
    fails: bool = False
    head_s: float = 0.0
    taken: int = 0  # bytes that the gateway has let it say
    ended: bool = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(self.head_s)
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        for pause, data in self.says:
            await asyncio.sleep(pause)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            self.taken += len(data)
        if self.fails:
            raise RuntimeError("broke off")
        await send({"type": "http.response.body", "body": b""})
        fields = [(b"privity-receipt", b"r" * self.receipt)]
        await send({"type": "http.response.trailers", "headers": fields})
        self.ended = True


@dataclass
class Observer:
    """Carries one exchange, and notes when how much passed."""

    app: Any
    shape: Shape = BUCKET
    seen: list[tuple[float, int]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    leave_at: float = 1e9
    slow_s: float = 0.0
    asks: tuple[tuple[bytes, bytes], ...] = ()  # in place of the fields of the shape

    async def carry(self) -> Observer:
        sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
        self.opener = sealer.response_opener()
        head = RequestHead("POST", "https", "e", "/", self.asks or tuple(self.shape.fields()))
        bodies = [sealer.header + sealer.final(encode_request(head))]

        async def receive() -> Any:
            if bodies:
                return {"type": "http.request", "body": bodies.pop()}
            await asyncio.sleep(self.leave_at)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                self.body += message["body"]
                self.whole = not message["more_body"]
                now = asyncio.get_running_loop().time()
                self.seen.append((round(now, 6), len(message["body"])))
                await asyncio.sleep(self.slow_s)

        fields = [(b"content-type", chunked_ohttp.REQUEST_TYPE.encode())]
        scope = {"type": "http", "method": "POST", "path": GATEWAY_PATH, "headers": fields}
        await Gateway(self.app, KEYS)(scope, receive, send)
        return self

    def opened(self) -> tuple[ResponseHead, bytes]:
        """Return head and content, as the client has them."""
        decoder = Decoder("response")
        plaintext = self.opener.feed(self.body) + self.opener.finish()
        head, *rest = [event for piece in plaintext for event in decoder.feed(piece)]
        assert isinstance(head, ResponseHead)
        data = b"".join(event.data for event in rest if isinstance(event, Content))
        shape = Shape.read(head.headers)
        return head, data if shape.records is None else b"".join(
            RecordReader(shape.records).feed(data)
        )


def observe(app: Talker, shape: Shape = BUCKET, **more: Any) -> Observer:
    return run(Observer(app, shape, **more).carry())


def gaps(observer: Observer) -> list[float]:
    """Return the seconds between what was sent."""
    return [b - a for (a, _), (b, _) in itertools.pairwise(observer.seen)]


def tokens(count: int, every: float, token: bytes = b" token") -> list[Said]:
    return [(every, token)] * count


# Four answers between 57 and 64 ticks of 50 ms, which have no more in common than that.
ALIKE = {
    "as usual": Talker(tokens(100, 0.03)),
    "fewer and longer": Talker(tokens(30, 0.1, b" antidisestablishmentarianism" * 20)),
    "late, then fast": Talker([(2.2, b"so"), *tokens(70, 0.0125)], receipt=1800),
    "a silence in it": Talker([*tokens(20, 0.02), (1.9, b"but"), *tokens(30, 0.025)], receipt=1100),
}


@pytest.mark.parametrize("name", ALIKE)
def test_answers_of_one_bucket_look_alike(name: str) -> None:
    """Same sizes at the same times, whatever is said, however fast, and with whatever receipt."""
    reference, other = observe(ALIKE["as usual"]), observe(ALIKE[name])
    assert other.seen == reference.seen
    assert other.whole
    _, content = other.opened()
    assert content == b"".join(data for _, data in ALIKE[name].says)
    assert len(other.seen) == 64
    assert {
        round(b - a, 6) for (a, _), (b, _) in zip(other.seen, other.seen[1:], strict=False)
    } == {0.05}


def test_the_same_answers_are_told_apart_where_nothing_is_shaped() -> None:
    """So the test above can fail."""
    for shape in (Shape(None, None), Shape(cadence_ms=None)):
        seen = {name: tuple(observe(app, shape).seen) for name, app in ALIKE.items()}
        assert len(set(seen.values())) == len(ALIKE)


def test_an_answer_that_came_whole_leaves_whole_and_at_once() -> None:
    for size in (10, 20_000):
        observer = observe(Talker([(0, b"x" * size)]))
        assert [at for at, _ in observer.seen] == [0]
        assert observer.opened()[1] == b"x" * size
    one, other = (observe(Talker([(0, b"x" * size)])).seen for size in (17_000, 32_000))
    assert one == other  # batches double


def test_an_answer_faster_than_its_batches_doubles_them_and_no_more() -> None:
    observer = observe(Talker(tokens(400, 0.005, b"x" * 300)))  # 60 kB/s
    sizes = [size for _, size in observer.seen[1:-1]]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) <= 3
    assert observer.opened()[1] == b"x" * 300 * 400


def test_a_bulk_answer_is_not_held_to_ticks() -> None:
    observer = observe(Talker([(0, bytes(MARK))] * 160))  # 10 MiB
    assert observer.seen[-1][0] < 1
    assert len(observer.opened()[1]) == 160 * MARK


def test_an_engine_that_fails_in_mid_answer_leaves_no_end() -> None:
    observer = observe(Talker(tokens(10, 0.03), fails=True))
    assert not observer.whole
    assert observer.seen[-1][0] < 0.4, "cover went on after the failure"
    with pytest.raises(TruncatedError):
        observer.opened()


@pytest.mark.parametrize("shape", [BUCKET, BATCH, WHOLE], ids=lambda shape: shape.pace.value)
def test_an_engine_that_fails_before_its_answer_is_answered_for(shape: Shape) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        raise RuntimeError("nothing to say")

    head, content = run(Observer(app, shape).carry()).opened()
    assert head.status == 500
    assert b"problem" in content


@pytest.mark.parametrize("shape", [BUCKET, BATCH, WHOLE], ids=lambda shape: shape.pace.value)
def test_a_client_that_leaves_ends_it_in_the_tail_too(shape: Shape) -> None:
    for leave_at in (0.5, 3.07):  # while it speaks; while there is cover alone
        app = Talker(tokens(100, 0.03))
        observer = observe(app, shape, leave_at=leave_at)
        assert not observer.whole or observer.seen[-1][0] <= leave_at
        assert all(at <= leave_at for at, _ in observer.seen)
        assert app.ended == (leave_at > 3)


@pytest.mark.parametrize(
    ("shape", "most"), [(BUCKET, 2 * MARK), (BATCH, 2 * MARK), (WHOLE, WHOLE_MOST + 2 * MARK)]
)
def test_an_application_waits_for_a_slow_reader(shape: Shape, most: int) -> None:
    app = Talker([(0, bytes(MARK))] * 200)
    run(Observer(app, shape, slow_s=1e6, leave_at=10).carry())
    assert app.taken <= most + MARK


def test_after_a_slow_reader_no_burst_makes_up_for_it() -> None:
    observer = observe(Talker(tokens(60, 0.03)), slow_s=0.2)
    assert min(gaps(observer)) > 0.19
    assert len({size for _, size in observer.seen[1:-1]}) == 1


# Batches


def test_a_batch_has_one_size_and_silence_none() -> None:
    app = Talker([*tokens(20, 0.01), (5, b"after a silence"), *tokens(9, 0.02)])
    observer = observe(app, BATCH)
    assert len({size for _, size in observer.seen[1:-1]}) == 1
    assert min(gaps(observer)) > 0.0499
    assert max(gaps(observer)) > 4.9
    assert observer.opened()[1] == b"".join(data for _, data in app.says)


def test_a_random_delay_moves_batches() -> None:
    shape = Shape(pace=Pace.BATCH, delay_ms=100)
    one, other = (observe(Talker(tokens(30, 0.2)), shape) for _ in range(2))
    assert [at for at, _ in one.seen] != [at for at, _ in other.seen]
    assert one.opened()[1] == other.opened()[1]


# The whole at the end


def test_a_whole_answer_shows_a_bucket_of_its_size_and_its_time() -> None:
    one = observe(Talker(tokens(100, 0.03)), WHOLE)
    other = observe(Talker([(3.0, b"x" * 1500)]), WHOLE)
    assert one.seen == other.seen
    assert [at for at, _ in one.seen] == [0, 3]
    assert one.opened()[1] == b" token" * 100


def test_a_long_whole_answer_shows_that_it_is_alive() -> None:
    observer = observe(Talker([(100, b"at last")]), WHOLE)
    *alive, (end, _) = observer.seen
    assert [at for at, _ in alive] == [0, 15, 30, 45, 60, 75, 90]
    assert end == 100
    assert observer.opened()[1] == b"at last"


def test_a_whole_answer_that_is_too_long_leaves_in_several() -> None:
    app = Talker([(0.001, bytes(MARK))] * 100)
    observer = observe(app, WHOLE)
    assert len(observer.opened()[1]) == 100 * MARK


# Fields


@pytest.mark.parametrize(
    "wrong",
    [
        ((b"privity-pace", b"quick"),),
        ((b"privity-pace", b"\xff"),),
        ((b"privity-delay", b"0"),),
        ((b"privity-delay", b"5"),),  # with the pace that the shape asks for
    ],
)
def test_a_shape_that_is_not_known_is_refused_inside_the_seal(wrong: Any) -> None:
    kept = tuple(one for one in BUCKET.fields() if one[0] != wrong[0][0])
    observer = observe(Talker([(0, b"x")]), asks=(*kept, *wrong))
    head, _ = observer.opened()
    assert head.status == 400


def test_an_application_cannot_confirm_a_shape() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"privity-pace", b"whole"), (b"Privity-Delay", b"5"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"x"})

    head, _ = run(Observer(app).carry()).opened()
    assert Shape.read(head.headers) == BUCKET
    assert (b"x-kept", b"1") in head.headers
