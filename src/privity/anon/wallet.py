"""The person's wallet: credits, the membership's secret, message ids, and a history only they read.

Everything that would be lost or used twice by a crash is in a sealed journal on disk before it
leaves the device. What was under way when a process died is in `unfinished` and `purchases`; the
same bytes are sent again, and the issuer's desk gives the same refund.

Longer than most modules: each act is a step of one journal, under one lock. What its events add up
to is in `wallet_state`, and the file in `wallet_file`.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from privity.anon.credits import CreditTerms, CreditToken, PendingPurchase, prepare_purchase
from privity.anon.wallet_file import SealedJournal, read_journal
from privity.anon.wallet_hints import short_hint
from privity.anon.wallet_state import (
    EPOCHS_KEPT,
    Entry,
    Membership,
    Purpose,
    Reserved,
    State,
    buying_event,
    event,
    member_event,
    spending_event,
    token_event,
)
from privity.errors import AdmissionError, InputError, PaymentError
from privity.identity.jcs import canonical

__all__ = ["Entry", "Membership", "Reserved", "Wallet"]

_MAX_NOTE = 4096
_SLACK = 64
_MAX_EPOCH = 2**53 - 1


class Wallet:
    """One person's wallet, open in one process; its methods may be called from any thread.

    Use `open` or `read`. Errors of its file are `InputError` and `OpenError`, from every method.

    Guarantees:
        A spend, a purchase and a message id are on disk before they are returned; ``kill -9`` at
        any moment loses no credits and gives no message id twice
        (tests/adversary/test_wallet_crash.py). Without the key the file tells its size and times,
        and nothing else (tests/adversary/test_credits.py).

    Requires:
        One wallet, in one place: a copy that is used beside it, or put back within two epochs of
        its last use, gives message ids again; two messages under one id are slashed.
    """

    def __init__(
        self,
        state: State,
        journal: SealedJournal | None,
        terms: CreditTerms | None,
        clock: Callable[[], float],
        randomness: Callable[[int], bytes],
    ) -> None:
        self._state = state
        self._journal = journal
        self._clock = clock
        self._randomness = randomness
        self._busy = threading.RLock()
        self.terms = terms

    @classmethod
    def open(
        cls,
        folder: Path,
        key: bytes,
        *,
        terms: CreditTerms | None = None,
        clock: Callable[[], float] = time.time,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Wallet:
        """Open the wallet in ``folder``, made if there is none.

        Args:
            folder: where it is.
            key: `wallet_key` of the device's key.
            terms: under which it buys and spends: the issuer's key as the ledger shows it.
            clock: seconds since the epoch.
            randomness: makes ids and salts.

        Raises:
            InputError: another process has it open, or the file cannot be used.
            OpenError: it is of another key, or altered.
        """
        journal = SealedJournal(folder, key, randomness=randomness)
        try:
            wallet = cls(_sum(journal.events), journal, terms, clock, randomness)
            wallet._compact()
        except BaseException:
            journal.close()
            raise
        return wallet

    @classmethod
    def read(cls, folder: Path, key: bytes) -> Wallet:
        """Return the wallet as it is now, to look at, also while a process has it open."""
        state = _sum(read_journal(folder, key))
        return cls(state, None, None, time.time, secrets.token_bytes)

    def close(self) -> None:
        """Let another process open it."""
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What there is

    @property
    def balance(self) -> int:
        """Return the credits that can be spent now, in all tokens together."""
        with self._busy:
            return sum(one.balance for one in self._spendable().values())

    @property
    def largest(self) -> int:
        """Return the most that one request can spend: a token's credits, tokens do not add up."""
        with self._busy:
            return max((one.balance for one in self._spendable().values()), default=0)

    @property
    def reserved(self) -> int:
        """Return the credits of tokens that are being spent, of which a part comes back."""
        with self._busy:
            return sum(one.pending.before for one in self._state.spending.values())

    def history(self) -> tuple[Entry, ...]:
        """Return what was bought, spent and paid out, oldest first."""
        with self._busy:
            return tuple(self._state.history)

    # Membership and message ids

    @property
    def membership(self) -> Membership | None:
        """Return the registered membership; None where none is, or the ledger gave no leaf yet."""
        found = self._state.membership
        return found if found is not None and found.index is not None else None

    @property
    def begun_membership(self) -> Membership | None:
        """Return the membership that is kept, also where its registration broke off."""
        return self._state.membership

    def join(self, secret: bytes, limit: int) -> None:
        """Keep a membership's secret, before it is registered on the ledger.

        Raises:
            InputError: there is a membership already; its stake would be out of reach.
        """
        with self._busy:
            if self._state.membership is not None:
                raise InputError("the wallet has a membership", hint="leave it first")
            self._do(member_event(Membership(secret, limit, None)))

    def joined(self, index: int) -> None:
        """Note the leaf that the ledger gave."""
        with self._busy:
            if self._state.membership is None:
                raise InputError("the wallet has no membership")
            self._do(member_event(replace(self._state.membership, index=index)))

    def left(self) -> None:
        """Forget the membership, after its stake came back; the ids it used stay used."""
        with self._busy:
            if self._state.membership is not None:
                self._do(event("left"))

    def take_message_id(self, epoch: int) -> int:
        """Return a message id of an epoch that was never returned before, from 0 below the limit.

        Raises:
            InputError: there is no membership.
            AdmissionError: check ``rate``: all ids are used; ``epoch``: the epoch is so old that
                the ids used in it are not known any more.
        """
        with self._busy:
            state = self._state
            if state.membership is None:
                raise InputError("the wallet has no membership", hint="join first")
            if not max(0, state.newest() - EPOCHS_KEPT + 1) <= epoch <= _MAX_EPOCH:
                raise AdmissionError("an epoch long past: is the clock right?", check="epoch")
            count = state.used.get(epoch, 0)
            if count >= state.membership.limit:
                raise AdmissionError(
                    f"all {state.membership.limit} messages of this minute are used",
                    check="rate",
                    hint="wait for the next minute; a membership with a higher --limit sends more",
                )
            self._do(event("ids", epoch=epoch, count=count + 1))
            return count

    def messages_left(self, epoch: int) -> int:
        """Return how many messages of an epoch are not used yet; 0 without a membership."""
        with self._busy:
            member = self._state.membership
            return 0 if member is None else member.limit - self._state.used.get(epoch, 0)

    # Buying

    def buy(self, amount: int) -> tuple[str, bytes]:
        """Return the id and the blind request of a purchase; the request is what is paid for.

        Raises:
            InputError: no terms are known.
            PaymentError: check ``amount``.
        """
        with self._busy:
            if self.terms is None:
                raise InputError("the issuer's terms are not known", hint="read them on the ledger")
            pending, request = prepare_purchase(self.terms, amount)
            name = self._new_id()
            self._do(buying_event(name, pending))
            return name, request

    def purchases(self) -> dict[str, PendingPurchase]:
        """Return the purchases that wait for their answer, by id."""
        with self._busy:
            return dict(self._state.buying)

    def bought(self, name: str, response: bytes, note: Mapping[str, Any] | None = None) -> int:
        """Take the issuer's answer; return the credits it brought. Again it changes nothing.

        A request is bound to no key: what was asked for under an earlier one is answered under the
        one that the wallet's terms have now, under which it can be spent.

        Raises:
            InputError: there is no such purchase.
            MalformedError, PaymentError: as `PendingPurchase.complete`; the purchase still waits.
        """
        with self._busy:
            pending = self._state.buying.get(name)
            if pending is None:
                return self._settled(name)
            if self.terms is not None and self.terms.deployment == pending.terms.deployment:
                pending = replace(pending, terms=self.terms)
            token = pending.complete(response)
            self._do(token_event("bought", name, token, time=self._now(), note=_note(note)))
            return token.balance

    def cancelled(self, name: str) -> None:
        """Forget a purchase, after the ledger gave its deposit back."""
        with self._busy:
            if name in self._state.buying:
                self._do(event("cancelled", id=name))

    # Spending

    def spend(self, amount: int) -> Reserved:
        """Set a spend aside for a job, in the journal, before anything is sent.

        Raises:
            PaymentError: check ``short``: no token holds so much; the hint says whether one is
                being spent just now.
        """
        with self._busy:
            fitting = [
                (token.balance, name)
                for name, token in self._spendable().items()
                if token.balance >= amount
            ]
            if not fitting:
                raise self.short(amount)
            # The smallest that suffices keeps large ones for large requests. A spend does not
            # show which one was taken.
            return self._reserve(min(fitting)[1], amount, "job")

    def short(self, amount: int) -> PaymentError:
        """Return the error of who would spend more than any token holds."""
        with self._busy:
            return PaymentError(
                f"a request holds the most that it can cost, here {amount} credits, and no token "
                "of the wallet has so many now",
                check="short",
                hint=short_hint(amount, self._state, self._clock()),
            )

    def exit_spend(self) -> Reserved:
        """Set the largest token's whole rest aside, to be paid out on the ledger.

        The amount is public there, and could be the sum of what one person spent: exit tokens
        that were not used, or after many requests (spec/credits.md).

        Raises:
            PaymentError: check ``short``: there is nothing to pay out.
        """
        with self._busy:
            found = [(token.balance, name) for name, token in self._state.tokens.items()]
            if not found:
                raise PaymentError("the wallet has no credits to pay out", check="short")
            amount, name = max(found)
            return self._reserve(name, amount, "exit")

    def unfinished(self) -> tuple[Reserved, ...]:
        """Return spends whose end is not known, oldest first.

        Those of purpose ``job`` are sent to the desk's `recover`, those of ``exit`` to its
        `withdraw`, with the same bytes.
        """
        with self._busy:
            return tuple(self._state.spending.values())

    def refunded(self, name: str, refund: bytes, note: Mapping[str, Any] | None = None) -> int:
        """Take a job's refund; return what the job cost. Again it changes nothing.

        Raises:
            InputError: there is no such spend.
            MalformedError, PaymentError: as `PendingSpend.complete`; the spend still waits.
        """
        with self._busy:
            if name not in self._state.spending:
                return self._settled(name)
            reserved = self._unfinished(name, "job")
            token = reserved.pending.complete(refund)
            self._do(token_event("refunded", name, token, time=self._now(), note=_note(note)))
            return reserved.pending.charged(token)

    def unsent(self, name: str) -> None:
        """Take a spend back of which not one byte left this device.

        Requires:
            That is so. Had the issuer seen it, a later spend of the token would be a double one.
        """
        with self._busy:
            self._unfinished(name, None)
            self._do(event("unsent", id=name))

    def exited(self, name: str, note: Mapping[str, Any] | None = None) -> int:
        """Note that a payout was made; return its credits. Again it changes nothing.

        Until then the spend stays unfinished: its bytes get the same signature again.
        """
        with self._busy:
            if name not in self._state.spending:
                return self._settled(name)
            amount = self._unfinished(name, "exit").amount
            self._do(event("exited", id=name, time=self._now(), note=_note(note)))
            return amount

    def _spendable(self) -> dict[str, CreditToken]:
        tokens = self._state.tokens
        if self.terms is None:
            return tokens
        return {name: one for name, one in tokens.items() if one.terms == self.terms}

    def _reserve(self, token_name: str, amount: int, purpose: Purpose) -> Reserved:
        token = self._state.tokens[token_name]
        pending, _ = token.spend(amount)
        reserved = Reserved(self._new_id(), amount, purpose, pending, token, self._now())
        self._do(spending_event(reserved.id, reserved, token_name))
        return reserved

    def _unfinished(self, name: str, purpose: Purpose | None) -> Reserved:
        found = self._state.spending.get(name)
        if found is None or purpose not in (None, found.purpose):
            raise InputError("the wallet began no such spend")
        return found

    def _settled(self, name: str) -> int:
        """Return the amount of what is in the history; raises `InputError` where it is not."""
        for one in reversed(self._state.history):
            if one.id == name:
                return one.amount
        raise InputError("the wallet began no such purchase or spend")

    def _do(self, one: dict[str, Any]) -> None:
        """Write an event to disk, then let it count."""
        if self._journal is None:
            raise InputError("the wallet was opened only to look at it")
        self._journal.append(one)
        self._state.apply(one)
        # It is done, and on disk. Should the file now be closed, the next act says so.
        with contextlib.suppress(InputError):
            self._compact()

    def _compact(self) -> None:
        if self._journal is None:
            return
        state = self._state
        if self._journal.records > 4 * state.size() + _SLACK:
            self._journal.rewrite(state.events())

    def _new_id(self) -> str:
        return self._randomness(16).hex()

    def _now(self) -> int:
        return int(self._clock())


def _sum(events: list[dict[str, Any]]) -> State:
    state = State()
    for one in events:
        state.apply(one)
    return state


def _note(note: Mapping[str, Any] | None) -> dict[str, Any]:
    written = dict(note or {})
    if len(canonical(written)) > _MAX_NOTE:
        raise InputError(f"a note in the wallet's history is larger than {_MAX_NOTE} bytes")
    return written
