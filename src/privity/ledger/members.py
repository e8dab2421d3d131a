"""Who is a member: leaves registered and removed, in the ledger's order.

Everybody reads the whole list. Whoever asked for one leaf, or for the path to it, would tell the
node which leaf is theirs; so nothing here can, but for who leaves (`Members.standing`).
"""

from __future__ import annotations

from dataclasses import dataclass

from privity.errors import PeerError
from privity.ledger.abi import Event
from privity.ledger.contract import Contract
from privity.ledger.rpc import Refused, Rpc, TooLarge
from privity.ledger.sending import Sender, event_of, signing
from privity.ledger.wire import Address, Block, Receipt, read_block, read_quantity, text_of

__all__ = ["LeafAdded", "LeafRemoved", "MemberEvent", "MemberPage", "Members", "Standing"]

_SPAN = 10_000  # blocks in one question; a quarter of them where a node refuses
_FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617  # EIP-196
_TRIES = 3
_OF_LEAVES = ("Registered", "Removed")


@dataclass(frozen=True, slots=True)
class LeafAdded:
    """A member registered.

    Attributes:
        index: the leaf's place in the tree.
        leaf: the field element, 32 bytes, little-endian.
        limit: messages an epoch.
        block: the height of the block it is in.
    """

    index: int
    leaf: bytes
    limit: int
    block: int


