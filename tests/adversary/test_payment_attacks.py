"""Attacks on payment: more served than held, less paid by leaving, a token locked or lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import paid_enclave as paid
from native import needs_kernel
from privity.anon.asked import read_request
from privity.anon.payment_terms import SPEND_HEADER
from privity.anon.stores import open_store
from privity.anon.tariff import EVERY_MODEL, ModelPrices, Step, Tariff, flat_tariff
from privity.errors import AdmissionError, MalformedError, PrivityError
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.admitted import AdmittedTransport
from privity.infer.anonymous.paid import PaidTransport
from privity.infer.engines.proxy import SERVED
from privity.node.enclave_payment import PaymentMiddleware
from privity.receipt import SALT_HEADER, encode_salt
from privity.statement import Model

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
TARIFF = flat_tariff()
CHEAP, DEAR = 2 + 2, 2 + 60


def _body(**more: Any) -> bytes:
    return json.dumps({"model": "tiny", **more}).encode()


# What the engine may generate


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, {"max_tokens": 1, "n_predict": 8000}),
        (CHAT, {"max_tokens": 1, "num_predict": 8000}),
        (RESPONSES, {"max_tokens": 1, "max_output_tokens": 8000}),
        (TEXT, {"max_tokens": 256, "prompt": ["a"] * 32}),
        (TEXT, {"max_tokens": 256, "prompt": [[1, 2]] * 32}),
        (TEXT, {"max_tokens": 256, "prompt": "a", "best_of": 32}),
        (TEXT, {"max_tokens": 64, "prompt": ["a"] * 16, "n": 8}),
        (CHAT, {"max_tokens": 256, "n_cmpl": 32}),
        (CHAT, {"max_completion_tokens": 1, "max_tokens": 3_000_000_000}),
        (CHAT, {"max_completion_tokens": 1, "max_tokens": -1}),
        (CHAT, {"max_completion_tokens": 1, "max_tokens": 8000.0}),
        (CHAT, {"max_completion_tokens": 1, "max_tokens": "8000"}),
        (CHAT, {"max_tokens": True}),
        (CHAT, {"max_tokens": 1, "Max_Tokens": 8000}),
        (CHAT, {"max_tokens": 1, "max_token\u017f": 8000}),
        (CHAT, {"max_tokens": 1, "n": "32"}),
        (CHAT, {"max_tokens": 1, "n": 100_000}),
        (CHAT, {}),
    ],
)
def test_whatever_asks_for_much_holds_much(path: str, more: dict[str, Any]) -> None:
    assert TARIFF.worst_of(_body(**more)) == DEAR


@pytest.mark.parametrize(
    ("path", "name"),
    [(CHAT, "max_tokens"), (TEXT, "max_tokens"), (RESPONSES, "max_output_tokens")],
)
def test_the_engine_is_told_one_limit_and_the_one_that_was_held(path: str, name: str) -> None:
    """What is sent has the limit that was read, under one name, and nothing that asks for more."""
    spellings = {
        **{"max_tokens": 5, "max_completion_tokens": 7, "max_output_tokens": 3, "n_predict": 2},
        **{"num_predict": 1, "max_new_tokens": 6, "min_tokens": 4000, "use_beam_search": True},
        **{"best_of": 1, "n_cmpl": 1, "ignore_eos": True, "MAX_TOKENS": None, "temperature": 1},
    }
    del spellings["MAX_TOKENS"]
    body = _body(**spellings)
    sent = json.loads(read_request(body).for_engine(body, path))
    assert sent == {"model": "tiny", "temperature": 1, name: 7}
    assert read_request(body).most == 7


@pytest.mark.parametrize("path", [CHAT, TEXT, RESPONSES, "/v1/messages", "/v1/embeddings"])
@pytest.mark.parametrize(
    "more", [{"Max_Tokens": 9}, {"max_tokens": -1}, {"n": 1.5}, {"N_Predict": 9, "max_tokens": 1}]
)
def test_an_odd_limit_reaches_no_engine(path: str, more: dict[str, Any]) -> None:
    body = _body(**more)
    sent = json.loads(read_request(body).for_engine(body, path))
    assert not any(name.casefold() in {"n", "n_predict"} for name in sent)
    assert read_request(body).most is None


def test_an_ordinary_request_goes_as_it_came() -> None:
    body = b'{ "model": "tiny", "max_tokens": 256, "n": 1, "messages": [] }'
    assert read_request(body).for_engine(body, CHAT) == body
    assert TARIFF.worst_of(body) == CHEAP


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 200_000, b'{"n": NaN}', b'{"n": 1' + b"0" * 200 + b"}"]
)
def test_what_is_no_request_is_not_sent(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(body).for_engine(body, CHAT)
    assert TARIFF.worst_of(body) == 20 + 60 or TARIFF.worst_of(body) == DEAR


# In the enclave


class Engine:
    """An engine that sends pieces, and then meets its caller's leaving."""

    def __init__(self, *pieces: bytes, stream: bool, leaves: bool = True) -> None:
        self.pieces, self.leaves = pieces, leaves
        kind = b"text/event-stream; charset=utf-8" if stream else b"application/json"
        self.headers = [(b"content-type", kind)]
        self.seen: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append((await receive())["body"])
        scope[SERVED].model = Model("tiny", None, "script 1")
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.leaves:
            raise RuntimeError("the caller left")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class World:
    def __init__(self, enclave: paid.Enclave) -> None:
        self.enclave = enclave

    async def charged(
        self, engine: Any, body: bytes, tariff: Tariff, *, path: str = CHAT
    ) -> tuple[int, paid.Reply]:
        """Serve one request and return what was kept of its spend."""
        enclave = self.enclave
        terms = replace(enclave.terms, tariff=tariff)
        enclave.app._app = PaymentMiddleware(engine, enclave.desk, terms, paid.NoLedger())
        pending, spend = enclave.token().spend(tariff.worst_of(body))
        headers = [
            (SALT_HEADER.encode(), encode_salt(bytes(32)).encode()),
            (SPEND_HEADER.encode(), encode_base64url(spend).encode()),
        ]
        reply = await enclave.send(headers, body, path=path)
        back = pending.complete(await enclave.desk.recover(spend))
        return 100 - back.balance, reply


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_store(f"sqlite:{tmp_path / 'spent.db'}") as store:
        yield World(paid.Enclave(store))


