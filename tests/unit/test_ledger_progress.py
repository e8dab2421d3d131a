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
from privity.ledger import client, deploy
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
    putting = partial(deploy.deploy_all, transport=scripted.transport, limits=Limits(poll_s=0))
    monkeypatch.setattr(deploy, "deploy_all", putting)
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


def test_minting_where_there_is_no_contract_is_refused_and_sends_nothing(
    mint: list[str], node: ScriptedNode, capsys: Output
) -> None:
    node.answers["eth_getCode"] = lambda *_: "0x"
    assert run(mint) == 2
    assert "there is no contract Token at 0x" in capsys.readouterr().err
    assert not node.sent


# `privity ledger deploy`

CONTRACTS = ("Token", "Membership", "Credits", "Providers")
LABEL = "the token is a test one: it has no worth, and its owner can make more\n"


@pytest.fixture
def deploying(account: Path, node: ScriptedNode, tmp_path: Path) -> list[str]:
    """Return the command, on a node that finds each receipt late and says where contracts are."""
    looks: dict[str, int] = {}

    def receipt(hash_: str) -> Any:
        looks[hash_] = looks.get(hash_, 0) + 1
        found = node.eth_getTransactionReceipt(hash_) if looks[hash_] > 12 else None
        return found and {**found, "contractAddress": f"0x{len(node.mined):040x}"}

    node.answers["eth_getTransactionReceipt"] = receipt
    where = ["--ledger", "http://node.test", "--account", str(account)]
    keys = ["--issuer", str(tmp_path / "issuer.key")]
    return ["ledger", "deploy", *where, *keys, "--out", str(tmp_path / "new" / "contracts.json")]


@needs_kernel("Act")
def test_deploy_says_of_each_transaction_that_it_waits(
    deploying: list[str], tmp_path: Path, capsys: Output
) -> None:
    assert run(deploying) == 0
    names = [*(f"deployment of {name}" for name in CONTRACTS), "Token.mint"]
    assert capsys.readouterr().err == LABEL + "".join(f"{name}: {WAITS}" for name in names)
    found = Addresses.from_file(tmp_path / "new" / "contracts.json")
    assert found.token == f"0x{1:040x}"


@needs_kernel("Act")
def test_deploy_with_json_says_of_none(deploying: list[str], capsys: Output) -> None:
    assert run([*deploying, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == LABEL and json.loads(said.out)["chain"] == CHAIN


@needs_kernel("Act")
def test_deploy_pays_for_nothing_that_it_could_not_write_down(
    deploying: list[str], node: ScriptedNode, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "new").write_text("a file where the folder is to be")
    assert run(deploying) == 2
    assert "hint: make room, or make " in capsys.readouterr().err
    assert not node.sent


@needs_kernel("Act")
def test_where_the_contracts_are_is_said_when_it_cannot_be_written_in_the_end(
    deploying: list[str], node: ScriptedNode, tmp_path: Path, capsys: Output
) -> None:
    def gone(*_: object) -> str:
        (tmp_path / "new").rmdir()
        (tmp_path / "new").write_text("the folder is gone by the first transaction")
        del node.answers["eth_chainId"]
        return node.eth_chainId()

    node.answers["eth_chainId"] = gone
    assert run(deploying) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert Addresses.from_bytes(told[0].encode()).token == f"0x{1:040x}"


@needs_kernel("Act")
def test_deploy_that_is_interrupted_says_what_became_of_it(
    deploying: list[str], node: ScriptedNode, tmp_path: Path, capsys: Output
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    node.answers["eth_getTransactionReceipt"] = stop
    assert run(deploying) == 130
    path = tmp_path / "new" / "contracts.json"
    assert f"interrupted: {path} is not written" in capsys.readouterr().err
    assert not path.exists()


def test_a_transaction_that_was_interrupted_is_taken_up_again(
    mint: list[str], node: ScriptedNode, capsys: Output
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    node.answers["eth_getTransactionReceipt"] = stop
    assert run(mint) == 130
    assert "interrupted: what was sent may still be mined" in capsys.readouterr().err
    del node.answers["eth_getTransactionReceipt"]
    assert run(mint) == 0
    assert len(node.mined) == 1
