"""The ledger, as every role asks it: one node, four contracts, and whose account acts, if any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx

from privity.errors import InputError
from privity.ledger import CONFIRMATIONS
from privity.ledger.accounts import Account
from privity.ledger.addresses import Addresses
from privity.ledger.contract import Contract
from privity.ledger.credits import Credits, KeyRotation, SignedExit
from privity.ledger.journal import Journal
from privity.ledger.members import LeafAdded, Members
from privity.ledger.providers import Listing, Registry
from privity.ledger.rpc import Rpc
from privity.ledger.sending import Limits, Sender, signing
from privity.ledger.token import Token
from privity.ledger.wire import Receipt, check_address, read_quantity

__all__ = ["Ledger"]


class Ledger:
    """The contracts of one ledger through one node, as an async context manager.

    The node sees the address of who asks (or the proxy's) and every question; so everything a
    client asks is what all clients ask: the whole list of members, the whole registry, the
    issuer's key. Only who deposits, stakes or takes out shows an account.

    Args:
        rpc_url: the node's JSON-RPC.
        addresses: where the contracts are.
        signer: the account that acts; None to only read.
        confirmations: blocks that must follow one before it is believed.
        proxy: ``socks5h://…`` or ``http://…`` for everything that is asked.
        transport: an httpx transport to use in place of the network.
        journal: the file of the account's transactions; needed with a signer.
        limits: what a transaction may cost.
        told: is told how far a transaction is, for a person who waits.

    Raises:
        InputError: the URL or the proxy is none, or a signer has no journal.
        MissingDependency: the libraries of the ledger are not installed.
    """

    def __init__(
        self,
        rpc_url: str,
        addresses: Addresses,
        *,
        signer: Account | None = None,
        confirmations: int = CONFIRMATIONS,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        journal: Path | None = None,
        limits: Limits | None = None,
        told: Callable[[str], None] = lambda step: None,
    ) -> None:
        if signer is not None and journal is None:
            raise InputError("an account that acts on a ledger needs a journal")
        self.addresses = addresses
        self.rpc = Rpc(rpc_url, proxy=proxy, transport=transport)
        self.sender = (
            None
            if signer is None or journal is None
            else Sender(
                self.rpc,
                signer,
                chain_id=addresses.chain,
                journal=Journal(journal),
                confirmations=confirmations,
                limits=limits,
                told=told,
            )
        )
        self._membership = Contract(self.rpc, "Membership", addresses.membership)
        self._credits = Contract(self.rpc, "Credits", addresses.credits)
        self._providers = Contract(self.rpc, "Providers", addresses.providers)
        self.token = Token(Contract(self.rpc, "Token", addresses.token), sender=self.sender)
        self.members = Members(
            self.rpc,
            self._membership,
            first=addresses.block,
            confirmations=confirmations,
            sender=self.sender,
        )
        self.credits = Credits(self._credits, first=addresses.block, sender=self.sender)
        self.registry = Registry(self.rpc, self._providers, sender=self.sender)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.rpc.aclose()

    async def issuer_key(self) -> KeyRotation:
        """Return the key that credits are issued under; see `Credits.issuer_key`."""
        return await self.credits.issuer_key()

    async def providers(self) -> Listing:
        """Return the whole registry; see `Registry.listing`."""
        return await self.registry.listing()

    async def register_member(self, commitment: bytes, limit: int) -> LeafAdded:
        """Allow the stake and register; see `Members.register`."""
        intent = _registering(commitment)
        if not await signing(self.sender).begun(intent):
            stake = await self.members.stake_per_message() * limit
            await self.token.allow(self.addresses.membership, stake)
        return await self.members.register(commitment, limit, intent=intent)

    async def has_begun_register(self, commitment: bytes) -> bool:
        """Tell whether `register_member` was signed for this one: again, it stakes no more."""
        return await signing(self.sender).begun(_registering(commitment))

    async def slash(self, index: int, secret: bytes, receiver: str | None = None) -> Receipt:
        """Slash, the bounty going to ``receiver`` or the signer; see `Members.slash`."""
        to = check_address(receiver or signing(self.sender).account.address)
        return await self.members.slash(index, secret, to)

    async def deposit(self, amount: int, request_digest: bytes) -> int:
        """Allow the amount and deposit it for a blind request; see `Credits.deposit`."""
        intent = _depositing(request_digest)
        if not await signing(self.sender).begun(intent):
            await self.token.allow(self.addresses.credits, amount)
        return await self.credits.deposit(amount, request_digest, intent=intent)

    async def has_begun_deposit(self, request_digest: bytes) -> bool:
        """Tell whether `deposit` was signed for this request: again, it pays no more."""
        return await signing(self.sender).begun(_depositing(request_digest))

    async def fees(self) -> int:
        """Return what the signer's account has to pay transactions with, in wei."""
        address = signing(self.sender).account.address
        return read_quantity(await self.rpc.ask("eth_getBalance", address, "latest"))

    async def exit_unspent(self, exit_: SignedExit) -> Receipt:
        """Have unspent credits paid out; see `Credits.exit_unspent`."""
        return await self.credits.exit_unspent(exit_)


def _registering(commitment: bytes) -> str:
    return f"member:{commitment.hex()}"  # its owner registers a commitment once


def _depositing(request_digest: bytes) -> str:
    return f"deposit:{request_digest.hex()}"  # a request is paid for once
