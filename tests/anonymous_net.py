"""A devnet with its ledger, as real processes, and persons who use it from this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from keys import Published
from privity.attest.log.memory import LogMemory
from privity.attest.trust import Trust
from privity.errors import MissingDependency
from privity.hazmat.native import have_native
from privity.infer.anonymous.network import Network
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.teller import Teller
from privity.infer.peers import EnclavePeer
from privity.infer.routes.anonymous import AnonymousRoute
from privity.infer.routes.confidential import ConfidentialRoute, discover
from privity.ledger.accounts import Account, load_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.local_chain import find_anvil
from privity.policy import Policy
from privity.receipt import SALT_HEADER, encode_salt, new_salt
from privity.seal.connections import Connections

LIMIT_S = 120.0
MODEL = "smollm2-135m-instruct"


def _has_anvil() -> bool:
    try:
        find_anvil()
    except MissingDependency:
        return False
    return True


needs_network = pytest.mark.skipif(
    not (have_native("Rln", "Act") and _has_anvil()),
    reason="privity-core or anvil is not installed here: make setup interop, with cargo and npm",
)


def run(
    arguments: list[str], home: Path, *, code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command of a person's home."""
    done = subprocess.run(
        [sys.executable, "-m", "privity.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "PRIVITY_HOME": str(home)},
    )
    assert code is None or done.returncode == code, done.stderr
    return done


@dataclass
class Net:
    """A running devnet."""

    home: Path
    facts: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.home / "devnet"

    @property
    def root(self) -> str:
        return str(self.facts["root"])

    @property
    def addresses(self) -> Addresses:
        return Addresses.from_file(Path(self.facts["anonymous"]["contracts"]))

    @property
    def rpc(self) -> str:
        return str(self.facts["anonymous"]["ledger"])

    def ledger(
        self, account: str | Account | None = None, *, journal: Path | None = None
    ) -> Ledger:
        """Return the ledger, acting as one of the devnet's accounts, by name, or as another."""
        signer = account
        if isinstance(account, str):
            signer = self.account(account)
            journal = self.folder / "network" / f"{account}.journal"
        assert signer is None or isinstance(signer, Account)
        return Ledger(self.rpc, self.addresses, signer=signer, confirmations=0, journal=journal)

    def account(self, name: str) -> Account:
        """Return one of the devnet's accounts."""
        return load_account(self.folder / "network" / f"{name}.key")

    def configure(self, home: Path) -> None:
        """Make another person's home that uses this network."""
        home.mkdir(mode=0o700, exist_ok=True)
        table = self.facts["anonymous"]
        lines = [
            f'[trust]\ndev_roots = ["{self.root}"]',
            f'[anonymous]\nledger = "{table["ledger"]}"\ncontracts = "{table["contracts"]}"',
            f'provider = "{table["provider"]}"\nconfirmations = 0',
        ]
        (home / "config.toml").write_text("\n".join(lines) + "\n")

    async def fund(self, address: str, amount: int = 10**6) -> None:
        """Give an account fees and tokens."""
        async with httpx.AsyncClient(trust_env=False) as http:
            params = [address, hex(10**21)]
            ask = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": params}
            await http.post(self.rpc, json=ask)
        async with self.ledger("deployer") as ledger:
            await ledger.token.mint(address, amount)


@contextmanager
def running_net(home: Path, *options: str) -> Iterator[Net]:
    """Run a devnet with everything anonymous; it ends with the block."""
    home.mkdir(mode=0o700, exist_ok=True)
    log = (home / "devnet.err").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "privity.cli", "devnet", "--anonymous", *options, "--json"],
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "PRIVITY_HOME": str(home)},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (home / "devnet.err").read_text()
        yield Net(home, json.loads(line))
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
        log.close()


class Person:
    """Somebody with a wallet and an account of their own, in this process."""

    def __init__(self, net: Net, network: Network, ledger: Ledger) -> None:
        self.net = net
        self.network = network
        self.ledger = ledger
        self.teller = Teller(network.wallet, ledger, self._desk, young_s=0)

    @property
    def wallet(self) -> SharedWallet:
        return self.network.wallet

    async def find(self) -> AnonymousRoute:
        """Find a way for one job, as a session would."""
        policy = Policy.load("dev")
        trust = Trust(dev_roots=(self.net.root,), policy=policy.evidence)
        memory = LogMemory(self.net.home / "no-log")

        async def verified(peer: EnclavePeer, chain: httpx.AsyncBaseTransport) -> ConfidentialRoute:
            return await discover(peer, trust, chain, memory=memory)

        return policy.admit(await self.network.find(verified)).route

    async def ask(self, words: str = "Say hi.", *, max_tokens: int = 2) -> httpx.Response:
        """Ask one question, paid and admitted; return the whole answer."""
        route = await self.find()
        keys = Published(route.enclave.keyset.ohttp)
        async with httpx.AsyncClient(
            transport=route.transport(keys, httpx.MockTransport(lambda _: httpx.Response(500))),
            timeout=LIMIT_S,
        ) as http:
            return await http.post(
                "https://enclave.privity/v1/chat/completions",
                headers={SALT_HEADER: encode_salt(new_salt())},
                json={
                    "model": MODEL,
                    "max_tokens": max_tokens,
                    "messages": [{"role": "user", "content": words}],
                },
            )

    async def _desk(self) -> httpx.AsyncBaseTransport:
        route = await self.find()
        return route.desk


@asynccontextmanager
async def person(
    net: Net, folder: Path, *, limit: int = 64, credits: int = 1000
) -> AsyncIterator[Person]:
    """Return a new member with credits."""
    folder.mkdir(parents=True, exist_ok=True)
    account = Account.generate()
    await net.fund(account.address)
    wallet = SharedWallet(folder / "wallet", os.urandom(32))
    network = Network(net.ledger(), wallet, Connections(), folder=folder)
    async with net.ledger(account, journal=folder / "account.journal") as ledger:
        one = Person(net, network, ledger)
        try:
            await one.teller.join(limit)
            if credits:
                await one.teller.top_up(credits)
            yield one
        finally:
            await network.aclose()


async def within(limit_s: float, condition: Any, what: str) -> None:
    """Wait until an asynchronous condition holds."""
    with anyio.move_on_after(limit_s):
        while not await condition():
            await anyio.sleep(0.2)
        return
    raise AssertionError(f"not within {limit_s:g} s: {what}")
