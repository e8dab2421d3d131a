"""Records signals and begins and settles spends without end; prints each once it was answered."""

from __future__ import annotations

import asyncio
import sys

from privity.anon.stores import open_store


async def main(url: str, tag: str) -> None:
    async with open_store(url) as store:

        async def writer(lane: int) -> None:
            number = lane
            while True:
                key = tag.encode().ljust(24, b".") + number.to_bytes(8, "big")
                await store.record("crash", 1, key, key, key)  # type: ignore[arg-type]
                print("signal", key.hex(), flush=True)
                await store.begin(key, b"f", 9, lease_s=1e9, now=0)
                print("begun", key.hex(), flush=True)
                await store.settle(key, b"f", b"refund", 4)
                print("settled", key.hex(), flush=True)
                number += 8

        await asyncio.gather(*(writer(lane) for lane in range(8)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
