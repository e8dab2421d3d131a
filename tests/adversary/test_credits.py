"""Attacks on credits: one test for each sentence of spec/credits.md that promises something."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from fake_spends import DEPLOYMENT, MemorySpends, issuer, token
from native import needs_kernel
from privity.anon.credits import (
    SPEND_BYTES,
    CreditTerms,
    Issuer,
    IssuerKey,
    PendingSpend,
    prepare_purchase,
)
from privity.anon.desk import CreditDesk, OpenJob, SettledBefore
from privity.anon.stores import open_store
from privity.anon.tariff import EVERY_MODEL, flat_tariff
from privity.anon.wallet import Wallet
from privity.errors import PaymentError, PrivityError

pytestmark = needs_kernel("Act")

KEY = b"\7" * 32


def _spent(bank: Issuer, amount: int = 60, of: int = 1000) -> tuple[PendingSpend, bytes]:
    return token(bank, of).spend(amount)


def _check(call: Any) -> str:
    with pytest.raises(PaymentError) as refused:
        call()
    return refused.value.check


# Value


def test_a_spend_that_was_altered_anywhere_is_refused() -> None:
    bank = issuer()
    _, data = _spent(bank)
    for place in [*range(0, 200, 13), *range(200, SPEND_BYTES, 211), SPEND_BYTES - 1]:
        altered = bytearray(data)
        altered[place] ^= 4
        with pytest.raises(PrivityError):
            bank.verify_spend(bytes(altered))


def test_a_spend_has_one_spelling() -> None:
    bank = issuer()
    _, data = _spent(bank)
    exchanged = data[:1] + data[36:71] + data[1:36] + data[71:]
    for other in (
        exchanged,
        data + b"\0",
        b"\xb9\x00\x12" + data[1:],
        b"\xbf" + data[1:] + b"\xff",
    ):
        with pytest.raises(PrivityError):
            bank.verify_spend(other)


def test_credits_of_another_issuer_are_worth_nothing() -> None:
    bank, key = issuer(), IssuerKey.generate()
    other_key = Issuer(key, DEPLOYMENT)
    other_place = Issuer(key, "eip155-1-0x02")
    for theirs in (other_key, other_place):
        assert _check(lambda theirs=theirs: bank.verify_spend(_spent(theirs)[1])) == "proof"
    assert _check(lambda: other_place.verify_spend(_spent(other_key)[1])) == "proof"


def test_no_refund_is_paid_twice() -> None:
    bank = issuer()
    pending, data = _spent(bank, 60)
    spend = bank.verify_spend(data)
    # What a store that failed could let out: two refunds of one spend, of different amounts.
    less, more = pending.complete(bank.refund(spend, 10)), pending.complete(bank.refund(spend, 60))
    assert (less.balance, more.balance) == (950, 1000)
    nullifiers = {bank.verify_spend(one.spend(5)[1]).nullifier for one in (less, more)}
    assert len(nullifiers) == 1

    async def both() -> None:
        desk = CreditDesk(bank, MemorySpends())
        assert isinstance(await desk.begin(less.spend(5)[1], least=5), OpenJob)
        with pytest.raises(PaymentError) as refused:
            await desk.begin(more.spend(5)[1], least=5)
        assert refused.value.check == "spent"

    anyio.run(both)


def test_two_answers_to_one_purchase_are_spent_once() -> None:
    bank = issuer()
    pending, request = prepare_purchase(bank.terms, 1000)
    tokens = [pending.complete(bank.issue(request, 1000)) for _ in range(2)]
    nullifiers = {bank.verify_spend(one.spend(5)[1]).nullifier for one in tokens}
    assert len(nullifiers) == 1


def test_of_many_spends_at_many_desks_one_is_served(tmp_path: Path) -> None:
    bank = issuer()
    one = token(bank)
    spends = [one.spend(60)[1] for _ in range(3)] * 4
    served: list[OpenJob] = []

    async def race() -> None:
        url = f"sqlite:{tmp_path / 'spends.db'}"
        async with open_store(url) as first, open_store(url) as second:
            desks = [CreditDesk(bank, first), CreditDesk(bank, second)]

            async def at(place: int) -> None:
                try:
                    job = await desks[place % 2].begin(spends[place], least=60)
                except PaymentError as error:
                    assert error.check in ("spent", "running")
                else:
                    assert isinstance(job, OpenJob)
                    served.append(job)

            async with anyio.create_task_group() as group:
                for place in range(len(spends)):
                    group.start_soon(at, place)

    anyio.run(race)
    assert len(served) == 1


def test_a_refund_given_again_is_the_same(tmp_path: Path) -> None:
    bank = issuer()
    pending, data = _spent(bank)

    async def ask() -> set[bytes]:
        async with open_store(f"sqlite:{tmp_path / 'spends.db'}") as store:
            desk = CreditDesk(bank, store)
            job = await desk.begin(data, least=60)
            assert isinstance(job, OpenJob)
            refunds = {await job.settle(15), await job.settle(0), await desk.recover(data)}
        async with open_store(f"sqlite:{tmp_path / 'spends.db'}") as store:  # another process's
            refunds.add(await CreditDesk(bank, store).recover(data))
        return refunds

    (refund,) = anyio.run(ask)
    assert pending.complete(refund).balance == 985


def test_a_desk_that_died_owes_the_whole_spend(tmp_path: Path) -> None:
    bank = issuer()
    pending, data = _spent(bank)

    async def die_and_ask() -> bytes:
        async with open_store(f"sqlite:{tmp_path / 'spends.db'}") as store:
            await CreditDesk(bank, store, clock=lambda: 0.0, lease_s=60).begin(data, least=60)
        async with open_store(f"sqlite:{tmp_path / 'spends.db'}") as store:
            later = CreditDesk(bank, store, clock=lambda: 61.0, lease_s=60)
            found = await later.begin(data, least=60)
            assert isinstance(found, SettledBefore)
            return found.refund

    assert pending.complete(anyio.run(die_and_ask)).balance == 1000


def test_a_job_that_was_cancelled_still_settles() -> None:
    bank = issuer()
    _, data = _spent(bank)
    spends = MemorySpends()

    async def cancelled() -> None:
        job = await CreditDesk(bank, spends).begin(data, least=60)
        assert isinstance(job, OpenJob)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await job.settle(15)

    anyio.run(cancelled)
    assert [one.charged for one in spends.kept.values()] == [15]


def test_what_is_forged_burns_nobodys_credits() -> None:
    bank = issuer()
    pending, data = _spent(bank)
    forged = bytearray(_spent(bank)[1])
    forged[4:36] = data[4:36]  # another's nullifier
    spends = MemorySpends()

    async def forge() -> bytes:
        desk = CreditDesk(bank, spends)
        for call in (desk.begin(bytes(forged), least=1), desk.recover(bytes(forged))):
            with pytest.raises(PaymentError):
                await call
        assert spends.kept == {}
        return await desk.recover(data)

    assert pending.complete(anyio.run(forge)).balance == 1000


# Who


def test_a_spend_shows_amount_context_and_nullifier_and_they_tell_nothing() -> None:
    bank = issuer()
    pending, request = prepare_purchase(bank.terms, 1000)
    response = bank.issue(request, 1000)
    one = pending.complete(response)
    spending, data = one.spend(60)
    refund = bank.refund(bank.verify_spend(data), 45)
    _, following = spending.complete(refund).spend(60)
    # Besides the amount and the terms' context, no word of 32 bytes of what the issuer saw at
    # one step comes back at another.
    common = {bank.terms.context, (60).to_bytes(32, "little")}
    steps = [_words(one) for one in (request, response, data, refund, following)]
    for place, words in enumerate(steps):
        for later in steps[place + 1 :]:
            assert words & later <= common


def _words(message: bytes) -> set[bytes]:
    return {found[2:] for found in re.findall(rb"(?s)(?=(\x58\x20.{32}))", message)}


def test_spends_of_one_token_and_of_many_are_of_one_size() -> None:
    bank = issuer()
    sizes = {len(_spent(bank, amount, of)[1]) for amount, of in ((0, 1), (1, 2**32 - 1), (60, 60))}
    assert sizes == {SPEND_BYTES}


def test_an_issuer_that_marks_a_context_is_found_out() -> None:
    bank, key = issuer(), IssuerKey.generate()
    marked = Issuer(key, DEPLOYMENT)
    marked._context = bank.terms.context  # a context that only some persons' tokens have
    pending, request = prepare_purchase(marked.terms, 1000)
    assert _check(lambda: pending.complete(marked.issue(request, 1000))) == "context"


def test_an_issuer_with_a_key_for_one_person_is_found_out() -> None:
    shown, marking = issuer(), issuer()
    pending, request = prepare_purchase(shown.terms, 1000)
    assert _check(lambda: pending.complete(marking.issue(request, 1000))) == "proof"
    spending, data = _spent(shown)
    assert _check(lambda: marking.refund(marking.verify_spend(data), 5)) == "proof"
    _, theirs = _spent(marking)
    foreign = marking.refund(marking.verify_spend(theirs), 5)
    assert _check(lambda: spending.complete(foreign)) == "proof"


def test_everybody_has_the_same_context() -> None:
    public = IssuerKey.generate().public
    assert CreditTerms(DEPLOYMENT, public).context == CreditTerms(DEPLOYMENT, public).context
    assert CreditTerms("other", public).context != CreditTerms(DEPLOYMENT, public).context
    assert issuer().terms.context != CreditTerms(DEPLOYMENT, public).context


def test_amounts_that_are_spent_are_few() -> None:
    prices = flat_tariff().models[EVERY_MODEL]
    assert len({one.price + two.price for one in prices.prompt for two in prices.completion}) <= 6


# The device


def test_nothing_leaves_before_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, order = issuer(), list[str]()
    real_write, real_fsync = os.write, os.fsync

    def write(fd: int, data: Any) -> int:
        order.append("write")
        return real_write(fd, data)

    def fsync(fd: int) -> None:
        order.append("fsync")
        real_fsync(fd)

    with Wallet.open(tmp_path, KEY, terms=bank.terms) as wallet:
        wallet.join(b"\2" * 32, 3)
        monkeypatch.setattr(os, "write", write)
        monkeypatch.setattr(os, "fsync", fsync)
        name, request = wallet.buy(1000)
        assert order == ["write", "fsync"]
        wallet.bought(name, bank.issue(request, 1000))
        for step in (lambda: wallet.spend(60), lambda: wallet.take_message_id(5)):
            order.clear()
            step()
            assert order == ["write", "fsync"]


def test_the_file_shows_nothing_without_the_key(tmp_path: Path) -> None:
    bank = issuer()
    with Wallet.open(tmp_path, KEY, terms=bank.terms) as wallet:
        wallet.join(b"\2" * 32, 3)
        name, request = wallet.buy(1000)
        wallet.bought(name, bank.issue(request, 1000), {"receipt": "a receipt's name"})
        reserved = wallet.spend(60)
        secrets = [
            b"\2" * 32, request, reserved.spend, reserved.pending.secret,
            reserved.token.secret, b"receipt", name.encode(), DEPLOYMENT.encode(),
        ]  # fmt: skip
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        for secret in secrets:
            assert secret not in data
            assert hashlib.sha256(secret).digest() not in data


def test_errors_and_reprs_of_the_wallet_hold_no_secret(tmp_path: Path) -> None:
    bank = issuer()
    with Wallet.open(tmp_path, KEY, terms=bank.terms) as wallet:
        wallet.join(b"\2" * 32, 3)
        name, request = wallet.buy(1000)
        wallet.bought(name, bank.issue(request, 1000))
        reserved = wallet.spend(60)
        shown = repr(
            [wallet, wallet.begun_membership, reserved, wallet.unfinished(), wallet._state]
        )
        with pytest.raises(PrivityError) as refused:
            wallet.spend(2000)
        shown += repr(refused.value) + refused.value.hint
        for secret in (b"\2" * 32, reserved.token.secret, reserved.spend):
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown
