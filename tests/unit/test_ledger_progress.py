"""Commands that wait for a transaction say so on stderr, and nothing where JSON was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from native import needs_kernel
from privity.cli.app import run
from privity.ledger import client
from privity.ledger.accounts import load_or_create_account
from privity.ledger.addresses import Addresses
from privity.ledger.sending import Limits
from privity.ledger.wire import Address
from privity.node import payments as paid_service
from scripted_node import CHAIN, ScriptedNode

Output = pytest.CaptureFixture[str]
WAITS = "sent, not mined yet\n"
SOMEBODY = "0x" + "22" * 20


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedNode:
    """Return the node that every ledger of a command asks."""
    monkeypatch.setenv("PRIVITY_HOME", str(tmp_path))
    scripted = ScriptedNode()
    scripted.answers["eth_call"] = lambda *_: "0x" + "00" * 32
    asking = partial(client.Ledger, transport=scripted.transport, limits=Limits(poll_s=0))
    for module in (client, paid_service):
        monkeypatch.setattr(module, "Ledger", asking)
    return scripted


@pytest.fixture
def mine_late(node: ScriptedNode) -> Callable[[], None]:
    """Return what has the node find the next receipt after more looks than nobody notices."""

    def late() -> None:
        looks = iter(range(1000))

        def receipt(hash_: str) -> Any:
            return node.eth_getTransactionReceipt(hash_) if next(looks) > 20 else None

        node.answers["eth_getTransactionReceipt"] = receipt

    return late


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    four = [Address(f"0x{number:040x}") for number in range(1, 5)]
    path = tmp_path / "contracts.json"
    path.write_bytes(Addresses(CHAIN, 1, *four).to_bytes())
    return path


@pytest.fixture
def account(tmp_path: Path) -> Path:
    path = tmp_path / "account.key"
    load_or_create_account(path)
    return path


@pytest.fixture
def payments(tmp_path: Path, contracts: Path, account: Path) -> Path:
    path = tmp_path / "payments.toml"
    path.write_text(
        f'key = "issuer.key"\nstore = "sqlite:spent.db"\nscope = "{SOMEBODY}"\n'
        f'[ledger]\nurl = "http://node.test"\ncontracts = "{contracts.name}"\n'
        f'account = "{account.name}"\nconfirmations = 0\n'
    )
    return path


@pytest.fixture
def mint(contracts: Path, account: Path) -> list[str]:
    where = ["--ledger", "http://node.test", "--contracts", str(contracts)]
    return ["ledger", "mint", SOMEBODY, "5", "--account", str(account), *where]


def test_mint_says_that_it_waits(
    mint: list[str], mine_late: Callable[[], None], capsys: Output
) -> None:
    mine_late()
    assert run(mint) == 0
    said = capsys.readouterr()
    assert said.err == f"Token.mint: {WAITS}"
    assert said.out == f"minted  5\nto      {SOMEBODY}\n"


def test_mint_that_is_quick_says_nothing(
    mint: list[str], node: ScriptedNode, capsys: Output
) -> None:
    assert run(mint) == 0
    assert capsys.readouterr().err == "" and len(node.mined) == 1


@needs_kernel("Act")
@pytest.mark.parametrize(
    ("words", "function"),
    [
        (["activate-key"], "activateIssuerKey"),
        (["propose-key", "--key", "next.key"], "proposeIssuerKey"),
    ],
)
def test_an_operators_command_says_that_it_waits_but_not_with_json(
    words: list[str],
    function: str,
    payments: Path,
    mine_late: Callable[[], None],
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(payments.parent)
    command = ["operator", *words, "--payments", str(payments)]
    mine_late()
    assert run(command) == 0
    assert capsys.readouterr().err == f"Credits.{function}: {WAITS}"
    mine_late()
    assert run([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and isinstance(json.loads(said.out), dict)


@needs_kernel("Act")
def test_an_operators_command_that_only_reads_says_nothing(
    payments: Path, node: ScriptedNode, capsys: Output
) -> None:
    assert run(["operator", "status", "--payments", str(payments)]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "sold" in said.out and not node.mined
