"""The token that stakes and credits are paid in (ERC-20)."""

from __future__ import annotations

from privity.ledger.contract import Contract
from privity.ledger.sending import Sender, signing
from privity.ledger.wire import Address, Receipt

__all__ = ["Token"]


class Token:
    """The token's contract.

    Args:
        contract: the contract.
        sender: signs what changes something; None to only read.
    """

    def __init__(self, contract: Contract, *, sender: Sender | None) -> None:
        self._contract = contract
        self._sender = sender

    async def balance(self, holder: Address) -> int:
        """Return what an account has. A client asks it of its own public account alone."""
        return int(await self._contract.call("balanceOf", holder))

    async def allow(self, spender: Address, amount: int) -> None:
        """Let a contract take at least ``amount``; nothing is sent where it already may."""
        sender = signing(self._sender)
        # Twice: the first may take up an approval of a process that was killed, mined and used up.
        for _ in range(2):
            allowed = await self._contract.call("allowance", sender.account.address, spender)
            if allowed >= amount:
                return
            await sender.transact(self._contract, "approve", spender, amount)

    async def mint(self, receiver: Address, amount: int) -> Receipt:
        """Make some. Only the test token can, and only its owner."""
        return await signing(self._sender).transact(self._contract, "mint", receiver, amount)
