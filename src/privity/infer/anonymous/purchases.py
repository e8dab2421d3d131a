"""What a person does to have credits: pay on the ledger, and fetch them blind.

Each step is on disk before the next begins, under a name that makes a second attempt the same one:
after a crash the command is simply run again.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import partial

from privity.anon.credits import PendingPurchase
from privity.anon.payment_terms import ISSUE_PATH
from privity.anon.wallet import Wallet
from privity.errors import InputError, PaymentError, PrivityError
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.acting import Acting
from privity.infer.anonymous.desk import MAX_ANSWER, said
from privity.ledger.credits import DepositState

__all__ = ["Purchases"]


class Purchases(Acting):
    """Buys credits for a person. Run by the device."""

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

    async def _due_price(self, amount: int | None) -> int:
        """Return what `top_up` will pay."""
        due = await self._new(amount) or 0
        for one in (await self._turn(lambda wallet: wallet.purchases())).values():
            if not await self._ledger.has_begun_deposit(hashlib.sha256(one.request).digest()):
                due += one.amount
        return due

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
