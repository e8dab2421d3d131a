"""What a person does with their wallet: join, buy credits, get lost ones back, and leave.

Each step is on disk before the next begins, under a name that makes a second attempt the same one:
after a crash the command is simply run again. Joining and leaving are in `staking`, buying in
`purchases`; here is the rest, and what takes both.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from privity.anon.payment_terms import EXIT_PATH
from privity.anon.wallet import Reserved
from privity.anon.wallet_hints import YOUNG_S
from privity.errors import InputError, MalformedError, PaymentError, PrivityError
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.acting import Told
from privity.infer.anonymous.desk import Desk, recovered, said
from privity.infer.anonymous.purchases import Purchases
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.staking import Staking
from privity.ledger.client import Ledger
from privity.ledger.credits import SignedExit
from privity.ledger.wire import check_address

__all__ = ["Recovered", "Teller"]


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


class Teller(Staking, Purchases):
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
        super().__init__(wallet, ledger, desk, told, clock=clock)
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

    async def funds(self) -> int:
        """Return what the person's account holds of the token."""
        return await self._ledger.token.balance(check_address(self.account))

    async def fees(self) -> int:
        """Return what the person's account has to pay transactions with, in wei."""
        return await self._ledger.fees()

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
