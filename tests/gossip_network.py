"""Six nodes as processes, bursts, and nodes that leave and come back: what test and bench run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NODE = Path(__file__).parent / "gossip_node.py"
_QUIET_S = 2.0  # without a further message, after which a burst counts as over


class Process:
    """A node in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, script: Path, *flags: str) -> Process:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(script),
                *flags,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ,
                limit=1 << 24,
            )
        )

    async def do(self, what: str, **rest: object) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps({"do": what, **rest}).encode() + b"\n")
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a node ended when it was told to {what}")
        return json.loads(line)

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 30)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@dataclass
class Outcome:
    """What became of the messages.

    Attributes:
        published: how many there were.
        live: pairs of message and subscriber that was there from its burst's begin to its end.
        by_gossip: of those pairs, the ones that gossip delivered.
        fetched: messages that nodes fetched from the store, all nodes together.
        reported: messages that a store listed and did not hand out, or that a sender was told the
            store does not have.
        twice: messages that were delivered more than once to one subscriber.
        silently: pairs that neither gossip nor store delivered and nothing reported.
        seconds: spent on bursts, without the waits for quiet.
        counts: of every node.
    """

    published: int = 0
    live: int = 0
    by_gossip: int = 0
    fetched: int = 0
    reported: int = 0
    twice: int = 0
    silently: int = 0
    seconds: float = 0.0
    counts: list[dict[str, int]] = field(default_factory=list)

    def line(self) -> str:
        """Return the figures as one line."""
        return (
            f"{self.published} messages: {self.by_gossip} of {self.live} to live subscribers by"
            f" gossip, {self.fetched} fetched from the store, {self.reported} reported missing,"
            f" {self.silently} lost silently, {self.twice} twice"
        )


class Network:
    """Six nodes; the first keeps a store and stays. The rest of them come and go."""

    def __init__(
        self,
        *,
        size: int = 6,
        payload: int = 100,
        flags: tuple[str, ...] = (),
        script: Path = NODE,
    ) -> None:
        self.size, self.payload, self.flags, self.script = size, payload, flags, script
        self.nodes: list[Process] = []
        self.addresses: dict[int, str] = {}
        self.outcome = Outcome()

    async def run(self, bursts: int, each: int, leaves: dict[int, int]) -> Outcome:
        """Publish ``bursts`` times ``each`` messages from all nodes at once.

        Args:
            bursts: how many.
            each: messages of one, over all nodes.
            leaves: burst -> node that leaves in the midst of it, and comes back two bursts later.
        """
        async with AsyncExitStack() as stack:
            for place in range(self.size):
                flags = (*self.flags, "--store") if place == 0 else self.flags
                self.nodes.append(await Process.start(self.script, *flags))
                stack.push_async_callback(self.nodes[-1].end)
            for place in range(self.size):
                await self.join(place)
            for burst in range(bursts):
                back = leaves.get(burst - 2)
                if back is not None:
                    await self.join(back)
                await self.burst(each, leaves.get(burst))
            for node in [leaves[burst] for burst in range(bursts - 2, bursts) if burst in leaves]:
                await self.join(node)
            if self.script == NODE:
                await self.settle_up()
        return self.outcome

    async def join(self, place: int) -> None:
        """Start a node, and connect it to those that are there."""
        address = await self.nodes[place].do("start")
        others = list(self.addresses.values())
        self.addresses[place] = address
        if others:
            await self.nodes[place].do("connect", addresses=others, peers=min(3, len(others)))

    async def burst(self, each: int, leaver: int | None) -> None:
        """Publish at once from every node that stays, and wait until it is quiet."""
        stay = [place for place in self.addresses if place != leaver]
        first = self.outcome.published
        share, rest = divmod(each, len(stay))
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            if leaver is not None:
                tasks.create_task(self._leave(leaver))
            start = first
            for place in stay:
                count = share + (place == stay[0]) * rest
                command = {"first": start, "count": count, "size": self.payload}
                tasks.create_task(self.nodes[place].do("publish", **command))
                start += count
        self.outcome.published = start
        await self._quiet(stay, began)
        for place in stay:
            lacking = await self.nodes[place].do("lacking", first=first, last=start)
            self.outcome.live += start - first
            self.outcome.by_gossip += start - first - len(lacking)

    async def _leave(self, place: int) -> None:
        await asyncio.sleep(0.3)
        del self.addresses[place]
        await self.nodes[place].do("leave")

    async def _quiet(self, stay: list[int], began: float) -> None:
        """Wait until every node has all there is, or nothing comes any more."""
        clock = asyncio.get_running_loop().time
        last, total, full = clock(), -1, self.outcome.published
        while True:
            got = [(await self.nodes[place].do("report"))["got"] for place in stay]
            if sum(got) != total:
                last, total = clock(), sum(got)
            if min(got) >= full or clock() - last > _QUIET_S:
                self.outcome.seconds += last - began
                return
            await asyncio.sleep(0.05)

    async def settle_up(self) -> None:
        """Let every node compare with the store; count what is left."""
        store = self.addresses[0]
        known: list[set[int]] = []
        for place, node in enumerate(self.nodes):
            if place:
                found = await node.do("catch_up", store=store)
                self.outcome.fetched += found["fetched"]
                self.outcome.reported += found["missing"] + found["unconfirmed"]
            told = await node.do("report")
            self.outcome.twice += told["twice"]
            self.outcome.counts.append(told["counts"])
            lacking = await node.do("lacking", first=0, last=self.outcome.published)
            known.append(set(lacking))
        self.outcome.silently = max(0, sum(map(len, known)) - self.outcome.reported)
