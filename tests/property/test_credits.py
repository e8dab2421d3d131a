"""Credits: parsers are total; no history of jobs, crashes and payouts makes or loses value."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fake_spends import MemorySpends, issuer, token
from native import needs_kernel
from privity.anon.asked import Asked, read_request
from privity.anon.credits import CreditToken, Issuer, IssuerKey, prepare_purchase
from privity.anon.desk import CreditDesk, OpenJob
from privity.anon.tariff import EVERY_MODEL, Tariff, flat_tariff
from privity.anon.wallet import Wallet
from privity.anon.wallet_state import State
from privity.errors import PaymentError, PrivityError
from privity.hazmat.native import have_native

BANK = issuer() if have_native("Act") else None
KEY = b"\7" * 32

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _bank() -> Issuer:
    assert BANK is not None
    return BANK


@needs_kernel("Act")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.binary(max_size=300),
    changes=st.lists(st.tuples(st.integers(0, 4918), st.integers(1, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 4919),
)
def test_messages_that_are_none_raise_our_errors(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    bank = _bank()
    purchase, request = prepare_purchase(bank.terms, 5)
    spending, spend = token(bank, 5).spend(1)
    messages = (
        (bank.verify_spend, spend),
        (spending.complete, bank.refund(bank.verify_spend(spend), 1)),
        (purchase.complete, bank.issue(request, 5)),
        (lambda one: bank.issue(one, 5), request),
        (lambda one: CreditToken.load(bank.terms, one), token(bank, 5).secret[:100]),
        (IssuerKey.load, IssuerKey.generate().secret[:50]),
    )
    for read, good in messages:
        altered = bytearray(good)
        for place, change in changes:
            altered[place % len(altered)] ^= change
        for bad in (data, bytes(altered), good[: cut % len(good)]):
            if bad != good:
                try:
                    read(bad)
                except PrivityError:
                    continue
                pytest.fail("what was not issued was accepted")


@given(value=JSON)
def test_a_tariff_is_read_or_refused(value: Any) -> None:
    for candidate in (
        value,
        {"version": 1, "models": value},
        {"version": 1, "models": {"m": value}},
    ):
        try:
            found = Tariff.from_json(candidate)
        except PrivityError:
            continue
        assert Tariff.from_json(found.to_json()) == found


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_every_body_holds_one_of_the_amounts(body: bytes) -> None:
    tariff = flat_tariff()
    prices = tariff.models[EVERY_MODEL]
    held = {one.price + two.price for one in prices.prompt for two in prices.completion}
    assert tariff.worst_of(body) in held


NAMES = (
    "max_tokens",
    "max_output_tokens",
    "Max_Tokens",
    "n_predict",
    "n",
    "N",
    "best_of",
    "prompt",
)
VALUES = st.none() | st.booleans() | st.integers(-2, 5000) | st.floats(0, 9) | st.text(max_size=3)


@given(
    fields=st.dictionaries(
        st.sampled_from((*NAMES, "min_tokens", "model")), VALUES | st.lists(VALUES, max_size=3)
    ),
    path=st.sampled_from(("/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")),
)
def test_what_goes_to_the_engine_asks_for_no_more_than_was_held(
    fields: dict[str, object], path: str
) -> None:
    body = json.dumps(fields).encode()
    asked = read_request(body)
    sent = asked.for_engine(body, path)
    again, kept = read_request(sent), json.loads(sent)
    assert len({"max_tokens", "max_output_tokens"} & kept.keys()) <= 1
    assert kept.keys() <= {"max_tokens", "max_output_tokens", "n", "prompt", "model"}
    assert again.for_engine(sent, path) == sent
    if asked.most is not None and asked.generates(path):
        assert again.most is not None and again.most <= asked.most


@given(
    size=st.integers(0, 10**6),
    most=st.integers(1, 10**5),
    prompt=st.integers(0, 10**6),
    completion=st.integers(0, 10**5),
)
def test_a_job_within_its_class_costs_no_more_than_it_holds(
    size: int, most: int, prompt: int, completion: int
) -> None:
    tariff = flat_tariff()
    held = tariff.worst_asked(Asked({}, "m", most, 1), size)
    assert tariff.price("m", min(prompt, size), min(completion, most)) <= held


@given(value=JSON, kind=st.sampled_from(["ids", "member", "token", "spending", "x"]))
def test_a_wallets_event_is_read_or_refused(value: Any, kind: str) -> None:
    body = {**value, "kind": kind} if isinstance(value, dict) else value
    try:
        State().apply(body)
    except PrivityError:
        return
    assert isinstance(body, dict)


class Histories(RuleBasedStateMachine):
    """One wallet on disk, one issuer's desk; both die at any time, and messages are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.spends, self.now, self.bought, self.paid_out = MemorySpends(), 0.0, 0, 0
        self.jobs: dict[str, OpenJob] = {}
        self.refunds: list[tuple[str, bytes]] = []
        self.drawn = 0
        self.seen: list[bytes] = []
        self.wallet = self._opened()

    def _opened(self) -> Wallet:
        return Wallet.open(
            self.folder,
            KEY,
            terms=_bank().terms,
            clock=lambda: self.now,
            randomness=self._next,
        )

    def _next(self, count: int) -> bytes:
        """Return other bytes each time, and the same ones in a history that is run again."""
        self.drawn += 1
        return hashlib.shake_256(self.drawn.to_bytes(8, "big")).digest(count)

    @property
    def desk(self) -> CreditDesk:
        return CreditDesk(_bank(), self.spends, clock=lambda: self.now, lease_s=60)

    @initialize()
    def begin(self) -> None:
        self.buy()

    @rule()
    def buy_more(self) -> None:
        self.buy()

    def buy(self) -> None:
        name, request = self.wallet.buy(100)
        self.bought += self.wallet.bought(name, _bank().issue(request, 100))

    @rule(amount=st.integers(0, 100), lost=st.sampled_from(["", "request", "sent", "kept"]))
    def job(self, amount: int, lost: str) -> None:
        try:
            reserved = self.wallet.spend(amount)
        except PaymentError:
            return
        if lost == "kept":
            self.wallet.unsent(reserved.id)
        elif lost != "request":
            self.seen.append(reserved.spend)
            job = anyio.run(lambda: self.desk.begin(reserved.spend, least=0))
            assert isinstance(job, OpenJob)
            self.jobs[reserved.id] = job

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), lost=st.booleans())
    def settle(self, data: st.DataObject, lost: bool) -> None:
        name = data.draw(st.sampled_from(list(self.jobs)))
        job = self.jobs.pop(name)
        refund = anyio.run(job.settle, data.draw(st.integers(0, job.held)))
        if not lost:
            self.wallet.refunded(name, refund)
            self.refunds.append((name, refund))

    @precondition(lambda self: self.refunds)
    @rule(data=st.data())
    def refund_again(self, data: st.DataObject) -> None:
        self.wallet.refunded(*data.draw(st.sampled_from(self.refunds)))

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Somebody sends a spend again; it is never served a second time."""
        spend = data.draw(st.sampled_from(self.seen))
        try:
            found = anyio.run(lambda: self.desk.begin(spend, least=0))
        except PaymentError as error:
            assert error.check == "running"
        else:
            assert not isinstance(found, OpenJob)

    @rule()
    def pay_out(self) -> None:
        try:
            reserved = self.wallet.exit_spend()
        except PaymentError:
            return
        amount, _ = anyio.run(self.desk.withdraw, reserved.spend)
        self.paid_out += self.wallet.exited(reserved.id)
        assert amount == reserved.amount

    @rule()
    def wallet_dies(self) -> None:
        self.wallet.close()
        self.wallet = self._opened()

    @rule()
    def desk_dies(self) -> None:
        self.jobs.clear()
        self.now += 61

    @rule()
    def recover(self) -> None:
        for one in self.wallet.unfinished():
            try:
                refund = anyio.run(self.desk.recover, one.spend)
            except PaymentError as error:
                assert error.check == "running"
            else:
                self.seen.append(one.spend)
                self.wallet.refunded(one.id, refund)

    @invariant()
    def the_wallet_adds_up(self) -> None:
        spent = sum(one.amount for one in self.wallet.history() if one.kind == "spent")
        held = self.wallet.balance + self.wallet.reserved
        assert held + spent + self.paid_out == self.bought

    def teardown(self) -> None:
        self.now += 61
        self.recover()
        charged = sum(one.charged or 0 for one in self.spends.kept.values())
        assert self.wallet.reserved == 0
        assert self.wallet.balance + charged + self.paid_out == self.bought
        self.wallet.close()
        shutil.rmtree(self.folder)


@needs_kernel("Act")
def test_no_history_makes_or_loses_value() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
