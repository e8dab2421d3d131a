"""The operator's income: each spend taken out once, however it breaks off."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from privity.anon.stores import Fresh, Store, open_store
from privity.cli.app import run
from privity.errors import InputError
from privity.ledger.client import Ledger
from privity.ledger.credits import BATCH
from privity.node.withdrawals import (
    Watermark,
    WithdrawalRecord,
    store_name,
    waiting,
    withdraw_spent,
)

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process ends here."""


class Chain:
    """The ledger as far as withdrawals go: what is sent may be mined after its sender died.

    Attributes:
        deadly: the step at which the process is killed; None for none.
    """

    def __init__(self) -> None:
        self.used_up: dict[bytes, int] = {}
        self.journal: dict[bytes, list[tuple[bytes, int]]] = {}
        self.under_way: list[bytes] = []
        self.steps, self.deadly = 0, cast("int | None", None)
        self.sender = self.credits = self

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.deadly:
            raise Killed

    async def begun(self, intent: str) -> bool:
        return bytes.fromhex(intent.removeprefix("withdraw:")) in self.journal

    async def used(self, nullifier: bytes) -> bool:
        return nullifier in self.used_up

    async def withdraw_spent(self, digest: bytes, spent: list[tuple[bytes, int]]) -> None:
        assert 0 < len(spent) <= BATCH
        self.step()
        if digest not in self.journal:
            self.journal[digest] = list(spent)
            self.step()
            self.under_way.append(digest)
            self.step()
        self.mine()
        self.step()

    def mine(self) -> None:
        """Run what was sent, in order, as the contract would."""
        for digest in self.under_way:
            for nullifier, amount in self.journal[digest]:
                if nullifier in self.used_up:
                    raise InputError("the contract Credits refused withdrawSpent: nullifier used")
                self.used_up[nullifier] = amount
        # What is only in the journal is sent again by whoever opens it next.
        unsent = [one for one in self.journal if self.journal[one][0][0] not in self.used_up]
        self.under_way = unsent
        if unsent:
            self.mine()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:{tmp_path / 'spent.db'}") as opened:
        yield opened


@pytest.fixture
def record(tmp_path: Path) -> WithdrawalRecord:
    return WithdrawalRecord(tmp_path / "payments.withdrawn", "a ledger")


async def serve(store: Store, first: int, count: int, charged: int = 3) -> None:
    """Have jobs settled."""
    for number in range(first, first + count):
        name = hashlib.sha256(str(number).encode()).digest()
        assert await store.begin(name, name, 7, lease_s=9, now=0) == Fresh()
        await store.settle(name, name, b"refund", charged)


async def withdraw(chain: Chain, store: Store, record: WithdrawalRecord, **more: bool) -> Any:
    return await withdraw_spent(cast("Ledger", chain), store, record, **more)


async def test_what_jobs_cost_is_taken_out_once(store: Store, record: WithdrawalRecord) -> None:
    chain = Chain()
    await serve(store, 0, BATCH + 5)
    await serve(store, 1000, 1, charged=0)
    assert (await waiting(store, record.read())).credits == 3 * (BATCH + 5)
    first = await withdraw(chain, store, record)
    assert (first.spends, first.credits) == (BATCH + 5, 3 * (BATCH + 5))
    assert len(chain.journal) == 2
    assert (await waiting(store, record.read())).credits == 0
    for again in (False, True):
        later = await withdraw(chain, store, record, again=again)
        assert (later.spends, sum(chain.used_up.values())) == (0, first.credits)


async def test_the_ledger_does_not_show_in_which_order_jobs_were_served(
    store: Store, record: WithdrawalRecord
) -> None:
    chain = Chain()
    await serve(store, 0, 20)
    await withdraw(chain, store, record)
    ((_, spent),) = chain.journal.items()
    assert [one[0] for one in spent] == sorted(one[0] for one in spent)
    served = [hashlib.sha256(str(number).encode()).digest() for number in range(20)]
    assert sorted(served) == [one[0] for one in spent] != served


@pytest.mark.parametrize("grown", [0, 2])
async def test_a_crash_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grown: int
) -> None:
    write = WithdrawalRecord.write
    deadly, killed = 0, True
    while killed:
        deadly, killed, chain = deadly + 1, False, Chain()
        chain.deadly = deadly

        def written(self: WithdrawalRecord, mark: Watermark, chain: Chain = chain) -> None:
            chain.step()
            write(self, mark)
            chain.step()

        monkeypatch.setattr(WithdrawalRecord, "write", written)
        record = WithdrawalRecord(tmp_path / f"{deadly}.withdrawn", "a ledger")
        async with open_store(f"sqlite:{tmp_path / f'{deadly}.db'}") as store:
            await serve(store, 0, 3)
            try:
                await withdraw(chain, store, record)
            except Killed:
                killed = True
            await serve(store, 100, grown)  # more is charged before it is run again
            chain.deadly = None
            await withdraw(chain, store, record)
            await withdraw(chain, store, record)
        assert chain.used_up and sum(chain.used_up.values()) == 3 * (3 + grown)
    assert deadly > 8


async def test_a_record_of_another_ledger_or_store_is_as_none(
    store: Store, record: WithdrawalRecord, tmp_path: Path
) -> None:
    await serve(store, 0, 2)
    await withdraw(Chain(), store, record)
    other = WithdrawalRecord(tmp_path / "payments.withdrawn", "another ledger")
    assert other.read() == Watermark() != record.read()
    chain = Chain()
    assert (await withdraw(chain, store, other)).credits == sum(chain.used_up.values()) == 6


async def test_two_at_once_are_one(store: Store, record: WithdrawalRecord) -> None:
    with record.held(), pytest.raises(InputError, match="another process"):
        await withdraw(Chain(), store, record)


@pytest.mark.parametrize("text", ["{", "[]", '{"form": "other"}', '{"batch": 300}'])
def test_a_damaged_record_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "payments.withdrawn"
    path.write_text(text)
    with pytest.raises(InputError, match="damaged"):
        WithdrawalRecord(path, "a ledger").read()


def test_the_name_of_a_store_has_no_password() -> None:
    assert store_name("postgresql://me:secret@host:5432/db?x=1") == "postgresql:host:5432/db"
    assert store_name("sqlite:/data/spent.db") == "sqlite:/data/spent.db"


@pytest.mark.parametrize("command", ["withdraw", "status", "activate-key"])
def test_the_commands_need_the_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["operator", command, "--payments", "absent.toml"]) == 2
    assert "absent.toml" in capsys.readouterr().err
