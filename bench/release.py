"""How soon a sealed model answers once its key is released, beside loading the plain file.

Ours: from the moment the broker has released the key, through opening the artefact in locked memory
(every chunk authenticated, the root proved) and loading it, to the first token. The peer is the
same engine on the plain file, from its start to its first token. In turn, in one run; both files
lie in the page cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import httpx

from measure import Report, title
from privity.attest import DevQuoter, DevRoot, Trust
from privity.attest.grant import Grant, Purpose
from privity.attest.manifest import ReferenceValue
from privity.identity.keys import SigningKey
from privity.identity.timestamps import utc_now
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine
from privity.infer.engines.weights import find_default, weights_at
from privity.node.broker import Broker
from privity.node.broker_app import BrokerApp
from privity.node.key_client import KeyClient, Released
from privity.node.sealed_model import SealedModel
from privity.vault import Meta, Sealed, seal_stream

GOAL = 1.15
MEASUREMENT = "sha256:" + "0" * 64


class TimedClient(KeyClient):
    """A client that notes when it got the key."""

    released_at = 0.0

    async def obtain(self, artefact: str, purpose: Purpose) -> Released:
        """Ask, and note when the answer came."""
        released = await super().obtain(artefact, purpose)
        self.released_at = time.perf_counter()
        return released


class World:
    """An owner, a broker and a sealed copy of the bundled model."""

    def __init__(self, folder: Path) -> None:
        self.plain, self.path = find_default().path, folder / "model.sealed"
        self.root, self.owner = DevRoot.generate(), SigningKey.generate()
        with self.plain.open("rb", buffering=0) as source, self.path.open("wb") as sink:
            self.sealed = seal_stream(source, sink, meta=Meta("m.gguf", "model"), recipients=())
        trust = Trust(dev_roots=(self.root.did,))
        broker = Broker(folder / "broker", owners=(self.owner.did,), trust=trust)
        broker.add(self._grant(self.sealed).sign(self.owner), self.sealed.key.unsafe_bytes())
        self.app = BrokerApp(broker, [self.quoter()])

    def quoter(self) -> DevQuoter:
        """Return what makes the enclave's evidence."""
        return DevQuoter(self.root, now=utc_now(), measurement=MEASUREMENT)

    def _grant(self, sealed: Sealed) -> Grant:
        now = utc_now()
        return Grant(
            owner=self.owner.did,
            artefact=sealed.id,
            root=sealed.root,
            name="model",
            purpose=Purpose.SERVE,
            issued=now,
            expires=now + timedelta(hours=1),
            measurements=(ReferenceValue("dev", {"measurement": MEASUREMENT}),),
            unsafe_dev=True,
        )

    async def plain_run(self) -> float:
        """Return seconds from starting the engine on the plain file to its first token."""
        began = time.perf_counter()
        return await first_token(EmbeddedEngine(weights_at(self.plain))) - began

    async def sealed_run(self) -> tuple[float, float]:
        """Return seconds to the first token: from the key's release, and from the very start."""
        client = TimedClient(
            "http://broker",
            [self.quoter()],
            receipts=SigningKey.generate().did,
            transport=httpx.ASGITransport(self.app),
        )
        began = time.perf_counter()
        at = await first_token(SealedModel(str(self.path), client))
        return at - client.released_at, at - began


async def first_token(engine: Engine) -> float:
    """Start an engine, ask it, and return when its first token came."""
    await engine.start()
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "max_tokens": 2}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=120) as http:
            url = engine.base_url + "/v1/chat/completions"
            request = http.stream("POST", url, json=body, headers=dict(engine.headers))
            async with request as answer:
                async for line in answer.aiter_lines():
                    if '"content":"' in line:
                        return time.perf_counter()
        raise RuntimeError("the engine said nothing")
    finally:
        await engine.aclose()


async def measure(report: Report, rounds: int) -> None:
    """Time pairs."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRIVITY_HOME"] = folder
        world = World(Path(folder))
        await world.plain_run()
        await world.sealed_run()
        plain, ours, whole = [], [], []
        for _ in range(rounds):
            plain.append(await world.plain_run())
            released, all_of_it = await world.sealed_run()
            ours.append(released)
            whole.append(all_of_it)
    ratio = statistics.median(one / other for one, other in zip(ours, plain, strict=True))
    mine, peer = statistics.median(ours), statistics.median(plain)
    report.add(
        "key released to first token, bundled model",
        f"{mine:>6.2f} s   the plain file {peer:.2f} s   ratio {ratio:.2f} (goal <= {GOAL})",
        seconds=mine,
        peer="the same engine on the plain file",
        peer_seconds=peer,
        ratio=round(ratio, 3),
        goal=GOAL,
    )
    report.add(
        "of it, asking and attesting before that",
        f"{statistics.median(whole) - mine:>6.3f} s",
        seconds=statistics.median(whole) - mine,
    )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="pairs")
    options = parser.parse_args()
    title("Key release to first token")
    report = Report("release")
    asyncio.run(measure(report, options.rounds))
    report.write()


if __name__ == "__main__":
    main()