@dataclass(frozen=True, slots=True)
class LeafRemoved:
    """A member left, or was slashed; the leaf is 0 from here on.

    Attributes:
        index: the leaf's place.
        leaf: what it was.
        slashed: False for one who left. One slashed while leaving was removed before.
        block: the height of the block it is in.
    """

    index: int
    leaf: bytes
    slashed: bool
    block: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is staked for a leaf.

    Attributes:
        limit: messages an epoch.
        withdrawable_at: from when on the stake can be withdrawn, in seconds since 1970; 0 for a
            member who did not ask to leave.
    """

    limit: int
    withdrawable_at: int


MemberEvent = LeafAdded | LeafRemoved


@dataclass(frozen=True, slots=True)
class MemberPage:
    """What happened to the leaves in the blocks ``first`` to ``last.number``, as of ``last``."""

    first: int
    last: Block
    events: tuple[MemberEvent, ...]


class Members:
    """The contract of members.

    Args:
        rpc: the node.
        contract: the contract.
        first: the first block that can hold anything of it.
        confirmations: blocks at the end of the chain that are not believed yet.
        sender: signs what changes something; None to only read.
    """

    def __init__(
        self,
        rpc: Rpc,
        contract: Contract,
        *,
        first: int,
        confirmations: int,
        sender: Sender | None,
    ) -> None:
        self._rpc = rpc
        self._contract = contract
        self.first = first
        self._confirmations = confirmations
        self._sender = sender

    async def page(self, since: int | None = None) -> MemberPage | None:
        """Return all events from a block on, up to the newest confirmed one.

        Args:
            since: the first block; None for all there ever were.

        Returns:
            None where no block from there on is confirmed yet.

        Raises:
            PeerError: the node is not reached, answers wrongly, or changes its mind meanwhile.
        """
        first = self.first if since is None else max(since, self.first)
        for _ in range(_TRIES):
            head = read_quantity(await self._rpc.ask("eth_blockNumber"), most=2**63 - 1)
            last = head - self._confirmations
            if last < first:
                return None
            before = await self.block(last)
            events = await self._read(first, last)
            # A block's hash fixes all before it: where it has not changed, neither has what was
            # read, whichever questions the reorganisation fell between.
            if before is not None and await self.block(last) == before:
                leaves = (_typed(event) for event in events if event.name in _OF_LEAVES)
                return MemberPage(first, before, tuple(leaves))
        raise PeerError("the ledger changed while its members were read; try again")

    async def confirmed(self) -> Block | None:
        """Return the newest block that is believed; None where there is none yet."""
        head = read_quantity(await self._rpc.ask("eth_blockNumber"), most=2**63 - 1)
        return await self.block(max(0, head - self._confirmations))

    async def block(self, number: int) -> Block | None:
        """Return the block of a height; None where the node has none."""
        found = await self._rpc.ask("eth_getBlockByNumber", text_of(number), False)
        if found is None:
            return None
        block = read_block(found)
        if block.number != number:
            raise PeerError("the ledger's node answered with another block")
        return block

    async def confirming(self, number: int) -> Block | None:
        """Return the block with which those of a height are believed."""
        return await self.block(number + self._confirmations)

    async def root(self, block: Block | None = None) -> bytes:
        """Return the tree's root, 32 bytes, little-endian; as of a block, or now."""
        return _field(await self._contract.call("root", block=block))

    async def check_root(self, root: bytes, block: Block) -> None:
        """Refuse a tree whose root is not the contract's as of a block.

        Raises:
            PeerError: it is another, so the node left out or made up an event.
        """
        if await self.root(block) != root:
            raise PeerError(
                "the members the ledger's node listed do not make the root the contract has",
                hint="read the members again from the start, or ask another node",
            )

    async def stake_per_message(self) -> int:
        """Return the stake for each message an epoch, in the token's smallest unit."""
        return int(await self._contract.call("stakePerMessage"))

    async def exit_delay(self) -> int:
        """Return the seconds between asking to leave and the stake's return."""
        return int(await self._contract.call("exitDelay"))

    async def standing(self, index: int) -> Standing | None:
        """Return what is staked for one leaf; None where nothing is, or no longer.

        Requires:
            Who asks shows this leaf on the ledger anyway, by leaving: the node learns that they
            mean it.
        """
        staker, limit, at = await self._contract.call("member", index)
        return Standing(int(limit), int(at)) if int(staker, 16) else None

    async def register(self, commitment: bytes, limit: int, *, intent: str = "") -> LeafAdded:
        """Stake for ``limit`` messages an epoch, the token's allowance set before.

        The ledger shows for good that this account registered this leaf; no proof shows the leaf.

        Args:
            commitment: ``Poseidon(secret)``, 32 bytes, little-endian.
            limit: messages an epoch.
            intent: see `Sender.transact`.

        Raises:
            InputError: the contract refuses; or there is no signer.
            PeerError: the node is not reached; the same call again takes it up.
        """
        number = int.from_bytes(commitment, "little")
        receipt = await signing(self._sender).transact(
            self._contract, "register", number, limit, intent=intent
        )
        added = event_of(self._contract, receipt, "Registered")
        found = _typed(added)
        if not isinstance(found, LeafAdded):
            raise PeerError("the ledger's node answered with another event")
        return found

    async def slash(self, index: int, secret: bytes, receiver: Address) -> Receipt:
        """Take out the member whose secret two signals revealed. Anyone may.

        Args:
            index: the leaf's place.
            secret: 32 bytes, little-endian. It is public from here on.
            receiver: who gets the bounty.

        Raises:
            InputError: the contract refuses, for instance since somebody was first.
            PeerError: the node is not reached; the same call again takes it up.
        """
        number = int.from_bytes(secret, "little")
        return await signing(self._sender).transact(
            self._contract, "slash", index, number, receiver
        )

    async def request_exit(self, index: int) -> Receipt:
        """Leave: the leaf is out at once, the stake comes after the delay (`withdraw`)."""
        return await signing(self._sender).transact(self._contract, "requestExit", index)

    async def withdraw(self, index: int, *, intent: str = "") -> Receipt:
        """Have the stake sent back to who staked it, once the delay is over.

        Args:
            index: the leaf's place.
            intent: see `Sender.transact`.
        """
        return await signing(self._sender).transact(
            self._contract, "withdraw", index, intent=intent
        )

    async def _read(self, first: int, last: int) -> list[Event]:
        """Return all events in a range, asked for in parts that the node does not refuse."""
        events: list[Event] = []
        span = _SPAN
        while first <= last:
            until = min(last, first + span - 1)
            try:
                events += await self._contract.events(first, until)
            except (Refused, TooLarge):
                if span == 1:
                    raise
                span = max(1, span // 4)
                continue
            first = until + 1
        return events


def _typed(event: Event) -> MemberEvent:
    """Return an event of the contract as one of a leaf."""
    index, leaf = event.values["index"], _field(event.values["leaf"])
    if event.name == "Registered":
        return LeafAdded(index, leaf, event.values["limit"], event.log.block)
    return LeafRemoved(index, leaf, event.values["slashed"], event.log.block)


def _field(value: object) -> bytes:
    if type(value) is not int or not 0 <= value < _FIELD:
        raise PeerError("the ledger's node answered with what is no field element")
    return value.to_bytes(32, "little")
