"""One contract at one address: what is asked of it, what it wrote, what it refuses and why."""

from __future__ import annotations

from typing import Any

import anyio.to_thread

from privity.errors import InputError, MalformedError, PeerError
from privity.ledger.abi import Artefact, Event, load_artefact, revert_reason
from privity.ledger.rpc import Refused, Rpc, printable
from privity.ledger.wire import Address, Block, read_data, read_logs, text_of

__all__ = ["Contract", "refusal"]

_REVERTED = 3  # geth's number for an execution that reverted, and everybody's since


class Contract:
    """A deployed contract, read by anyone.

    Args:
        rpc: the node that is asked.
        name: of the contract, as its artefact is called.
        address: where it is.
    """

    def __init__(self, rpc: Rpc, name: str, address: Address) -> None:
        self._rpc = rpc
        self.artefact: Artefact = load_artefact(name)
        self.address = address

    async def call(self, function: str, *values: Any, block: Block | None = None) -> Any:
        """Return what a view answers: one value, or a tuple where it answers several.

        Args:
            function: its name.
            values: what it is called with.
            block: as of which block; None for the newest.

        Raises:
            InputError: the contract refuses; the message has its reason.
            PeerError: the node is not reached, or does not answer in the view's form; or the
                contract is not there as of that block.
        """
        data = await self.call_raw(function, *values, block=block)
        try:
            result = self.artefact.result(function, data)
        except MalformedError as error:
            if not data and block is not None:  # what an address without a contract answers
                raise PeerError(
                    f"the contract {self.artefact.name} is not on the chain yet as of block "
                    f"{block.number}",
                    hint="where it was deployed lately, wait for as many blocks as are to follow "
                    "one (`confirmations`); else see whether it is at this address, on this chain",
                ) from None
            raise PeerError(
                f"the ledger's node did not answer for {self.artefact.name}: {error.message}",
                hint="is the contract deployed at this address, on this chain?",
            ) from None
        return result[0] if len(result) == 1 else result

    async def call_raw(self, function: str, *values: Any, block: Block | None = None) -> bytes:
        """Return the same undecoded, for answers that hold what strangers wrote."""
        call = {
            "to": self.address,
            "data": "0x" + self.artefact.calldata(function, *values).hex(),
        }
        at: Any = "latest" if block is None else {"blockHash": "0x" + block.hash.hex()}
        try:
            return read_data(await self._rpc.ask("eth_call", call, at))
        except Refused as error:
            raise refusal(error, self.artefact.name, function) from None

    async def events(self, first: int, last: int) -> list[Event]:
        """Return all that the contract wrote from one block to another, in order.

        Nothing narrower can be asked for here, so that the node learns nothing of what is sought.

        Raises:
            PeerError: the node is not reached, or answers with what the contract cannot have
                written in these blocks.
        """
        asked = {
            "address": self.address,
            "fromBlock": text_of(first),
            "toBlock": text_of(last),
        }
        answer = await self._rpc.ask("eth_getLogs", asked)
        # In a thread: a hundred thousand of them take seconds.
        return await anyio.to_thread.run_sync(self._events, answer, first, last)

    def _events(self, answer: Any, first: int, last: int) -> list[Event]:
        events = []
        for log in read_logs(answer):
            if log.address != self.address or not first <= log.block <= last:
                raise PeerError("the ledger's node answered with logs that were not asked for")
            try:
                event = self.artefact.event(log)
            except MalformedError as error:
                raise PeerError(f"the ledger's node answered: {error.message}") from None
            if event is not None:
                events.append(event)
        return events


def refusal(error: Refused, contract: str, function: str) -> InputError | PeerError:
    """Return a node's error as one of ours: `InputError` where it is the contract that refused."""
    reason = revert_reason(bytes.fromhex(error.data[2:])) if _is_hex(error.data) else ""
    if not reason and error.code != _REVERTED and "revert" not in error.message.lower():
        return error
    told = f": {printable(reason)}" if reason else " and gave no reason"
    return InputError(f"the contract {contract} refused {function}{told}")


def _is_hex(text: str) -> bool:
    try:
        return len(bytes.fromhex(text.removeprefix("0x"))) >= 4
    except ValueError:
        return False
