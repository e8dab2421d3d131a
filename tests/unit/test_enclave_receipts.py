"""The receipt of a job, issued as its bytes pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from privity.identity.keys import SigningKey
from privity.infer.engines.proxy import SERVED
from privity.node.enclave_receipts import Issuer, ReceiptMiddleware
from privity.receipt import (
    RECEIPT_TRAILER,
    BodyDigest,
    EvidenceRef,
    JobReceipt,
    Outcome,
    VerifiedReceipt,
    decode_trailer,
    encode_salt,
    verify_receipt,
)
from privity.statement import Model

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SALT = bytes(range(32))
KEYSET = "sha256:" + "a" * 64
EVIDENCE = (EvidenceRef("dev", "sha256:" + "b" * 64),)
KEY = SigningKey(b"k" * 32)
MODEL = Model("tiny", "sha256:" + "c" * 64, "script 1")

App = Callable[[Any, Any, Any], Awaitable[None]]


class Exchange:
    """One request through the middleware, as the gateway would run it."""

    def __init__(self, *parts: bytes, salts: tuple[str, ...] | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self._parts = list(parts) or [b""]
        salts = (encode_salt(SALT),) if salts is None else salts
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": [(b"accept", b"x"), *((b"privity-salt", one.encode()) for one in salts)],
            "extensions": {"http.response.trailers": {}},
        }

    async def receive(self) -> dict[str, Any]:
        if not self._parts:
            return {"type": "http.disconnect"}
        body = self._parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self._parts)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, app: App, *, times: tuple[datetime, ...] = ()) -> Exchange:
        ticks = list(times)
        issuer = Issuer(KEY, KEYSET, EVIDENCE)
        middleware = ReceiptMiddleware(app, issuer, clock=lambda: ticks.pop(0) if ticks else NOW)
        await middleware(self.scope, self.receive, self.send)
        return self

    @property
    def trailers(self) -> list[tuple[bytes, bytes]] | None:
        last = self.sent[-1]
        return last["headers"] if last["type"] == "http.response.trailers" else None

    def receipt(self) -> VerifiedReceipt:
        assert self.trailers is not None
        ((name, value),) = self.trailers
        assert name == RECEIPT_TRAILER.encode()
        return verify_receipt(decode_trailer(value), issuer=KEY.did, now=NOW + timedelta(days=1))

    def job(self) -> JobReceipt:
        return self.receipt().job


def answering(status: int = 200, *, read: bool = True) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while read and (await receive()).get("more_body"):
            pass
        served = scope[SERVED]
        served.model, served.prompt_tokens, served.completion_tokens = MODEL, 3, None
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"an ", "more_body": True})
        await send({"type": "http.response.body", "body": b"answer"})

    return app


@pytest.mark.anyio
async def test_an_answer_that_ended_has_a_receipt_of_what_passed() -> None:
    later = NOW + timedelta(seconds=9)
    exchange = await Exchange(b"a ques", b"", b"tion").run(answering(), times=(NOW, later))
    assert [message["type"] for message in exchange.sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.body",
        "http.response.trailers",
    ]
    assert exchange.sent[0]["trailers"] is True
    assert exchange.job() == JobReceipt(
        model=MODEL,
        request=BodyDigest("request", SALT).update(b"a question").digest(),
        answer=BodyDigest("answer", SALT).update(b"an answer").digest(),
        status=200,
        prompt_tokens=3,
        completion_tokens=None,
        keyset=KEYSET,
        evidence=EVIDENCE,
        started=NOW,
        ended=later,
        outcome=Outcome.COMPLETE,
    )


@pytest.mark.anyio
async def test_each_piece_of_an_answer_passes_before_the_next_is_made() -> None:
    passed: list[int] = []
    exchange = Exchange(b"q")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            passed.append(len(exchange.sent))

    await exchange.run(app)
    assert passed == [2, 3, 4]
    assert exchange.trailers is None  # it never ended


@pytest.mark.anyio
async def test_the_application_sees_no_salt() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    await Exchange().run(app)
    assert seen == [(b"accept", b"x")]


@pytest.mark.anyio
async def test_who_asks_for_no_receipt_gets_none() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert SERVED not in scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    exchange = await Exchange(salts=()).run(app)
    assert "trailers" not in exchange.sent[0] and exchange.trailers is None

    without_trailers = Exchange()
    without_trailers.scope["extensions"] = {}
    await without_trailers.run(app)
    assert without_trailers.trailers is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "salts", [("",), ("AAAA",), ("ö",), ("=" * 43,), ("A" * 43, "A" * 43), ("A" * 5000,)]
)
async def test_a_salt_that_is_none_is_refused_before_the_application(
    salts: tuple[str, ...],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the application was reached")

    exchange = await Exchange(salts=salts).run(app)
    assert exchange.sent[0]["status"] == 400 and exchange.trailers is None


@pytest.mark.anyio
async def test_an_answer_that_breaks_off_has_no_receipt() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("the engine broke off")

    exchange = Exchange(b"q")
    with pytest.raises(RuntimeError):
        await exchange.run(app)
    assert exchange.trailers is None


@pytest.mark.anyio
async def test_a_caller_that_leaves_gets_no_receipt() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await anyio.sleep_forever()

    exchange = Exchange(b"q")
    async with anyio.create_task_group() as group:
        group.start_soon(exchange.run, app)
        while len(exchange.sent) < 2:
            await anyio.sleep(0)
        group.cancel_scope.cancel()
    assert exchange.trailers is None

    # Who leaves during the upload does not get one for the part that came.
    cut = Exchange(b"half of the ")
    cut._parts.append(b"never read")
    cut.receive = _leaving(cut.receive)  # type: ignore[method-assign]
    await cut.run(answering(read=False))
    assert cut.trailers is None


def _leaving(receive: Any) -> Any:
    calls = iter([True, False])

    async def once() -> Any:
        return await receive() if next(calls) else {"type": "http.disconnect"}

    return once


@pytest.mark.anyio
async def test_an_error_is_receipted_as_failed_if_the_request_was_whole() -> None:
    whole = await Exchange(b"q").run(answering(404))
    assert (whole.job().outcome, whole.job().status) == (Outcome.FAILED, 404)
    early = await Exchange(b"q", b"more").run(answering(413, read=False))
    assert early.trailers == []


@pytest.mark.anyio
async def test_what_an_application_did_not_read_is_in_the_digest_too() -> None:
    exchange = await Exchange(b"a ", b"question").run(answering(read=False))
    whole = BodyDigest("request", SALT).update(b"a question").digest()
    assert exchange.job().request == whole


@pytest.mark.anyio
async def test_a_clock_set_back_does_not_cost_the_receipt() -> None:
    exchange = await Exchange(b"q").run(answering(), times=(NOW, NOW - timedelta(hours=1)))
    assert exchange.job().started == exchange.job().ended == NOW
