"""One node of the gossip tests as a process of its own: told by lines of JSON what to do.

``--store`` makes it a store, ``--hybrid`` seals with X-Wing instead of X25519.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from privity.anon.messages import Bus, Channel, Delivered, MessageStore, Settings, content_topic
from privity.anon.messages.subscription import Subscription
from privity.hazmat.hpke import DEFAULT, SUITES
from privity.hazmat.kem import KemPrivateKey

SEED = b"\7" * 32  # all subscribers hold one key, so that one slot is sealed, as to one person
SUITE = SUITES[0x0020, 0x0001, 0x0001]


class Member:
    """A node that can leave and come back; what it has is kept meanwhile."""

    def __init__(self, *, keeps: bool, hybrid: bool) -> None:
        suite = DEFAULT if hybrid else SUITE
        self.channel = Channel(content_topic("privity", 1, "gossip"), suite)
        self.key: KemPrivateKey = suite.kem.load_private_key(SEED)
        self.store = MessageStore() if keeps else None
        self.seen = Delivered()
        self.got: dict[int, int] = {}
        self.bus: Bus | None = None
        self.subscription: Subscription | None = None
        self.reading: asyncio.Task[None] | None = None

    def note(self, payload: bytes) -> None:
        number = int.from_bytes(payload[:4], "big")
        self.got[number] = self.got.get(number, 0) + 1

    async def start(self) -> str:
        settings = Settings(degree=3, degree_low=2, degree_high=5)
        self.bus = await Bus(settings, store=self.store, seen=self.seen).__aenter__()
        self.subscription = self.bus.subscribe(self.channel, self.key)
        self.reading = asyncio.create_task(self._read(self.subscription))
        return self.bus.addresses[0]

    async def _read(self, subscription: Subscription) -> None:
        async for delivery in subscription:
            self.note(delivery.payload)

    async def connect(self, addresses: list[str], peers: int) -> None:
        assert self.bus is not None
        for address in addresses:
            await self.bus.connect(address)
        await self.bus.settled(peers)

    async def publish(self, first: int, count: int, size: int) -> None:
        assert self.bus is not None
        for number in range(first, first + count):
            payload = number.to_bytes(4, "big").ljust(size, b".")
            await self.bus.publish(self.channel, payload, [self.key.public_bytes])

    def report(self) -> dict[str, Any]:
        assert self.bus is not None
        twice = sum(times > 1 for times in self.got.values())
        return {"got": len(self.got), "twice": twice, "counts": vars(self.bus.counts)}

    def lacking(self, first: int, last: int) -> list[int]:
        return [number for number in range(first, last) if number not in self.got]

    async def catch_up(self, store: str) -> dict[str, Any]:
        assert self.bus is not None and self.subscription is not None
        found = await self.bus.catch_up(store, self.subscription)
        for delivery in found.delivered:
            self.note(delivery.payload)
        lost = await self.bus.unconfirmed(store)
        return {
            "listed": found.listed,
            "fetched": len(found.delivered),
            "missing": len(found.missing),
            "unconfirmed": len(lost),
        }

    async def leave(self) -> None:
        assert self.bus is not None and self.reading is not None
        await self.bus.__aexit__(None, None, None)
        await self.reading
        self.bus = None


async def main() -> None:
    member = Member(keeps="--store" in sys.argv, hybrid="--hybrid" in sys.argv)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        told = json.loads(line)
        answer = getattr(member, told.pop("do"))(**told)
        if asyncio.iscoroutine(answer):
            answer = await answer
        print(json.dumps(answer), flush=True)
    if member.bus is not None:
        await member.leave()


if __name__ == "__main__":
    asyncio.run(main())
