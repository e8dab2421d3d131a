"""Two spends of one token at two gateways and two enclaves at once, and deaths in mid-request.

Real processes over one store, a real chain, load of honest persons; see tests/paid_net.py. At the
end of each test everybody is paid out and the operator withdraws: the ledger has to come to zero.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest

from anonymous_net import needs_network
from paid_net import (
    FUNDS,
    LEASE_S,
    LIMIT,
    SLOW,
    STAKE,
    Answer,
    PaidNet,
    Payer,
    chat,
    paid_net,
    payer,
)
from privity.anon.credits import PendingSpend
from privity.anon.wallet import Reserved
from privity.anon.wallet_state import token_event
from privity.errors import AdmissionError, PrivityError
from privity.seal.gateway import GATEWAY_PATH
from store_servers import postgres_server

pytestmark = [needs_network, pytest.mark.anyio, pytest.mark.slow]

ROUNDS = 30
HELD = 4  # the flat tariff's price of a short question, and what one costs


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def net(request: pytest.FixtureRequest) -> Iterator[PaidNet]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="privity-paid-")))
        store = None
        if request.param == "postgres":
            store = stack.enter_context(postgres_server()).url
        yield stack.enter_context(paid_net(folder / "net", store))


async def together(*calls: object) -> list[Answer]:
    """Run calls at one time; return their answers in order."""
    found: dict[int, Answer] = {}

    async def one(place: int, call: object) -> None:
        found[place] = await call  # type: ignore[misc]

    async with anyio.create_task_group() as group:
        for place, call in enumerate(calls):
            group.start_soon(one, place, call)
    return [found[place] for place in range(len(calls))]


async def set_aside(cheater: Payer) -> Reserved:
    """Take a spend from a wallet, as a job would."""

    def take() -> Reserved:
        with cheater.wallet.turn(cheater.credit_terms) as wallet:
            return wallet.spend(HELD)

    return await anyio.to_thread.run_sync(take)


async def take_back(cheater: Payer, one: Reserved, pending: PendingSpend, refund: bytes) -> None:
    """Take the refund of whichever spend of a token was served."""

    def take() -> None:
        token = pending.complete(refund)
        with cheater.wallet.turn(cheater.credit_terms) as wallet:
            wallet._do(token_event("refunded", one.id, token, time=0, note={}))

    await anyio.to_thread.run_sync(take)


@asynccontextmanager
async def balanced(net: PaidNet) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Give what pays everybody out and has the operator withdraw: the ledger comes to zero."""
    async with net.ledger() as ledger:
        before, charged = await ledger.credits.totals(), await net.charged()
        left = before.issued - before.exited - charged  # nothing, unless a test before this failed
        called = False

        async def settle_up(*persons: Payer) -> None:
            nonlocal called
            called, bought = True, 0
            for person in persons:
                found = await person.teller.recover()
                assert (found.running, found.refused) == (0, 0)
                wallet = person.wallet.read()
                came = sum(one.amount for one in wallet.history() if one.kind == "bought")
                spent = sum(one.amount for one in wallet.history() if one.kind == "spent")
                assert wallet.balance == came - spent
                assert await person.teller.exit() == came - spent
                assert await person.teller.funds() == FUNDS - LIMIT * STAKE - spent
                bought += came
            net.operator("withdraw")
            after = await ledger.credits.totals()
            paid_for, exited = await net.charged() - charged, after.exited - before.exited
            assert after.issued - before.issued == bought == paid_for + exited
            assert after.withdrawn == paid_for + charged
            held = await ledger.token.balance(net.addresses.credits)
            assert held == after.issued - after.withdrawn - after.exited + after.pending
            assert (held, after.pending) == (left, 0)

        yield settle_up
        assert called


