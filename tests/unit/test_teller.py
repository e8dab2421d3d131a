"""What a person does with their wallet where desk or ledger refuse: no hitch holds up another."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from fake_spends import MemorySpends, issuer
from native import needs_kernel
from privity.anon.desk import CreditDesk, OpenJob, SettledBefore
from privity.anon.membership import RateIdentity
from privity.errors import InputError, PaymentError, PeerError, PolicyRefusal
from privity.identity.multibase import decode_base64url, encode_base64url
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.teller import YOUNG_S, Recovered, Stake, Teller
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.credits import DepositState, SignedExit
from privity.ledger.members import Standing
from privity.ledger.wire import Address

pytestmark = [needs_kernel("Act"), pytest.mark.anyio]

AT = Address("0x" + "11" * 20)
ADDRESSES = Addresses(31337, 0, AT, AT, AT, AT)
ME = "0x" + "22" * 20


class World:
    """A ledger and an enclave's desk, over the real wallet and the real credits.

    Attributes:
        issuer: makes what the desk answers; `on_ledger` has the key that the ledger shows.
        late: the contract's time: deposits can no longer be claimed.
        refuse: what the desk refuses, by path and number of the call.
    """

    def __init__(self, folder: Path) -> None:
        self.issuer = self.on_ledger = issuer(ADDRESSES.deployment)
        self.desk = CreditDesk(self.issuer, MemorySpends())
        self.deposits: dict[bytes, int] = {}
        self.states: dict[int, DepositState] = {}
        self.amounts: dict[int, int] = {}
        self.late = False
        self.refuse: dict[tuple[str, int], str] = {}
        self.calls: dict[str, int] = {}
        self.poor = 10**9
        self.exits: list[SignedExit] = []
        self.addresses = ADDRESSES
        self.credits = self.members = self.token = self
        self.tokens = 10**9
        self.believed: dict[int, DepositState] | None = None
        self.ways = 0
        self.registered: list[bytes] = []
        account = SimpleNamespace(address=ME)
        self.sender = SimpleNamespace(account=account)
        self.wallet = SharedWallet(folder, b"\7" * 32)
        self.teller = Teller(self.wallet, cast("Ledger", self), self._way, young_s=0)

    # The ledger

    async def issuer_key(self) -> Any:
        return SimpleNamespace(key=self.on_ledger.terms.public)

    def rotate(self) -> None:
        """Put another issuer's key in force, on the ledger and at the desk."""
        self.issuer = self.on_ledger = issuer(ADDRESSES.deployment)

    async def stake_per_message(self) -> int:
        return 1000

    async def balance(self, holder: Address) -> int:
        assert holder == ME
        return self.tokens

    async def has_begun_register(self, commitment: bytes) -> bool:
        return commitment in self.registered

    async def has_begun_deposit(self, digest: bytes) -> bool:
        return digest in self.deposits

    async def register_member(self, commitment: bytes, limit: int) -> Any:
        self.registered.append(commitment)
        return SimpleNamespace(index=5)

    async def denominations(self) -> tuple[int, ...]:
        return (100, 1000)

    async def deposit(self, amount: int, digest: bytes) -> int:
        if digest in self.deposits:
            return self.deposits[digest]
        if amount > self.poor:
            raise InputError("the contract Token refused approve: too little")
        number = self.deposits[digest] = len(self.deposits)
        self.states[number], self.amounts[number] = DepositState.PENDING, amount
        return number

    async def deposit_at(self, number: int, block: Any = None) -> Any:
        states = self.states if block is None or self.believed is None else self.believed
        return SimpleNamespace(state=states[number])

    async def confirmed(self) -> Any:
        return SimpleNamespace(number=1)

    async def refund(self, number: int) -> None:
        if not self.late or self.states[number] is not DepositState.PENDING:
            raise InputError("the contract Credits refused refundDeposit: too early")
        self.states[number] = DepositState.REFUNDED

    async def exit_unspent(self, signed: SignedExit) -> None:
        self.exits.append(signed)

    # The desk

    async def _way(self) -> httpx.AsyncBaseTransport:
        self.ways += 1
        return httpx.MockTransport(self._serve)

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path.rpartition("/")[2], json.loads(request.content)
        place = self.calls[path] = self.calls.get(path, -1) + 1
        check = self.refuse.get((path, place)) or self.refuse.get((path, -1))
        if check:
            return httpx.Response(402, json={"error": {"code": check}})
        try:
            said = await getattr(self, "_" + path)(body)
        except PaymentError as error:
            return httpx.Response(409, json={"error": {"code": error.check}})
        return httpx.Response(200, json=said)

    async def _issue(self, body: Any) -> Any:
        request, number = decode_base64url(body["request"]), body["deposit"]
        assert self.deposits[hashlib.sha256(request).digest()] == number
        if self.late or self.states[number] is DepositState.REFUNDED:
            raise PaymentError("too late", check="deposit")
        self.states[number] = DepositState.CLAIMED
        answer = self.issuer.issue(request, self.amounts[number])
        return {"response": encode_base64url(answer)}

    async def _recover(self, body: Any) -> Any:
        refund = await self.desk.recover(decode_base64url(body["spend"]))
        return {"refund": encode_base64url(refund)}

    async def _exit(self, body: Any) -> Any:
        amount, nonce = await self.desk.withdraw(decode_base64url(body["spend"]))
        signature = encode_base64url(bytes(65))
        return {"amount": amount, "nonce": encode_base64url(nonce), "signature": signature}

    def spend(self, count: int) -> None:
        with self.wallet.turn(self.issuer.terms) as wallet:
            for _ in range(count):
                wallet.spend(10)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wallet")