STEPS = flat_tariff(prompt=((1000, 2), (100_000, 20)), completion=((10, 1), (100, 5)))
WHOLE = json.dumps({"choices": [{"message": {"content": "\\ndata: word " * 100}}]}).encode()


@pytest.mark.anyio
@needs_kernel("Act")
async def test_an_answer_taken_whole_but_for_its_end_costs_what_was_held(world: World) -> None:
    """Not a stream: nothing in it can be counted, and its last byte is not waited for."""
    kept, reply = await world.charged(Engine(WHOLE, stream=False), _body(max_tokens=100), STEPS)
    assert (kept, reply.broke) == (7, True)


@pytest.mark.anyio
@needs_kernel("Act")
async def test_an_engine_that_counts_nothing_is_not_free(world: World) -> None:
    engine = Engine(WHOLE, stream=False, leaves=False)
    assert (await world.charged(engine, _body(max_tokens=100), STEPS))[0] == 7


@pytest.mark.anyio
@needs_kernel("Act")
async def test_a_long_prompt_is_paid_for_where_the_answer_broke_off(world: World) -> None:
    body = _body(max_tokens=10, messages=["word " * 9000])
    engine = Engine(*[b"data: a\n\n"] * 10, stream=True)
    assert (await world.charged(engine, body, STEPS))[0] == 21


@pytest.mark.anyio
@needs_kernel("Act")
async def test_events_are_counted_by_lines_wherever_they_are_cut(world: World) -> None:
    """Neither split to be missed, nor written by a model to be counted."""
    stream = b"data: x\n\n" * 11
    for size in (1, 3, 5, 7):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        engine = Engine(*pieces, stream=True)
        assert (await world.charged(engine, _body(max_tokens=100), STEPS))[0] == 7
    said = b'data: {"content": "data: data: \\ndata: ' + b"data: " * 50 + b'"}\n\n'
    assert (await world.charged(Engine(said, stream=True), _body(max_tokens=100), STEPS))[0] == 3


@pytest.mark.anyio
@needs_kernel("Act")
async def test_an_early_count_does_not_lower_what_was_delivered(world: World) -> None:
    """Some engines begin a stream with a count of one token."""

    class Early(Engine):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope[SERVED].prompt_tokens, scope[SERVED].completion_tokens = 3, 1
            await super().__call__(scope, receive, send)

    engine = Early(*[b"data: x\n\n"] * 50, stream=True)
    assert (await world.charged(engine, _body(max_tokens=100), STEPS))[0] == 7


@pytest.mark.anyio
@needs_kernel("Act")
async def test_what_the_engine_sees_has_the_limit_that_was_paid_for(world: World) -> None:
    engine = Engine(b"{}", stream=False, leaves=False)
    body = _body(max_tokens=4, n_predict=9, min_tokens=8000, prompt="a")
    await world.charged(engine, body, STEPS, path=TEXT)
    assert json.loads(engine.seen[0]) == {"model": "tiny", "max_tokens": 9, "prompt": "a"}


