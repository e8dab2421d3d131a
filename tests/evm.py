"""Our contracts on an embedded EVM (eth-tester over py-evm), for tests and bench/gas.py.

Every call is a transaction in a block of its own. A refusal is `Refused`, with the contract's
reason. Time passes only when a test says so.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import ContractLogicError

with warnings.catch_warnings():  # eth_account imports what websockets calls deprecated
    warnings.simplefilter("ignore")
    from eth_account import Account

ROOT = Path(__file__).parent.parent
ARTEFACTS = ROOT / "src" / "privity" / "ledger" / "artefacts"
ODD_TOKENS = Path(__file__).parent / "contracts"
GAS = 15_000_000
NO_ONE = "0x" + 40 * "0"


class Refused(Exception):
    """A transaction was reverted; the text is the contract's reason."""


def refused(reason: str) -> Any:
    """Expect `Refused` with exactly this reason."""
    return pytest.raises(Refused, match=rf"^{re.escape(reason)}$")


@cache
def script(name: str) -> ModuleType:
    """Import one of scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise RuntimeError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@cache
def artefact(name: str) -> dict[str, Any]:
    """Return a committed artefact."""
    found: dict[str, Any] = json.loads((ARTEFACTS / f"{name}.json").read_text())
    return found


def odd_token(name: str) -> dict[str, Any]:
    """Compile one of tests/contracts."""
    return compiled(ODD_TOKENS, name)


def variant(name: str, folder: Path, **constants: str) -> dict[str, Any]:
    """Compile one of our contracts with other constants, in a copy under ``folder``."""
    shutil.copytree(ROOT / "contracts", folder, dirs_exist_ok=True)
    source = folder / f"{name}.vy"
    text = source.read_text()
    for constant, value in constants.items():
        text, count = re.subn(rf"(?m)^({constant}: constant\(\w+\)) = .*$", rf"\1 = {value}", text)
        if count != 1:
            raise RuntimeError(f"{name}.vy has no constant {constant}")
    source.write_text(text)
    return compiled(folder, name)


def compiled(folder: Path, name: str) -> dict[str, Any]:
    """Run the compiler, or skip the test where there is none."""
    if importlib.util.find_spec("vyper") is None:
        pytest.skip("the Vyper compiler is not installed here: pip install vyper==0.4.3")
    command = [sys.executable, "-m", "vyper", "-p", ".", "--disable-sys-path"]
    command += ["-f", "abi,bytecode", f"{name}.vy"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    abi, bytecode = done.stdout.strip().split("\n")
    return {"abi": json.loads(abi), "bytecode": bytecode}


@cache
def poseidon(*inputs: int) -> int:
    """Return Poseidon as scripts/poseidon_vyper.py has it."""
    return int(script("poseidon_vyper").rewritten(list(inputs)))


def tree_root(leaves: list[int], depth: int = 20) -> int:
    """Return the root of the tree of these leaves, the plain way."""
    row, empty = leaves or [0], 0
    for _ in range(depth):
        row = [*row, empty] if len(row) % 2 else row
        row = [poseidon(*row[i : i + 2]) for i in range(0, len(row), 2)]
        empty = poseidon(empty, empty)
    return row[0]


class Chain:
    """One embedded chain and its rich accounts.

    Attributes:
        web3: over the chain.
        accounts: ten addresses that can pay for gas.
    """

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.accounts = list(self.web3.eth.accounts)

    def deploy(self, what: str | dict[str, Any], *arguments: Any, by: str | None = None) -> Any:
        """Deploy one of our contracts, or a compiled one."""
        made = artefact(what) if isinstance(what, str) else what
        factory = self.web3.eth.contract(abi=made["abi"], bytecode=made["bytecode"])
        receipt = self.send(factory.constructor(*arguments), by=by)
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=made["abi"])

    def send(self, call: Any, *, by: str | None = None) -> Any:
        """Send a transaction; return its receipt; raise `Refused`."""
        terms = {"from": by or self.accounts[0], "gas": GAS}
        sent = call.transact(terms)
        receipt = self.web3.eth.get_transaction_receipt(sent)
        if receipt["status"] == 1:
            return receipt
        try:  # a receipt holds no reason: ask again
            getattr(call, "call", call.estimate_gas)(terms)
        except (TransactionFailed, ContractLogicError) as refusal:
            raise Refused(reason_in(refusal)) from refusal
        raise Refused("out of gas, or something that passed when asked again")

    def gas(self, call: Any, *, by: str | None = None) -> int:
        """Send a transaction; return the gas that it used."""
        return int(self.send(call, by=by)["gasUsed"])

    def result(self, call: Any, *, by: str | None = None) -> Any:
        """Return what a transaction would return, then send it."""
        try:
            found = call.call({"from": by or self.accounts[0], "gas": GAS})
        except (TransactionFailed, ContractLogicError) as refusal:
            raise Refused(reason_in(refusal)) from refusal
        self.send(call, by=by)
        return found

    @property
    def now(self) -> int:
        """The time of the last block."""
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def wait(self, seconds: int) -> None:
        """Let the next block be that much later than the last."""
        self.tester.time_travel(self.now + seconds)

    def events(self, contract: Any, name: str, receipt: Any) -> list[dict[str, Any]]:
        """Return the arguments of one kind of event in a receipt."""
        with warnings.catch_warnings():  # of the receipt's other events
            warnings.simplefilter("ignore")
            logs = contract.events[name]().process_receipt(receipt)
        return [dict(log["args"]) for log in logs]


W = TypeVar("W", bound=Chain)


def reason_in(refusal: Exception) -> str:
    """Return the contract's reason in an exception of eth-tester or web3."""
    text = str(getattr(refusal, "message", None) or refusal)
    return text.removeprefix("execution reverted: ").removeprefix("execution reverted")


def sign_exit(credits: Any, key: str, amount: int, to: str, nonce: bytes, chain_id: int) -> bytes:
    """Sign an exit as the issuer's desk does, with software that is not ours (eth-account)."""
    signed = Account.sign_typed_data(
        key,
        domain_data={
            "name": "privity credits",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": credits.address,
        },
        message_types={
            "Exit": [
                {"name": "amount", "type": "uint256"},
                {"name": "to", "type": "address"},
                {"name": "nonce", "type": "bytes32"},
            ]
        },
        message_data={"amount": amount, "to": to, "nonce": nonce},
    )
    return bytes(signed.signature)


def signer(number: int = 1) -> tuple[str, str]:
    """Return an address and its key, the same for the same number."""
    account = Account.from_key(number.to_bytes(32, "big"))
    return str(account.address), "0x" + number.to_bytes(32, "big").hex()


def restored(made: W) -> Iterator[W]:
    """Yield a chain for one test, and put it back as it was."""
    before = made.tester.take_snapshot()
    yield made
    made.tester.revert_to_snapshot(before)
