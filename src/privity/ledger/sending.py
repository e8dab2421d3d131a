"""How an account acts on the ledger: fees within limits, numbers in order, nothing sent twice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from privity.errors import InputError, MalformedError, PeerError
from privity.ledger.abi import Event
from privity.ledger.accounts import Account
from privity.ledger.contract import Contract, refusal
from privity.ledger.journal import Entry, Journal
from privity.ledger.rpc import Refused, Rpc
from privity.ledger.wire import (
    Address,
    Hash,
    Receipt,
    read_block,
    read_data,
    read_quantity,
    read_receipt,
)

__all__ = ["Limits", "Sender", "event_of", "signing"]

_GWEI = 10**9
_QUIET = 10  # looks before a person is told that it takes time
_LOOKS = 100  # for a receipt, before a transaction is given up for another of its number


@dataclass(frozen=True, slots=True)
class Limits:
    """What a transaction may cost, whatever the node says, and how long one waits for it.

    Attributes:
        gas: the most gas of one transaction; 16,777,216 is the protocol's own (EIP-7825).
        fee: the most wei for one gas.
        wait_s: the longest wait for a transaction to be mined and confirmed, in seconds.
        poll_s: the time between two looks, in seconds.
    """

    gas: int = 16_000_000
    fee: int = 200 * _GWEI
    wait_s: float = 180.0
    poll_s: float = 0.1


class Sender:
    """Sends the transactions of one account.

    Args:
        rpc: the node.
        account: whose they are.
        chain_id: of the chain they are for; a node of another is refused before anything is signed.
        journal: where they are written down.
        confirmations: how many blocks must follow a transaction's own.
        limits: of fees and patience.
        told: is told how far a transaction is, for a person who waits.

    Guarantees:
        A call taken up again after a crash is mined once
        (tests/unit/test_ledger_sending.py::test_a_crash_after_writing_down_sends_nothing_twice).
        A node cannot make the account pay more than the limits
        (tests/unit/test_ledger_sending.py::test_a_node_that_asks_for_too_high_fees_is_refused).
    """

    def __init__(
        self,
        rpc: Rpc,
        account: Account,
        *,
        chain_id: int,
        journal: Journal,
        confirmations: int = 0,
        limits: Limits | None = None,
        told: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._rpc = rpc
        self.account = account
        self._chain_id = chain_id
        self._journal = journal
        self._confirmations = confirmations
        self._limits = limits or Limits()
        self._told = told
        self._checked = False
        self._there: set[Address] = set()  # addresses that hold a contract

    async def transact(
        self, contract: Contract, function: str, *values: object, intent: str = ""
    ) -> Receipt:
        """Call a function of a contract in a transaction, and wait until it is confirmed.

        Args:
            contract: the contract.
            function: its name.
            values: what it is called with.
            intent: names the act. A second call of the same name returns the receipt of the first,
                however long ago that was. Without a name, only an unfinished call is taken up.

        Raises:
            InputError: the contract refuses, with its reason; or there is none at its address; or
                the limits would be exceeded.
            PeerError: the node is not reached. The transaction may be under way: the same call
                again takes it up.
        """
        data = contract.artefact.calldata(function, *values)
        await self._check_chain()
        await self._check_there(contract)
        return await self.send(
            contract.address, data, what=(contract.artefact.name, function), intent=intent
        )

    async def send(
        self, to: Address | None, data: bytes, *, what: tuple[str, str], intent: str = ""
    ) -> Receipt:
        """Send a transaction; see `transact`. Without ``to`` it deploys a contract."""
        await self._check_chain()
        target = (to or "").encode() + b"\0"
        act = f"name:{intent}" if intent else "call:" + hashlib.sha256(target + data).hexdigest()
        async with self._journal.held():
            entries = await self._settled(self._journal.read())
            entry = _of_intent(entries, act, named=bool(intent))
            if entry is None:
                entry = await self._signed(to, data, what, act, entries)
                self._journal.write([*entries, entry])  # before sending: a crash finds it here
                await self._broadcast_new(entry, entries)
            else:
                self._journal.write(entries)
        name = f"deployment of {what[0]}" if to is None else ".".join(what)
        receipt = await self._confirmed(entry, name)
        async with self._journal.held():
            self._journal.write(
                [
                    replace(e, finished=True) if e.hash == entry.hash else e
                    for e in self._journal.read()
                ]
            )
        if not receipt.succeeded:
            await self._forget(entry)
            raise InputError(f"the contract {what[0]} refused {what[1]} when it was mined")
        return receipt

    async def begun(self, intent: str) -> bool:
        """Tell whether an act of this name was signed before, finished or not."""
        async with self._journal.held():
            return any(entry.intent == f"name:{intent}" for entry in self._journal.read())

    async def _check_chain(self) -> None:
        if self._checked:
            return
        found = read_quantity(await self._rpc.ask("eth_chainId"))
        if found != self._chain_id:
            raise InputError(
                f"the ledger's node is of chain {found}, the contracts are of {self._chain_id}",
                hint="give a node of the contracts' chain",
            )
        self._checked = True

    async def _check_there(self, contract: Contract) -> None:
        """Refuse to call where no contract is: a chain takes that, and does nothing for its fee."""
        if contract.address in self._there:
            return
        if not read_data(await self._rpc.ask("eth_getCode", contract.address, "latest")):
            raise InputError(
                f"there is no contract {contract.artefact.name} at {contract.address} on this "
                "chain; nothing is sent",
                hint="do the contracts' addresses belong to the chain of this node?",
            )
        self._there.add(contract.address)

    async def _settled(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries that still count, those not mined sent again."""
        kept = []
        for entry in entries:
            if entry.finished or await self._receipt(entry.hash) is not None:
                kept.append(entry)
            elif await self._count("latest") > entry.nonce:
                # Another transaction has taken its number, so this one can never be mined; unless
                # it took it itself, and the node that counts it has no receipt of it yet.
                if await self._mined_by_now(entry):
                    kept.append(entry)
            else:
                await self._broadcast(entry)
                kept.append(entry)
        return kept

    async def _mined_by_now(self, entry: Entry) -> bool:
        """Tell whether a receipt comes after all: what is struck out is signed, and paid, anew."""
        for _ in range(_LOOKS):
            if await self._receipt(entry.hash) is not None:
                return True
            await anyio.sleep(self._limits.poll_s)
        return False

    async def _signed(
        self,
        to: Address | None,
        data: bytes,
        what: tuple[str, str],
        act: str,
        entries: list[Entry],
    ) -> Entry:
        """Return a new transaction, numbered after all that are under way."""
        unfinished = [entry.nonce + 1 for entry in entries if not entry.finished]
        nonce = max([await self._count("pending"), *unfinished])
        call = {"from": self.account.address, "data": "0x" + data.hex()}
        if to is not None:
            call["to"] = to
        gas, fee, tip = await self._priced(call, what)
        fields = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "gas": gas,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": tip,
            "value": 0,
            "data": data,
        }
        if to is not None:
            from eth_utils.address import to_checksum_address

            fields["to"] = to_checksum_address(to)
        raw, hash_ = self.account.sign_transaction(fields)
        return Entry(intent=act, nonce=nonce, hash=hash_, raw=raw)

    async def _priced(self, call: dict[str, str], what: tuple[str, str]) -> tuple[int, int, int]:
        """Return the gas of a call, the most wei for one and the tip in it, within the limits."""
        try:
            gas = read_quantity(await self._rpc.ask("eth_estimateGas", call))
        except Refused as error:
            raise refusal(error, *what) from None
        fee, tip = await self._fees()
        gas = math.ceil(gas * 1.25)  # what others do first may change the way through the contract
        if gas > self._limits.gas or fee > self._limits.fee:
            raise InputError(
                f"{what[0]}.{what[1]} would cost up to {gas} gas at {fee} wei; "
                f"the limits are {self._limits.gas} and {self._limits.fee}",
                hint="wait for lower fees, ask another node, or raise the limits",
            )
        return gas, fee, tip

    async def _fees(self) -> tuple[int, int]:
        """Return the most wei for one gas, and what of it goes to who mines."""
        block = read_block(await self._rpc.ask("eth_getBlockByNumber", "latest", False))
        try:
            tip = read_quantity(await self._rpc.ask("eth_maxPriorityFeePerGas"))
        except Refused:
            tip = _GWEI
        return 2 * block.base_fee + tip, tip

    async def _broadcast_new(self, entry: Entry, before: list[Entry]) -> None:
        """Send what was just written down; what the node refuses is struck out again.

        Should the node pass on what it refused, its number stands for one transaction still.
        """
        try:
            await self._rpc.ask("eth_sendRawTransaction", "0x" + entry.raw.hex())
        except Refused as error:
            if await self._known(entry.hash):
                return
            self._journal.write(before)
            raise InputError(
                f"the ledger's node did not take the transaction: {error.message}",
                hint=f"has {self.account.address} enough to pay the fees?",
            ) from None

    async def _broadcast(self, entry: Entry) -> None:
        # A refusal says no more than that the node has it already, or takes none now.
        try:
            await self._rpc.ask("eth_sendRawTransaction", "0x" + entry.raw.hex())
        except Refused:
            return

    async def _known(self, hash_: Hash) -> bool:
        return await self._rpc.ask("eth_getTransactionByHash", "0x" + hash_.hex()) is not None

    async def _confirmed(self, entry: Entry, name: str) -> Receipt:
        """Wait until a transaction is mined and enough blocks follow; it may be mined anew."""
        with anyio.move_on_after(self._limits.wait_s):
            looks, seen = 0, -1
            while True:
                receipt = await self._receipt(entry.hash)
                if receipt is not None:
                    head = read_quantity(await self._rpc.ask("eth_blockNumber"))
                    if head >= receipt.block + self._confirmations:
                        if seen >= 0:
                            every = self._confirmations
                            self._told(f"{name}: {every} of {every} blocks follow")
                        return receipt
                    if head - receipt.block != seen:
                        seen = head - receipt.block
                        self._told(f"{name}: {max(0, seen)} of {self._confirmations} blocks follow")
                elif looks == _QUIET:
                    self._told(f"{name}: sent, not mined yet")
                elif looks % 50 == 49:
                    await self._broadcast(entry)  # a reorganisation may have dropped it
                looks += 1
                await anyio.sleep(self._limits.poll_s)
        raise PeerError(
            f"the transaction was not confirmed within {self._limits.wait_s:.0f} seconds",
            hint="it is in the journal: the same call again goes on waiting for it",
        )

    async def _receipt(self, hash_: Hash) -> Receipt | None:
        receipt = read_receipt(await self._rpc.ask("eth_getTransactionReceipt", "0x" + hash_.hex()))
        if receipt is not None and receipt.hash != hash_:
            raise PeerError("the ledger's node answered with another transaction's receipt")
        return receipt

    async def _forget(self, entry: Entry) -> None:
        """Strike out a call that failed, so that it can be tried again under its name."""
        async with self._journal.held():
            self._journal.write([e for e in self._journal.read() if e.hash != entry.hash])

    async def _count(self, at: str) -> int:
        asked = await self._rpc.ask("eth_getTransactionCount", self.account.address, at)
        return read_quantity(asked, most=2**63 - 1)


def event_of(contract: Contract, receipt: Receipt, name: str) -> Event:
    """Return the one event of a name that a transaction made a contract write."""
    logs = [log for log in receipt.logs if log.address == contract.address]
    try:
        events = [event for event in map(contract.artefact.event, logs) if event is not None]
    except MalformedError as error:
        raise PeerError(f"the ledger's node answered: {error.message}") from None
    found = [event for event in events if event.name == name]
    if len(found) != 1:
        raise PeerError(f"the transaction was mined, but made no {name}")
    return found[0]


def signing(sender: Sender | None) -> Sender:
    """Return the sender, or raise `InputError` where the ledger is only read."""
    if sender is None:
        raise InputError(
            "the ledger can only be read here: no account was given to sign with",
            hint="give the ledger a signer",
        )
    return sender


def _of_intent(entries: list[Entry], act: str, *, named: bool) -> Entry | None:
    """Return the entry of an act that is to be taken up, not signed anew."""
    found = [e for e in entries if e.intent == act and (named or not e.finished)]
    return found[-1] if found else None
