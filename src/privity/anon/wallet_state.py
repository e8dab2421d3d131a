"""What a wallet's events add up to: tokens, what is under way, message ids used, history.

Pure: the wallet writes an event to its journal, then applies it here; opening applies them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from privity.anon.credits import (
    MAX_CREDITS,
    CreditTerms,
    CreditToken,
    PendingPurchase,
    PendingSpend,
)
from privity.errors import MalformedError
from privity.identity.fields import Fields
from privity.identity.multibase import encode_base64url

__all__ = [
    "EPOCHS_KEPT",
    "Entry",
    "Membership",
    "Purpose",
    "Reserved",
    "State",
    "buying_event",
    "event",
    "member_event",
    "spending_event",
    "token_event",
]

EPOCHS_KEPT = 64
"""How many epochs back ids are known; of older ones none is given any more."""

_MAX_BLOB = 8192
_MAX_PART = 64

Purpose = str
"""``job``, or ``exit``: to be paid out."""


@dataclass(frozen=True)
class Entry:
    """One line of the history, which only the person can read.

    Attributes:
        id: of the purchase or spend.
        time: seconds since the epoch.
        kind: ``bought``, ``spent`` or ``exited``.
        amount: credits: bought, charged or paid out.
        note: what the caller wished to remember: a purchase's deposit, who a payout went to.
    """

    id: str
    time: int
    kind: str
    amount: int
    note: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "amount": self.amount,
            "id": self.id,
            "kind": self.kind,
            "note": self.note,
            "time": self.time,
        }


@dataclass(frozen=True)
class Membership:
    """The person's place among the members; its secret is what a double signal would reveal.

    Attributes:
        secret: k_rate, a field element of 32 bytes; not shown.
        limit: messages in an epoch.
        index: of the leaf; None until the ledger gave one.
    """

    secret: bytes = field(repr=False)
    limit: int
    index: int | None


@dataclass(frozen=True)
class Reserved:
    """A spend or purchase in the journal.

    Attributes:
        id: its name in the journal; never leaves the device.
        amount: credits.
        purpose: of a spend: ``job`` or ``exit``.
        pending: what completes it.
        time: when it was begun, seconds since the epoch.
    """

    id: str
    amount: int
    purpose: Purpose
    pending: PendingSpend = field(repr=False)
    token: CreditToken = field(repr=False)
    time: int

    @property
    def spend(self) -> bytes:
        """Return what is sent, inside the seal; again, where its answer did not come."""
        return self.pending.data


@dataclass
class State:
    """The sum of a wallet's events; `apply` is the one way it changes."""

    membership: Membership | None = None
    tokens: dict[str, CreditToken] = field(default_factory=dict)
    buying: dict[str, PendingPurchase] = field(default_factory=dict)
    spending: dict[str, Reserved] = field(default_factory=dict)
    used: dict[int, int] = field(default_factory=dict)
    history: list[Entry] = field(default_factory=list)

    def apply(self, one: dict[str, Any]) -> None:
        """Take one event into account; raises `MalformedError` for what is none."""
        fields = Fields(one, "wallet event")
        kind = fields.text("kind")
        steps = {
            "member": self._member,
            "left": self._left,
            "ids": self._ids,
            "used": self._used,
            "buying": self._buying,
            "bought": self._bought,
            "cancelled": self._cancelled,
            "token": self._token,
            "spending": self._spending,
            "unsent": self._unsent,
            "refunded": self._refunded,
            "exited": self._exited,
            "history": self._history,
        }
        if kind not in steps:
            raise MalformedError("the wallet is of a newer version of privity")
        steps[kind](fields)
        fields.done()

    def events(self) -> Iterator[dict[str, Any]]:
        """Return the fewest events that add up to this state."""
        if self.membership is not None:
            yield member_event(self.membership)
        yield event("used", epochs=[list(one) for one in sorted(self.used.items())])
        for name, purchase in self.buying.items():
            yield buying_event(name, purchase)
        for name, token in self.tokens.items():
            yield token_event("token", name, token)
        for name, reserved in self.spending.items():
            yield token_event("token", name, reserved.token)
            yield spending_event(name, reserved)
        for start in range(0, len(self.history), _MAX_PART):
            part = self.history[start : start + _MAX_PART]
            # Notes are short, but for a few: a part with long ones is written one by one.
            yield from _history_events(part)

    def size(self) -> int:
        """Return about how many events `events` gives."""
        waiting = len(self.buying) + len(self.tokens) + 2 * len(self.spending)
        return 2 + waiting + len(self.history) // _MAX_PART

    def newest(self) -> int:
        """Return the newest epoch of which an id was given, or -1."""
        return max(self.used, default=-1)

    # One method for each kind of event

    def _member(self, fields: Fields) -> None:
        self.membership = Membership(
            fields.blob("secret", most=_MAX_BLOB),
            fields.count("limit", least=1),
            fields.optional("index", fields.count),
        )

    def _left(self, _fields: Fields) -> None:
        # The ids used stay: the same secret may be registered again.
        self.membership = None

    def _ids(self, fields: Fields) -> None:
        epoch = fields.count("epoch")
        self.used[epoch] = max(fields.count("count"), self.used.get(epoch, 0))
        for old in [one for one in self.used if one <= self.newest() - EPOCHS_KEPT]:
            del self.used[old]

    def _used(self, fields: Fields) -> None:
        for item in fields.items("epochs", most=EPOCHS_KEPT):
            if (
                not isinstance(item, list)
                or len(item) != 2
                or not all(type(n) is int for n in item)
            ):
                raise MalformedError("the wallet's message ids are not pairs of numbers")
            self.used[item[0]] = item[1]

    def _buying(self, fields: Fields) -> None:
        self.buying[fields.text("id")] = PendingPurchase(
            _terms(fields),
            fields.count("amount"),
            fields.blob("secret", most=_MAX_BLOB),
            fields.blob("request", most=_MAX_BLOB),
        )

    def _bought(self, fields: Fields) -> None:
        name, time, token = fields.text("id"), fields.count("time"), _token(fields)
        self.buying.pop(name, None)
        self.tokens[name] = token
        self.history.append(Entry(name, time, "bought", token.balance, fields.object("note")))

    def _cancelled(self, fields: Fields) -> None:
        self.buying.pop(fields.text("id"), None)

    def _token(self, fields: Fields) -> None:
        self.tokens[fields.text("id")] = _token(fields)

    def _spending(self, fields: Fields) -> None:
        name, amount = fields.text("id"), fields.count("amount")
        token = self.tokens.pop(fields.text("token"), None)
        if token is None:
            raise MalformedError("the wallet spends a token it does not have")
        secret, data = fields.blob("secret", most=_MAX_BLOB), fields.blob("data", most=_MAX_BLOB)
        pending = PendingSpend(token.terms, token.balance, amount, secret, data)
        self.spending[name] = Reserved(
            name, amount, fields.text("purpose"), pending, token, fields.count("time")
        )

    def _unsent(self, fields: Fields) -> None:
        name = fields.text("id")
        self.tokens[name] = self._finished(name).token

    def _refunded(self, fields: Fields) -> None:
        name, time, token = fields.text("id"), fields.count("time"), _token(fields)
        charged = self._finished(name).pending.charged(token)
        if token.balance:
            self.tokens[name] = token
        self.history.append(Entry(name, time, "spent", charged, fields.object("note")))

    def _exited(self, fields: Fields) -> None:
        name, time = fields.text("id"), fields.count("time")
        amount = self._finished(name).amount
        self.history.append(Entry(name, time, "exited", amount, fields.object("note")))

    def _history(self, fields: Fields) -> None:
        for item in fields.items("entries", most=_MAX_PART):
            one = Fields(item, "wallet history")
            self.history.append(
                Entry(
                    one.text("id"),
                    one.count("time"),
                    one.text("kind"),
                    one.count("amount"),
                    one.object("note"),
                )
            )
            one.done()

    def _finished(self, name: str) -> Reserved:
        found = self.spending.pop(name, None)
        if found is None:
            raise MalformedError("the wallet finishes a spend it did not begin")
        return found


