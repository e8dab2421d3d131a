"""The clients of the ledger against real contracts on a real chain: anvil."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from anvil import anvil, need_anvil
from native import needs_native
from privity.anon.field import Field
from privity.anon.membership import MemberTree, RateIdentity
from privity.errors import InputError, PeerError
from privity.home import write_private
from privity.ledger.accounts import Account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.credits import DepositState, sign_exit
from privity.ledger.deploy import UNIT, DevTerms, deploy_all
from privity.ledger.history import MemberHistory
from privity.ledger.journal import Journal
from privity.ledger.local_chain import LocalChain
from privity.ledger.members import LeafAdded, LeafRemoved, MemberEvent, Standing
from privity.ledger.providers import ProviderKind

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KEY = b"\x07" * 32
LIMIT = 5


@dataclass
class World:
    chain: LocalChain
    addresses: Addresses
    operator: Account
    person: Account
    folder: Path

    def ledger(self, who: Account | None = None, *, confirmations: int = 0) -> Ledger:
        name = f"{who.address}.json" if who else "none"
        return Ledger(
            self.chain.url,
            self.addresses,
            signer=who,
            confirmations=confirmations,
            journal=self.folder / name,
        )


@pytest.fixture
def chain() -> Iterator[LocalChain]:
    with anvil() as running:
        yield running


@pytest.fixture
async def world(chain: LocalChain, tmp_path: Path) -> AsyncIterator[World]:
    yield await build(chain, tmp_path)


async def build(chain: LocalChain, folder: Path) -> World:
    operator, person = Account.generate(), Account.generate()
    for account in (operator, person):
        chain.fund(account.address)
    terms = DevTerms(issuer_key=KEY, mint=(person.address,))
    addresses = await deploy_all(
        chain.url, operator, terms, journal=folder / f"{operator.address}.json"
    )
    return World(chain, Addresses.from_bytes(addresses.to_bytes()), operator, person, folder)


def later(chain: LocalChain, seconds: int) -> None:
    chain.ask("evm_increaseTime", seconds)
    chain.ask("anvil_mine", "0x1")


def tree_of(events: Sequence[MemberEvent]) -> MemberTree:
    tree = MemberTree()
    for event in events:
        if isinstance(event, LeafAdded):
            tree.append(Field(event.leaf), index=event.index)
        else:
            tree.remove(event.index)
    return tree


@needs_native
async def test_members_slashing_and_exit_make_the_tree_the_contract_has(world: World) -> None:
    people = [RateIdentity.generate() for _ in range(20)]
    history = MemberHistory()
    async with world.ledger(world.person) as person, world.ledger(world.operator) as gateway:
        for index, identity in enumerate(people):
            added = await person.register_member(identity.commitment, LIMIT)
            assert (added.index, added.leaf) == (index, identity.leaf(LIMIT))
        await history.update(gateway.members)
        assert [event.leaf for event in history.events] == [p.leaf(LIMIT) for p in people]
        root = tree_of(history.events).root
        assert root == await gateway.members.root()

        finder = Account.generate().address
        with pytest.raises(InputError, match="refused slash: not the secret"):
            await gateway.slash(3, people[4].unsafe_secret(), finder)
        await gateway.slash(3, people[3].unsafe_secret(), finder)
        bounty = await gateway.token.balance(finder)
        stake = await gateway.members.stake_per_message() * LIMIT
        assert 0 < bounty <= stake // 10

        assert await person.members.standing(5) == Standing(LIMIT, 0)
        assert await person.members.standing(3) is None  # slashed
        leaving = await person.members.request_exit(5)
        assert leaving.succeeded
        asked = await person.members.standing(5)
        block = await person.members.block(leaving.block)
        assert asked is not None and block is not None
        assert asked.withdrawable_at - block.time == await person.members.exit_delay()
        with pytest.raises(InputError, match="too early"):
            await person.members.withdraw(5)
        update = await history.update(gateway.members)
        assert [(e.index, e.slashed) for e in update.events if isinstance(e, LeafRemoved)] == [
            (3, True),
            (5, False),
        ]
        tree = tree_of(history.events)
        last = await gateway.members.block(history.block or 0)
        assert last is not None
        await gateway.members.check_root(tree.root, last)
        with pytest.raises(PeerError, match="do not make the root"):
            await gateway.members.check_root(root, last)

        before = await person.token.balance(world.person.address)
        later(world.chain, 121)
        await gateway.members.withdraw(5)  # anyone may ask; it goes to who staked
        assert await person.token.balance(world.person.address) == before + stake
        with pytest.raises(InputError, match="no such member"):
            await gateway.slash(5, people[5].unsafe_secret(), finder)


@needs_native
async def test_a_member_is_slashed_while_leaving(world: World) -> None:
    identity = RateIdentity.generate()
    history = MemberHistory()
    async with world.ledger(world.person) as person, world.ledger(world.operator) as gateway:
        await person.register_member(identity.commitment, LIMIT)
        await person.members.request_exit(0)
        await gateway.slash(0, identity.unsafe_secret())
        await history.update(gateway.members)
        assert [e.slashed for e in history.events if isinstance(e, LeafRemoved)] == [False]
        later(world.chain, 121)
        with pytest.raises(InputError, match="refused withdraw"):
            await person.members.withdraw(0)


async def test_credits_are_bought_spent_and_taken_out(world: World) -> None:
    digest = hashlib.sha256(b"a blind request").digest()
    async with world.ledger(world.person) as person, world.ledger(world.operator) as operator:
        assert (await person.issuer_key()).key == KEY
        assert await person.credits.denominations() == (UNIT, 10 * UNIT, 100 * UNIT)
        number = await person.deposit(10 * UNIT, digest)
        assert await person.deposit(10 * UNIT, digest) == number  # paid for once
        deposit = await operator.credits.deposit_at(number)
        assert (deposit.state, deposit.request_digest) == (DepositState.PENDING, digest)
        await operator.credits.claim(number)
        assert (await operator.credits.deposit_at(number)).state is DepositState.CLAIMED

        spent = [(bytes([n]) * 32, UNIT // 100) for n in range(1, 201)]
        before = await operator.token.balance(world.operator.address)
        await operator.credits.withdraw_spent(b"\x01" * 32, spent)
        assert await operator.token.balance(world.operator.address) == before + 2 * UNIT
        with pytest.raises(InputError, match="nullifier used"):
            await operator.credits.withdraw_spent(b"\x02" * 32, spent[:1])

        to = Account.generate().address
        leave = sign_exit(
            world.operator, world.addresses, amount=8 * UNIT, to=to, nonce=b"\xee" * 32
        )
        await operator.credits.pause(True)
        with pytest.raises(InputError, match="refused deposit: paused"):
            await person.deposit(UNIT, b"\x01" * 32)
        await person.exit_unspent(leave)  # no pause stops it
        assert await person.token.balance(to) == 8 * UNIT
        totals = await operator.credits.totals()
        assert totals.issued == totals.withdrawn + totals.exited
        assert await operator.credits.used(b"\xee" * 32)
        other = sign_exit(world.person, world.addresses, amount=1, to=to, nonce=b"\xef" * 32)
        with pytest.raises(InputError, match="refused exitUnspent"):
            await person.exit_unspent(other)


async def test_a_deposit_that_was_not_claimed_comes_back(world: World) -> None:
    async with world.ledger(world.person) as person, world.ledger(world.operator) as operator:
        number = await person.deposit(UNIT, b"\x05" * 32)
        with pytest.raises(InputError, match="refundDeposit: too early"):
            await person.credits.refund(number)
        later(world.chain, 61)
        await person.credits.refund(number)
        assert (await person.credits.deposit_at(number)).state is DepositState.REFUNDED
        with pytest.raises(InputError, match="claimIssued: not pending"):
            await operator.credits.claim(number)


async def test_the_issuers_key_changes_after_its_delay_only(world: World) -> None:
    async with world.ledger(world.operator) as operator:
        await operator.credits.propose_issuer_key(b"\x08" * 32)
        announced = await operator.issuer_key()
        assert (announced.key, announced.next_key) == (KEY, b"\x08" * 32)
        with pytest.raises(InputError, match="too early"):
            await operator.credits.activate_issuer_key()
        later(world.chain, 61)
        await operator.credits.activate_issuer_key()
        assert (await operator.issuer_key()).key == b"\x08" * 32


async def test_providers_are_listed_until_they_retire(world: World) -> None:
    async with world.ledger(world.operator) as operator, world.ledger() as anyone:
        await operator.token.allow(world.addresses.providers, 3 * UNIT)
        for n, kind in enumerate((ProviderKind.GATEWAY, ProviderKind.RELAY, ProviderKind.RELAY)):
            place = await operator.registry.register(
                kind, f"did:key:z6Mk{n}", f"http://127.0.0.1:{8000 + n}", bytes([n]) * 32, n
            )
            assert place == n
        await operator.registry.update(1, "https://relay.example/path", b"\x09" * 32, 7)
        await operator.registry.retire(2)
        listing = await anyone.providers()
        assert [(e.did, e.endpoint, e.price) for e in listing.entries] == [
            ("did:key:z6Mk0", "http://127.0.0.1:8000", 0),
            ("did:key:z6Mk1", "https://relay.example/path", 7),
        ]
        assert {e.owner for e in listing.entries} == {world.operator.address}
        later(world.chain, 61)
        await operator.registry.withdraw(2)


async def test_a_reorganisation_takes_back_what_it_took_back(world: World) -> None:
    history = MemberHistory()
    async with world.ledger(world.person) as person:
        await person.register_member((1).to_bytes(32, "little"), LIMIT)
        await history.update(person.members)
        await person.register_member((2).to_bytes(32, "little"), LIMIT)
        update = await history.update(person.members)
        assert [e.index for e in update.events] == [1]

        world.chain.ask("anvil_reorg", 1, [])
        update = await history.update(person.members)
        assert (update.rewound, update.events) == (1, ())
        assert [e.index for e in history.events] == [0]
        kept = MemberHistory.restore(history.dump())
        assert kept.events == history.events

        # The chain dropped the transaction; asked again, the same one is mined, not a second.
        added = await person.register_member((2).to_bytes(32, "little"), LIMIT)
        assert added.index == 1
        await kept.update(person.members)
        assert [e.index for e in kept.events] == [0, 1]


async def test_what_is_not_confirmed_is_not_believed(world: World) -> None:
    async with world.ledger(world.person) as person, world.ledger(confirmations=3) as careful:
        await person.register_member((1).to_bytes(32, "little"), LIMIT)
        page = await careful.members.page()
        assert page is not None
        assert page.events == ()
        world.chain.ask("anvil_mine", "0x3")
        page = await careful.members.page()
        assert page is not None
        assert [event.index for event in page.events] == [0]


async def test_a_node_that_is_down_is_said_so_and_taken_up_again(tmp_path: Path) -> None:
    need_anvil()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    state = ("--state", str(tmp_path / "chain.json"))
    with anvil(*state, port=port) as chain:
        world = await build(chain, tmp_path)
        async with world.ledger(world.person) as person:
            await person.register_member((1).to_bytes(32, "little"), LIMIT)
    async with world.ledger(world.person) as person:
        with pytest.raises(PeerError, match="cannot be reached"):
            await person.members.page()
        with pytest.raises(PeerError, match="cannot be reached"):
            await person.register_member((2).to_bytes(32, "little"), LIMIT)
        with anvil(*state, port=port):
            added = await person.register_member((2).to_bytes(32, "little"), LIMIT)
            assert added.index == 1
            page = await person.members.page()
            assert page is not None


REGISTER = """
import asyncio, sys
from pathlib import Path
from privity.ledger.accounts import load_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger

url, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

async def main():
    addresses = Addresses.from_file(folder / "addresses.json")
    account = load_account(folder / "account.key")
    journal = folder / f"{account.address}.json"
    async with Ledger(url, addresses, signer=account, confirmations=0, journal=journal) as ledger:
        print("begun", flush=True)
        await ledger.register_member(number.to_bytes(32, "little"), 5)

asyncio.run(main())
"""


async def test_a_process_killed_at_any_moment_registers_once(world: World) -> None:
    """Kill it later each time, then do the same again: one leaf comes of it, and one stake."""
    (world.folder / "addresses.json").write_bytes(world.addresses.to_bytes())
    write_private(world.folder / "account.key", world.person.unsafe_key().hex().encode())
    async with world.ledger(world.person) as person:
        stake = await person.members.stake_per_message() * LIMIT
        before = await person.token.balance(world.person.address)
        for number in range(1, 7):
            child = subprocess.Popen(
                [sys.executable, "-c", REGISTER, world.chain.url, world.folder, str(number)],
                stdout=subprocess.PIPE,
            )
            assert child.stdout is not None
            assert child.stdout.readline() == b"begun\n"
            await anyio.sleep(0.02 * number)
            child.kill()
            child.wait()
            child.stdout.close()
            added = await person.register_member(number.to_bytes(32, "little"), LIMIT)
            assert added.index == number - 1
            page = await person.members.page()
            assert page is not None
            assert len(page.events) == number
        assert await person.token.balance(world.person.address) == before - 6 * stake


async def test_an_allowance_of_a_killed_process_is_not_counted_twice(world: World) -> None:
    """It was mined, the process died before it noted so, and a later act used it up."""
    async with world.ledger(world.person) as person:
        await person.register_member((1).to_bytes(32, "little"), LIMIT)
        journal = Journal(world.folder / f"{world.person.address}.json")
        async with journal.held():
            approval, *rest = journal.read()
            journal.write([replace(approval, finished=False), *rest])
        added = await person.register_member((2).to_bytes(32, "little"), LIMIT)
        assert added.index == 1


CHILD = """
import sys
from privity.ledger.local_chain import run_chain
with run_chain(embedded=False) as chain:
    print(chain.url, flush=True)
    sys.stdin.read()
"""


async def test_the_chain_ends_with_a_killed_process() -> None:
    need_anvil()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    url = child.stdout.readline().strip()
    chain = LocalChain(url, "anvil")
    assert chain.ask("eth_chainId") == "0x7a69"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chain.ask("eth_chainId")
        except PeerError:
            return
        time.sleep(0.05)
    pytest.fail("the chain outlived the process that started it")