async def test_of_two_spends_of_one_token_at_two_gateways_one_is_served(
    net: PaidNet, tmp_path: Path
) -> None:
    before, receipts = await net.charged(), len(net.receipts)
    async with (
        balanced(net) as settle_up,
        payer(net, tmp_path / "cheater") as cheater,
        payer(net, tmp_path / "one", tokens=2) as one,
        payer(net, tmp_path / "other", tokens=2) as other,
    ):
        await cheater.terms()
        honest: list[Answer] = []
        over = anyio.Event()

        async def load(person: Payer, gateway: int) -> None:
            while not over.is_set():
                honest.append(await person.ask(gateway))
                gateway = 1 - gateway

        async with anyio.create_task_group() as group:
            for person in (one, other):
                for gateway in (0, 1):
                    group.start_soon(load, person, gateway)
            for number in range(ROUNDS):
                reserved = await set_aside(cheater)
                pending, data = reserved.token.spend(HELD)
                if number % 2:
                    pending, data = reserved.pending, reserved.spend  # the same bytes
                answers = await together(
                    cheater.present(0, reserved.spend), cheater.present(1, data)
                )
                served = [answer for answer in answers if answer.status == 200]
                refused = [answer for answer in answers if answer.status == 409]
                assert (len(served), len(refused)) == (1, 1), answers
                if number % 2:
                    assert refused[0].code in ("running", "spent")
                    assert refused[0].refund in (b"", served[0].refund)
                else:
                    assert refused[0].code == "spent" and not refused[0].refund
                winner = pending if answers[1] is served[0] else reserved.pending
                await take_back(cheater, reserved, winner, served[0].refund)
            over.set()
        assert len(honest) >= 4 and {answer.status for answer in honest} == {200}
        charged = await net.charged() - before
        assert charged == HELD * (ROUNDS + len(honest)) == sum(net.receipts[receipts:])
        await settle_up(cheater, one, other)


