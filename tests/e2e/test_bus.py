"""The bus as real processes: who is away reads later; who sends too much is cut off and slashed.

The spammer is in this process, with a wallet that hands out one message id twice, which privity's
own does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anonymous_net import needs_network, run, within
from libp2p_mark import needs_libp2p
from privity.anon.messages import InboxAddress
from privity.errors import PeerError, PrivityError
from privity.home import write_private
from privity.infer.anonymous import sending
from privity.infer.anonymous.device_members import DeviceMembers
from privity.infer.anonymous.inbox import open_box
from privity.infer.anonymous.purse import SharedWallet, person_wallet
from privity.infer.anonymous.sending import Sender
from privity.infer.anonymous.teller import Teller
from privity.ledger.accounts import Account, load_or_create_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.deploy import UNIT, DevTerms, deploy_all
from privity.ledger.history import MemberHistory
from privity.ledger.local_chain import LocalChain, run_chain
from privity.ledger.members import LeafRemoved
from privity.node.role_process import RoleProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs_libp2p]

LIMIT_S = 120.0
Start = Callable[..., RoleProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a node; all end with the test."""
    with ExitStack() as stack:

        def bus(name: str, *arguments: object) -> RoleProcess:
            command = [sys.executable, "-m", "privity.cli", "serve", "bus", "--lifeline"]
            command += map(str, arguments)
            process = RoleProcess(name, command, tmp_path, start_limit_s=LIMIT_S)
            stack.callback(process.stop)
            return process

        yield bus


def url(node: RoleProcess) -> str:
    return str(node.ready["url"])


def read(home: Path, *nodes: RoleProcess) -> dict[str, Any]:
    """Read an inbox by the command line."""
    peers = [word for node in nodes for word in ("--peer", url(node))]
    found: dict[str, Any] = json.loads(run(["inbox", "read", "--json", *peers], home).stdout)
    return found


def texts(found: dict[str, Any]) -> list[str]:
    return sorted(one["text"] for one in found["messages"])


def test_who_was_away_reads_from_the_store_what_was_sent_meanwhile(
    start: Start, tmp_path: Path
) -> None:
    reader, sender = tmp_path / "reader", tmp_path / "sender"
    address = tmp_path / "address"
    address.write_text(run(["inbox", "address"], reader).stdout)
    keeper = start("keeper", "--store", tmp_path / "kept.db", "--key", tmp_path / "keeper.key")
    middle = start("middle", "--peer", url(keeper))
    edge = start("edge", "--peer", url(middle))
    for words in ("first", "second"):
        run(["inbox", "send", f"@{address}", words, "--peer", url(edge), "--json"], sender)
    # It comes from a node that keeps nothing, two hops away: seen when the store has it.
    found = read(reader, keeper)
    late = 0
    while len(found["messages"]) < 2 and late < 20:
        late += 1
        found["messages"] += read(reader, keeper)["messages"]
    assert texts(found) == ["first", "second"]
    assert not found["missing"]
    assert not read(reader, keeper)["messages"], "each message once"
    assert run(["inbox", "read", "--peer", url(edge)], reader, code=1).stdout == ""
    kept = (tmp_path / "kept.db").read_bytes() + (tmp_path / "kept.db-wal").read_bytes()
    assert b"second" not in kept

    os.kill(keeper.pid, signal.SIGTERM)
    with pytest.raises(PeerError, match="143"):
        asyncio.run(within(30, lambda: _ended(keeper), "the node ends"))
    again = start("again", "--store", tmp_path / "kept.db", "--key", tmp_path / "keeper.key")
    assert url(again).rpartition("/")[2] == url(keeper).rpartition("/")[2], "the name stays"
    assert not read(reader, again)["messages"], "nor after the store began anew"


async def _ended(node: RoleProcess) -> bool:
    node.check()  # raises once it has
    return False