@needs_kernel("Rln")
async def test_a_secret_that_is_registered_is_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RateIdentity] = []
    generate = RateIdentity.generate

    def generated() -> RateIdentity:
        made.append(generate())
        return made[-1]

    monkeypatch.setattr(RateIdentity, "generate", generated)
    assert await world.teller.join(16) == await world.teller.join(16) == 5
    member = world.wallet.membership
    assert member is not None and world.registered == [RateIdentity(member.secret).commitment]
    assert len(made) == 1, "none is made that is not used"
    with pytest.raises(InputError, match="closed"):
        made[0].unsafe_secret()


def prepared(world: World, admitted: Callable[[], Awaitable[None]]) -> Teller:
    ledger = cast("Ledger", world)
    return Teller(world.wallet, ledger, world._way, admitted=admitted)


async def refuses() -> None:
    raise PolicyRefusal("the policy admits no such way", report={})


@needs_kernel("Rln")
async def test_nothing_is_staked_or_paid_where_no_way_is_admitted(world: World) -> None:
    asked: list[str] = []

    async def admits() -> None:
        assert not (world.registered or world.deposits), "it is asked before anything is paid"
        asked.append("policy")

    with pytest.raises(PolicyRefusal):
        await prepared(world, refuses).prepare(16, 100)
    wallet = world.wallet.read()
    assert wallet.begun_membership is None and not wallet.purchases()
    await prepared(world, admits).prepare(16, 100)
    assert asked == ["policy"]
    await world.teller.join(16)
    with pytest.raises(PolicyRefusal):
        await prepared(world, refuses).prepare(16, None)  # credits are still to be paid for


@needs_kernel("Rln")
async def test_what_was_paid_is_fetched_or_taken_back_over_whichever_way_there_is(
    world: World,
) -> None:
    await world.teller.join(16)
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(1000)
    world.tokens = 0
    await prepared(world, refuses).prepare(16, None)  # nothing is left to pay
    with pytest.raises(InputError, match="for credits"):
        await prepared(world, refuses).prepare(16, 100)


@needs_kernel("Rln")
async def test_who_has_too_few_tokens_is_told_how_many_before_anything_is_sent(
    world: World,
) -> None:
    world.tokens = 16_000 + 99
    with pytest.raises(InputError, match="a stake of 16000 and 100 for credits") as refused:
        await world.teller.prepare(16, 100)
    assert ME in refused.value.message and str(AT) in refused.value.message
    assert "have 1 more sent" in refused.value.hint
    assert world.wallet.read().begun_membership is None
    world.tokens += 1
    await world.teller.prepare(16, 100)

    async def breaks(commitment: bytes, limit: int) -> Any:
        raise PeerError("the node is not reached")

    world.register_member = breaks  # type: ignore[method-assign]
    with pytest.raises(PeerError):
        await world.teller.join(16)
    with pytest.raises(InputError, match="a stake of 16000 and 1000"):
        await world.teller.prepare(1, 1000)  # begun with another limit, and not paid yet
    secret = world.wallet.read().begun_membership
    assert secret is not None
    world.registered.append(RateIdentity(secret.secret).commitment)
    world.tokens = 100
    await world.teller.prepare(16, 100)


