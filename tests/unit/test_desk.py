"""The credit desk's states, over a store in memory and over the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fake_spends import MemorySpends, issuer, token
from native import needs_kernel
from privity.anon.credits import PendingSpend
from privity.anon.desk import CreditDesk, OpenJob, SettledBefore
from privity.anon.stores import SpendStore, open_store
from privity.errors import MalformedError, PaymentError, PeerError
from privity.hazmat.native import have_native

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

ISSUER = issuer() if have_native("Act") else None


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SpendStore]:
    if request.param == "memory":
        yield MemorySpends()
    else:
        async with open_store(f"sqlite:{tmp_path / 'spends.db'}") as opened:
            yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(store: SpendStore, clock: Clock) -> CreditDesk:
    assert ISSUER is not None
    return CreditDesk(ISSUER, store, clock=clock, lease_s=60)


def _spend(amount: int = 60) -> tuple[PendingSpend, bytes]:
    assert ISSUER is not None
    return token(ISSUER).spend(amount)


async def _refused(call: object) -> str:
    with pytest.raises(PaymentError) as refused:
        await call  # type: ignore[misc]
    return refused.value.check


async def test_a_job_is_charged_once_and_refunded(desk: CreditDesk) -> None:
    pending, data = _spend()
    job = await desk.begin(data, least=60)
    assert isinstance(job, OpenJob)
    assert job.held == 60
    refund = await job.settle(15)
    assert pending.complete(refund).balance == 985
    again = await desk.begin(data, least=60)
    assert again == SettledBefore(refund, 15)
    assert await desk.recover(data) == refund
    assert await job.settle(60) == refund  # the first settlement stands


async def test_what_is_refused_before_anything_is_kept(desk: CreditDesk) -> None:
    assert await _refused(desk.begin(b"", least=0)) == "missing"
    pending, data = _spend(5)
    assert await _refused(desk.begin(data, least=6)) == "short"
    with pytest.raises(MalformedError):
        await desk.begin(data[:-1], least=5)
    forged = bytearray(data)
    forged[10] ^= 1
    assert await _refused(desk.begin(bytes(forged), least=5)) == "proof"
    # None of these burnt the credits.
    job = await desk.begin(data, least=5)
    assert isinstance(job, OpenJob)
    assert pending.complete(await job.settle(5)).balance == 995


async def test_a_running_job_is_not_served_twice(desk: CreditDesk) -> None:
    _, data = _spend()
    await desk.begin(data, least=60)
    assert await _refused(desk.begin(data, least=60)) == "running"
    assert await _refused(desk.recover(data)) == "running"


async def test_another_spend_of_the_same_credits_is_refused(desk: CreditDesk) -> None:
    assert ISSUER is not None
    one = token(ISSUER)
    first, second = one.spend(60)[1], one.spend(60)[1]
    await desk.begin(first, least=60)
    for call in (desk.begin(second, least=60), desk.recover(second), desk.withdraw(second)):
        assert await _refused(call) == "spent"


async def test_a_lapsed_job_is_refunded_in_full_and_not_served(
    desk: CreditDesk, clock: Clock
) -> None:
    pending, data = _spend()
    job = await desk.begin(data, least=60)
    assert isinstance(job, OpenJob)
    clock.now += 61
    found = await desk.begin(data, least=60)
    assert isinstance(found, SettledBefore)
    assert pending.complete(found.refund).balance == 1000
    assert await job.settle(60) == found.refund  # too late


async def test_a_spend_never_seen_is_recovered_in_full(desk: CreditDesk) -> None:
    pending, data = _spend()
    refund = await desk.recover(data)
    assert pending.complete(refund).balance == 1000
    assert isinstance(await desk.begin(data, least=60), SettledBefore)


async def test_a_withdrawal_is_no_job_and_the_reverse(desk: CreditDesk, store: SpendStore) -> None:
    _, data = _spend(1000)
    amount, nonce = await desk.withdraw(data)
    assert (amount, len(nonce)) == (1000, 32)
    assert await desk.withdraw(data) == (amount, nonce)
    assert await _refused(desk.begin(data, least=1)) == "spent"
    assert await _refused(desk.recover(data)) == "spent"
    _, served = _spend(1000)
    job = await desk.begin(served, least=1)
    assert isinstance(job, OpenJob)
    await job.settle(1000)
    assert await _refused(desk.withdraw(served)) == "spent"
    # The operator is owed what the job cost, and nothing of what was paid out.
    charged, _ = await store.charged_since(0, 10)
    assert [amount for _, amount in charged] == [1000]


async def test_nothing_is_withdrawn_for_nothing(desk: CreditDesk) -> None:
    assert await _refused(desk.withdraw(_spend(0)[1])) == "short"


async def test_no_more_is_charged_than_was_held(desk: CreditDesk) -> None:
    _, data = _spend(5)
    job = await desk.begin(data, least=5)
    assert isinstance(job, OpenJob)
    for wrong in (-1, 6):
        assert await _refused(job.settle(wrong)) == "amount"


async def test_a_store_that_fails_can_be_asked_again(clock: Clock) -> None:
    assert ISSUER is not None
    spends = MemorySpends()
    desk = CreditDesk(ISSUER, spends, clock=clock)
    pending, data = _spend()
    job = await desk.begin(data, least=60)
    assert isinstance(job, OpenJob)
    spends.fail_settle = 1
    with pytest.raises(PeerError):
        await job.settle(15)
    assert pending.complete(await job.settle(15)).balance == 985
