"""A person's messages: an address to be written to, sending, and reading what a store kept.

A person's node listens nowhere, has a new name each time, and lives for one command.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from privity.anon.messages import (
    Bus,
    CaughtUp,
    Delivered,
    Delivery,
    InboxAddress,
    NativeEngine,
    RateGate,
    RateStamp,
    Rules,
    Settings,
    Subscription,
    Tentative,
    WakuMessage,
    channel_named,
    seal_payload,
)
from privity.anon.wallet import Membership
from privity.errors import InputError, MalformedError, PeerError
from privity.hazmat.kem import KemPrivateKey
from privity.home import create_private_once, home, read_private, write_private
from privity.infer.anonymous.members import DeviceMembers
from privity.infer.anonymous.network import deployment
from privity.infer.anonymous.purse import SharedWallet, person_wallet, wallet_folder
from privity.infer.peers import NetworkPeer
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger

__all__ = ["Box", "Letters", "Sender", "Sent", "membership_sender", "open_box", "send"]

_TRIES = 3
_CONFIRM_S = 8.0  # for a message to reach a store
_LOOK_S = 0.25


@dataclass(frozen=True)
class Letters:
    """What one reading brought.

    Attributes:
        messages: opened, and new to this person.
        missing: hashes that a store listed and no store handed out; asked for again next time.
        answered: stores that did.
        failed: why the others did not.
    """

    messages: tuple[Delivery, ...]
    missing: tuple[bytes, ...]
    answered: int
    failed: tuple[str, ...]


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


class Box:
    """The inbox of one channel. `open_box` makes it.

    Args:
        folder: where its key and what was read are kept.
        name: of the channel.
        key: what messages are sealed to.
    """

    def __init__(self, folder: Path, name: str, key: KemPrivateKey) -> None:
        self._folder, self._key = folder, key
        self.address = InboxAddress(name, key.public_bytes)

    @asynccontextmanager
    async def reading(self, stores: Sequence[str]) -> AsyncIterator[Letters]:
        """Ask stores for what is new; it counts as read when the block ends without an error.

        Guarantees:
            What was shown is not shown again, and what was not is
            (tests/unit/test_inbox.py::test_what_was_not_shown_comes_again).

        Raises:
            PeerError: no store answered.
        """
        with _turn(self._folder):
            kept = Delivered(self._folder / "read.db")
            try:
                tentative = Tentative(kept)
                cursors = self._cursors()
                letters, ends = await self._catch_up(stores, tentative, cursors)
                tentative_ends = {**cursors, **ends}
                try:
                    yield letters
                    tentative.commit()
                finally:
                    tentative.close()
                write_private(self._folder / "cursors.json", json.dumps(tentative_ends).encode())
            finally:
                kept.close()

    async def _catch_up(
        self, stores: Sequence[str], seen: Delivered, cursors: dict[str, str]
    ) -> tuple[Letters, dict[str, str]]:
        messages: list[Delivery] = []
        missing: list[bytes] = []
        failed: list[str] = []
        ends: dict[str, str] = {}
        # Of its own, and not the bus's: what gossip brings meanwhile a store brings as well.
        subscription = Subscription(self.address.channel, self._key, seen)
        async with Bus(Settings(listen=())) as bus:
            for store in stores:
                try:
                    found = await _asked(bus, store, subscription, cursors.get(_place(store)))
                except (PeerError, MalformedError) as error:
                    failed.append(error.message)
                    continue
                messages += found.delivered
                missing += found.missing
                if found.cursor is not None and not found.missing:
                    ends[_place(store)] = found.cursor.hex()
        if len(failed) == len(stores):
            raise PeerError(f"no store answered: {'; '.join(failed) or 'none is named'}")
        gaps = tuple(digest for digest in dict.fromkeys(missing) if not subscription.came(digest))
        return Letters(tuple(messages), gaps, len(stores) - len(failed), tuple(failed)), ends

    def _cursors(self) -> dict[str, str]:
        """Return where reading ended at each store; what is damaged only costs time."""
        try:
            found = json.loads((self._folder / "cursors.json").read_bytes())
            return {str(place): bytes.fromhex(end).hex() for place, end in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


async def _asked(bus: Bus, store: str, subscription: Subscription, cursor: str | None) -> CaughtUp:
    """Catch up from a cursor, or from the beginning where the store no longer has it."""
    if cursor is not None:
        try:
            return await bus.catch_up(store, subscription, bytes.fromhex(cursor))
        except (PeerError, MalformedError):
            pass
    return await bus.catch_up(store, subscription)


def open_box(name: str) -> Box:
    """Return this person's inbox of a channel, its key made on first use.

    Raises:
        InputError: the channel's name is none, or the key's file cannot be used.
    """
    channel = channel_named(name)
    folder = home() / "inbox" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "key"
    if not path.exists():
        create_private_once(path, secrets.token_bytes(channel.suite.kem.n_sk).hex().encode())
    try:
        secret = bytes.fromhex(read_private(path).decode("ascii"))
    except ValueError:
        raise InputError(f"the key in {path} is damaged") from None
    return Box(folder, name, channel.suite.kem.load_private_key(secret))


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
        member = self._member()
        await self._members.refresh(now=again)
        place = await self._members.place(int(member.index or 0), member.limit)
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

    def _member(self) -> Membership:
        member = self._wallet.membership
        if member is None or member.index is None:
            raise InputError(
                "you are not a member, and the bus relays messages of members",
                hint="`privity wallet top-up` stakes for you; --no-proof is for a closed bus",
            )
        return member

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
    name = deployment(addresses)
    folder = wallet_folder(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with Ledger(
        peer.ledger, addresses, proxy=peer.proxy or None, confirmations=peer.confirmations
    ) as ledger:
        members = DeviceMembers(ledger.members, folder / "members")
        yield Sender(person_wallet(name), members)


async def send(
    address: InboxAddress, payload: bytes, peers: Sequence[str], sender: Sender | None
) -> Sent:
    """Seal a payload, give it to peers, and look whether one of their stores has it.

    What no store has is proved and sent once more: the seal is the same, so that its reader gets it
    once.

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
            digest = await bus.send(message if sender else _timed(message))
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


def _timed(message: WakuMessage) -> WakuMessage:
    """Return a message without proof with its minute, which is all that stores need to sort."""
    minute = int(time.time() // 60) * 60
    return WakuMessage(message.payload, message.content_topic, timestamp=minute * 1_000_000_000)


def _place(store: str) -> str:
    """Return a store's address without the node's name, which may be new at each start."""
    return store.partition("/p2p/")[0]


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait for another process of this person that reads."""
    turn = os.open(folder / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
    finally:
        os.close(turn)
