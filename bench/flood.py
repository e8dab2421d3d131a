"""A flood at the gateway: what admission costs, and what bad requests do to good ones beside them.

Real processes on loopback: a trivial upstream, and before it the gateway, with admission (SQLite
store) or without: that is the peer, in the same run. A steady stream of good requests, their proofs
made in advance, comes from one relay's address, the flood from another's, each at its own rate; in
one case both are clients of one relay, at two addresses. Calm and flood alternate before one and
the same gateway, since two runs of one gateway differ by as much as is to be shown; where a relay
counts what each address sends, each flood comes from one that sent none before.
The gateway has one core, upstream and load generators the other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import httptools
import psutil

from flood_gateway import EPOCH_S, RELAYED, SCOPE
from measure import Report, child, title
from privity.anon.admission import Admission
from privity.anon.epochs import Epochs
from privity.anon.field import Field, field_from_int
from privity.anon.membership import MemberTree, RateIdentity
from privity.anon.rln import Proof, Prover
from privity.anon.stores import Recorded, Seen
from privity.errors import AdmissionError
from privity.identity.multibase import encode_base64url
from privity.seal.gateway import GATEWAY_PATH

HERE = Path(__file__).parent
BODY = 1024  # bytes of a sealed request
PACE_S = 0.05  # between two good requests, on average
WARM = 20  # good requests before anything is measured
ROUNDS = 5  # of calm and flood, in turn
LEAD_S = 0.5  # of flood before the first good request beside it
GOAL = 0.1  # by how much a flood may slow good requests


@dataclass(frozen=True)
class Good:
    """A member's requests, proved in advance."""

    root: Field
    proofs: tuple[Proof, ...]
    bodies: tuple[bytes, ...]

    def http(self, number: int, path: str = GATEWAY_PATH) -> bytes:
        """Return a request as HTTP."""
        return post(self.proofs[number].to_header(), self.bodies[number], path)


@dataclass
class Run:
    """The good stream, whole or the parts of it that had the same beside them.

    Attributes:
        times: seconds of each good request that was served, to the end of its answer.
        sent: good requests.
        gateway: seconds of processor that the gateway used.
        wall: seconds that it took.
        parts: the median of each part, in seconds.
        flood: what the flood's generators said, added up.
    """

    times: list[float] = field(default_factory=list)
    sent: int = 0
    gateway: float = 0.0
    wall: float = 0.0
    parts: list[float] = field(default_factory=list)
    flood: Counter[str] = field(default_factory=Counter)

    @property
    def median(self) -> float:
        """The median of the good requests, in seconds."""
        return statistics.median(self.times)


def prove(count: int) -> Good:
    """Make proofs, on all cores."""
    tree, identity = MemberTree(), RateIdentity.generate()
    tree.extend([field_from_int(number) for number in range(1, 100)])
    place = tree.place(tree.append(identity.leaf(count)), count)
    prover = Prover(identity, SCOPE)
    epoch = Epochs(EPOCH_S).now
    bodies = tuple(os.urandom(BODY) for _ in range(count))
    proofs = []
    for number, body in enumerate(bodies):
        digest = hashlib.sha256(body).digest()
        proofs.append(prover.prove(place, epoch=epoch, message_id=number, digest=digest))
        if not number % 10:
            print(f"\r  proving in advance: {number} of {count}", end="", flush=True)
    print("\r" + " " * 50, end="\r")
    prover.close()
    return Good(tree.root, tuple(proofs), bodies)


