"""The gateway as its host runs it: ASGI in, ASGI out, and what the application inside sees."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from privity.errors import OpenError
from privity.seal import chunked_ohttp, ohttp, problem
from privity.seal.binary_http import (
    Content,
    Decoder,
    Limits,
    RequestEncoder,
    RequestHead,
    ResponseHead,
    Trailers,
    encode_request,
)
from privity.seal.gateway import GATEWAY_PATH, Gateway, GatewayLimits
from privity.seal.key_config import KEYS_TYPE, GatewayKeys, parse_configs, preferred
from privity.seal.padding import PAD_HEADER
from privity.seal.records import RecordReader

KEYS = GatewayKeys.generate()
CHUNKED = chunked_ohttp.REQUEST_TYPE.encode()
WHOLE = ohttp.REQUEST_TYPE.encode()


@dataclass
class Host:
    """Runs a gateway for one request, and sees all that its host could see."""

    app: Any
    sent: list[dict[str, Any]] = field(default_factory=list)
    leave: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(
        self, *pieces: bytes, kind: bytes = CHUNKED, length: bytes | None = None
    ) -> None:
        headers = [(b"content-type", kind)]
        if length is not None:
            headers.append((b"content-length", length))
        await self.request("POST", GATEWAY_PATH, headers, list(pieces))

    async def request(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], pieces: list[bytes]
    ) -> None:
        waiting = list(pieces) or [b""]

        async def receive() -> dict[str, Any]:
            if waiting:
                await asyncio.sleep(0.001)  # as bytes from a network would, one after the other
                body = waiting.pop(0)
                return {"type": "http.request", "body": body, "more_body": bool(waiting)}
            await self.leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": headers,
            "client": ("192.0.2.7", 4242),
            "state": {"shared": 1},
        }
        await asyncio.wait_for(self.app(scope, receive, send), 10)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", False)


@dataclass
class Answer:
    head: ResponseHead
    content: bytes
    trailers: tuple[tuple[bytes, bytes], ...]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.head.headers)


def opened(plaintext: list[bytes]) -> Answer:
    decoder = Decoder("response")
    events = [event for piece in plaintext for event in decoder.feed(piece)] + decoder.finish()
    head, *content, trailers = events
    assert isinstance(head, ResponseHead)
    assert isinstance(trailers, Trailers)
    data = b"".join(event.data for event in content if isinstance(event, Content))
    return Answer(head, data, trailers.fields)


def head(*fields: tuple[bytes, bytes], path: str = "/v1/x", authority: str = "e") -> RequestHead:
    return RequestHead("POST", "https", authority, path, fields)


async def ask(
    app: Any, message: bytes, *, keys: GatewayKeys = KEYS, limits: GatewayLimits | None = None
) -> tuple[Host, Answer]:
    """Seal one message in one chunk; return what the host saw and the opened answer."""
    sealer = chunked_ohttp.RequestSealer(preferred(keys.configs))
    host = Host(Gateway(app, keys, limits=limits))
    await host.post(sealer.header + sealer.final(message))
    assert host.status == 200
    assert host.complete
    opener = sealer.response_opener()
    plaintext = opener.feed(host.body) + opener.finish()
    return host, opened(plaintext)


def answering(*pieces: bytes, status: int = 200, headers: Any = (), trailers: Any = None) -> Any:
    """Return an application that answers with these pieces, one after the other."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": status, "headers": list(headers)}
        await send({**start, "trailers": trailers is not None})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
        if trailers is not None:
            await send({"type": "http.response.trailers", "headers": trailers})

    return app


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole request, then answer."""
    while (await receive())["more_body"]:
        pass
    await answering(b"ok")(scope, receive, send)


pytestmark = pytest.mark.anyio


async def test_application_sees_an_ordinary_request_without_a_client() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        seen["messages"] = [await receive()]
        await answering(b"ok")(scope, receive, send)

    fields = ((b"x-a", b"1"), (b"host", b"other"), (b"connection", b"close"))
    request = head(*fields, (b"privity-records", b"64"), path="/p%20q?r=%20", authority="e:8")
    await ask(app, encode_request(request, b"body"))

    assert (seen["method"], seen["scheme"], seen["path"]) == ("POST", "https", "/p q")
    assert (seen["raw_path"], seen["query_string"]) == (b"/p%20q", b"r=%20")
    assert seen["client"] is None
    assert seen["headers"] == [(b"host", b"e:8"), (b"x-a", b"1")]
    assert seen["state"] == {"shared": 1}
    assert seen["messages"] == [{"type": "http.request", "body": b"body", "more_body": False}]


async def test_answer_comes_back_with_status_headers_content_and_trailers() -> None:
    app = answering(
        b"one", b"two", status=201, headers=[(b"X-Kept", b"1"), (b"Connection", b"close")],
        trailers=[(b"x-t", b"v")],
    )  # fmt: skip
    _, answer = await ask(app, encode_request(head()))
    assert answer == Answer(ResponseHead(201, ((b"x-kept", b"1"),)), b"onetwo", ((b"x-t", b"v"),))


async def test_plain_request_gets_a_plain_answer() -> None:
    host = Host(Gateway(answering(b"a", b"b", trailers=[(b"x-t", b"v")]), KEYS))
    sealed, opener = ohttp.encapsulate_request(preferred(KEYS.configs), encode_request(head()))
    await host.post(sealed[:5], sealed[5:], kind=WHOLE)
    assert host.headers[b"content-type"] == ohttp.RESPONSE_TYPE.encode()
    answer = opened([opener.open(host.body)])
    assert (answer.content, answer.trailers) == (b"ab", ((b"x-t", b"v"),))


async def test_too_large_an_answer_to_a_plain_request_is_refused_inside() -> None:
    limits = GatewayLimits(whole_bytes=10_000)
    host = Host(Gateway(answering(*[b"x" * 4000] * 9), KEYS, limits=limits))
    sealed, opener = ohttp.encapsulate_request(preferred(KEYS.configs), encode_request(head()))
    await host.post(sealed, kind=WHOLE)
    answer = opened([opener.open(host.body)])
    assert (answer.head.status, answer.headers[problem.INSIDE_HEADER]) == (500, b"1")
    assert problem.UNSTREAMED.body == answer.content


async def test_content_in_records_is_confirmed_and_of_one_size() -> None:
    app = answering(b"a", b"bb" * 40, b"c" * 1000)
    _, answer = await ask(app, encode_request(head((b"privity-records", b"128"))))
    assert answer.headers[b"privity-records"] == b"128"
    assert PAD_HEADER in answer.headers
    assert b"".join(RecordReader(128).feed(answer.content)) == b"a" + b"bb" * 40 + b"c" * 1000
    assert len(answer.content) % 128 == 0


async def test_each_message_of_a_burst_has_a_record_of_its_own() -> None:
    async def burst(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(100):  # without ever letting go of the loop
            await send({"type": "http.response.body", "body": b"0123456789", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    _, answer = await ask(burst, encode_request(head((b"privity-records", b"514"))))
    assert len(answer.content) == 100 * 514  # as many as messages, whatever their lengths


async def test_cadence_sends_one_record_at_each_tick_and_cover_when_idle() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 150, "more_body": True})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"end"})

    fields = ((b"privity-records", b"160"), (b"privity-cadence", b"20"))
    host, answer = await ask(app, encode_request(head(*fields)))
    assert answer.headers[b"privity-cadence"] == b"20"
    assert b"privity-pace" not in answer.headers
    assert b"".join(RecordReader(160).feed(answer.content)) == b"x" * 150 + b"end"
    first, *ticks, final = (len(message["body"]) for message in host.sent[1:])
    record = 2 + 2 + 160 + 16  # the chunk's length, the content's, and the tag
    assert set(ticks) == {record}  # one record in each
    assert 6 <= len(ticks) <= 20  # in 300 ms; only two of them carry anything
    assert first > 1024 + record  # the padded head is with the first
    assert final > 1024 + record  # the padded end is with the last


async def test_nothing_is_buffered_before_the_head_is_sent() -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await release.wait()
        await send({"type": "http.response.body", "body": b"late"})

    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    host = Host(Gateway(app, KEYS))
    serving = asyncio.create_task(host.post(sealer.header + sealer.final(encode_request(head()))))
    while len(host.sent) < 2:
        await asyncio.sleep(0.001)
    opener = sealer.response_opener()
    [early] = opener.feed(host.body)
    assert Decoder("response").feed(early)[0] == ResponseHead(200)
    release.set()
    await serving


async def test_streamed_request_reaches_the_application_as_it_comes() -> None:
    sizes: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await answering(b"ok")(scope, receive, send)

    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    encoder = RequestEncoder()
    host = Host(Gateway(app, KEYS))
    await host.post(
        sealer.header,
        sealer.chunk(encoder.head(head())),
        sealer.chunk(encoder.content(b"a" * 9000)),
        sealer.chunk(encoder.content(b"b" * 9000)),
        sealer.final(encoder.end()),
    )
    assert sum(sizes) == 18_000
    assert len(sizes) > 1
    assert host.complete


async def test_failing_application_is_answered_inside_and_tells_the_log_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("canary " + (await receive())["body"].decode())

    with caplog.at_level(logging.DEBUG):
        host, answer = await ask(app, encode_request(head(), b"secret"))
    assert answer.head.status == 500
    assert problem.INSIDE_HEADER not in answer.headers  # the application's, not the gateway's
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text + repr([record.__dict__ for record in caplog.records])
    assert len(host.body) > 1024  # padded like every such answer


async def test_application_failing_later_leaves_no_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await asyncio.sleep(0.01)
        raise ValueError

    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    host = Host(Gateway(app, KEYS))
    await host.post(sealer.header + sealer.final(encode_request(head())))
    assert not host.complete
    opener = sealer.response_opener()
    assert opener.feed(host.body)
    assert not opener.ended


async def test_client_that_leaves_cancels_the_application() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    host = Host(Gateway(app, KEYS))
    serving = asyncio.create_task(host.post(sealer.header + sealer.final(encode_request(head()))))
    while len(host.sent) < 2:
        await asyncio.sleep(0.001)
    host.leave.set()
    await serving
    assert cancelled.is_set()
    assert not host.complete


async def test_application_may_work_on_after_its_answer() -> None:
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(b"ok")(scope, receive, send)
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        await asyncio.sleep(0.02)
        done.set()

    await ask(app, encode_request(head()))
    assert done.is_set()


async def test_keys_are_published() -> None:
    host = Host(Gateway(answering(), KEYS))
    await host.request("GET", GATEWAY_PATH, [], [])
    assert host.status == 200
    assert host.headers[b"content-type"] == KEYS_TYPE.encode()
    assert parse_configs(host.body) == KEYS.configs


async def test_everything_else_is_for_the_outer_application() -> None:
    host = Host(Gateway(answering(b"inner"), KEYS, outer=answering(b"outer", status=418)))
    await host.request("POST", "/v1/chat/completions", [], [b"{}"])
    assert (host.status, host.body) == (418, b"outer")


@pytest.mark.parametrize(
    ("method", "path", "kind", "expected"),
    [
        ("GET", "/elsewhere", b"", problem.NOT_FOUND),
        ("POST", "/v1/chat/completions", CHUNKED, problem.NOT_FOUND),
        ("PUT", GATEWAY_PATH, CHUNKED, problem.NO_METHOD),
        ("POST", GATEWAY_PATH, b"application/json", problem.NOT_SEALED),
        ("POST", GATEWAY_PATH, b"", problem.NOT_SEALED),
    ],
)
async def test_what_is_not_sealed_is_refused(
    method: str, path: str, kind: bytes, expected: problem.Problem
) -> None:
    host = Host(Gateway(answering(), KEYS))
    await host.request(method, path, [(b"content-type", kind)] if kind else [], [b"{}"])
    assert (host.status, host.body) == (expected.status, expected.body)
    assert host.headers[b"content-type"] == b"application/problem+json"


async def test_lifespan_is_the_applications() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def unused() -> dict[str, Any]:
        raise AssertionError

    await Gateway(app, KEYS)({"type": "lifespan"}, unused, unused)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@pytest.mark.parametrize("kind", [CHUNKED, WHOLE])
async def test_oversize_is_refused_by_its_stated_and_by_its_real_length(kind: bytes) -> None:
    limits = GatewayLimits(request_bytes=5000, whole_bytes=5000)
    stated = Host(Gateway(answering(), KEYS, limits=limits))
    await stated.post(b"", kind=kind, length=b"5001")
    real = Host(Gateway(reading, KEYS, limits=limits))
    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    encoder = RequestEncoder()
    start = sealer.header + sealer.chunk(encoder.head(head()))
    await real.post(
        start, *[sealer.chunk(encoder.content(b"x" * 1000)) for _ in range(9)], kind=kind
    )
    for host in (stated, real):
        assert (host.status, host.body) == (413, problem.OVERSIZE.body)


async def test_too_many_at_once_are_refused() -> None:
    held = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await held.wait()
        await answering()(scope, receive, send)

    gateway = Gateway(app, KEYS, limits=GatewayLimits(concurrency=1))
    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    first, second = Host(gateway), Host(gateway)
    serving = asyncio.create_task(first.post(sealer.header + sealer.final(encode_request(head()))))
    await asyncio.sleep(0.02)
    await second.post(b"anything")
    assert (second.status, second.body) == (503, problem.BUSY.body)
    held.set()
    await serving
    assert first.status == 200


async def test_an_upload_that_stalls_is_ended() -> None:
    stalled = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await stalled.wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": GATEWAY_PATH}
    gateway = Gateway(answering(), KEYS, limits=GatewayLimits(idle_s=0.05))
    await gateway({**scope, "headers": [(b"content-type", CHUNKED)]}, receive, send)
    assert sent[0]["status"] == problem.SLOW.status


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x07 not Binary HTTP", problem.MALFORMED),
        (b"", problem.MALFORMED),
        (encode_request(head())[:9], problem.MALFORMED),
        (encode_request(head((b"privity-records", b"3"))), problem.MALFORMED),
        (encode_request(head((b"x", b"y" * 2000))), problem.FIELDS),
        (encode_request(head((b"date", b"Sat, 01 Jan 2000 00:00:00 GMT"))), problem.DATE),
        (encode_request(head((b"date", b"yesterday"))), problem.DATE),
    ],
)
async def test_what_opening_reveals_is_answered_inside(
    message: bytes, expected: problem.Problem
) -> None:
    limits = GatewayLimits(head=Limits(section=1000))
    _, answer = await ask(answering(), message, limits=limits)
    assert (answer.head.status, answer.content) == (expected.status, expected.body)
    assert answer.headers[problem.INSIDE_HEADER] == b"1"
    assert b"date" in answer.headers  # by which a client can correct its clock


async def test_application_cannot_speak_for_the_gateway() -> None:
    forged = [(problem.INSIDE_HEADER, b"1"), (b"privity-records", b"16"), (PAD_HEADER, b"0")]
    _, answer = await ask(answering(b"x", headers=forged), encode_request(head()))
    assert answer.head.headers == ()


async def test_a_request_without_end_is_never_a_clean_end_for_the_application() -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            messages.append(await receive())
            assert messages[-1]["more_body"]

    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    encoder = RequestEncoder()
    host = Host(Gateway(app, KEYS))
    await host.post(
        sealer.header + sealer.chunk(encoder.head(head())),
        sealer.chunk(encoder.content(b"part")),
        b"",
    )
    assert (host.status, host.body) == (400, problem.UNOPENABLE.body)
    assert messages


async def test_large_heads_and_ends_travel_in_several_chunks() -> None:
    big = [(b"x-big", b"v" * 40_000)]
    app = answering(b"x", headers=big, trailers=[(b"x-end", b"t" * 40_000)])
    for asked in ((), ((b"privity-records", b"64"),)):
        _, answer = await ask(app, encode_request(head(*asked)))
        assert answer.headers[b"x-big"] == b"v" * 40_000
        assert answer.trailers == ((b"x-end", b"t" * 40_000),)


async def test_retired_keys_take_their_requests_out_of_memory() -> None:
    now = 0.0
    keys = GatewayKeys.generate(grace_s=10, clock=lambda: now)
    gateway = Gateway(answering(b"x"), keys, limits=GatewayLimits(remembered=4))

    async def served() -> int:
        sealer = chunked_ohttp.RequestSealer(preferred(keys.configs))
        host = Host(gateway)
        await host.post(sealer.header + sealer.final(encode_request(head())))
        opener = sealer.response_opener()
        if host.status != 200:
            return host.status
        return opened(opener.feed(host.body) + opener.finish()).head.status

    assert [await served() for _ in range(3)] == [200, 200, 503]  # undated: half the memory
    keys.rotate()
    now = 11.0
    assert await served() == 200


async def test_answer_opens_for_nobody_else(serve: Callable[[Any], str]) -> None:
    host, _ = await ask(answering(b"x"), encode_request(head()))
    other = chunked_ohttp.RequestSealer(preferred(KEYS.configs)).response_opener()
    with pytest.raises(OpenError):
        other.feed(host.body)


@pytest.mark.parametrize("kind", [CHUNKED, WHOLE])
async def test_an_upload_that_drips_before_anything_opens_is_refused(kind: bytes) -> None:
    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    sealed = sealer.header + sealer.final(encode_request(head(), b"x" * 900))
    host = Host(Gateway(answering(), KEYS, limits=GatewayLimits(first_s=0.1)))
    started = asyncio.get_running_loop().time()
    await host.post(*(sealed[at : at + 1] for at in range(1800)), kind=kind)
    assert asyncio.get_running_loop().time() - started < 1
    assert (host.status, host.body) == (problem.SLOW.status, problem.SLOW.body)


async def test_an_upload_that_has_begun_in_time_may_take_longer() -> None:
    sealer = chunked_ohttp.RequestSealer(preferred(KEYS.configs))
    message = encode_request(head(), b"x" * 100)
    pieces = [sealer.chunk(message[at : at + 1]) for at in range(len(message))]
    host = Host(Gateway(answering(b"x"), KEYS, limits=GatewayLimits(first_s=0.1)))
    await host.post(sealer.header + pieces[0], *pieces[1:], sealer.final(b""))
    assert host.status == 200


async def test_a_whole_upload_that_has_begun_in_time_may_take_longer() -> None:
    sealed, _ = ohttp.encapsulate_request(
        preferred(KEYS.configs), encode_request(head(), b"x" * 3000)
    )
    rest = [sealed[at : at + 10] for at in range(2048, len(sealed), 10)]
    host = Host(Gateway(answering(b"x"), KEYS, limits=GatewayLimits(first_s=0.1)))
    await host.post(sealed[:2048], *rest, kind=WHOLE)
    assert host.status == 200