async def test_one_spend_that_is_refused_holds_up_no_other_refund(world: World) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    world.spend(3)
    world.refuse = {("recover", 0): "spent", ("recover", 1): "running"}
    found = await world.teller.recover()
    assert (found.spends, found.running, found.refused) == (1, 1, 1)
    assert world.wallet.read().balance == 100
    world.refuse = {}
    found = await world.teller.recover()
    assert (found.spends, found.credits) == (2, 0)
    assert world.wallet.read().balance == 300


async def test_one_purchase_that_fails_holds_up_no_other(world: World) -> None:
    world.poor = 500
    with pytest.raises(InputError):
        await world.teller.top_up(1000)
    with pytest.raises(InputError):
        await world.teller.top_up(100)
    assert world.wallet.read().balance == 100
    world.poor = 10**9
    assert await world.teller.finish_purchases() == 1000


async def test_a_purchase_that_broke_off_is_not_paid_for_twice(world: World) -> None:
    world.refuse = {("issue", 0): "proof"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    assert await world.teller.top_up(100) == 100
    assert len(world.deposits) == 1


async def test_without_an_amount_what_waits_is_finished_and_nothing_else_bought(
    world: World,
) -> None:
    world.refuse = {("issue", 0): "proof"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(1000)
    assert await world.teller.top_up(None) == 1000
    assert list(world.amounts.values()) == [1000], "paid for once, and for nothing more"
    assert await world.teller.top_up(None) == 100, "with nothing waiting, the fewest that are sold"
    assert list(world.amounts.values()) == [1000, 100]


async def test_a_deposit_that_was_not_claimed_in_time_is_taken_back(world: World) -> None:
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):  # early: it still waits
        await world.teller.top_up(100)
    assert world.states == {0: DepositState.PENDING} and world.wallet.read().purchases()
    world.late = True
    with pytest.raises(PaymentError, match="back in your account"):
        await world.teller.top_up(100)
    assert world.states == {0: DepositState.REFUNDED} and not world.wallet.read().purchases()
    world.late, world.refuse = False, {}
    assert await world.teller.top_up(100) == 100
    assert len(world.deposits) == 2


async def test_a_deposit_taken_back_before_a_crash_is_noted_after_it(world: World) -> None:
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.states[0] = DepositState.REFUNDED
    with pytest.raises(PaymentError, match="back in your account"):
        await world.teller.finish_purchases()
    assert not world.wallet.read().purchases()


async def test_a_refund_that_may_be_undone_keeps_the_purchase(world: World) -> None:
    """A reorganisation could let the issuer claim the deposit after all."""
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.states[0], world.believed = DepositState.REFUNDED, {0: DepositState.PENDING}
    with pytest.raises(PaymentError, match="refused"):
        await world.teller.finish_purchases()
    assert world.wallet.read().purchases()
    world.states[0], world.refuse = DepositState.PENDING, {}  # undone
    assert await world.teller.finish_purchases() == 100


async def test_spends_are_recovered_one_at_a_time_in_no_order_of_theirs(world: World) -> None:
    """Whoever sees the store's rows, or counts at a gateway, would see whose they all are."""
    for _ in range(6):
        await world.teller.top_up(100)
    world.spend(6)
    kept = [one.id for one in world.wallet.read().unfinished()]
    events: list[str] = []

    async def sleep(seconds: float) -> None:
        assert 0 <= seconds <= 60
        events.append("wait")

    serve = world._recover

    async def recover(body: Any) -> Any:
        spends = {one.spend: one.id for one in world.wallet.read().unfinished()}
        events.append(spends[decode_base64url(body["spend"])])
        return await serve(body)

    world._recover = recover  # type: ignore[method-assign]
    before = world.ways
    ledger = cast("Ledger", world)
    chance = random.Random(7)
    teller = Teller(
        world.wallet, ledger, world._way, between_s=30, young_s=0, sleep=sleep, chance=chance
    )
    assert (await teller.recover()).spends == 6
    assert [one == "wait" for one in events] == [False, True] * 5 + [False]
    asked = events[::2]
    assert sorted(asked) == sorted(kept) and asked != kept
    assert world.ways == before + 6


async def test_a_spend_that_is_being_recovered_is_not_taken_back_unsent(world: World) -> None:
    """Another process showed it to the desk: taken back as well, its credits would be lost."""
    await world.teller.top_up(100)
    purse = world.wallet.purse(world.issuer.terms)
    reserved = await purse.spend(10)
    serve = world._recover

    async def recover(body: Any) -> Any:
        await purse.unsent(reserved.id)
        return await serve(body)

    world._recover = recover  # type: ignore[method-assign]
    assert (await world.teller.recover()).spends == 1
    assert world.wallet.read().balance == 100
    again = await purse.spend(10)
    await purse.unsent(again.id)
    await purse.unsent(again.id)  # it changes nothing
    assert world.wallet.read().balance == 100 and not world.wallet.read().unfinished()


async def test_one_payout_that_is_refused_holds_up_no_other(world: World) -> None:
    for _ in range(2):
        await world.teller.top_up(100)
    world.refuse = {("exit", 0): "proof"}
    with pytest.raises(PaymentError):
        await world.teller.exit()
    assert [one.amount for one in world.exits] == [100]
    world.refuse = {}
    assert await world.teller.exit() == 100
    assert len({one.nonce for one in world.exits}) == 2


async def test_a_payout_that_broke_off_on_the_ledger_is_taken_up(world: World) -> None:
    await world.teller.top_up(100)
    sent = world.exit_unspent

    async def down(signed: SignedExit) -> None:
        await sent(signed)
        raise PeerError("the node is down")

    world.exit_unspent = down  # type: ignore[method-assign]
    with pytest.raises(PeerError):
        await world.teller.exit()
    assert world.wallet.read().balance == 0
    world.exit_unspent = sent  # type: ignore[method-assign]
    assert await world.teller.exit() == 100
    assert world.exits[0].nonce == world.exits[1].nonce


async def test_another_process_takes_back_nothing_that_is_being_served(world: World) -> None:
    await world.teller.top_up(100)
    with world.wallet.turn(world.issuer.terms) as mine:
        reserved = mine.spend(10)
    job = await world.desk.begin(reserved.spend, least=10)
    assert isinstance(job, OpenJob)
    found = await world.teller.recover()  # of another process, meanwhile
    assert (found.spends, found.running) == (0, 1)
    refund = await job.settle(4)
    assert (await world.teller.recover()).credits == 4
    with world.wallet.turn(world.issuer.terms) as mine:
        assert mine.refunded(reserved.id, refund) == 4  # again: it changes nothing
        assert mine.balance == 96


async def test_a_spend_whose_job_may_be_on_its_way_is_left_alone(world: World) -> None:
    """The desk was not shown it yet: it would refund it, and refuse the job that comes with it."""
    await world.teller.top_up(100)
    with world.wallet.turn(world.issuer.terms) as mine:
        reserved = mine.spend(10)
    now = [float(reserved.time)]
    ledger = cast("Ledger", world)
    teller = Teller(world.wallet, ledger, world._way, clock=lambda: now[0])
    for age in (0.0, YOUNG_S - 1):
        now[0] = reserved.time + age
        found = await teller.recover()
        assert (found.spends, found.young) == (0, 1) and world.calls.get("recover") is None
    job = await world.desk.begin(reserved.spend, least=10)
    assert isinstance(job, OpenJob)
    await job.settle(4)
    now[0] = reserved.time + YOUNG_S
    assert await teller.recover() == Recovered(1, 4, 0)
    with world.wallet.turn(world.issuer.terms) as mine:
        other = mine.spend(10)
    now[0] = other.time - 60.0  # the clock was put back: it is not left for ever
    assert (await teller.recover()).spends == 1


async def test_what_another_process_took_back_before_it_was_sent_is_not_served(
    world: World,
) -> None:
    await world.teller.top_up(100)
    with world.wallet.turn(world.issuer.terms) as mine:
        reserved = mine.spend(10)
    assert (await world.teller.recover()).spends == 1
    found = await world.desk.begin(reserved.spend, least=10)
    assert isinstance(found, SettledBefore) and found.charged == 0
    with world.wallet.turn(world.issuer.terms) as mine:
        mine.refunded(reserved.id, found.refund)
        assert mine.balance == 100


class Members:
    """The contract of members, with one who joined."""

    def __init__(self) -> None:
        self.at = 0
        self.late = False
        self.gone = False

    async def stake_per_message(self) -> int:
        return 1000

    async def exit_delay(self) -> int:
        return 86_400

    async def standing(self, index: int) -> Standing | None:
        assert index == 3
        return None if self.gone else Standing(16, self.at)

    async def request_exit(self, index: int) -> None:
        if self.at:
            raise InputError("the contract Membership refused requestExit: leaving already")
        self.at = 1_800_000_000

    async def withdraw(self, index: int) -> None:
        if not self.late:
            raise InputError("the contract Membership refused withdraw: too early")
        self.gone = True


def joined(world: World) -> Members:
    """Make the person a member."""
    members = world.members = Members()  # type: ignore[assignment]
    with world.wallet.turn() as wallet:
        wallet.join(bytes(31) + b"\1", 16)
        wallet.joined(3)
    return members


async def test_who_leaves_is_told_what_comes_back_and_when(world: World) -> None:
    with pytest.raises(InputError, match="no membership"):
        await world.teller.stake()
    members = joined(world)
    assert await world.teller.stake() == Stake(16_000, 86_400)
    assert members.at == 0  # looking asks for nothing
    asked = Stake(16_000, 86_400, at=1_800_000_000)
    assert await world.teller.leave_or_collect() == asked
    ledger, now = cast("Ledger", world), [1_799_999_999.0]
    teller = Teller(world.wallet, ledger, world._way, clock=lambda: now[0])
    assert await teller.leave_or_collect() == asked  # too early: as it was
    now[0] += 1
    with pytest.raises(InputError, match="too early") as refused:  # the ledger's clock is behind
        await teller.leave_or_collect()
    assert "again" in refused.value.hint
    assert world.wallet.membership is not None
    members.late = True
    assert await world.teller.leave_or_collect() == replace(asked, returned=True)
    assert world.wallet.membership is None


async def test_a_stake_that_is_gone_forgets_no_membership(world: World) -> None:
    """A node that lies could else have a person forget a secret that has a stake."""
    joined(world).gone = True
    with pytest.raises(InputError, match="no stake"):
        await world.teller.leave_or_collect()
    assert world.wallet.membership is not None


@pytest.mark.parametrize("claimed", [True, False])
async def test_a_purchase_that_waits_while_the_issuers_key_changes_is_fetched(
    world: World, claimed: bool
) -> None:
    """The request is bound to no key: who has the new one answers it, for the same deposit."""
    issue = world._issue

    async def lost(body: Any) -> Any:
        if claimed:
            await issue(body)
        raise PaymentError("the answer does not arrive", check="missing")

    world._issue = lost  # type: ignore[method-assign]
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world._issue = issue  # type: ignore[method-assign]
    world.rotate()
    assert await world.teller.top_up(100) == 100
    assert len(world.deposits) == 1 and world.states == {0: DepositState.CLAIMED}
    assert not world.wallet.read().purchases()
    with world.wallet.turn(world.issuer.terms) as wallet:  # the new key's: it can be spent
        assert wallet.balance == 100


async def test_an_enclave_that_still_has_the_replaced_key_loses_no_deposit(world: World) -> None:
    """Its credits could not be spent: they wait for the answer under the new key."""
    before = world.issuer
    world.rotate()
    world.on_ledger, world.issuer = world.issuer, before
    for _ in range(2):
        with pytest.raises(PaymentError, match="key that the ledger has now") as refused:
            await world.teller.top_up(100)
        assert refused.value.check == "issuer" and "wallet top-up" in refused.value.hint
    assert len(world.deposits) == 1 and len(world.wallet.read().purchases()) == 1
    world.issuer = world.on_ledger  # the enclave was started with it
    assert await world.teller.finish_purchases() == 100
    assert len(world.deposits) == 1


async def test_a_deposit_that_nobody_claims_after_a_change_of_keys_is_taken_back(
    world: World,
) -> None:
    world.refuse = {("issue", -1): "deposit"}
    with pytest.raises(PaymentError):
        await world.teller.top_up(100)
    world.rotate()
    world.late = True
    with pytest.raises(PaymentError, match="back in your account"):
        await world.teller.top_up(100)
    assert world.states == {0: DepositState.REFUNDED}


async def test_a_person_who_waits_is_told_how_far_it_is(world: World) -> None:
    for _ in range(3):
        await world.teller.top_up(100)
    world.spend(3)
    told: list[str] = []

    async def sleep(seconds: float) -> None:
        assert f"{seconds:.0f} s" in told[-1]

    ledger = cast("Ledger", world)
    teller = Teller(
        world.wallet,
        ledger,
        world._way,
        told.append,
        between_s=9,
        young_s=0,
        sleep=sleep,
        chance=random.Random(7),
    )
    await teller.recover()
    assert [one for one in told if "of 3" in one] == [
        f"asking for spend {n} of 3" for n in (1, 2, 3)
    ]
    assert sum("waiting" in one for one in told) == 2
