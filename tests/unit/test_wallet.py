"""The wallet: what it holds through purchases, spends and openings; its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fake_spends import issuer, token
from native import needs_kernel
from privity.anon import wallet as wallet_module
from privity.anon.credits import Issuer
from privity.anon.wallet import Wallet
from privity.anon.wallet_file import SealedJournal, read_journal, wallet_key
from privity.anon.wallet_hints import recovering
from privity.errors import AdmissionError, InputError, MalformedError, OpenError, PaymentError
from privity.identity.keys import SigningKey

pytestmark = needs_kernel("Act")

KEY = wallet_key(SigningKey(b"\1" * 32))
Open = Callable[[], Wallet]


@pytest.fixture
def bank() -> Issuer:
    return issuer()


@pytest.fixture
def opened(tmp_path: Path, bank: Issuer) -> Iterator[Open]:
    """Return a function that opens the one wallet of the test anew."""
    last: list[Wallet] = []

    def again() -> Wallet:
        for one in last:
            one.close()
        last[:] = [Wallet.open(tmp_path / "wallet", KEY, terms=bank.terms, clock=lambda: 5.5)]
        return last[0]

    yield again
    for one in last:
        one.close()


def _top_up(wallet: Wallet, bank: Issuer, amount: int) -> None:
    name, request = wallet.buy(amount)
    assert wallet.bought(name, bank.issue(request, amount)) == amount


def test_buying(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    name, request = wallet.buy(1000)
    wallet = opened()
    assert wallet.purchases()[name].request == request
    response = bank.issue(request, 1000)
    assert wallet.bought(name, response, {"deposit": 7}) == 1000
    assert wallet.bought(name, response) == 1000  # again: nothing more
    wallet = opened()
    assert (wallet.balance, wallet.purchases()) == (1000, {})
    assert [(one.kind, one.amount, one.note) for one in wallet.history()] == [
        ("bought", 1000, {"deposit": 7})
    ]


def test_an_answer_to_another_purchase_is_refused(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    name, request = wallet.buy(1000)
    other, _ = wallet.buy(1000)
    response = bank.issue(request, 1000)
    for wrong in (response, issuer().issue(request, 1000)):
        with pytest.raises(PaymentError):
            wallet.bought(other, wrong)
    with pytest.raises(PaymentError) as refused:
        wallet.bought(name, bank.issue(request, 999))
    assert refused.value.check == "amount"
    with pytest.raises(InputError):
        wallet.bought("other", response)
    wallet.cancelled(other)
    assert list(wallet.purchases()) == [name]


def test_spending(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    reserved = wallet.spend(60)
    assert (wallet.balance, wallet.reserved) == (0, 1000)
    wallet = opened()
    (again,) = wallet.unfinished()
    assert (again.id, again.spend, again.purpose) == (reserved.id, reserved.spend, "job")
    refund = bank.refund(bank.verify_spend(again.spend), 45)
    assert wallet.refunded(again.id, refund, {"receipt": "r1"}) == 15
    assert wallet.refunded(again.id, refund) == 15
    wallet = opened()
    assert (wallet.balance, wallet.reserved, wallet.unfinished()) == (985, 0, ())
    assert [one.amount for one in wallet.history()] == [1000, 15]


def test_a_wrong_refund_leaves_the_spend_open(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    reserved = wallet.spend(60)
    _, other = token(bank).spend(60)
    with pytest.raises(PaymentError):
        wallet.refunded(reserved.id, bank.refund(bank.verify_spend(other), 45))
    with pytest.raises(MalformedError):
        wallet.refunded(reserved.id, b"")
    assert wallet.unfinished() == (reserved,)


def test_what_was_not_sent_is_free_again(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    wallet.unsent(wallet.spend(60).id)
    assert opened().balance == 1000


def test_the_smallest_token_that_suffices(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    for amount in (1000, 10, 100):
        _top_up(wallet, bank, amount)
    assert (wallet.balance, wallet.largest) == (1110, 1000)
    assert [wallet.spend(20).pending.before for _ in range(2)] == [100, 1000]
    with pytest.raises(PaymentError) as refused:
        wallet.spend(20)
    assert refused.value.check == "short"
    assert "in use" in refused.value.hint
    with pytest.raises(PaymentError, match="the most that it can cost, here 1001 credits") as more:
        wallet.spend(1001)
    assert "comes back" in more.value.hint and "`privity wallet top-up`" in more.value.hint


def test_paying_out(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    reserved = wallet.exit_spend()
    assert bank.verify_spend(reserved.spend).amount == 1000
    with pytest.raises(InputError):
        wallet.refunded(reserved.id, bank.refund(bank.verify_spend(reserved.spend), 0))
    assert wallet.exited(reserved.id, {"signature": "s"}) == 1000
    wallet = opened()
    assert wallet.exited(reserved.id) == 1000
    assert (wallet.balance, wallet.history()[-1].kind) == (0, "exited")
    with pytest.raises(PaymentError):
        wallet.exit_spend()


def test_credits_of_an_earlier_key_are_paid_out_not_spent(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    wallet.terms = issuer().terms
    assert wallet.balance == 0
    with pytest.raises(PaymentError):
        wallet.spend(1)
    assert wallet.exit_spend().amount == 1000


def test_membership_and_ids(opened: Open) -> None:
    wallet = opened()
    with pytest.raises(InputError):
        wallet.take_message_id(7)
    wallet.join(b"\2" * 32, 3)
    with pytest.raises(InputError):
        wallet.join(b"\3" * 32, 3)
    assert wallet.membership is None and wallet.begun_membership is not None
    wallet.joined(11)
    assert [wallet.take_message_id(7), wallet.take_message_id(8)] == [0, 0]
    wallet = opened()
    assert wallet.membership is not None
    assert (wallet.membership.secret, wallet.membership.index) == (b"\2" * 32, 11)
    assert [wallet.take_message_id(7), wallet.take_message_id(7)] == [1, 2]
    with pytest.raises(AdmissionError) as refused:
        wallet.take_message_id(7)
    assert refused.value.check == "rate"
    wallet.left()
    wallet.join(b"\2" * 32, 3)  # the same secret again: its ids stay used
    with pytest.raises(AdmissionError):
        wallet.take_message_id(7)


def test_ids_of_an_epoch_too_old_are_refused(opened: Open) -> None:
    wallet = opened()
    wallet.join(b"\2" * 32, 3)
    wallet.take_message_id(1000)
    for epoch in (1000 - 64, -1, 2**53):
        with pytest.raises(AdmissionError) as refused:
            wallet.take_message_id(epoch)
        assert refused.value.check == "epoch"
    assert wallet.take_message_id(1000 - 63) == 0


def test_one_process_at_a_time(opened: Open, tmp_path: Path) -> None:
    wallet = opened()
    with pytest.raises(InputError, match="another process"):
        Wallet.open(tmp_path / "wallet", KEY)
    wallet.join(b"\1" * 32, 3)
    looked = Wallet.read(tmp_path / "wallet", KEY)
    assert looked.begun_membership == wallet.begun_membership is not None
    with pytest.raises(InputError, match="look at"):
        looked.left()
    wallet.close()
    with pytest.raises(InputError, match="closed"):
        wallet.left()


def test_a_wallet_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Wallet.read(tmp_path, KEY).balance == 0


def test_compaction_changes_nothing(
    opened: Open, bank: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wallet_module, "_SLACK", 2)
    wallet = opened()
    wallet.join(b"\2" * 32, 1000)
    _top_up(wallet, bank, 1000)
    _top_up(wallet, bank, 10)
    wallet.buy(5)
    reserved = wallet.spend(60)
    ids = [wallet.take_message_id(epoch) for epoch in range(100, 200) for _ in range(2)]
    before = (wallet.balance, wallet.history(), wallet.unfinished(), wallet.purchases())
    assert len(read_journal(tmp_path / "wallet", KEY)) < 300 < 3 * len(ids)
    wallet = opened()
    assert (wallet.balance, wallet.history(), wallet.unfinished(), wallet.purchases()) == before
    assert wallet.take_message_id(199) == 2
    refund = bank.refund(bank.verify_spend(wallet.unfinished()[0].spend), 0)
    assert wallet.refunded(reserved.id, refund) == 60
    assert opened().balance == 950


def test_ids_outlast_a_compaction(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wallet_module, "_SLACK", -1000)  # after each event
    wallet = opened()
    wallet.join(b"\2" * 32, 1000)
    assert [wallet.take_message_id(epoch) for epoch in (5, 5, 6)] == [0, 1, 0]
    wallet = opened()
    assert [wallet.take_message_id(epoch) for epoch in (5, 6)] == [2, 1]


def test_long_notes_are_refused(opened: Open, bank: Issuer) -> None:
    wallet = opened()
    name, request = wallet.buy(5)
    with pytest.raises(InputError, match="note"):
        wallet.bought(name, bank.issue(request, 5), {"x": "y" * 5000})
    assert list(wallet.purchases()) == [name]


def test_a_disk_that_is_full_stops_the_wallet(
    opened: Open, bank: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    with monkeypatch.context() as patched:

        def full(_fd: int) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr("os.fsync", full)
        with pytest.raises(InputError, match="No space"):
            wallet.spend(60)
    with pytest.raises(InputError, match="closed"):
        wallet.spend(60)
    assert opened().balance == 1000


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    SealedJournal(tmp_path, KEY).close()
    before = (tmp_path / "wallet.journal").read_bytes()
    with pytest.raises(OpenError):
        SealedJournal(tmp_path, wallet_key(SigningKey(b"\2" * 32)))
    assert (tmp_path / "wallet.journal").read_bytes() == before
    (tmp_path / "wallet.journal").chmod(0o644)
    with pytest.raises(InputError, match="others"):
        SealedJournal(tmp_path, KEY)


def test_who_cannot_pay_is_told_what_brings_credits_back(opened: Open, bank: Issuer) -> None:
    wallet = opened()

    def hint() -> str:
        with pytest.raises(PaymentError) as refused:
            wallet.spend(900)
        assert refused.value.check == "short"
        return refused.value.hint or ""

    assert "`privity wallet top-up` buys more" in hint()
    wallet.buy(2000)
    assert hint() == "2000 credits that you bought wait: `privity wallet top-up` fetches them"
    _top_up(wallet, bank, 1000)
    wallet.spend(1)
    assert "1000 credits are in use" in hint() and "`privity wallet top-up` fetches them" in hint()
    assert "where it never comes, in 5 min `privity wallet recover` gets back what" in hint()


@pytest.mark.parametrize(("age", "when"), [(0, "in 5 min "), (250, "in 1 min "), (300, "")])
def test_from_when_a_spend_is_got_back(opened: Open, bank: Issuer, age: int, when: str) -> None:
    wallet = opened()
    _top_up(wallet, bank, 1000)
    spend = wallet.spend(10)
    told = recovering([spend], spend.time + age)
    assert told == f"{when}`privity wallet recover` gets back what was not used"
