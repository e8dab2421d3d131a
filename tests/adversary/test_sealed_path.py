"""The whole sealed path under attack: whoever is between client and gateway, and the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from keys import Published
from privity.errors import ReplayError, SealError, TruncatedError
from privity.hazmat.hpke import KEMS
from privity.node.relay import relay_app
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.binary_http import Limits, RequestHead, encode_request
from privity.seal.gateway import GATEWAY_PATH, Gateway, GatewayLimits
from privity.seal.key_config import GatewayKeys, preferred
from privity.seal.transport import SealedTransport, Shape
from wire import Wire

Serve = Callable[[Any], str]
GATEWAY_URL = f"http://gateway.test{GATEWAY_PATH}"
# The classical KEM alone: its encapsulation is short enough to alter every byte of a request.
SMALL = GatewayKeys.generate([KEMS[0x0020]])

pytestmark = pytest.mark.anyio


class Enclave:
    """An application that keeps what it was asked, and answers in three pieces."""

    def __init__(self, answer: bytes = b"the answer is ", pause: float = 0.0) -> None:
        self.answer = answer
        self.pause = pause
        self.asked: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.asked.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (self.answer, body, self.answer):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(self.pause)
        await send({"type": "http.response.body", "body": b""})


class Meddler(httpx.AsyncBaseTransport):
    """A relay that changes what it carries, and ends every message cleanly."""

    def __init__(self, gateway: Any) -> None:
        self._next = httpx.ASGITransport(gateway)
        self.request: Callable[[bytes], bytes] = bytes
        self.response: Callable[[bytes], bytes] = bytes
        self.carried: list[bytes] = []
        self.answered: list[httpx.Response] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = self.request(await request.aread())
        self.carried.append(body)
        headers = {"content-type": request.headers["content-type"]}
        onward = httpx.Request("POST", GATEWAY_URL, content=body, headers=headers)
        answer = await self._next.handle_async_request(onward)
        data = await answer.aread()
        self.answered.append(answer)
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=self.response(data)
        )


async def ask(meddler: Meddler, content: bytes = b"question", **shape: Any) -> httpx.Response:
    transport = SealedTransport(
        Published(SMALL),
        GATEWAY_URL,
        inner=meddler,
        shape=Shape(**{"records": 32, "cadence_ms": None, **shape}),
    )
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.post("https://enclave.test/ask", content=content)


def flipped(position: int, bit: int = 0) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        return bytes(changed)

    return flip


async def test_a_bit_flipped_anywhere_in_a_request_is_refused_on_both_sides() -> None:
    enclave = Enclave()
    meddler = Meddler(Gateway(enclave, SMALL))
    await ask(meddler, pad_requests=False)
    size = len(meddler.carried[0])
    assert enclave.asked.pop() == b"question"
    for position in range(size):
        meddler.request = flipped(position, position % 8)
        with pytest.raises(SealError):
            await ask(meddler, pad_requests=False)
        assert meddler.answered[-1].status_code in (400, 413)
    assert enclave.asked == []


async def test_a_bit_flipped_anywhere_in_a_response_is_refused() -> None:
    enclave = Enclave()
    meddler = Meddler(Gateway(enclave, SMALL))
    whole = await ask(meddler)
    assert whole.content == b"the answer is questionthe answer is "
    size = len(meddler.answered[-1].content)
    for position in range(size):
        meddler.response = flipped(position, position % 8)
        with pytest.raises(SealError):
            await ask(meddler)


async def test_a_response_cut_anywhere_is_truncation() -> None:
    """Even where whoever cuts it ends the outer message as if it were complete."""
    meddler = Meddler(Gateway(Enclave(), SMALL))
    await ask(meddler)
    size = len(meddler.answered[-1].content)
    outcomes = set()
    for length in range(size):
        meddler.response = lambda data, length=length: data[:length]  # type: ignore[misc]
        with pytest.raises(SealError) as caught:
            await ask(meddler)
        outcomes.add(type(caught.value).__name__)
    # Inside its last chunk, whose length is not stated, a cut looks like an alteration.
    assert outcomes == {"TruncatedError", "OpenError"}


async def test_a_request_cut_anywhere_is_never_served() -> None:
    enclave = Enclave()
    meddler = Meddler(Gateway(enclave, SMALL))
    await ask(meddler, pad_requests=False)
    size = len(meddler.carried[0])
    enclave.asked.clear()
    for length in range(size):
        meddler.request = lambda data, length=length: data[:length]  # type: ignore[misc]
        with pytest.raises(SealError):
            await ask(meddler, pad_requests=False)
    assert enclave.asked == []


@pytest.mark.parametrize("extra", [b"\x00", b"x", bytes(100)])
async def test_bytes_added_at_the_end_are_refused_on_both_sides(extra: bytes) -> None:
    enclave = Enclave()
    meddler = Meddler(Gateway(enclave, SMALL))
    meddler.request = lambda data: data + extra
    with pytest.raises(SealError):
        await ask(meddler)
    assert enclave.asked == []
    meddler.request = bytes
    meddler.response = lambda data: data + extra
    with pytest.raises(SealError):
        await ask(meddler)


async def test_replayed_request_is_refused() -> None:
    enclave = Enclave()
    meddler = Meddler(Gateway(enclave, SMALL))
    await ask(meddler)
    captured = meddler.carried[0]
    meddler.request = lambda _: captured
    for _ in range(3):
        with pytest.raises(ReplayError):
            await ask(meddler)
        assert meddler.answered[-1].status_code == 409
    assert enclave.asked == [b"question"]


async def test_replay_is_refused_when_another_tail_follows_the_same_encapsulation() -> None:
    """The memory names a request by its encapsulation, whatever is appended or cut later."""
    enclave = Enclave()
    meddler = Meddler(Gateway(enclave, SMALL))
    await ask(meddler, content=bytes(40_000))
    captured = meddler.carried[0]
    for length in (len(captured) - 1, len(captured) - 20_000):
        meddler.request = lambda _, length=length: captured[:length]  # type: ignore[misc]
        with pytest.raises(SealError):
            await ask(meddler)
    assert len(enclave.asked) == 1


async def test_plain_requests_are_not_served_twice_either() -> None:
    enclave = Enclave()
    next_hop = httpx.ASGITransport(Gateway(enclave, SMALL))
    head = RequestHead("POST", "https", "e", "/ask")
    sealed, _ = ohttp.encapsulate_request(preferred(SMALL.configs), encode_request(head, b"q"))
    async with httpx.AsyncClient(transport=next_hop) as client:
        headers = {"content-type": ohttp.REQUEST_TYPE}
        answers = [
            await client.post(GATEWAY_URL, content=sealed, headers=headers) for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert enclave.asked == [b"q"]


@pytest.mark.parametrize(
    "junk", ["no Binary HTTP", "ends before its head", "broken off", "altered"]
)
async def test_junk_does_not_shut_out_dated_requests(junk: str) -> None:
    gateway = Gateway(Enclave(), SMALL, limits=GatewayLimits(remembered=20))
    relay = Meddler(gateway)
    for _ in range(25):
        sealer = chunked_ohttp.RequestSealer(preferred(SMALL.configs))
        sealed = {
            "no Binary HTTP": lambda s=sealer: s.final(b"\xff not bhttp"),
            "ends before its head": lambda s=sealer: s.final(message()[:3]),
            "broken off": lambda s=sealer: s.chunk(message()[:3]),
            "altered": lambda s=sealer: s.chunk(message()[:3]) + flipped(-1)(s.final(b"")),
        }[junk]()
        headers = {"content-type": chunked_ohttp.REQUEST_TYPE}
        async with httpx.AsyncClient(transport=relay) as client:
            await client.post(GATEWAY_URL, content=sealer.header + sealed, headers=headers)
    assert (await ask(Meddler(gateway))).status_code == 200


async def test_an_answer_to_another_request_is_refused() -> None:
    meddler = Meddler(Gateway(Enclave(), SMALL))
    await ask(meddler)
    other = meddler.answered[0].content
    meddler.response = lambda _: other
    with pytest.raises(SealError):
        await ask(meddler)


def message(*fields: tuple[bytes, bytes], body: bytes = b"") -> bytes:
    return encode_request(RequestHead("POST", "https", "e", "/ask", fields), body)


async def host_view(gateway: Gateway, sealed: bytes, kind: str) -> tuple[Any, ...]:
    """Return all that the host can tell one answer from another by."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway)) as client:
        answer = await client.post(GATEWAY_URL, content=sealed, headers={"content-type": kind})
    return answer.status_code, sorted(answer.headers.items()), len(answer.content)


async def test_host_readable_errors_are_the_same_for_different_plaintexts() -> None:
    """What is wrong with a plaintext is said inside the seal, at one size."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError((await receive())["body"])

    gateway = Gateway(failing, SMALL, limits=GatewayLimits(head=Limits(section=500)))
    wrong = [
        b"",
        b"\xff" * 300,
        message()[:-9],
        message((b"x", b"y" * 600)),
        message((b"date", b"Sat, 01 Jan 2000 00:00:00 GMT")),
        message((b"date", b"never")),
        message((b"privity-records", b"-1")),
        message(body=b"the application fails on this"),
        message(body=b"and on this, which is much longer" * 9),
    ]
    config = preferred(SMALL.configs)
    views = set()
    for plaintext in wrong:
        sealer = chunked_ohttp.RequestSealer(config)
        sealed = sealer.header + sealer.final(plaintext)
        views.add(repr(await host_view(gateway, sealed, chunked_ohttp.REQUEST_TYPE)))
    assert len(views) == 1
    plain = set()
    for plaintext in wrong:
        sealed, _ = ohttp.encapsulate_request(config, plaintext)
        plain.add(repr(await host_view(gateway, sealed, ohttp.REQUEST_TYPE)))
    assert len(plain) == 1


async def test_what_does_not_open_is_refused_with_a_constant() -> None:
    gateway = Gateway(Enclave(), SMALL)
    views = []
    for plaintext in (message(body=b"one"), message(body=b"another one, longer"), b""):
        sealer = chunked_ohttp.RequestSealer(preferred(SMALL.configs))
        sealed = sealer.header + sealer.final(plaintext)
        broken = flipped(len(sealed) - 1)(sealed)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway)) as client:
            headers = {"content-type": chunked_ohttp.REQUEST_TYPE}
            answer = await client.post(GATEWAY_URL, content=broken, headers=headers)
        views.append((answer.status_code, sorted(answer.headers.items()), answer.content))
    assert views[0] == views[1] == views[2]
    assert views[0][2] == problem.UNOPENABLE.body


async def test_lengths_of_tokens_do_not_show() -> None:
    """Two answers of as many tokens are alike on the wire, whatever their tokens are."""

    def teller(tokens: list[bytes]) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            for token in tokens:
                await send({"type": "http.response.body", "body": token, "more_body": True})
                await asyncio.sleep(0.001)
            await send({"type": "http.response.body", "body": b""})

        return app

    sizes = []
    for tokens in ([b"a"] * 9, [b"antidisestablishmentarianism"] * 9):
        meddler = Meddler(Gateway(teller(tokens), SMALL))
        answer = await ask(meddler)
        assert answer.content == b"".join(tokens)
        sizes.append(len(meddler.answered[-1].content))
    assert sizes[0] == sizes[1]


async def test_lengths_of_short_questions_do_not_show() -> None:
    meddler = Meddler(Gateway(Enclave(), SMALL))
    for question in (b"?", b"a much longer question " * 20):
        await ask(meddler, content=question)
    assert len(meddler.carried[0]) == len(meddler.carried[1])


CANARY_QUESTION = b"canary-question-7f3a"
CANARY_ANSWER = b"canary-answer-91bc"


async def test_neither_question_nor_answer_is_on_any_wire(serve: Serve) -> None:
    keys = GatewayKeys.generate()
    enclave = Enclave(CANARY_ANSWER)
    async with Wire(serve(Gateway(enclave, keys))).laid() as far:
        relay = serve(relay_app({"one": far.url}))
        async with Wire(relay).laid() as near:
            transport = SealedTransport(Published(keys), f"{near.url}/one")
            async with httpx.AsyncClient(transport=transport) as client:
                answer = await client.post("https://enclave.test/ask", content=CANARY_QUESTION)
    assert answer.content == CANARY_ANSWER + CANARY_QUESTION + CANARY_ANSWER
    assert enclave.asked == [CANARY_QUESTION]
    for wire in (near, far):
        assert b"message/ohttp-chunked-req" in wire.up  # it is the wire that was used
        seen = bytes(wire.up + wire.down)
        for secret in (CANARY_QUESTION, CANARY_ANSWER, b"enclave.test", b"/ask"):
            assert secret not in seen
    # Without the seal the same search finds them.
    async with Wire(serve(enclave)).laid() as open_wire, httpx.AsyncClient() as client:
        await client.post(f"{open_wire.url}/ask", content=CANARY_QUESTION)
    assert CANARY_QUESTION in open_wire.up
    assert CANARY_ANSWER in open_wire.down


@pytest.mark.parametrize("where", ["near", "far"])
async def test_cut_connection_is_truncation(serve: Serve, where: str) -> None:
    keys = GatewayKeys.generate()
    async with Wire(serve(Gateway(Enclave(b"x" * 4000, pause=0.02), keys))).laid() as far:
        async with Wire(serve(relay_app({"one": far.url}))).laid() as near:
            cut = near if where == "near" else far
            cut.cut_after = 6500  # after the first pieces of the answer
            transport = SealedTransport(Published(keys), f"{near.url}/one")
            async with httpx.AsyncClient(transport=transport) as client:
                async with client.stream("POST", "https://e.test/", content=b"q") as answer:
                    sealed = answer.extensions["sealed"]
                    received = b""
                    with pytest.raises(TruncatedError) as caught:
                        async for piece in answer.aiter_raw():
                            received += piece
    assert 4000 <= len(received) < 8001
    assert not sealed.ended
    assert sealed.trailers == {}
    assert caught.value.hint