@pytest.mark.anyio
@needs_kernel("Act")
@pytest.mark.parametrize("model", ["tiny", None])
async def test_a_model_without_a_price_is_not_served(world: World, model: str | None) -> None:
    only = Tariff({"another": ModelPrices((Step(1000, 2),), (Step(100, 5),))})
    assert EVERY_MODEL not in only.models
    engine = Engine(b"{}", stream=False, leaves=False)
    kept, reply = await world.charged(engine, json.dumps({"model": model}).encode(), only)
    assert (reply.status, reply.code, kept, engine.seen) == (404, "model", 0, [])


@pytest.mark.anyio
@needs_kernel("Act")
async def test_who_cannot_pay_has_no_large_body_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(body: bytes) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr("privity.node.enclave_payment.read_request", never)
    body = b"[" * (1 << 20)
    for value in (b"AAAA", b"", b"A" * 6558):
        headers = [
            (SALT_HEADER.encode(), encode_salt(bytes(32)).encode()),
            (SPEND_HEADER.encode(), value),
        ]
        reply = await world.enclave.send(headers, body, path=CHAT)
        assert reply.status in (400, 402)
    assert world.enclave.jobs == 0
    await anyio.sleep(0)


# On the device


class Purse:
    def __init__(self) -> None:
        self.log: list[str] = []

    async def spend(self, amount: int) -> Any:
        self.log.append("set aside")
        return Held()

    async def refunded(self, spend_id: str, refund: bytes) -> int:
        return 0

    def over(self, spend_id: str) -> None:
        pass

    async def unsent(self, spend_id: str) -> None:
        self.log.append("back")


class Held:
    id, spend = "s1", b"spend"


class Gateway(httpx.AsyncBaseTransport):
    """Carries what it likes, and says what it likes."""

    def __init__(self, says: Exception | None = None) -> None:
        self.says, self.got = says, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.got += 1
        if self.says is not None:
            raise self.says
        return httpx.Response(200)


class Twice(httpx.AsyncBaseTransport):
    """Tries again what was refused, as what is sealed to a key that is stale."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.inner.handle_async_request(request)
        except PrivityError:
            return await self.inner.handle_async_request(request)


async def _none_left(digest: bytes) -> str:
    raise AdmissionError("this epoch's messages are used up", check="rate")


def _request() -> httpx.Request:
    return httpx.Request("POST", "https://e/v1", content=b"{}")


@pytest.mark.anyio
async def test_a_message_too_many_gives_its_credits_back() -> None:
    """Else a few of them would set every token aside."""
    purse, gateway = Purse(), Gateway()
    way = Twice(AdmittedTransport(gateway, _none_left))
    with pytest.raises(AdmissionError):
        await PaidTransport(way, purse, TARIFF).handle_async_request(_request())
    assert (purse.log, gateway.got) == (["set aside", "back"], 0)


@pytest.mark.anyio
@pytest.mark.parametrize("check", ["rate", "root", "query"])
async def test_a_gateways_word_gives_no_credits_back(check: str) -> None:
    """It may have passed the request on: the spend would be made twice, and be known again."""

    async def prove(digest: bytes) -> str:
        return "proof"

    purse = Purse()
    for way in (
        AdmittedTransport(Gateway(AdmissionError("no", check=check)), prove),
        Gateway(AdmissionError("no", check=check)),
    ):
        with pytest.raises(AdmissionError):
            await PaidTransport(way, purse, TARIFF).handle_async_request(_request())
    assert purse.log == ["set aside"] * 2


@pytest.mark.anyio
async def test_a_second_attempt_that_stayed_does_not_hide_the_first_that_left() -> None:
    proofs = ["proof"]

    async def prove(digest: bytes) -> str:
        if not proofs:
            return await _none_left(digest)
        return proofs.pop()

    purse, gateway = Purse(), Gateway(AdmissionError("no", check="root"))
    way = Twice(AdmittedTransport(gateway, prove))
    with pytest.raises(AdmissionError) as caught:
        await PaidTransport(way, purse, TARIFF).handle_async_request(_request())
    assert caught.value.check == "rate"
    assert (purse.log, gateway.got) == (["set aside"], 1)


@pytest.mark.anyio
async def test_who_stops_waiting_for_a_proof_has_nothing_locked() -> None:
    purse, gateway = Purse(), Gateway()
    with anyio.CancelScope() as scope:

        async def prove(digest: bytes) -> str:
            scope.cancel()
            await anyio.sleep_forever()
            return ""

        way = AdmittedTransport(gateway, prove)
        await PaidTransport(way, purse, TARIFF).handle_async_request(_request())
    assert (purse.log, gateway.got) == (["set aside", "back"], 0)
