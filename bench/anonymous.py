"""What hiding who asks costs: the first token by the anonymous route, beside the confidential one.

Both are asked through a daemon of `privity up`, in turn, on this machine, with one llama.cpp server
and the bundled SmolLM2-135M behind both enclaves. The confidential way has one relay; the anonymous
one has two relays, a gateway that admits by proof, and an enclave that takes payment, by a ledger
that runs here too. What can be done ahead of need was done: between two questions of a side is a
pause, in which a person would be typing.

Then the parts of it, each alone in this process: what a message changes of the proof, the number it
uses up, the spend, the second seal, and at the other ends admission and the spend's verification.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from measure import Report, child, title
from privity.anon.admission import Admission
from privity.anon.credits import Issuer, IssuerKey
from privity.anon.desk import CreditDesk
from privity.anon.epochs import EPOCH_S
from privity.anon.membership import MemberTree, RateIdentity
from privity.anon.rln import Prover
from privity.anon.stores import open_store
from privity.infer.anonymous.purse import SharedWallet
from privity.seal.key_config import GatewayKeys, preferred
from privity.seal.ohttp import encapsulate_request
from roles import CLI, daemon, sealed_path, stream_answer

HERE = Path(__file__).parent
LIMIT = 1024
CREDITS = 100_000
TOKENS = 8
SHAPE = "[seal]\ncadence_ms = 0\n"  # what a tick would add to both is not what is measured
SCOPE = "0x" + "11" * 20
SEALED_BYTES = 4096


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a person's home."""
    return {**os.environ, "PRIVITY_HOME": str(home)}


@contextmanager
def network(home: Path, engine: str) -> Iterator[None]:
    """Run a devnet with everything anonymous, and make its person a member with credits."""
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(SHAPE)
    process = subprocess.Popen(
        [*CLI, "devnet", "--anonymous", "--json", "--engine", engine],
        stdout=subprocess.PIPE,
        env=environment(home),
    )
    try:
        ready = process.stdout.readline() if process.stdout is not None else b""
        if not ready or "error" in json.loads(ready):
            raise RuntimeError("the devnet did not start")
        top_up = [*CLI, "wallet", "top-up", str(CREDITS), "--limit", str(LIMIT), "--policy", "dev"]
        subprocess.run([*top_up, "--json"], check=True, capture_output=True, env=environment(home))
        yield
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def confidential(stack: ExitStack, home: Path, engine: str) -> httpx.Client:
    """Start an enclave that takes no payment and one relay, and return a client of their daemon."""
    home.mkdir(mode=0o700)
    path = stack.enter_context(sealed_path(home, engine))
    (home / "config.toml").write_text(path.trust + SHAPE)
    via = ["--enclave", path.enclave, "--relay", path.relay]
    return stack.enter_context(daemon(home, *via))


