"""A person's inbox: an address to be written to, and reading what stores kept.

A person's node listens nowhere, has a new name each time, and lives for one command.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from privity.anon.messages import (
    Bus,
    CaughtUp,
    Delivered,
    Delivery,
    InboxAddress,
    Settings,
    Subscription,
    Tentative,
    channel_named,
)
from privity.errors import InputError, MalformedError, PeerError
from privity.hazmat.kem import KemPrivateKey
from privity.home import create_private_once, home, locked, read_private, write_private

__all__ = ["Box", "Letters", "open_box"]

_PATIENCE_S = 120.0  # with one store: the others have to be asked as well


@dataclass(frozen=True)
class Letters:
    """What one reading brought.

    Attributes:
        messages: opened, and new to this person.
        missing: hashes that a store listed and no store handed out; asked for again next time.
        answered: stores that did.
        failed: why the others did not.
        more: whether a store had more than one reading takes; the next goes on from there.
    """

    messages: tuple[Delivery, ...]
    missing: tuple[bytes, ...]
    answered: int
    failed: tuple[str, ...]
    more: bool = False


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
            InputError: the record of what was read is damaged.
        """
        with locked(self._folder / "turn"):  # another process of this person may be reading
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
        more = False
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
                more = more or found.more
                if found.cursor is not None and not found.missing:
                    ends[_place(store)] = found.cursor.hex()
        if len(failed) == len(stores):
            raise PeerError(f"no store answered: {'; '.join(failed) or 'none is named'}")
        gaps = tuple(digest for digest in dict.fromkeys(missing) if not subscription.came(digest))
        answered = len(stores) - len(failed)
        return Letters(tuple(messages), gaps, answered, tuple(failed), more), ends

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
            after = bytes.fromhex(cursor)
            return await bus.catch_up(store, subscription, after, patience_s=_PATIENCE_S)
        except (PeerError, MalformedError):
            pass
    return await bus.catch_up(store, subscription, patience_s=_PATIENCE_S)


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


def _place(store: str) -> str:
    """Return a store's address without the node's name, which may be new at each start."""
    return store.partition("/p2p/")[0]
