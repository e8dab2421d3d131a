"""What `privity wallet` says and asks; the teller behind it is a script."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fake_spends import issuer
from native import needs_kernel
from privity.cli import doctor, output, wallet
from privity.cli.app import run
from privity.cli.in_use import telling_in_use
from privity.hazmat import native
from privity.infer import config
from privity.infer.anonymous import opening
from privity.infer.anonymous.purse import SharedWallet, person_wallet
from privity.infer.anonymous.staking import Stake
from privity.infer.anonymous.teller import Recovered
from privity.ledger.addresses import Addresses
from privity.ledger.wire import Address

Output = pytest.CaptureFixture[str]
STAKE = Stake(16_000, 86_400)


def job(age_s: int = 100) -> Any:
    """Return a spend whose answer has not come."""
    pending = SimpleNamespace(before=924)
    return SimpleNamespace(purpose="job", pending=pending, time=int(time.time()) - age_s)


@dataclass
class Script:
    """A teller that notes what it was asked for."""

    staked: Stake = STAKE
    early: bool = False
    refused: int = 0
    found: Recovered | None = None
    waiting: list[Any] = field(default_factory=lambda: [job()])
    did: list[str] = field(default_factory=list)
    opened: dict[str, Any] = field(default_factory=dict)
    told: Callable[[str], None] = print

    account = "0x" + "22" * 20

    async def prepare(self, limit: int, amount: int | None) -> None:
        self.did.append(f"prepare {limit} {amount}")

    async def join(self, limit: int) -> None:
        self.did.append(f"join {limit}")

    async def top_up(self, amount: int | None) -> int:
        self.did.append(f"top-up {amount}")
        return 100

    async def funds(self) -> int:
        return 70

    async def fees(self) -> int:
        return 9

    async def stake_per_message(self) -> int:
        return 1000

    async def recover(self) -> Recovered:
        self.told("waiting 3 s")
        return self.found or Recovered(2, 5, 1, self.refused, 3)

    async def stake(self) -> Stake:
        return self.staked

    async def exit(self, to: str | None) -> int:
        self.did.append("exit")
        return 70

    async def leave_or_collect(self) -> Stake:
        self.did.append("leave")
        if self.staked.at is None:
            return replace(self.staked, at=1_800_000_000)
        return replace(self.staked, returned=not self.early)


@pytest.fixture
def teller(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()

    @asynccontextmanager
    async def opened(policy: str | None, *, told: Any, between_s: float) -> AsyncIterator[Script]:
        script.opened = {"policy": policy, "between_s": between_s}
        script.told = told
        yield script

    monkeypatch.setattr(opening, "open_teller", opened)
    state = SimpleNamespace(unfinished=lambda: script.waiting, balance=100)
    monkeypatch.setattr(wallet, "_shared", lambda: SimpleNamespace(read=lambda: state))
    return script


def test_how_far_apart_spends_are_asked_for_is_an_option(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "recover", "--wait", "4", "--policy", "dev"]) == 0
    said = capsys.readouterr()
    assert teller.opened == {"policy": "dev", "between_s": 4.0}
    assert said.out == (
        "2 spends settled, for 5 credits in all; the rest is back in your wallet\n"
        "1 spend still being answered: again later\n"
    )
    assert "waiting 3 s" in said.err
    assert "3 of the last 5 min were left" in said.err
    assert "`privity wallet recover --policy dev` again" in said.err
    assert run(["wallet", "recover", "--json"]) == 0
    said = capsys.readouterr()
    assert teller.opened["between_s"] == 30 and not said.err
    assert json.loads(said.out) == {"spends": 2, "cost": 5, "running": 1, "refused": 0, "young": 3}


def test_one_spend_is_told_in_the_singular(teller: Script, capsys: Output) -> None:
    teller.found = Recovered(1, 1, 0, 1, 1)
    assert run(["wallet", "recover"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("1 spend settled, for 1 credit in all")
    assert "1 of the last 5 min was left, as its job may be" in said.err
    assert "refused 1: it stays in your wallet" in said.err


def test_where_nothing_waits_it_is_said_in_words(teller: Script, capsys: Output) -> None:
    teller.found = Recovered(0, 0, 0)
    assert run(["wallet", "recover"]) == 0
    assert (
        capsys.readouterr().out == "no spend waits for its answer: there is nothing to get back\n"
    )
    teller.found = Recovered(0, 0, 0, 0, 2)
    assert run(["wallet", "recover"]) == 0
    said = capsys.readouterr()
    assert not said.out and "2 of the last 5 min were left" in said.err


def test_who_takes_credits_out_is_told_what_is_in_use(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "exit", "--policy", "dev"]) == 0
    said = capsys.readouterr()
    assert "in use    924" in said.out
    assert (
        "924 credits stay in use, in 1 spend without an answer: in 4 min `privity wallet recover "
        "--policy dev` gets back what was not used; `privity wallet exit --policy dev` pays that"
    ) in said.err
    teller.waiting = [job(1000), job(1000)]
    assert run(["wallet", "exit"]) == 0
    said = capsys.readouterr()
    assert "1848 credits stay in use, in 2 spends without an answer: `privity" in said.err
    teller.waiting = []
    assert run(["wallet", "exit"]) == 0
    said = capsys.readouterr()
    assert said.out == "paid out  70\n" and "in use" not in said.err


def test_ctrl_c_tells_what_stays_in_use(
    teller: Script, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "load_config", lambda: SimpleNamespace(network="a ledger"))
    monkeypatch.setattr(opening, "configured_wallet", wallet._shared)

    def interrupted(*, quiet: bool) -> str:
        with pytest.raises(KeyboardInterrupt), telling_in_use("dev", quiet=quiet):
            raise KeyboardInterrupt
        return capsys.readouterr().err

    assert not interrupted(quiet=False), "an answer of before is none of this command's"
    teller.waiting = [job(-1)]
    assert "924 credits stay in use" in interrupted(quiet=False)
    assert not interrupted(quiet=True)
    monkeypatch.setattr(config, "load_config", lambda: SimpleNamespace(network=None))
    assert not interrupted(quiet=False)


def test_what_a_desk_refuses_is_told(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "recover"]) == 0
    assert "refused 2" not in capsys.readouterr().err
    teller.refused = 2
    assert run(["wallet", "recover"]) == 0
    assert "desk refused 2: they stay in your wallet" in capsys.readouterr().err


def test_all_is_checked_before_anything_is_staked_or_paid(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "top-up", "--limit", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bought": 100, "credits": 100}
    assert teller.did == ["prepare 8 None", "join 8", "top-up None"]


def test_an_account_shows_what_pays_stake_and_fees(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "account", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "address": teller.account,
        "tokens": "70",
        "wei_for_fees": "9",
        "stake_per_message": "1000",
    }


def test_who_leaves_is_asked_first_and_told_what_comes_back(
    teller: Script, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr(output, "confirm", confirm)
    assert run(["wallet", "exit", "--leave"]) == 1
    assert teller.did == [] and "nothing was done" in capsys.readouterr().err
    assert "16000" in asked[0] and "Z" in asked[0]
    assert run(["wallet", "exit", "--leave", "--policy", "my own.toml"]) == 0
    said = capsys.readouterr()
    assert "`privity wallet exit --leave --policy 'my own.toml'` takes" in said.err
    assert teller.did == ["exit", "leave"]
    assert "`privity wallet recover --policy 'my own.toml'` first" in said.err  # a spend waits
    assert "16000" in said.out and "2027-01-15T08:00:00Z" in said.out


def test_leaving_without_a_terminal_needs_yes(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "exit", "--leave", "--json"]) == 2
    assert "--yes" in json.loads(capsys.readouterr().out)["error"]["hint"] and not teller.did
    assert run(["wallet", "exit", "--leave", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "paid_out": 70,
        "in_use": 924,
        "stake": 16_000,
        "stake_back": False,
        "stake_from": "2027-01-15T08:00:00Z",
    }


def test_a_stake_that_was_asked_for_is_taken_without_asking(teller: Script, capsys: Output) -> None:
    teller.staked = replace(teller.staked, at=1)
    assert run(["wallet", "exit", "--leave", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["stake"], said["stake_back"], said["stake_from"]) == (16_000, True, None)


def test_a_stake_that_is_taken_too_early_fails_and_says_from_when(
    teller: Script, capsys: Output
) -> None:
    teller.staked, teller.early = replace(teller.staked, at=1_800_000_000), True
    assert run(["wallet", "exit", "--leave", "--policy", "dev"]) == output.FAILURE
    said = capsys.readouterr().err
    assert "not before its time: from 2027-01-15T08:00:00Z on" in said
    assert "`privity wallet exit --leave --policy dev` takes the stake" in said
    assert run(["wallet", "exit", "--leave", "--json"]) == output.FAILURE
    found = json.loads(capsys.readouterr().out)
    assert (found["stake_back"], found["stake_from"]) == (False, "2027-01-15T08:00:00Z")


def test_a_payout_alone_needs_no_yes(teller: Script, capsys: Output) -> None:
    assert run(["wallet", "exit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"paid_out": 70, "in_use": 924}
    assert teller.did == ["exit"]


def test_a_time_that_is_none_is_no_crash(teller: Script, capsys: Output) -> None:
    teller.staked = replace(teller.staked, delay_s=2**255)
    assert run(["wallet", "exit", "--leave"]) == 1
    assert "time" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))


@pytest.mark.parametrize("registered", [False, True])
def test_who_began_to_register_is_told_so_and_is_no_member_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, registered: bool
) -> None:
    """The secret is kept before the ledger is asked; what broke off between is no membership."""
    mine = SharedWallet(tmp_path, b"\7" * 32)
    with mine.turn() as opened:
        opened.join(b"\2" * 32, 16)
        if registered:
            opened.joined(3)
    monkeypatch.setattr(wallet, "_shared", lambda: mine)
    monkeypatch.setattr(wallet, "_elsewhere", dict)
    assert run(["wallet", "balance"]) == 0
    said = capsys.readouterr().out
    assert ("yes, 16 messages a minute" in said) is registered
    assert ("`privity wallet top-up` goes on with it" in said) is not registered
    assert run(["wallet", "balance", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["member"] == ({"limit": 16, "index": 3} if registered else None)
    assert facts["registering"] is not registered

    monkeypatch.setattr(opening, "configured_wallet", lambda: mine)
    monkeypatch.setattr(config, "load_config", lambda: SimpleNamespace(network="a ledger"))
    monkeypatch.setattr(native, "have_native", lambda *names: True)
    found = next(doctor._anonymity())
    assert found.state is (doctor.State.GOOD if registered else doctor.State.NOTE)
    assert found.detail.startswith("a member" if registered else "registering as a member broke")


@needs_kernel("Act")
def test_credits_of_another_network_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def configure(digit: str) -> str:
        at = Address("0x" + digit * 40)
        addresses = Addresses(1, 0, at, at, at, at)
        (tmp_path / "contracts.json").write_bytes(addresses.to_bytes())
        return addresses.deployment

    lines = '[anonymous]\nledger = "http://127.0.0.1:1"\ncontracts = "contracts.json"\n'
    (tmp_path / "config.toml").write_text(lines)
    before = configure("2")
    bank = issuer(before)
    with person_wallet(before).turn(bank.terms) as opened:
        name, request = opened.buy(1000)
        opened.bought(name, bank.issue(request, 1000))
        opened.spend(10)
    (tmp_path / "wallet" / "odd").mkdir()
    (tmp_path / "wallet" / "odd" / "wallet.journal").write_text(
        "x"
    )  # what cannot be read hides nothing else
    assert run(["wallet", "balance"]) == 0
    assert "other networks" not in capsys.readouterr().err
    configure("3")
    assert run(["wallet", "balance"]) == 0
    assert f"wallets of other networks have 1000 credits: {before};" in capsys.readouterr().err
    assert run(["wallet", "balance", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["credits"], facts["elsewhere"]) == (0, {before: 1000})
