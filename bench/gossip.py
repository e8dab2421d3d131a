"""10,000 messages in bursts over six nodes that come and go, and how fast it is beside the plain.

The peer is py-libp2p's own gossipsub, without sealing, store or proofs, on the same bursts: as it
comes, and with its caps lifted.
"""

from __future__ import annotations

import asyncio
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from measure import Report, title

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

BURSTS, EACH = 10, 1000
SHORT = 2  # bursts for the comparison, in which nobody leaves
LEAVES = {1: 3, 3: 4, 5: 5, 7: 3}  # burst -> the node that leaves in its midst
PROOFS = 64


def main() -> None:
    """Measure and write."""
    network: Any = import_module("gossip_network").Network
    plain = HERE / "plain_gossip_node.py"
    report = Report("gossip")
    title("gossip: six nodes, real sockets, one process each")
    burst = asyncio.run(network().run(BURSTS, EACH, LEAVES))
    report.add("with nodes that come and go", burst.line(), **vars(burst))
    ours = asyncio.run(network().run(SHORT, EACH, {}))
    lifted = asyncio.run(network(script=plain, flags=("--lifted",)).run(SHORT, EACH, {}))
    stock = asyncio.run(network(script=plain).run(SHORT, EACH, {}))
    for name, peer in (("caps lifted", lifted), ("as it comes", stock)):
        speed, theirs = ours.by_gossip / ours.seconds, peer.by_gossip / peer.seconds
        line = (
            f"{speed:.0f} deliveries/s, {ours.by_gossip / ours.live:.2%} delivered;"
            f" plain {theirs:.0f}/s, {peer.by_gossip / peer.live:.2%}: {speed / theirs:.2f} x"
        )
        report.add(f"sealed, beside plain py-libp2p, {name}", line, ours=speed, peer=theirs)
    proofs(report)
    print(report.write())


def proofs(report: Report) -> None:
    """Measure what the rate limit costs a relay: proofs checked together, and one by one."""
    made_up: Any = import_module("messages_network")
    from privity.anon.messages import NativeEngine
    from privity.errors import MissingDependency

    try:
        members = made_up.Members(NativeEngine())
    except MissingDependency:
        title("  the native wheel is missing, so proofs are not measured")
        return
    member = made_up.one_of(members, limit=PROOFS)
    made = time.perf_counter()
    claims: list[Any] = [member.claim(b"%d" % place) for place in range(PROOFS)]
    making = (time.perf_counter() - made) / PROOFS
    alone = _seconds(lambda: [members.engine.verify_batch([claim]) for claim in claims])
    together = _seconds(lambda: members.engine.verify_batch(claims))
    line = (
        f"{PROOFS / together:.0f}/s together, {PROOFS / alone:.0f}/s one by one:"
        f" {alone / together:.1f} x; making one takes {making * 1000:.0f} ms"
    )
    report.add("proofs of the rate limit, checked", line, together=together, alone=alone)


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