async def test_of_two_signals_under_one_id_at_two_gateways_one_is_admitted(
    net: PaidNet, tmp_path: Path
) -> None:
    async with (
        balanced(net) as settle_up,
        payer(net, tmp_path / "cheater", tokens=2) as cheater,
    ):
        await cheater.terms()
        spend_twice, turn = cheater.wallet.take_message_id, anyio.Lock()
        for number in range(ROUNDS // 3):
            given: dict[int, int] = {}

            async def same(epoch: int, given: dict[int, int] = given) -> int:
                # Another epoch is another id anyhow: then there is no double signal.
                async with turn:
                    if epoch not in given:
                        given[epoch] = await spend_twice(epoch)
                return given[epoch]

            cheater.wallet.take_message_id = same  # type: ignore[method-assign]
            kept = [await set_aside(cheater) for _ in range(2)]
            outcomes: list[str] = []

            async def send(
                gateway: int,
                reserved: Reserved,
                outcomes: list[str] = outcomes,
            ) -> None:
                try:
                    answer = await cheater.present(gateway, reserved.spend)
                except AdmissionError as error:
                    outcomes.append(error.check)
                    return
                outcomes.append(str(answer.status))
                await take_back(cheater, reserved, reserved.pending, answer.refund)

            async with anyio.create_task_group() as group:
                for gateway, reserved in enumerate(kept):
                    group.start_soon(send, gateway, reserved)
            if len(given) == 1:
                assert sorted(outcomes) == ["200", "double-signal"], number
            cheater.wallet.take_message_id = spend_twice  # type: ignore[method-assign]
            await cheater.teller.recover()  # the refused one's, which no enclave ever saw
        await settle_up(cheater)


async def test_one_sealed_request_at_two_gateways_is_admitted_once(
    net: PaidNet, tmp_path: Path
) -> None:
    async with (
        balanced(net) as settle_up,
        payer(net, tmp_path / "sender") as sender,
    ):
        await sender.terms()

        class Twice(httpx.AsyncBaseTransport):
            """Sends each sealed request, byte by byte the same, to both gateways."""

            def __init__(self) -> None:
                self.found: list[list[int]] = []

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.method != "POST":
                    return await pool.handle_async_request(request)
                body, kept = await request.aread(), []

                async def send(url: str) -> None:
                    headers = {k: v for k, v in request.headers.items() if k != "host"}
                    post = httpx.Request("POST", url + GATEWAY_PATH, headers=headers, content=body)
                    post.extensions = request.extensions
                    kept.append(await pool.handle_async_request(post))

                async with anyio.create_task_group() as group:
                    for gateway in net.gateways:
                        group.start_soon(send, gateway.url)
                self.found.append(sorted(one.status_code for one in kept))
                # The first gateway's enclave alone can open it; the other's would refuse the key.
                best = min(kept, key=lambda one: one.status_code)
                for one in kept:
                    if one is not best:
                        await one.aclose()
                return best

        pool, twice = sender.pool, Twice()
        for _ in range(ROUNDS // 3):
            reserved, sender.pool = await set_aside(sender), twice  # type: ignore[assignment]
            with suppress(PrivityError):
                answer = await sender.present(0, reserved.spend)
                await take_back(sender, reserved, reserved.pending, answer.refund)
            sender.pool = pool
            await sender.teller.recover()
        # One is refused as a duplicate; the other is served, or was sent to the wrong enclave.
        assert all(len([code for code in codes if code == 409]) == 1 for codes in twice.found)
        await settle_up(sender)


async def begun(person: Payer, gateway: int, count: int, started: anyio.Event) -> None:
    """Ask slow questions at one time, and say when all are being answered; each breaks off."""
    running: set[int] = set()

    async def ask(number: int) -> None:
        paid = await person.paid(gateway)
        with suppress(PrivityError, httpx.HTTPError):
            response = await paid.handle_async_request(chat(SLOW, stream=True))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            try:
                async for _ in response.stream:
                    running.add(number)
                    if len(running) == count:
                        started.set()
            finally:
                await response.aclose()
            raise AssertionError("an answer was whole though its way was killed")

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(ask, number)


@pytest.mark.parametrize("killed", ["gateway", "enclave", "enclave by SIGTERM"])
async def test_what_was_killed_in_mid_request_comes_back_once(
    net: PaidNet, tmp_path: Path, killed: str
) -> None:
    jobs = 4
    role = (net.gateways if killed == "gateway" else net.enclaves)[1]
    async with (
        balanced(net) as settle_up,
        payer(net, tmp_path / "person", tokens=jobs) as person,
    ):
        started = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(begun, person, 1, jobs, started)
            with anyio.fail_after(60):
                await started.wait()
            await anyio.to_thread.run_sync(role.stop if "TERM" in killed else role.kill)
        assert len(person.wallet.read().unfinished()) == jobs
        await anyio.to_thread.run_sync(role.start)
        # Through the other gateway, to the other enclave: the store is what they share.
        settled = cost = 0
        with anyio.fail_after(LEASE_S + 40):
            while settled < jobs:
                found = await person.teller.recover()
                settled, cost = settled + found.spends, cost + found.credits
                await anyio.sleep(0.2)
        if killed == "enclave":
            assert cost == 0, "who never settled is owed the whole"
        else:
            assert 0 < cost <= jobs * HELD, "what was delivered is paid for"
        again = await person.teller.recover()
        assert (again.spends, again.credits) == (0, 0)
        assert (await person.ask(1)).status == 200  # what was started again serves
        await settle_up(person)


async def test_who_leaves_in_mid_answer_pays_for_what_came(net: PaidNet, tmp_path: Path) -> None:
    async with (
        balanced(net) as settle_up,
        payer(net, tmp_path / "person") as person,
    ):
        paid = await person.paid(0)
        response = await paid.handle_async_request(chat(SLOW, stream=True))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)
        await anext(pieces)
        await response.aclose()
        await pieces.aclose()  # type: ignore[attr-defined]
        with anyio.fail_after(60):
            while not (found := await person.teller.recover()).spends:
                await anyio.sleep(0.2)
        # Settled when it was left: where its lease lapses, nothing was delivered, and it costs 0.
        assert found.credits == HELD
        await settle_up(person)