def post(header: str, body: bytes, path: str = GATEWAY_PATH) -> bytes:
    """Return a sealed request as HTTP."""
    head = f"POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: message/ohttp-req\r\n"
    return (
        f"{head}privity-admission: {header}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )


def garbage(good: Good) -> Iterator[bytes]:
    """Yield requests whose header is of the right length and nothing else."""
    while True:
        yield post(encode_base64url(os.urandom(233)), os.urandom(BODY))


def stale(good: Good) -> Iterator[bytes]:
    """Yield requests whose proof is of a list of members long ago."""
    while True:
        other = field_from_int(int.from_bytes(os.urandom(31), "little"))
        yield post(replace(good.proofs[0], root=other).to_header(), os.urandom(BODY))


def forgeries(good: Good) -> Iterator[bytes]:
    """Yield requests all of whose fields are well-formed, with a true proof of something else."""
    while True:
        other = field_from_int(int.from_bytes(os.urandom(31), "little"))
        yield post(replace(good.proofs[0], nullifier=other).to_header(), os.urandom(BODY))


def write_flood(path: Path, requests: Iterator[bytes], count: int = 4000) -> int:
    """Write a file of requests; return the size of one."""
    made = [next(requests) for _ in range(count)]
    path.write_bytes(b"".join(made))
    if len({len(one) for one in made}) != 1:
        raise RuntimeError("requests of several sizes")
    return len(made[0])


class Client:
    """One connection that sends a request at a time and reads its whole answer."""

    def __init__(self, port: int, source: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> tuple[float, int]:
        """Return the seconds to the end of the answer, and its status."""
        answered = _Answered()
        parser = httptools.HttpResponseParser(answered)
        began = time.perf_counter()
        self._socket.sendall(request)
        while not answered.whole:
            parser.feed_data(self._socket.recv(65536))
        return time.perf_counter() - began, parser.get_status_code()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class _Answered:
    whole = False

    def on_message_complete(self) -> None:
        self.whole = True


@contextmanager
def gateway(
    folder: Path, upstream: str, root: Field | None
) -> Iterator[tuple[int, psutil.Process]]:
    """Serve a gateway on a core of its own, with admission where there is a root."""
    flags = ["--upstream", upstream]
    if root is not None:
        store = Path(tempfile.mkdtemp(dir=folder)) / "store.db"
        flags += ["--root", root.hex(), "--store", str(store)]
    known = {one.pid for one in psutil.Process().children()}
    with child(str(HERE / "flood_gateway.py"), *flags) as url:
        (process,) = (one for one in psutil.Process().children() if one.pid not in known)
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {0})
        yield int(urlsplit(url).port or 0), process


def alone(port: int, process: psutil.Process, good: Good) -> Run:
    """Send the good requests with nothing beside them."""
    client, run = Client(port, "127.0.0.1"), Run()
    warm(client, good, GATEWAY_PATH)
    paced(run, client, process, good, range(WARM, len(good.proofs)), GATEWAY_PATH)
    client.close()
    return run


def in_turn(
    port: int, process: psutil.Process, good: Good, flood: list[str], path: str, *, fresh: bool
) -> tuple[Run, Run]:
    """Send the good requests, with nothing and with a flood beside them in turn."""
    client, calm, wild = Client(port, "127.0.0.1"), Run(), Run()
    warm(client, good, path)
    size = (len(good.proofs) - WARM) // (2 * ROUNDS)
    seconds = str(LEAD_S + size * PACE_S + 0.2)
    command = [sys.executable, str(HERE / "flood_load.py"), *flood, "--port", str(port)]
    for turn, start in enumerate(range(WARM, WARM + 2 * ROUNDS * size, 2 * size)):
        source = ["--source", f"127.0.0.{2 + turn * fresh}"]
        paced(calm, client, process, good, range(start, start + size), path)
        flooding = [*command, *source, "--seconds", seconds]
        with subprocess.Popen(flooding, stdout=subprocess.PIPE) as load:
            try:
                if load.stdout is None:
                    raise RuntimeError("no output to read")
                load.stdout.readline()  # it begins
                time.sleep(LEAD_S)
                paced(wild, client, process, good, range(start + size, start + 2 * size), path)
                wild.flood.update(json.loads(load.stdout.readline()))
            finally:
                load.kill()
    client.close()
    return calm, wild


def warm(client: Client, good: Good, path: str) -> None:
    """Send the requests that are not measured."""
    for number in range(WARM):
        client.ask(good.http(number, path))


def paced(
    run: Run, client: Client, process: psutil.Process, good: Good, numbers: range, path: str
) -> None:
    """Send some of the good requests, each at its time; note those served, and what it took.

    At uneven times: evenly, all of them would meet the flood in one phase of its own rhythm.
    """
    chance, times = random.Random(numbers.start), list[float]()
    before, began = process.cpu_times(), time.perf_counter()
    for place, number in enumerate(numbers):
        at = (place + chance.random()) * PACE_S
        time.sleep(max(0.0, began + at - time.perf_counter()))
        taken, status = client.ask(good.http(number, path))
        run.sent += 1
        if status == 200:
            times.append(taken)
    run.times += times
    run.parts.append(statistics.median(times) if times else math.inf)
    after = process.cpu_times()
    run.wall += time.perf_counter() - began
    run.gateway += after.user + after.system - before.user - before.system


def refusal(port: int, requests: Iterator[bytes], count: int = 300) -> float:
    """Return the median seconds of a request that is refused."""
    client = Client(port, "127.0.0.3")
    times = [client.ask(next(requests))[0] for _ in range(count)]
    client.close()
    return statistics.median(times)


def nothing_there() -> Iterator[bytes]:
    """Yield requests for what is not served: the least a server does."""
    while True:
        yield post("A" * 311, bytes(BODY)).replace(GATEWAY_PATH.encode(), b"/.well-known/nothing")


class _NoStore:
    async def record(
        self, scope: str, epoch: int, nullifier: Field, x: Field, y: Field
    ) -> Recorded:
        return Seen.NEW

    async def prune(self, before_epoch: int) -> int:
        return 0


class _Known:
    def __init__(self, root: Field) -> None:
        self._root = root

    def knows(self, root: bytes) -> bool:
        return root == self._root


def screened(good: Good, requests: Iterator[bytes], count: int = 3000) -> float:
    """Return the median seconds of the check itself, without HTTP."""
    admission = Admission(SCOPE, _Known(good.root), _NoStore(), epoch_s=EPOCH_S)
    head = b"privity-admission: "
    made = [next(requests) for _ in range(count)]
    headers = [one[one.index(head) + len(head) :][:311].decode() for one in made]
    times = []
    for header in headers:
        began = time.perf_counter()
        try:
            admission.screen(header)
        except AdmissionError:
            times.append(time.perf_counter() - began)
    admission.close()
    return statistics.median(times)


def costs(report: Report, folder: Path, upstream: str, good: Good) -> None:
    """Measure one request at a time, of each kind, with admission and without."""
    with (
        gateway(folder, upstream, good.root) as (port, process),
        gateway(folder, upstream, None) as (bare_port, bare),
    ):
        with_it, without = alone(port, process, good), alone(bare_port, bare, good)
        least, bad = refusal(port, nothing_there()), refusal(port, garbage(good))
        forged = refusal(port, forgeries(good))
    added = with_it.median - without.median
    report.add(
        "a good request, admitted (median)",
        f"{added * 1e3:.2f} ms added   whole {with_it.median * 1e3:.2f} ms   "
        f"admission off {without.median * 1e3:.2f} ms",
        added_s=added,
        seconds=with_it.median,
        peer="the same gateway with admission off",
        peer_seconds=without.median,
        goal_s=0.005,
    )
    check = screened(good, garbage(good))
    report.add(
        "a garbage request, refused (median)",
        f"{check * 1e3:.3f} ms the check   {(bad - least) * 1e3:+.3f} ms beside a 404   "
        f"whole {bad * 1e3:.2f} ms   the 404 {least * 1e3:.2f} ms",
        check_s=check,
        seconds=bad,
        peer="a 404 of the same server",
        peer_seconds=least,
        goal_s=0.0002,
    )
    report.add(
        "a well-formed forgery, refused (median)",
        f"{forged * 1e3:.2f} ms whole   the 404 {least * 1e3:.2f} ms",
        seconds=forged,
        peer="a 404 of the same server",
        peer_seconds=least,
    )


def floods(report: Report, folder: Path, upstream: str, good: Good, rate: float, only: str) -> None:
    """Measure the good stream beside floods of each kind."""
    kinds: tuple[tuple[str, Callable[[Good], Iterator[bytes]], bool], ...] = (
        ("garbage", garbage, False),
        ("stale roots", stale, False),
        ("forgeries", forgeries, False),
        ("forgeries through the same relay", forgeries, True),
    )
    for what, make, relayed in kinds:
        if only not in what:
            continue
        path = folder / "flood.bin"
        where = f"/{RELAYED}" if relayed else GATEWAY_PATH
        size = write_flood(
            path, (one.replace(GATEWAY_PATH.encode(), where.encode()) for one in make(good))
        )
        flags = [str(path), "--size", str(size), "--rate", str(rate)]
        runs: list[Run] = []
        for root in (good.root, None):
            with ExitStack() as stack:
                port, process = stack.enter_context(gateway(folder, upstream, root))
                if relayed:
                    behind = f"http://127.0.0.1:{port}"
                    before = ["--relay", "--upstream", behind]
                    url = stack.enter_context(child(str(HERE / "flood_gateway.py"), *before))
                    port = int(urlsplit(url).port or 0)
                runs += in_turn(port, process, good, flags, where, fresh=relayed)
        _add(report, f"{rate:,.0f}/s of {what}, beside good ones", *runs)


def _add(report: Report, what: str, calm: Run, flood: Run, bare: Run, wild: Run) -> None:
    count = flood.sent
    if not flood.times:
        report.add(what, f"none of {count} good ones served: goal +10% missed", good_served=0)
        return
    slower, peer = flood.median / calm.median - 1, wild.median / bare.median - 1
    rounds = [beside / before - 1 for before, beside in zip(calm.parts, flood.parts, strict=True)]
    met = "met" if slower <= GOAL and len(flood.times) == count else "missed"
    sent = flood.flood["sent"]
    answered = sum(flood.flood[one] for one in ("400", "403", "409", "503"))
    load = flood.flood["processor_s"]
    report.add(
        what,
        f"{slower:+.0%} slower   goal {GOAL:+.0%} {met}   admission off {peer:+.0%}   "
        f"(rounds {min(rounds):+.0%} to {max(rounds):+.0%}; "
        f"{flood.median * 1e3:.2f} ms, calm {calm.median * 1e3:.2f} ms; "
        f"p95 {_p95(flood):.1f} ms, calm {_p95(calm):.1f} ms; "
        f"{len(flood.times)} of {count} good ones served; {answered} of {sent} bad ones refused, "
        f"{flood.flood['503']} as busy; gateway {flood.gateway / flood.wall:.0%} of its core, load "
        f"generator {load:.1f} s of processor)",
        slower=slower,
        peer="the same gateway with admission off",
        peer_slower=peer,
        rounds=rounds,
        goal=GOAL,
        median_s=flood.median,
        calm_median_s=calm.median,
        good_served=len(flood.times),
        good_sent=count,
        flood=flood.flood,
        gateway_core_share=flood.gateway / flood.wall,
    )


def _p95(run: Run) -> float:
    return sorted(run.times)[int(len(run.times) * 0.95)] * 1e3


def main() -> None:
    """Measure costs, then floods."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--good", type=int, default=300, help="good requests of each run")
    parser.add_argument("--rate", type=float, default=1000, help="bad requests a second")
    parser.add_argument("--only", default="", help="floods whose name holds this")
    options = parser.parse_args()
    title("A flood at the gateway (lower is better)")
    good = prove(options.good + WARM)
    # The gateways get the first core alone.
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {0} or {0})
    report = Report("flood")
    with tempfile.TemporaryDirectory() as folder:
        with child(str(HERE / "flood_gateway.py")) as upstream:
            if not options.only:
                costs(report, Path(folder), upstream, good)
            floods(report, Path(folder), upstream, good, options.rate, options.only)
    report.write()


if __name__ == "__main__":
    main()
