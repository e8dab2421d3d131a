"""Floor 5: a node of the message bus as a process: it relays, and may keep and limit messages.

Whoever runs one sees topics, sizes, times, and the addresses of its direct peers. What it keeps it
cannot read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privity.anon.messages import (
    Bus,
    MessageStore,
    Settings,
    channel_named,
    check_address,
)
from privity.errors import InputError, PeerError
from privity.identity.keystore import load_or_create_key
from privity.node.beside import run_beside
from privity.node.listen import end_with_stdin
from privity.node.watched_members import LedgerSettings

__all__ = ["BusSettings", "serve"]

logger = logging.getLogger("privity.messages")

_AGAIN_S = 5.0  # between two looks at whether a peer is still there
_WATCH_S = 1.0


@dataclass(frozen=True)
class BusSettings:
    """How to run a node of the bus.

    Attributes:
        listen: multiaddresses to listen on; port 0 takes a free one.
        peers: multiaddresses of nodes to stay connected to.
        store: the file that keeps messages for those who are away; None keeps none.
        channels: names of the channels to keep messages of; all where there are none.
        key: the file with the key that the node's name is made from, made if there is none; None
            for a new name at each start.
        ledger: whose members may send; without one there is no limit on what anybody sends.
        lifeline: end when standard input ends.
    """

    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    peers: tuple[str, ...] = ()
    store: Path | None = None
    channels: tuple[str, ...] = ()
    key: Path | None = None
    ledger: LedgerSettings | None = None
    lifeline: bool = False

    def __post_init__(self) -> None:
        if self.channels and self.store is None:
            raise InputError("channels say what a store keeps, and none is given")


def serve(settings: BusSettings, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Run a node in this process until it is told to end. Blocks; run it in the main thread.

    Args:
        settings: how to run it.
        on_ready: told ``{"ready", "url", "addresses", "pid"}`` once it listens; ``url`` is the
            first of the multiaddresses.

    Raises:
        InputError: a setting cannot be had.
        PeerError: it cannot listen, or the ledger cannot be read at the start.
        MissingDependency: py-libp2p, the native wheel or a library of the ledger is not installed.
    """
    for address in settings.listen:
        check_address(address, peer=False)
    for address in settings.peers:
        check_address(address, peer=True)
    if settings.lifeline:
        end_with_stdin()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        told = asyncio.run(_until_told(settings, on_ready))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    signal.raise_signal(told)  # ended in order; how it leaves is for whoever set the handler


async def _until_told(settings: BusSettings, on_ready: Callable[[dict[str, Any]], None]) -> int:
    """Run the node until a signal, and return its number."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def tell(number: int) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell, number)
    running = asyncio.create_task(_run(settings, on_ready))
    await asyncio.wait((running, told), return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running  # raises why it ended by itself
    return await told


async def _run(settings: BusSettings, on_ready: Callable[[dict[str, Any]], None]) -> None:
    async with AsyncExitStack() as stack:
        gate = None
        if settings.ledger is not None:
            from privity.node.bus_gate import member_gate  # what a ledger needs takes a second

            gate = await member_gate(stack, settings.ledger)
        else:
            logger.warning("no ledger is given, so anybody may send any number of messages")
        bus = Bus(_node(settings), gate=gate, store=_store(settings, stack))
        await stack.enter_async_context(bus)
        for place, peer in enumerate(settings.peers, 1):
            run_beside(stack, _stay_connected(bus, place, peer))
        addresses = list(bus.addresses)
        ready = {"ready": True, "url": addresses[0], "addresses": addresses}
        on_ready({**ready, "pid": os.getpid()})
        while bus.running:
            await asyncio.sleep(_WATCH_S)
        raise PeerError("the node ended by itself; what it said is above")


def _node(settings: BusSettings) -> Settings:
    seed = None if settings.key is None else load_or_create_key(settings.key).unsafe_seed()
    return Settings(listen=settings.listen, seed=seed)


def _store(settings: BusSettings, stack: AsyncExitStack) -> MessageStore | None:
    if settings.store is None:
        return None
    topics = [channel_named(name).topic for name in settings.channels]
    store = MessageStore(settings.store, topics=topics)
    stack.callback(store.close)
    return store


async def _stay_connected(bus: Bus, place: int, peer: str) -> None:
    """Connect to a peer, and again whenever it went; say in the log when that changes."""
    reached: bool | None = None
    while True:
        try:
            await bus.connect(peer)
        except PeerError as error:
            if reached is not False:
                logger.warning("peer %d of the command line: %s", place, error.message)
            reached = False
        else:
            if reached is False:
                logger.info("peer %d of the command line is there again", place)
            reached = True
        await asyncio.sleep(_AGAIN_S)