def event(kind: str, **values: Any) -> dict[str, Any]:
    """Return an event as the journal has it; bytes as base64url."""
    written = {
        name: encode_base64url(value) if isinstance(value, bytes) else value
        for name, value in values.items()
    }
    return {"kind": kind, **written}


def member_event(one: Membership) -> dict[str, Any]:
    """Return the event that makes a membership the wallet's."""
    return event("member", secret=one.secret, limit=one.limit, index=one.index)


def buying_event(name: str, one: PendingPurchase) -> dict[str, Any]:
    """Return the event of a purchase that waits for its answer."""
    return event(
        "buying",
        id=name,
        amount=one.amount,
        secret=one.secret,
        request=one.request,
        **_terms_json(one.terms),
    )


def token_event(kind: str, name: str, token: CreditToken, **more: Any) -> dict[str, Any]:
    """Return an event that brings a token."""
    held = {"balance": token.balance, "secret": token.secret}
    return event(kind, id=name, **held, **_terms_json(token.terms), **more)


def spending_event(name: str, one: Reserved, token: str | None = None) -> dict[str, Any]:
    """Return the event of a spend of the token named ``token``, or as the spend is."""
    return event(
        "spending",
        id=name,
        token=token or name,
        amount=one.amount,
        purpose=one.purpose,
        secret=one.pending.secret,
        data=one.pending.data,
        time=one.time,
    )


def _history_events(part: list[Entry]) -> Iterator[dict[str, Any]]:
    groups = (
        [part] if sum(len(repr(one.note)) for one in part) < 1 << 14 else [[one] for one in part]
    )
    for group in groups:
        yield event("history", entries=[one.to_json() for one in group])


def _terms_json(terms: CreditTerms) -> dict[str, Any]:
    return {"deployment": terms.deployment, "issuer": encode_base64url(terms.public)}


def _terms(fields: Fields) -> CreditTerms:
    return _known_terms(fields.text("deployment"), fields.blob("issuer", most=32))


@lru_cache(maxsize=64)
def _known_terms(deployment: str, public: bytes) -> CreditTerms:
    return CreditTerms(deployment, public)


def _token(fields: Fields) -> CreditToken:
    # Not `CreditToken.load`: what is in the journal was verified before it was written, and a
    # wallet is opened for each request.
    terms, balance = _terms(fields), fields.count("balance", most=MAX_CREDITS)
    return CreditToken(terms, balance, fields.blob("secret", most=_MAX_BLOB))
