"""What a person does with their wallet: join, buy credits, get lost ones back, and leave.

Each step is on disk before the next begins, under a name that makes a second attempt the same one:
after a crash the command is simply run again. All in one file, as each act takes up what another
began.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread

from privity.anon.credits import CreditTerms, PendingPurchase
from privity.anon.membership import RateIdentity
from privity.anon.payment_terms import EXIT_PATH, ISSUE_PATH
from privity.anon.wallet import Membership, Reserved, Wallet
from privity.errors import InputError, MalformedError, PaymentError, PrivityError
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.desk import MAX_ANSWER, Desk, recovered, said
from privity.infer.anonymous.purse import SharedWallet
from privity.ledger.client import Ledger
from privity.ledger.credits import DepositState, SignedExit
from privity.ledger.members import Standing
from privity.ledger.sending import signing
from privity.ledger.wire import check_address

__all__ = ["YOUNG_S", "Recovered", "Stake", "Teller"]

YOUNG_S = 300.0
"""Seconds in which a spend may still be on its way: two tries of an edge prover, and the relays."""

Told = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Recovered:
    """What became of spends whose answers never came.

    Attributes:
        spends: how many were settled.
        credits: what they cost after all.
        running: how many are still being served; later, then.
        refused: how many the desk refused; they stay in the journal.
        young: how many were begun so lately that they were not asked for.
    """

    spends: int
    credits: int
    running: int
    refused: int = 0
    young: int = 0


@dataclass(frozen=True)
class Stake:
    """What a member staked, and when it comes back.

    Attributes:
        amount: in the token's smallest unit.
        delay_s: seconds between asking for it and taking it.
        at: from when on it can be taken, in seconds since 1970; None before it was asked for.
        returned: whether it is back in the account.
    """

    amount: int
    delay_s: int
    at: int | None = None
    returned: bool = False


class Teller:
    """Acts for one person on the ledger and at the enclave's desk. Run by the device.

    Args:
        wallet: the person's.
        ledger: with the person's account as its signer.
        desk: returns the anonymous way to the enclave's desk, verified and admitted.
        told: is told of each step, for a person who waits.
        admitted: finds a way to the desk, also of who is no member yet, and asks the policy. By
            default nobody is asked.
        between_s: about how long to wait, in seconds, between two spends that are recovered.
        young_s: spends younger than so many seconds are not recovered.
        sleep: waits.
        chance: draws order and waits.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        wallet: SharedWallet,
        ledger: Ledger,
        desk: Desk,
        told: Told = lambda step: None,
        *,
        admitted: Callable[[], Awaitable[None]] | None = None,
        between_s: float = 0.0,
        young_s: float = YOUNG_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wallet = wallet
        self._ledger = ledger
        self._desk = desk
        self._told = told
        self._admitted = admitted
        self._between_s = between_s
        self._young_s = young_s
        self._sleep = sleep
        self._chance = chance or random.SystemRandom()

    async def prepare(self, limit: int, amount: int | None) -> None:
        """Check, before anything is staked or paid, that it can be and that it leads somewhere.

        Where nothing is left to stake or pay nothing is checked: what was paid for is fetched, or
        taken back, over whichever way there is.

        Args:
            limit: as `join` will have it.
            amount: as `top_up` will.

        Raises:
            InputError: the account has fewer tokens; or there is no such denomination.
            PolicyRefusal: the policy admits no way to the desk.
            PrivityError: no way to it is found.

        Guarantees:
            What is refused has cost nothing: no transaction is signed, and nothing begun
            (tests/unit/test_teller.py::test_nothing_is_staked_or_paid_where_no_way_is_admitted).
        """
        stake, price = await self._due_stake(limit), await self._due_price(amount)
        if not stake and not price:
            return
        held = await self.funds()
        if held < stake + price:
            due = [f"a stake of {stake}"] * bool(stake) + [f"{price} for credits"] * bool(price)
            raise InputError(
                f"{' and '.join(due)} are to be paid in the token "
                f"{self._ledger.addresses.token}; {self.account} has {held}",
                hint=f"have {stake + price - held} more sent to this account, and what "
                "transactions cost; `privity wallet account` shows what it has",
            )
        if self._admitted is not None:
            self._told("finding a way to the enclave that the policy admits")
            await self._admitted()

    async def _due_stake(self, limit: int) -> int:
        """Return what `join` will stake."""
        begun = await self._turn(lambda wallet: wallet.begun_membership)
        if begun is not None:
            if begun.index is not None:
                return 0
            limit = begun.limit
            with RateIdentity(begun.secret) as identity:
                if await self._ledger.has_begun_register(identity.commitment):
                    return 0
        return limit * await self._ledger.members.stake_per_message()

    async def _due_price(self, amount: int | None) -> int:
        """Return what `top_up` will pay."""
        due = await self._new(amount) or 0
        for one in (await self._turn(lambda wallet: wallet.purchases())).values():
            if not await self._ledger.has_begun_deposit(hashlib.sha256(one.request).digest()):
                due += one.amount
        return due

    async def join(self, limit: int) -> int:
        """Stake for a membership, unless there is one, and return its leaf's place.

        Args:
            limit: messages an epoch that it stakes for.

        Raises:
            InputError: the ledger refuses, such as for want of funds.
            PeerError: it cannot be reached; run again.
        """
        member = await self._turn(lambda wallet: _begun(wallet, limit))
        if member.index is not None:
            return member.index
        stake = member.limit * await self._ledger.members.stake_per_message()
        self._told(f"staking {stake} of the token for {member.limit} messages a minute")
        with RateIdentity(member.secret) as identity:
            leaf = await self._ledger.register_member(identity.commitment, member.limit)
        await self._turn(lambda wallet: wallet.joined(leaf.index))
        wait_s = 3 * self._ledger.addresses.settle_s
        self._told(f"you joined; a question in the next {wait_s} s waits, or it would stand out")
        return leaf.index

    async def top_up(self, amount: int | None) -> int:
        """Buy credits, having finished what was begun before, and return how many came.

        Args:
            amount: one of the ledger's denominations; one of them that waits is finished, and not
                bought again. None to finish what waits, or to buy the fewest where nothing does.

        Raises:
            InputError: there is no such denomination, or the ledger refuses.
            PaymentError: the issuer's answer is not what was paid for; the purchase still waits.
            PeerError: ledger or enclave cannot be reached; run again.
        """
        new = await self._new(amount)
        if new is None:
            self._told("finishing what was begun before; nothing else is bought")
        else:
            terms = await self._terms()
            await self._turn(lambda wallet: wallet.buy(new), terms)
        return await self.finish_purchases()

    async def _new(self, amount: int | None) -> int | None:
        """Return what is to be bought anew; None where it waits already."""
        known = await self._ledger.credits.denominations()
        if amount is not None and amount not in known:
            raise InputError(
                f"{amount} is none of the amounts that are sold",
                hint=f"one of {', '.join(map(str, known))}: the same for everyone, so that an "
                "amount tells nobody apart",
            )
        waiting = await self._turn(lambda wallet: wallet.purchases())
        if any(amount in (None, one.amount) for one in waiting.values()):
            return None
        return min(known) if amount is None else amount

    async def finish_purchases(self) -> int:
        """Pay for and fetch what was begun; return the credits that came.

        One that fails holds up no other. A deposit that the issuer did not claim in time is taken
        back.

        Raises:
            PrivityError: one of them failed, after all were tried.
        """
        came, failed = 0, list[PrivityError]()
        waiting = await self._turn(lambda wallet: wallet.purchases())
        for name, one in waiting.items():
            try:
                came += await self._finish(name, one)
            except PrivityError as error:
                failed.append(error)
        if failed:
            raise failed[0]
        return came

    async def _finish(self, name: str, one: PendingPurchase) -> int:
        self._told("paying on the ledger")
        digest = hashlib.sha256(one.request).digest()
        deposit = await self._ledger.deposit(one.amount, digest)
        self._told("fetching the credits, blind")
        try:
            asked = {"deposit": deposit, "request": encode_base64url(one.request)}
            answer = await said(self._desk, ISSUE_PATH, asked)
        except PrivityError as error:
            if await self._taken_back(deposit):
                await self._turn(lambda wallet: wallet.cancelled(name))
                raise PaymentError(
                    "the issuer did not answer in time; the deposit is back in your account",
                    check="deposit",
                    hint="run it again to buy anew",
                ) from error
            await self._tell_claimed(deposit, error)
            raise
        response = answer.blob("response", most=MAX_ANSWER)
        take = partial(Wallet.bought, name=name, response=response, note={"deposit": deposit})
        terms = await self._terms()
        try:
            return await self._turn(take, terms)
        except PaymentError as error:
            if error.check != "proof":
                raise
            # Both keys are the ledger's, so nobody is marked; but credits of the earlier one can
            # not be spent. A desk that has the new one answers the same request again.
            raise PaymentError(
                "the enclave's answer is not under the issuer's key that the ledger has now",
                check="issuer",
                hint="what was paid waits: `privity wallet top-up` fetches it, once the enclave "
                "has the new key. If the key did not change of late, tell the provider",
            ) from error

    async def _tell_claimed(self, deposit: int, error: PrivityError) -> None:
        """Add to an error's hint that the issuer has taken what it did not answer yet."""
        found = await self._ledger.credits.deposit_at(deposit)
        if found.state is DepositState.CLAIMED:
            owed = (
                f"deposit {deposit} is claimed on the ledger, so its credits are owed to you: "
                "`privity wallet top-up` asks again, and your wallet keeps the request that "
                "proves it"
            )
            error.hint = f"{error.hint}; {owed}" if error.hint else owed

    async def _taken_back(self, deposit: int) -> bool:
        """Take a deposit back if it is too late for the issuer to claim it; tell whether it is."""
        found = await self._ledger.credits.deposit_at(deposit)
        if found.state is DepositState.PENDING:
            # The contract alone knows its time. It lets nobody claim what it lets us take back.
            with contextlib.suppress(InputError):
                await self._ledger.credits.refund(deposit)  # until it is confirmed
                return True
        if found.state is not DepositState.REFUNDED:
            return False
        # Of a refund that a reorganisation undoes, the issuer may claim the deposit after all.
        block = await self._ledger.members.confirmed()
        with contextlib.suppress(InputError):  # there was no such deposit then
            if block is not None:
                found = await self._ledger.credits.deposit_at(deposit, block)
                return found.state is DepositState.REFUNDED
        return False

    async def recover(self) -> Recovered:
        """Get back what was spent on answers that never came; one that fails holds up no other.

        One at a time, each over a way of its own, in an order and after waits that are drawn:
        spends that are asked for in one breath would be known for one person's. One that is young
        is left: a desk that was not shown it yet would give it back, and then refuse its job.

        Raises:
            PeerError: the enclave cannot be reached; run again.
        """
        settled = cost = running = refused = 0
        with self._wallet.recovering():
            begun = await self._unfinished("job")
            waiting = [one for one in begun if not self._is_young(one)]
            self._chance.shuffle(waiting)
            for place, one in enumerate(waiting):
                if place:
                    await self._wait(len(waiting) - place)
                self._told(f"asking for spend {place + 1} of {len(waiting)}")
                try:
                    cost += await recovered(self._wallet, self._desk, one)
                except (PaymentError, MalformedError) as error:
                    still = isinstance(error, PaymentError) and error.check == "running"
                    running, refused = running + still, refused + (not still)
                else:
                    settled += 1
        return Recovered(settled, cost, running, refused, len(begun) - len(waiting))

    def _is_young(self, one: Reserved) -> bool:
        return 0 <= self._clock() - one.time < self._young_s  # else a clock was put back

    async def _wait(self, left: int) -> None:
        if self._between_s > 0:
            seconds = self._chance.uniform(0.0, 2 * self._between_s)
            self._told(f"waiting {seconds:.0f} s: {left} more, not asked for in one breath")
            await self._sleep(seconds)

    async def exit(self, to: str | None = None) -> int:
        """Have all unspent credits paid out on the ledger, and return how many.

        Args:
            to: the address that is paid; None for the person's account.

        Raises:
            PaymentError: the desk refused some, after all were tried.
            InputError: the ledger refused some, after all were tried.
            PeerError: ledger or enclave cannot be reached; run again.
        """
        terms = await self._terms()
        receiver = check_address(to or self.account)
        paid, failed = 0, dict[str, PrivityError]()
        while True:
            found = await self._unfinished("exit")
            waiting = [one for one in found if one.id not in failed]
            if not waiting:
                if await self._turn(lambda wallet: wallet.balance) == 0:
                    break
                waiting = [await self._turn(lambda wallet: wallet.exit_spend(), terms)]
            for one in waiting:
                try:
                    paid += await self._pay_out(one, receiver)
                except (PaymentError, MalformedError, InputError) as error:
                    failed[one.id] = error  # of an issuer's earlier key, say: holds up no other
        if failed:
            raise next(iter(failed.values()))
        return paid

    async def funds(self) -> int:
        """Return what the person's account holds of the token."""
        return await self._ledger.token.balance(check_address(self.account))

    async def fees(self) -> int:
        """Return what the person's account has to pay transactions with, in wei."""
        return await self._ledger.fees()

    async def stake_per_message(self) -> int:
        """Return what is staked for each message a minute, in the token's smallest unit."""
        return await self._ledger.members.stake_per_message()

    async def stake(self) -> Stake:
        """Return what was staked and when it comes back.

        It asks the ledger about one leaf: for who is about to show it there anyway, by leaving.

        Raises:
            InputError: there is no membership, or its stake is gone.
        """
        member, index = self._member()
        members = self._ledger.members
        found = await members.standing(index)
        if found is None:
            # A node's word is not enough to forget a membership. That this device sent for the
            # stake is: it died before it knew that it had come.
            if not await signing(self._ledger.sender).begun(_collecting(member)):
                raise InputError(
                    "the ledger has no stake for this membership: it was taken or slashed"
                )
            found = Standing(member.limit, int(self._clock()))
        amount = await members.stake_per_message() * found.limit
        return Stake(amount, await members.exit_delay(), found.withdrawable_at or None)

    async def leave_or_collect(self) -> Stake:
        """Ask for the stake, or take it where it was asked for before and its time has come.

        Raises:
            InputError: there is no membership, or the ledger refuses.
            PeerError: it cannot be reached; run again.
        """
        found = await self.stake()
        if found.at is None:
            self._told("asking for the stake")
            await self.leave()
            return await self.stake()
        self._told("taking the stake, if its time has come")
        try:
            await self.collect()
        except InputError as error:
            if self._clock() < found.at:
                return found
            # The ledger's clock is that of its last block.
            raise InputError(error.message, hint="run it again in a moment") from error
        return replace(found, returned=True)

    async def leave(self) -> None:
        """Ask for the stake back; it comes after the ledger's delay, with `collect`."""
        await self._ledger.members.request_exit(self._member()[1])

    async def collect(self) -> None:
        """Take the stake back, and forget the membership; raises `InputError` before its time."""
        member, index = self._member()
        await self._ledger.members.withdraw(index, intent=_collecting(member))
        await self._turn(lambda wallet: wallet.left())

    def _member(self) -> tuple[Membership, int]:
        member = self._wallet.membership
        if member is None or member.index is None:
            raise InputError("there is no membership to leave")
        return member, member.index

    async def _pay_out(self, one: Reserved, receiver: str) -> int:
        self._told("having the rest signed out")
        asked = {"spend": encode_base64url(one.spend), "to": receiver}
        answer = await said(self._desk, EXIT_PATH, asked)
        signed = SignedExit(
            answer.count("amount"),
            check_address(receiver),
            answer.blob("nonce", least=32, most=32),
            answer.blob("signature", least=65, most=65),
        )
        if signed.amount != one.amount:
            raise PaymentError("the enclave signed another amount out", check="amount")
        if signed.nonce != one.token.nullifier:
            # The ledger pays a nullifier out once; of another's, perhaps, it has long done so.
            raise PaymentError(
                "the enclave signed another spend's credits out",
                check="nullifier",
                hint="nothing was taken out for it; the spend stays in your wallet, to be paid "
                "out: tell the provider",
            )
        self._told("taking it out on the ledger")
        try:
            await self._ledger.exit_unspent(signed)
        except InputError:
            if not await self._was_paid(signed):
                raise
        note = {"to": receiver}
        return await self._turn(lambda wallet: wallet.exited(one.id, note))

    async def _was_paid(self, signed: SignedExit) -> bool:
        """Tell whether somebody else sent an exit first; whoever sees it can."""
        block = await self._ledger.members.confirmed()
        if block is None:
            return False
        found = await self._ledger.credits.paid_exit(signed.nonce, block)
        if found not in (None, (signed.amount, signed.to)):
            raise PaymentError(
                f"the ledger has paid these credits to {found[1]}: the desk signed them out to "
                "somebody else",
                check="paid",
                hint="the spend stays in your wallet; with the ledger's record it proves it",
            )
        return found is not None

    async def _unfinished(self, purpose: str) -> tuple[Reserved, ...]:
        found = await self._turn(lambda wallet: wallet.unfinished())
        return tuple(one for one in found if one.purpose == purpose)

    async def _terms(self) -> CreditTerms:
        """Return what is bought and spent under: the ledger's key, whatever an enclave says."""
        key = await self._ledger.issuer_key()
        return CreditTerms(self._ledger.addresses.deployment, key.key)

    @property
    def account(self) -> str:
        """The address of the person's account on the ledger."""
        sender = self._ledger.sender
        if sender is None:
            raise InputError("there is no account to act with")
        return sender.account.address

    async def _turn(self, act: Callable[[Wallet], T], terms: CreditTerms | None = None) -> T:
        def run() -> T:
            with self._wallet.turn(terms) as wallet:
                return act(wallet)

        return await to_thread.run_sync(run)


def _collecting(member: Membership) -> str:
    """Name the taking of a stake; the secret, as indexes begin anew on another chain."""
    return "stake:" + hashlib.sha256(b"privity/stake/v1\0" + member.secret).hexdigest()


def _begun(wallet: Wallet, limit: int) -> Membership:
    """Return the membership, begun if there is none."""
    found = wallet.begun_membership
    if found is None:
        with RateIdentity.generate() as made:
            found = Membership(bytes(made.unsafe_secret()), limit, None)
        wallet.join(found.secret, limit)
    return found
