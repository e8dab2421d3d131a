"""What may be spent and what was: reservations, days and months, several processes, damage."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from privity.errors import InputError, PolicyRefusal
from privity.home import home
from privity.infer.budget import Allowance, Budget, Spending, Spent, amount, rate
from privity.infer.catalogue import Price

NOON = 1_795_176_000.0  # 2026-11-20 12:00 UTC
DAY = 86_400.0
DAILY = Budget("USD", per_day=1_000_000)


def at(seconds: float) -> Callable[[], float]:
    return lambda: seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spending.json"


def test_the_worst_case_is_set_aside_and_the_real_cost_settled(path: Path) -> None:
    spending = Spending(DAILY, path=path, clock=at(NOON))
    made = spending.reserve(600_000, "USD")
    assert spending.allowance() == Allowance("USD", 400_000, "day")
    with pytest.raises(PolicyRefusal, match=r"may cost 0.50 USD.*leaves 0.40 USD"):
        spending.reserve(500_000, "USD")
    spending.settle(made, 100_000)
    assert spending.allowance() == Allowance("USD", 900_000, "day")
    spending.settle(made, 0)  # a second time does nothing
    assert spending.spent() == (Spent("USD", 100_000, 100_000),)


def test_what_cost_more_than_was_set_aside_counts_as_it_was(path: Path) -> None:
    spending = Spending(DAILY, path=path, clock=at(NOON))
    spending.settle(spending.reserve(10, "USD"), 1_500_000)
    assert spending.allowance() == Allowance("USD", -500_000, "day")
    with pytest.raises(PolicyRefusal, match=r"leaves 0\.00 USD"):
        spending.reserve(1, "USD")
    spending.reserve(0, "USD")  # what is free stays allowed


def test_an_absurd_cost_does_not_damage_the_file(path: Path) -> None:
    spending = Spending(DAILY, path=path, clock=at(NOON))
    spending.settle(spending.reserve(10, "USD"), 10**5000)
    left = spending.allowance()
    assert left is not None and left.micro < 0


def test_days_and_months_are_those_of_utc(path: Path) -> None:
    budget = Budget("USD", per_day=100, per_month=150)
    Spending(budget, path=path, clock=at(NOON)).reserve(100, "USD")
    tomorrow = Spending(budget, path=path, clock=at(NOON + DAY))
    assert tomorrow.allowance() == Allowance("USD", 50, "month")
    tomorrow.reserve(50, "USD")
    next_month = Spending(budget, path=path, clock=at(NOON + 20 * DAY))
    assert next_month.allowance() == Allowance("USD", 100, "day")
    assert next_month.spent() == (Spent("USD", 0, 0),)


def test_what_was_set_aside_is_settled_on_its_own_day(path: Path) -> None:
    now = [NOON]
    spending = Spending(DAILY, path=path, clock=lambda: now[0])
    made = spending.reserve(700_000, "USD")
    now[0] += DAY
    spending.settle(made, 100_000)
    assert spending.spent() == (Spent("USD", 0, 100_000),)


def test_a_limit_for_one_request(path: Path) -> None:
    spending = Spending(Budget("USD", per_request=5), path=path, clock=at(NOON))
    for _ in range(3):
        spending.reserve(5, "USD")
    with pytest.raises(PolicyRefusal, match="per request"):
        spending.reserve(6, "USD")


def test_another_currency_is_not_added_up(path: Path) -> None:
    spending = Spending(DAILY, path=path, clock=at(NOON))
    with pytest.raises(PolicyRefusal, match="priced in EUR, and the budget is in USD"):
        spending.reserve(1, "EUR")
    free = Spending(None, path=path, clock=at(NOON))
    free.reserve(7, "EUR")
    free.reserve(3, "USD")
    assert free.allowance() is None
    assert free.spent() == (Spent("EUR", 7, 7), Spent("USD", 3, 3))


def test_the_file_is_private_and_of_the_home() -> None:
    spending = Spending(DAILY, clock=at(NOON))
    spending.reserve(5, "USD")
    for name in ("spending.json", "spending.lock"):
        assert stat.S_IMODE((home() / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"spent": {}, "unit": "cents"}',
        b'{"spent": {"USD": {"2026-11-20": -5}}, "unit": "millionths"}',
        b'{"spent": {"USD": {"2026-11-20": 0.5}}, "unit": "millionths"}',
        b'{"spent": {"USD": {"20261120": 5}}, "unit": "millionths"}',
        b'{"spent": {"USD": {"today": 5}}, "unit": "millionths"}',
        b'{"spent": {"usd": {}}, "unit": "millionths"}',
        b'{"spent": {"USD": []}, "unit": "millionths"}',
        b'{"spent": {"USD": {"2026-11-20": ' + b"9" * 5000 + b'}}, "unit": "millionths"}',
    ],
)
def test_a_damaged_file_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    spending = Spending(DAILY, path=path, clock=at(NOON))
    for act in (spending.allowance, spending.spent, lambda: spending.reserve(1, "USD")):
        with pytest.raises(InputError, match="damaged"):
            act()
    assert path.read_bytes() == data


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        Spending(DAILY, path=tmp_path / "file" / "spending.json").reserve(1, "USD")
    (tmp_path / "spending.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"spending\.lock"):
        Spending(DAILY, path=tmp_path / "spending.json").reserve(1, "USD")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_is_held_is_not_waited_for_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr("privity.infer.budget._LOCK_S", 0.05)
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process holds"):
            Spending(DAILY, path=path).reserve(1, "USD")
    finally:
        os.close(fd)


def test_old_days_are_forgotten(path: Path) -> None:
    now = [NOON]
    spending = Spending(None, path=path, clock=lambda: now[0])
    for _ in range(405):
        spending.reserve(1, "USD")
        now[0] += DAY
    assert len(json.loads(path.read_bytes())["spent"]["USD"]) == 400


SPENDER = """
import sys, time
from pathlib import Path
from privity.errors import PolicyRefusal
from privity.infer.budget import Budget, Spending
spending = Spending(Budget("USD", per_month=100), path=Path(sys.argv[1]))
bought = 0
for _ in range(int(sys.argv[2])):
    try:
        spending.reserve(3, "USD")
        bought += 1
    except PolicyRefusal:
        pass
