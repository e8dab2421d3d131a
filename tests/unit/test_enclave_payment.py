"""Payment inside the seal: before a job, for what it delivered, and once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from native import needs_kernel
from paid_enclave import TARIFF, Enclave
from privity.anon.payment_terms import RECOVER_PATH, TERMS_PATH, PaymentTerms
from privity.anon.stores import open_store
from privity.errors import PaymentError, PeerError
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.node.enclave_payment import PaymentMiddleware

pytestmark = [pytest.mark.anyio, needs_kernel("Act")]


@pytest.fixture
async def enclave(tmp_path: Path) -> AsyncIterator[Enclave]:
    async with open_store(f"sqlite:{tmp_path / 'spent.db'}") as store:
        yield Enclave(store)


async def test_a_job_is_paid_for_and_the_rest_comes_back(enclave: Enclave) -> None:
    pending, spend = enclave.token().spend(7)
    reply = await enclave.ask(spend)
    assert (reply.status, enclave.jobs) == (200, 1)
    assert pending.complete(reply.refund).balance == 97  # 2 for the prompt, 1 for the answer


async def test_the_receipt_says_what_it_cost(enclave: Enclave) -> None:
    _, spend = enclave.token().spend(7)
    receipt = (await enclave.ask(spend)).receipt
    assert receipt.price is not None
    assert (receipt.price.charged, receipt.price.held) == (3, 7)
    assert receipt.price.tariff == TARIFF.digest
    assert receipt.prompt_tokens is not None and receipt.completion_tokens is not None
    counts = receipt.prompt_tokens, receipt.completion_tokens
    assert TARIFF.price("tiny", *counts) == receipt.price.charged


async def test_a_spend_is_in_the_store_before_the_job_is_served(enclave: Enclave) -> None:
    _, spend = enclave.token().spend(7)
    again: list[object] = []
    engine = enclave._engine

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(PaymentError) as caught:
            await enclave.desk.begin(spend, least=0)
        again.append(caught.value.check)
        await engine(scope, receive, send)

    enclave.app._app._app = watched  # type: ignore[attr-defined]
    assert (await enclave.ask(spend)).status == 200
    assert again == ["running"]


async def test_nothing_is_served_unpaid(enclave: Enclave) -> None:
    reply = await enclave.ask(None)
    assert (reply.status, reply.code, enclave.jobs) == (402, "missing", 0)
    assert reply.error["type"] == "payment_error"
    assert "privity wallet top-up" in reply.error["hint"]
    assert reply.error["hint"] in reply.error["message"], "clients show the message alone"


async def test_too_small_a_spend_serves_nothing_and_stays_unspent(enclave: Enclave) -> None:
    token = enclave.token()
    _, small = token.spend(6)
    reply = await enclave.ask(small)
    assert (reply.status, reply.code, enclave.jobs) == (402, "short", 0)
    assert "terms of payment" in reply.error["hint"]
    _, enough = token.spend(7)
    assert (await enclave.ask(enough)).status == 200


async def test_a_second_spend_of_one_token_is_refused(enclave: Enclave) -> None:
    token = enclave.token()
    await enclave.ask(token.spend(7)[1])
    reply = await enclave.ask(token.spend(7)[1])
    assert (reply.status, reply.code, enclave.jobs) == (409, "spent", 1)


async def test_a_retry_is_not_served_twice_and_gets_the_same_refund(enclave: Enclave) -> None:
    _, spend = enclave.token().spend(7)
    first = await enclave.ask(spend)
    second = await enclave.ask(spend)
    assert (second.status, second.code, enclave.jobs) == (409, "spent", 1)
    assert second.refund == first.refund


async def test_a_job_that_failed_costs_nothing(enclave: Enclave) -> None:
    enclave.status = 500
    pending, spend = enclave.token().spend(7)
    reply = await enclave.ask(spend)
    assert pending.complete(reply.refund).balance == 100
    assert reply.receipt.price is not None and reply.receipt.price.charged == 0


async def test_an_answer_that_broke_off_costs_what_was_delivered(enclave: Enclave) -> None:
    enclave.breaks = True
    enclave.events = [b"data: x\n\n"] * 11
    _, spend = enclave.token().spend(7)
    assert (await enclave.ask(spend)).broke
    found = await enclave.desk.begin(spend, least=0)
    assert getattr(found, "charged", None) == 7  # the second step of answers: 2 + 5


async def test_who_leaves_while_the_spend_is_taken_is_settled_at_once(enclave: Enclave) -> None:
    """Else the credits would be out of reach until the lease is over."""
    pending, spend = enclave.token().spend(7)
    begin = enclave.store.begin
    with anyio.CancelScope() as caller:

        async def slowly(*arguments: Any, **more: Any) -> Any:
            found = await begin(*arguments, **more)
            caller.cancel()
            await anyio.sleep(0)
            return found

        enclave.store.begin = slowly  # type: ignore[method-assign]
        await enclave.ask(spend)
    enclave.store.begin = begin  # type: ignore[method-assign]
    assert pending.complete(await enclave.desk.recover(spend)).balance >= 97


async def test_a_store_that_is_down_for_a_moment_loses_no_charge(
    enclave: Enclave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privity.node.enclave_payment._AGAIN_S", 0.01)
    settle, failures = enclave.store.settle, [PeerError("down")] * 3

    async def failing(*arguments: Any) -> bytes:
        if failures:
            raise failures.pop()
        return await settle(*arguments)

    enclave.store.settle = failing  # type: ignore[method-assign, assignment]
    pending, spend = enclave.token().spend(7)
    with contextlib.suppress(PeerError):
        await enclave.ask(spend)
    assert not failures
    assert pending.complete(await enclave.desk.recover(spend)).balance == 97


async def test_the_store_is_closed_after_what_was_begun_is_settled(enclave: Enclave) -> None:
    """As an enclave ends that is told to while it serves."""
    pending, spend = enclave.token().spend(7)
    paid: PaymentMiddleware = enclave.app._app  # type: ignore[assignment]
    settle, order = enclave.store.settle, list[str]()
    begun = anyio.Event()

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await anyio.sleep_forever()

    async def slowly(*arguments: Any) -> bytes:
        await anyio.sleep(0.05)
        order.append("settled")
        return await settle(*arguments)

    paid._app = engine
    enclave.store.settle = slowly  # type: ignore[method-assign, assignment]
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(enclave.ask, spend)
            await begun.wait()
            group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await paid.drain()
            order.append("closed")
        scope.cancel()
    assert order == ["settled", "closed"]
    assert pending.complete(await enclave.desk.recover(spend)).balance == 100


async def test_what_was_never_answered_comes_back_whole(enclave: Enclave) -> None:
    pending, spend = enclave.token().spend(7)
    body = json.dumps({"spend": encode_base64url(spend)}).encode()
    for _ in range(2):
        reply = await enclave.send([], body, path=RECOVER_PATH)
        refund = decode_base64url(json.loads(reply.body)["refund"])
        assert pending.complete(refund).balance == 100
    assert (await enclave.ask(spend)).code == "spent"


async def test_the_terms_are_the_same_bytes_for_everyone(enclave: Enclave) -> None:
    reply = await enclave.send([], b"", path=TERMS_PATH, method="GET")
    assert PaymentTerms.from_bytes(reply.body) == enclave.terms
    assert reply.body == enclave.terms.to_bytes()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[" * 60_000, b'{"spend": 1}', b'{"spend": "_"}', b"null"]
)
async def test_what_is_no_request_to_a_desk_is_refused(enclave: Enclave, body: bytes) -> None:
    for path in (RECOVER_PATH, "/privity/credits/issue", "/privity/credits/exit"):
        assert (await enclave.send([], body, path=path)).status in (400, 402)
