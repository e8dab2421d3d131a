"""Money for anonymous credits: deposits, the issuer's key, withdrawals and exits.

The ledger shows who deposited how much and when, and who took money out; never what was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from privity.errors import InputError, PeerError
from privity.ledger.accounts import Account
from privity.ledger.addresses import Addresses
from privity.ledger.contract import Contract
from privity.ledger.rpc import Refused, TooLarge
from privity.ledger.sending import Sender, event_of, signing
from privity.ledger.wire import Address, Block, Receipt, check_address, read_address

__all__ = [
    "BATCH",
    "Credits",
    "Deposit",
    "DepositState",
    "KeyRotation",
    "SignedExit",
    "Totals",
    "sign_exit",
]

BATCH = 256  # nullifiers in one withdrawal
_SPAN = 10_000  # blocks in one question; a quarter of them where a node refuses
_EXIT = {
    "Exit": [
        {"name": "amount", "type": "uint256"},
        {"name": "to", "type": "address"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


class DepositState(IntEnum):
    """What became of a deposit."""

    NONE = 0
    PENDING = 1
    CLAIMED = 2
    REFUNDED = 3


@dataclass(frozen=True, slots=True)
class Deposit:
    """A deposit for one blind request.

    Attributes:
        number: its number.
        depositor: whose account paid.
        amount: in the token's smallest unit.
        request_digest: SHA-256 of the request it pays for.
        claimable_until: in seconds since 1970; after it the depositor can take it back.
        state: what became of it.
    """

    number: int
    depositor: Address
    amount: int
    request_digest: bytes
    claimable_until: int
    state: DepositState


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """The key that credits are issued under, and the one announced to follow it.

    Attributes:
        key: 32 bytes, the same for everyone.
        next_key: the announced one; None where none is.
        next_from: when it can be put in force, in seconds since 1970; 0 where none is announced.
    """

    key: bytes
    next_key: bytes | None
    next_from: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The contract's sums, in the token's smallest unit.

    Attributes:
        pending: deposits not claimed yet.
        issued: deposits claimed.
        withdrawn: taken by the operator.
        exited: paid out to who had credits.
    """

    pending: int
    issued: int
    withdrawn: int
    exited: int


@dataclass(frozen=True, slots=True)
class SignedExit:
    """The right to take unspent credits out as money, once. Whoever has it can send it.

    Attributes:
        amount: in the token's smallest unit.
        to: who is paid.
        nonce: the nullifier of the spend the desk saw, 32 bytes.
        signature: r, s and v of the desk's signature, 65 bytes.
    """

    amount: int
    to: Address
    nonce: bytes
    signature: bytes


def sign_exit(
    account: Account, addresses: Addresses, *, amount: int, to: str, nonce: bytes
) -> SignedExit:
    """Sign an exit (EIP-712), for one contract on one chain. Run by the issuer's desk.

    Raises:
        InputError: a value is out of range, or ``to`` is no address.
    """
    receiver = check_address(to)
    if not 0 < amount < 2**256 or len(nonce) != 32:
        raise InputError("an exit is of a positive amount, under a nullifier of 32 bytes")
    domain = {
        "name": "privity credits",
        "version": "1",
        "chainId": addresses.chain,
        "verifyingContract": addresses.credits,
    }
    message = {"amount": amount, "to": receiver, "nonce": nonce}
    return SignedExit(amount, receiver, nonce, account.sign_typed(domain, _EXIT, message))


class Credits:
    """The contract of credits.

    Args:
        contract: the contract.
        first: the block of its deployment; nothing earlier is asked for.
        sender: signs what changes something; None to only read.
    """

    def __init__(self, contract: Contract, *, first: int, sender: Sender | None) -> None:
        self._contract = contract
        self._first = first
        self._sender = sender

    async def issuer_key(self, block: Block | None = None) -> KeyRotation:
        """Return the issuer's key; everyone asks this alike."""
        key = await self._contract.call("issuerKey", block=block)
        following = await self._contract.call("proposedIssuerKey", block=block)
        since = await self._contract.call("issuerKeyActiveFrom", block=block)
        return KeyRotation(key, following if any(following) else None, since)

    async def denominations(self) -> tuple[int, ...]:
        """Return what one may deposit, ascending, in the token's smallest unit."""
        return tuple(await self._contract.call("denominations"))

    async def totals(self) -> Totals:
        """Return what was ever paid in and out, of all members together."""
        names = ("pending", "issued", "withdrawn", "exited")
        return Totals(*[int(await self._contract.call(name)) for name in names])

    async def paused(self) -> bool:
        """Tell whether deposits, claims and withdrawals are stopped; exits never are."""
        return bool(await self._contract.call("paused"))

    async def signer(self) -> Address:
        """Return the address whose signature lets unspent credits out."""
        return read_address(await self._contract.call("signer"))

    async def deposit_at(self, number: int, block: Block | None = None) -> Deposit:
        """Return one deposit. The issuer asks it; a client knows its own from `deposit`."""
        found: Any = await self._contract.call("depositAt", number, block=block)
        depositor, amount, digest, until, state = found
        try:
            return Deposit(
                number, read_address(depositor), amount, digest, until, DepositState(state)
            )
        except ValueError:
            raise PeerError("the ledger has a deposit in a state unknown here") from None

    async def used(self, nonce: bytes) -> bool:
        """Tell whether a nullifier was withdrawn or taken out. The operator asks it."""
        return bool(await self._contract.call("used", nonce))

    async def deposit(self, amount: int, request_digest: bytes, *, intent: str = "") -> int:
        """Pay for the answer to one blind request and return the deposit's number.

        The account, the amount and the time are public for good; the credits are not tied to them.

        Args:
            amount: one of `denominations`, the token's allowance set before.
            request_digest: SHA-256 of the request.
            intent: see `Sender.transact`.

        Raises:
            InputError: the contract refuses; or there is no signer.
            PeerError: the node is not reached; the same call again takes it up.
        """
        receipt = await signing(self._sender).transact(
            self._contract, "deposit", amount, request_digest, intent=intent
        )
        return int(event_of(self._contract, receipt, "Deposited").values["depositId"])

    async def claim(self, number: int) -> Receipt:
        """Take a deposit as paid, before answering its request. Run by the operator."""
        return await signing(self._sender).transact(self._contract, "claimIssued", number)

    async def refund(self, number: int) -> Receipt:
        """Take back a deposit that the operator did not claim in time. Run by the depositor."""
        return await signing(self._sender).transact(self._contract, "refundDeposit", number)

    async def withdraw_spent(
        self, batch_digest: bytes, spent: Sequence[tuple[bytes, int]]
    ) -> Receipt:
        """Take what was spent, each nullifier once. Run by the operator.

        Args:
            batch_digest: the operator's own name of the batch, 32 bytes; the same name is the
                same withdrawal, also after a crash.
            spent: up to 256 nullifiers of 32 bytes, each with its amount.

        Raises:
            InputError: the contract refuses, or the batch is too large.
            PeerError: the node is not reached; the same call again takes it up.
        """
        if not 0 < len(spent) <= BATCH:
            raise InputError(f"a withdrawal is of 1 to {BATCH} nullifiers")
        return await signing(self._sender).transact(
            self._contract,
            "withdrawSpent",
            batch_digest,
            [nullifier for nullifier, _ in spent],
            [amount for _, amount in spent],
            intent=f"withdraw:{batch_digest.hex()}",
        )

    async def exit_unspent(self, exit_: SignedExit) -> Receipt:
        """Have unspent credits paid out. Anyone may send it; whoever does pays the fees.

        Sent from an account that has bought credits, or paid to one, it tells the ledger that this
        account held this much; see spec/ledger.md.
        """
        return await signing(self._sender).transact(
            self._contract,
            "exitUnspent",
            exit_.amount,
            exit_.to,
            exit_.nonce,
            exit_.signature,
            intent=f"exit:{exit_.nonce.hex()}",
        )

    async def paid_exit(self, nonce: bytes, block: Block) -> tuple[int, Address] | None:
        """Return amount and receiver of what was paid out under a nullifier; None where nothing.

        Read back from a block on, all that the contract wrote: the node learns of no nullifier
        that it has not seen in an exit.

        Raises:
            PeerError: the node is not reached, or does not show what it says was paid.
        """
        if not await self._contract.call("exitPaid", nonce, block=block):
            return None
        last, span = block.number, _SPAN
        while last >= self._first:
            first = max(self._first, last - span + 1)
            try:
                events = await self._contract.events(first, last)
            except (Refused, TooLarge):
                if span == 1:
                    raise
                span = max(1, span // 4)
                continue
            for one in events:
                if one.name == "Exited" and one.values["nonce"] == nonce:
                    return int(one.values["amount"]), read_address(one.values["to"])
            last = first - 1
        raise PeerError("the ledger's node says that an exit was paid, and does not show it")

    async def propose_issuer_key(self, key: bytes) -> Receipt:
        """Announce the next issuer key. Run by the operator."""
        return await signing(self._sender).transact(self._contract, "proposeIssuerKey", key)

    async def activate_issuer_key(self) -> Receipt:
        """Put the announced key in force, once its delay is over. Anyone may."""
        return await signing(self._sender).transact(self._contract, "activateIssuerKey")

    async def pause(self, on: bool) -> Receipt:
        """Stop deposits, claims and withdrawals, or let them go on. Run by the guardian."""
        return await signing(self._sender).transact(self._contract, "pause" if on else "unpause")
