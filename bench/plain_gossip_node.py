"""A node of py-libp2p's gossipsub as it comes, for bench/gossip.py: nothing sealed, no store.

``--lifted`` takes off its cap of 10 messages a second from each peer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from privity.anon.messages.stack import (
    ID,
    GossipSub,
    Multiaddr,
    Pubsub,
    background,
    info_from_p2p_addr,
    new_ed25519,
    new_host,
    trio,
)

TOPIC = "/waku/2/rs/1789/0"
PROTOCOL = "/meshsub/1.1.0"
LIFTED = "--lifted" in sys.argv


class Node:
    """Answers the same lines as tests/gossip_node.py, but for leaving and stores."""

    def __init__(self) -> None:
        self.host = new_host(key_pair=new_ed25519())
        router = GossipSub(
            [PROTOCOL], 3, 2, 5, heartbeat_interval=1, spam_protection_enabled=not LIFTED
        )
        self.pubsub = Pubsub(self.host, router, strict_signing=False)
        self.got: set[int] = set()

    async def start(self) -> str:
        """Return where it listens."""
        return str(self.host.get_addrs()[0])

    async def connect(self, addresses: list[str], peers: int) -> None:
        """Connect to all, and wait until they subscribe."""
        for address in addresses:
            info = info_from_p2p_addr(Multiaddr(address))
            await self.host.connect(info)
            await self.pubsub.wait_for_subscription(ID(info.peer_id.to_bytes()), TOPIC, 20)

    async def publish(self, first: int, count: int, size: int) -> None:
        """Publish as fast as it takes them."""
        for number in range(first, first + count):
            await self.pubsub.publish(TOPIC, number.to_bytes(4, "big").ljust(size, b"."))
            await trio.sleep(0)

    async def report(self) -> dict[str, Any]:
        """Return how many came."""
        return {"got": len(self.got)}

    async def lacking(self, first: int, last: int) -> list[int]:
        """Return which did not come."""
        return [number for number in range(first, last) if number not in self.got]

    async def read(self) -> None:
        """Take what comes."""
        subscription = await self.pubsub.subscribe(TOPIC)
        while True:
            self.got.add(int.from_bytes((await subscription.get()).data[:4], "big"))


async def main() -> None:
    """Run until the standard input ends."""
    node = Node()
    listen = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    async with node.host.run(listen), background(node.pubsub.router), background(node.pubsub):
        await node.pubsub.wait_until_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.read)
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                told = json.loads(line)
                answer = await getattr(node, told.pop("do"))(**told)
                print(json.dumps(answer), flush=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
