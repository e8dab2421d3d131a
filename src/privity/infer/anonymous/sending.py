"""Sending to an inbox: sealed, proved by the wallet's membership, and looked for at the stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from privity.anon.messages import (
    Bus,
    InboxAddress,
    NativeEngine,
    RateGate,
    RateStamp,
    Rules,
    Settings,
    WakuMessage,
    seal_payload,
)
from privity.anon.wallet import Membership
from privity.errors import InputError, MalformedError, PeerError
from privity.home import home
from privity.infer.anonymous.device_members import DeviceMembers
from privity.infer.anonymous.purse import SharedWallet, person_wallet, wallet_folder
from privity.infer.peers import NetworkPeer
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger

__all__ = ["Sender", "Sent", "membership_sender", "send"]

_TRIES = 3
_CONFIRM_S = 8.0  # for a message to reach a store
_LOOK_S = 0.25


@dataclass(frozen=True)
class Sent:
    """What became of a message.

    Attributes:
        peers: nodes that it was given to.
        stores: those of them that keep messages.
        kept: those of them that have it.
    """

    peers: int
    stores: int
    kept: int


class Sender:
    """Puts the proofs of a person's membership on their messages.

    Message ids are the wallet's, one count for requests and messages together. Admission and the
    bus have different external nullifiers, so that two counts would be as safe; one needs no
    argument.

    Args:
        wallet: has the membership, and gives message ids.
        members: the tree.
    """

    def __init__(self, wallet: SharedWallet, members: DeviceMembers) -> None:
        self._wallet, self._members = wallet, members
        self._engine = NativeEngine()
        self._rules = Rules()

    def gate(self) -> RateGate:
        """Return what keeps this person's node from relaying what its peers would refuse."""
        return RateGate(
            self._engine, lambda: self._members.roots, rules=self._rules, clock=time.time
        )

    async def stamped(self, message: WakuMessage, *, again: bool) -> WakuMessage:
        """Return a message with its proof; uses up one message of this epoch.

        Raises:
            InputError: there is no membership.
            AdmissionError: check ``rate``: none is left in this epoch.
            PeerError: the ledger cannot be read.
        """
        member, index = self._member()
        await self._members.refresh(now=again)
        await self._members.wait_until_settled(index)
        place = await self._members.place(index, member.limit)
        stamp = RateStamp(
            self._engine,
            member.secret,
            member.limit,
            place=lambda: (place.path, place.index),
            take=self._take,
            rules=self._rules,
            clock=time.time,
        )
        return await asyncio.to_thread(stamp.stamp, message)

    def _member(self) -> tuple[Membership, int]:
        member = self._wallet.membership
        if member is None or member.index is None:
            raise InputError(
                "you are not a member, and the bus relays messages of members",
                hint="`privity wallet top-up` stakes for you; --no-proof is for a closed bus",
            )
        return member, member.index

    def _take(self, epoch: int) -> int:
        with self._wallet.turn() as wallet:
            return wallet.take_message_id(epoch)


@asynccontextmanager
async def membership_sender(peer: NetworkPeer) -> AsyncIterator[Sender]:
    """Open the person's membership of the configured ledger.

    Raises:
        InputError: the contracts' file cannot be read, or a setting is wrong.
        MissingDependency: the native wheel, or a library of the ledger, is not installed.
    """
    addresses = Addresses.from_file(home() / peer.contracts)
    name = addresses.deployment
    folder = wallet_folder(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with Ledger(
        peer.ledger, addresses, proxy=peer.proxy or None, confirmations=peer.confirmations
    ) as ledger:
        members = DeviceMembers(
            ledger.members, folder / "members", settle_s=ledger.addresses.settle_s
        )
        yield Sender(person_wallet(name), members)


async def send(
    address: InboxAddress, payload: bytes, peers: Sequence[str], sender: Sender | None
) -> Sent:
    """Seal a payload, give it to peers, and look whether one of their stores has it.

    What no store has is proved and sent again, three times in all, each a message of the minute:
    the seal is the same, so that its reader gets it once. A newcomer's waits until their
    membership has settled.

    Args:
        address: of the recipient.
        payload: what they get.
        peers: nodes of the bus.
        sender: proves membership; None on a bus that wants no proofs.

    Raises:
        OversizeError: the payload is too long.
        PeerError: no peer was reached, or none of the stores among them has the message.
        AdmissionError: check ``rate``: no message is left in this epoch.
    """
    channel = address.channel
    sealed = await asyncio.to_thread(seal_payload, channel, payload, [address.key])
    message = WakuMessage(sealed, channel.topic)
    async with AsyncExitStack() as stack:
        if sender is not None:
            message = await sender.stamped(message, again=False)
        gate = None if sender is None else sender.gate()
        bus = await stack.enter_async_context(Bus(Settings(listen=()), gate=gate))
        reached = await _connected(bus, peers)
        await bus.settled(1)
        for attempt in range(_TRIES if sender else 1):
            if attempt and sender is not None:
                message = await sender.stamped(message, again=True)
            digest = await bus.send(message if sender else message.timed(time.time()))
            stores, kept = await _confirmed(bus, reached, digest)
            if kept or not stores:
                return Sent(len(reached), stores, kept)
    raise PeerError(
        "no store has the message, so it is lost to who is away",
        hint="is your membership too new for the bus, or a proof asked for? Try again in a minute",
    )


async def _connected(bus: Bus, peers: Sequence[str]) -> list[str]:
    """Return those of the peers that were reached."""
    reached = []
    why = "none is named"
    for peer in peers:
        try:
            await bus.connect(peer)
            reached.append(peer)
        except PeerError as error:
            why = error.message
    if not reached:
        raise PeerError(f"no node of the bus was reached: {why}")
    return reached


async def _confirmed(bus: Bus, peers: Sequence[str], digest: bytes) -> tuple[int, int]:
    """Wait until each store among the peers has a message; return how many there are, and do."""
    waiting, kept = list(peers), 0
    stores = len(waiting)
    clock = asyncio.get_running_loop().time
    end = clock() + _CONFIRM_S
    while waiting and clock() < end:
        for peer in tuple(waiting):
            try:
                has = await bus.has(peer, digest)
            except (PeerError, MalformedError):
                waiting.remove(peer)
                stores -= 1  # it keeps nothing, or went
                continue
            if has:
                waiting.remove(peer)
                kept += 1
        if waiting:
            await asyncio.sleep(_LOOK_S)
    return stores, kept