@dataclass
class Ground:
    """A chain with members' contracts on it, and homes of persons who use them."""

    chain: LocalChain
    addresses: Addresses
    folder: Path

    @property
    def contracts(self) -> Path:
        return self.folder / "contracts.json"

    def ledger(self, who: Account | None = None) -> Ledger:
        journal = None if who is None else self.folder / f"{who.address}.journal"
        return Ledger(self.chain.url, self.addresses, signer=who, confirmations=0, journal=journal)

    async def member(self, name: str, account: Account, patch: pytest.MonkeyPatch) -> Path:
        """Return the home of a new member, which is the current one from now on."""
        home = self.folder / name
        home.mkdir(mode=0o700)
        lines = f'ledger = "{self.chain.url}"\ncontracts = "{self.contracts}"\nconfirmations = 0\n'
        (home / "config.toml").write_text(f"[anonymous]\n{lines}")
        patch.setenv("PRIVITY_HOME", str(home))
        async with self.ledger(account) as ledger:
            await Teller(self.wallet(), ledger, _nothing).join(16)
        return home

    def wallet(self) -> SharedWallet:
        return person_wallet(self.addresses.deployment)

    async def slashed(self) -> list[int]:
        history = MemberHistory()
        async with self.ledger() as ledger:
            await history.update(ledger.members)
        events = history.events
        return [one.index for one in events if isinstance(one, LeafRemoved) and one.slashed]


async def _nothing() -> Any:
    raise AssertionError("nobody goes to a desk here")


class Cheat(Sender):
    """Uses one message id for everything."""

    def _take(self, epoch: int) -> int:
        return 0


@needs_network
async def test_a_member_that_sends_two_under_one_id_is_cut_off_and_slashed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_CONFIRM_S", 4.0)
    with run_chain(embedded=False) as chain:
        ground, accounts, node_keys = await _lay(chain, tmp_path)
        cheater_home = await ground.member("cheater", accounts[0], monkeypatch)
        neighbour = await ground.member("neighbour", accounts[1], monkeypatch)
        address = InboxAddress.parse(run(["inbox", "address"], neighbour).stdout)
        (tmp_path / "address").write_text(str(address))
        options = ["--ledger", chain.url, "--contracts", ground.contracts]
        options += ["--confirmations", 0, "--every", 0.5]
        keeper = start("keeper", "--store", tmp_path / "a.db", "--account", node_keys[0], *options)
        other = start(
            "other", "--store", tmp_path / "b.db", "--peer", url(keeper),
            "--account", node_keys[1], *options,
        )  # fmt: skip
        third = start("third", "--peer", url(other), *options)

        def tell(words: str, *more: str, code: int = 0) -> None:
            peers = ("--peer", url(third), "--peer", url(keeper))
            run(["inbox", "send", f"@{tmp_path / 'address'}", words, *peers, *more],
                neighbour, code=code)  # fmt: skip

        tell("honest 1")
        tell("no member", "--no-proof", code=1)
        monkeypatch.setenv("PRIVITY_HOME", str(cheater_home))
        wallet = ground.wallet()
        member = wallet.membership
        assert member is not None and member.index is not None
        async with ground.ledger() as ledger:
            cheat = Cheat(wallet, DeviceMembers(ledger.members, settle_s=ledger.addresses.settle_s))
            sent = 0
            with pytest.raises(PrivityError):
                while sent < 4:  # an epoch may end between two of them
                    words = f"spam {sent}".encode()
                    await sending.send(address, words, [url(keeper), url(other)], cheat)
                    sent += 1
            assert 0 < sent < 4, "the first was honest, the second under its id was not"
        await within(60, ground.slashed, "the spammer is slashed")
        assert await ground.slashed() == [member.index], "and nobody else is, and once"
        tell("honest 2")
        monkeypatch.setenv("PRIVITY_HOME", str(neighbour))
        found = read(neighbour, keeper, other)
        assert texts(found) == ["honest 1", "honest 2", *(f"spam {n}" for n in range(sent))]
        assert not found["missing"]
        logs = "".join((tmp_path / f"{name}.log").read_text() for name in ("keeper", "other"))
        assert "cut off" in logs and member.secret.hex() not in logs
        assert open_box("inbox").address == address


async def _lay(chain: LocalChain, folder: Path) -> tuple[Ground, list[Account], list[Path]]:
    """Deploy the contracts; return accounts of persons with tokens, and key files of nodes."""
    persons = [Account.generate(), Account.generate()]
    keys = [folder / "node-a.key", folder / "node-b.key"]
    deployer = Account.generate()
    for account in (deployer, *persons, *map(load_or_create_account, keys)):
        chain.fund(account.address)
    terms = DevTerms(
        issuer_key=b"\7" * 32,
        mint=[one.address for one in persons],
        minted=10**6 * UNIT,
        settle_s=1,
    )
    addresses = await deploy_all(chain.url, deployer, terms, journal=folder / "deploying.journal")
    ground = Ground(chain, addresses, folder)
    write_private(ground.contracts, addresses.to_bytes())
    return ground, persons, keys