def whole(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds to the first token of each side's answers, in turn."""
    firsts: dict[str, list[float]] = {"confidential": [], "anonymous": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(child(str(HERE / "llama_server.py")))
        stack.enter_context(network(folder / "anonymous", engine))
        clients = {
            "confidential": confidential(stack, folder / "confidential", engine),
            "anonymous": stack.enter_context(daemon(folder / "anonymous", "--route", "anonymous")),
        }
        for number in range(-2, options.runs):  # the first two warm both sides up
            for name, client in clients.items():
                time.sleep(options.pause)
                one = stream_answer(client, number, TOKENS)
                if number >= 0:
                    firsts[name].append(one.first)
    return firsts


class OneRoot:
    """Members whose root does not change."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def knows(self, root: bytes) -> bool:
        """Tell whether it is this one."""
        return root == self._root


async def parts(runs: int) -> dict[str, list[float]]:
    """Return the seconds of each part, alone, warm."""
    times: dict[str, list[float]] = {}

    async def timed(name: str, work: Callable[[], Awaitable[object]]) -> object:
        began = time.perf_counter()
        found = await work()
        times.setdefault(name, []).append(time.perf_counter() - began)
        return found

    identity, tree = RateIdentity.generate(), MemberTree()
    place = tree.place(tree.append(identity.leaf(LIMIT)), LIMIT)
    prover = Prover(identity, SCOPE)
    prover.warm(place)
    issuer = Issuer(IssuerKey.generate(), "bench")
    config = preferred(GatewayKeys.generate().configs)
    epoch = int(time.time() // EPOCH_S)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wallet = SharedWallet(folder / "wallet", os.urandom(32))
        fill(wallet, identity, issuer)
        purse = wallet.purse(issuer.terms)
        async with open_store(f"sqlite:{folder / 'spent.db'}") as store:
            admission = Admission(SCOPE, OneRoot(tree.root), store, clock=lambda: epoch * EPOCH_S)
            desk = CreditDesk(issuer, store)
            for _ in range(runs):
                body = os.urandom(SEALED_BYTES)
                digest = hashlib.sha256(body).digest()
                number = await timed(
                    "message number, durable", lambda: wallet.take_message_id(epoch)
                )
                proof = await timed(
                    "proof, warm",
                    lambda number=number, digest=digest: asyncio.to_thread(  # type: ignore[misc]
                        prover.prove, place, epoch=epoch, message_id=number, digest=digest
                    ),
                )
                header = proof.to_header()  # type: ignore[attr-defined]
                spend = await timed("spend, in the journal", lambda: purse.spend(20))
                await timed(
                    "second seal",
                    lambda body=body: asyncio.to_thread(  # type: ignore[misc]
                        encapsulate_request, config, body
                    ),
                )
                await timed(
                    "gateway: admission",
                    lambda header=header, digest=digest: admission.admit(  # type: ignore[misc]
                        header, digest
                    ),
                )
                data = spend.spend  # type: ignore[attr-defined]
                job = await timed(
                    "enclave: spend verified, in the store",
                    lambda data=data: desk.begin(data, least=20),  # type: ignore[misc]
                )
                refund = await job.settle(5)  # type: ignore[attr-defined]
                await purse.refunded(spend.id, refund)  # type: ignore[attr-defined]
            admission.close()
    return times


def fill(wallet: SharedWallet, identity: RateIdentity, issuer: Issuer) -> None:
    """Make the wallet a member's, with credits."""
    with wallet.turn(issuer.terms) as mine:
        mine.join(bytes(identity.unsafe_secret()), LIMIT)
        mine.joined(0)
        name, request = mine.buy(CREDITS)
        mine.bought(name, issuer.issue(request, CREDITS), {})


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=60, help="of each side")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds before each question")
    options = parser.parse_args()
    title("Time to first token by the anonymous route, beside the confidential one")
    report = Report("anonymous")
    firsts = whole(options)
    for name, pick in (("p50", 0.5), ("p95", 0.95)):
        ours, peer = (at(firsts[side], pick) for side in ("anonymous", "confidential"))
        report.add(
            f"time to first token, {name}",
            f"{ours * 1e3:>6.1f} ms   confidential {peer * 1e3:>6.1f} ms   "
            f"added {(ours - peer) * 1e3:>+6.1f} ms   ratio {ours / peer:.2f}",
            seconds=ours,
            peer="the confidential route through one relay, SmolLM2-135M by llama.cpp behind both",
            peer_seconds=peer,
            added_seconds=ours - peer,
            ratio=round(ours / peer, 3),
            runs=len(firsts["anonymous"]),
        )
    for what, times in asyncio.run(parts(options.runs)).items():
        p50, p95 = at(times, 0.5), at(times, 0.95)
        line = f"{p50 * 1e3:>6.2f} ms   p95 {p95 * 1e3:>6.2f} ms"
        report.add(f"of it: {what}", line, seconds=p50, p95_seconds=p95)
    report.write()


def at(values: list[float], share: float) -> float:
    """Return a quantile."""
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    main()