print(bought, flush=True)
if sys.argv[3:]:
    time.sleep(60)
"""


def test_processes_at_once_stay_within_the_budget_together(path: Path) -> None:
    command = [sys.executable, "-c", SPENDER, str(path), "20"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    bought = sum(int(one.communicate(timeout=120)[0]) for one in running)
    assert bought == 33  # of 60 that were asked for, 3 each, under 100
    assert Spending(Budget("USD", per_month=100), path=path).allowance() == Allowance(
        "USD", 1, "month"
    )


def test_threads_at_once_stay_within_the_budget_together(path: Path) -> None:
    spending = Spending(Budget("USD", per_day=10), path=path, clock=at(NOON))
    bought: list[int] = []

    def spend() -> None:
        for _ in range(5):
            try:
                spending.reserve(1, "USD")
                bought.append(1)
            except PolicyRefusal:
                pass

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bought) == 10


def test_what_a_killed_process_had_set_aside_counts_in_full(path: Path) -> None:
    command = [sys.executable, "-c", SPENDER, str(path), "10", "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"10\n"
        process.send_signal(signal.SIGKILL)
    left = Spending(Budget("USD", per_month=100), path=path).allowance()
    assert left == Allowance("USD", 70, "month")


def test_prices_are_whole_numbers_rounded_up() -> None:
    price = rate(Price("USD", 0.1, 2.5))
    assert price is not None and (price.prompt, price.completion) == (100_000, 2_500_000)
    assert price.cost(1_000_000, 0) == 100_000  # a tenth, not a millionth more
    assert price.cost(1, 0) == 1
    assert price.cost(0, 0) == 0
    assert amount(1_250_000, "USD") == "1.25 USD"
    assert amount(1, "USD") == "0.000001 USD"
    assert amount(-500_000, "EUR") == "-0.50 EUR"


@pytest.mark.parametrize(
    "given",
    [{"currency": "usd"}, {"currency": "USD", "per_day": -1}, {"currency": "", "per_day": 1}],
)
def test_a_budget_that_is_none_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Budget(**given)  # type: ignore[arg-type]


def test_an_amount_that_is_none_is_refused(path: Path) -> None:
    spending = Spending(None, path=path)
    for cost, currency in ((-1, "USD"), (1, "usd")):
        with pytest.raises(InputError):
            spending.reserve(cost, currency)
    with pytest.raises(InputError):
        spending.settle(spending.reserve(1, "USD"), -1)
