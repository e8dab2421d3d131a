"""What may be spent: the worst case is set aside before a request is sent, and settled after.

Amounts are whole millionths of a currency's unit, so that no sum depends on rounding. What was
set aside and never settled, because the process died, counts in full.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from privity.errors import InputError, PolicyRefusal
from privity.home import home, read_file, write_private
from privity.infer.catalogue import Price

__all__ = ["Allowance", "Budget", "Rate", "Reservation", "Spending", "Spent", "amount", "rate"]

MICRO = 1_000_000
CURRENCY = re.compile(r"[A-Z]{3}")
_MOST = 10**15
_MOST_KEPT = 10**18  # what a provider that reports absurd numbers can make of a day
_MAX_BYTES = 1 << 20
_KEPT_DAYS = 400
_MOST_CURRENCIES = 32
_LOCK_S = 10.0
_PAUSE_S = 0.005
_WINDOWS = ("request", "day", "month")


@dataclass(frozen=True)
class Budget:
    """The most a person spends with providers, in millionths of the currency's unit.

    Attributes:
        currency: three capital letters; what is asked in another currency cannot be afforded.
        per_request: for one request, None for no such limit.
        per_day: for one day of UTC.
        per_month: for one month of UTC.

    Raises:
        InputError: a currency or an amount that is none.
    """

    currency: str
    per_request: int | None = None
    per_day: int | None = None
    per_month: int | None = None

    def __post_init__(self) -> None:
        if not CURRENCY.fullmatch(self.currency):
            raise InputError('budget.currency must be three capital letters, such as "USD"')
        for window in _WINDOWS:
            limit = self.limit(window)
            if limit is not None and not 0 <= limit <= _MOST:
                raise InputError(f"budget.per_{window} must be 0 to {_MOST // MICRO}")

    def limit(self, window: str) -> int | None:
        """Return the limit for a ``request``, a ``day`` or a ``month``."""
        limit: int | None = getattr(self, f"per_{window}")
        return limit


@dataclass(frozen=True)
class Allowance:
    """The most one request may cost now.

    Attributes:
        currency: in which.
        micro: the amount; below 0 where more was spent than allowed.
        window: the limit that is nearest: ``request``, ``day`` or ``month``.
    """

    currency: str
    micro: int
    window: str


@dataclass(frozen=True)
class Rate:
    """A price in whole numbers: millionths of a millionth of the currency's unit per token.

    Attributes:
        currency: in which.
        prompt: for each token that is sent.
        completion: for each token that is answered.
    """

    currency: str
    prompt: int
    completion: int

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return what so many tokens cost, in millionths, rounded up."""
        return -(-(prompt_tokens * self.prompt + completion_tokens * self.completion) // MICRO)


@lru_cache(maxsize=4096)
def rate(price: Price) -> Rate | None:
    """Return a price in whole numbers, rounded up; None where it is no price at all.

    Guarantees:
        A price that is negative, infinite or not a number is none
        (tests/adversary/test_router.py::test_an_impossible_price_is_never_chosen).
    """
    parts = (price.prompt, price.completion)
    if not CURRENCY.fullmatch(price.currency):
        return None
    if any(not math.isfinite(part) or not 0 <= part <= _MOST for part in parts):
        return None
    # By way of the shortest text: 0.1 is a tenth, not the binary fraction just above it.
    whole = [int((Decimal(repr(part)) * MICRO).to_integral_value(ROUND_CEILING)) for part in parts]
    return Rate(price.currency, *whole)


def amount(micro: int, currency: str) -> str:
    """Return an amount for people, such as ``0.012345 USD``; never rounded."""
    sign, (units, rest) = "-" * (micro < 0), divmod(abs(micro), MICRO)
    text = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{units}.{text} {currency}"


@dataclass(frozen=True)
class Reservation:
    """An amount that was set aside; `Spending.settle` takes it once.

    Attributes:
        day: the day of UTC it counts on.
        currency: in which.
        micro: how much.
        id: tells two that are alike apart.
    """

    day: str
    currency: str
    micro: int
    id: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class Spent:
    """What was spent in one currency, what is set aside included, in millionths.

    Attributes:
        currency: in which.
        day: in this day of UTC.
        month: in this month of UTC.
    """

    currency: str
    day: int
    month: int


class Spending:
    """What was spent, kept in ``spending.json`` of the privity home, for all processes together.

    Its methods read and write a file, and wait for each other's: call them in a worker thread.

    Args:
        budget: the limits; None for none, and what is spent is recorded all the same.
        path: the file; None for the one in the privity home.
        clock: seconds since 1970.

    Guarantees:
        Several processes at once never spend more than the budget together
        (tests/unit/test_budget.py::test_processes_at_once_stay_within_the_budget_together).
        What a process that was killed had set aside counts in full
        (tests/unit/test_budget.py::test_what_a_killed_process_had_set_aside_counts_in_full).
        A damaged file is an error, never an empty one
        (tests/unit/test_budget.py::test_a_damaged_file_is_refused).
    """

    def __init__(
        self,
        budget: Budget | None,
        *,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.budget = budget
        self._path = path or home() / "spending.json"
        self._clock = clock
        self._open: set[str] = set()

    def allowance(self) -> Allowance | None:
        """Return the most one request may cost now; None where there is no budget.

        Raises:
            InputError: the file cannot be read, or is damaged.
        """
        return None if self.budget is None else self._allowance(self._read())

    def reserve(self, cost: int, currency: str) -> Reservation:
        """Set aside the most a request can cost, before it is sent.

        Args:
            cost: in millionths; 0 for what is free.
            currency: in which.

        Raises:
            PolicyRefusal: it is more than is left; nothing was set aside.
            InputError: the file cannot be used.
        """
        if cost < 0 or not CURRENCY.fullmatch(currency):
            raise InputError("an amount to set aside is 0 or more, in a currency such as USD")
        with self._locked():
            spent = self._read()
            left = None if self.budget is None else self._allowance(spent)
            if left is not None and cost > 0:
                self._check(left, cost, currency)
            made = Reservation(self._today(), currency, cost)
            self._add(spent, made, cost)
            self._open.add(made.id)
        return made

    def settle(self, reservation: Reservation, cost: int) -> None:
        """Put what a request did cost in place of what was set aside; a second time does nothing.

        Args:
            reservation: from `reserve` of this very object.
            cost: in millionths; 0 where nothing was sent.

        Raises:
            InputError: the file cannot be used; what was set aside then counts in full.
        """
        if cost < 0:
            raise InputError("what a request cost is 0 or more")
        with self._locked():
            if reservation.id not in self._open:
                return
            self._add(self._read(), reservation, cost - reservation.micro)
            self._open.discard(reservation.id)

    def spent(self) -> tuple[Spent, ...]:
        """Return what was spent today and this month, by currency.

        Raises:
            InputError: the file cannot be read, or is damaged.
        """
        today, read = self._today(), self._read()
        return tuple(
            Spent(currency, days.get(today, 0), _month(days, today))
            for currency, days in sorted(read.items())
        )

    def _allowance(self, spent: dict[str, dict[str, int]]) -> Allowance:
        if self.budget is None:
            raise InputError("there is no budget")
        days, today = spent.get(self.budget.currency, {}), self._today()
        used = {"request": 0, "day": days.get(today, 0), "month": _month(days, today)}
        left = [
            (limit - used[window], window)
            for window in _WINDOWS
            if (limit := self.budget.limit(window)) is not None
        ]
        micro, window = min(left, default=(_MOST, "request"))
        return Allowance(self.budget.currency, micro, window)

    def _check(self, left: Allowance, cost: int, currency: str) -> None:
        if currency != left.currency:
            why = f"it is priced in {currency}, and the budget is in {left.currency}"
        elif cost > left.micro:
            why = (
                f"it may cost {amount(cost, currency)}, and the budget per {left.window} "
                f"leaves {amount(max(left.micro, 0), currency)}"
            )
        else:
            return
        raise PolicyRefusal(
            f"the budget refuses the request: {why}",
            report={"budget": left.window, "cost": cost, "currency": currency, "left": left.micro},
            hint="[routing] budget in config.toml says what may be spent; "
            "a smaller max_tokens costs less",
        )

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).date().isoformat()

    def _add(self, spent: dict[str, dict[str, int]], to: Reservation, change: int) -> None:
        if not change:
            return
        days = spent.setdefault(to.currency, {})
        days[to.day] = min(max(0, days.get(to.day, 0) + change), _MOST_KEPT)
        for old in sorted(days)[:-_KEPT_DAYS]:
            del days[old]
        data = json.dumps({"spent": spent, "unit": "millionths"}, indent=1, sort_keys=True)
        try:
            write_private(self._path, data.encode())
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from error

    def _read(self) -> dict[str, dict[str, int]]:
        data = read_file(self._path, most=_MAX_BYTES, what="the record of spending", absent=b"")
        if not data:
            if self._path.exists():
                raise self._damaged()
            return {}
        try:
            return _parsed(json.loads(data))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._damaged() from None

    def _damaged(self) -> InputError:
        return InputError(
            f"{self._path} is damaged; what was spent is not known",
            hint="delete it to count from nothing",
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold a lock that other processes and threads respect, and that goes with this one."""
        path = self._path.with_suffix(".lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise InputError(f"cannot open {path}: {error.strerror}") from error
        try:
            _lock(fd, path)
            yield
        finally:
            os.close(fd)  # and the lock with it


def _lock(fd: int, path: Path) -> None:
    """Take the lock, or give up: a process that hangs with it must not hang every other."""
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise InputError(f"another process holds {path} for {_LOCK_S:g} s") from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            raise InputError(f"cannot lock {path}: {error.strerror}") from error
        else:
            return


def _month(days: dict[str, int], today: str) -> int:
    return sum(micro for day, micro in days.items() if day[:7] == today[:7])


def _parsed(data: Any) -> dict[str, dict[str, int]]:
    """Return what was spent by currency and day; raise ValueError, TypeError or KeyError."""
    if set(data) != {"spent", "unit"} or data["unit"] != "millionths":
        raise ValueError("not a record of spending")
    spent = data["spent"]
    if not isinstance(spent, dict) or len(spent) > _MOST_CURRENCIES:
        raise TypeError("not a table of currencies")
    for currency, days in spent.items():
        if not CURRENCY.fullmatch(currency) or not isinstance(days, dict):
            raise ValueError("not a table of days")
        for day, micro in days.items():
            if date.fromisoformat(day).isoformat() != day:
                raise ValueError("not a day")
            if type(micro) is not int or not 0 <= micro <= _MOST_KEPT:
                raise ValueError("not an amount")
    return spent
