"""Proving and verifying that a query is well formed, by bucket, on one thread and on all.

Ours: 128, 512 and 2,048 tokens of a vocabulary of 49,152, 17 of them denied, full buckets, warm
keys. The peer at 512: one aggregated range proof of the `bulletproofs` crate that 512 numbers are
below 2^16, from ``bench/rust_query``; it proves less (no deny-set, no bucket, no padding), also
without a trusted setup, on one thread. Beside it zerokit's own statement, one RLN proof under its
ceremony's keys, where the wheel has it. A batch is 32 proofs; what is made once a process, the
generators and keys, is a line of its own.

The number of threads is fixed when a process starts, so each is measured in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import Report, build_peer, median_seconds, title

RUST = Path(__file__).parent / "rust_query"
SECONDS = 4.0
GOAL_S = 2.0
PEER_TOKENS = 512
BATCH = 32


def figures(bucket: int) -> dict[str, Any]:
    """Measure one bucket in this process."""
    from privity.anon.query import (
        ClaimedQuery,
        Opening,
        prove_query,
        verify_queries,
        verify_query,
        warm_query,
    )
    from privity.anon.query_opening import check_opening
    from privity.anon.vocabulary import Vocabulary

    vocabulary = Vocabulary(49_152, tuple(range(17)), "sha256:" + "00" * 32)
    began = time.perf_counter()
    warm_query(vocabulary, bucket, proving=True)
    keys = time.perf_counter() - began
    tokens = [17 + at * 23 for at in range(bucket)]
    digest, opening = hashlib.sha256(b"bench").digest(), Opening.fresh()

    def prove() -> Any:
        return prove_query(
            tokens, vocabulary=vocabulary, bucket=bucket, digest=digest, opening=opening
        )

    proof = prove()
    query = verify_query(proof, vocabulary=vocabulary, digest=digest)
    batch = [ClaimedQuery(proof, vocabulary, digest)] * BATCH
    found = median_seconds(
        {
            "prove": prove,
            "verify": lambda: verify_query(proof, vocabulary=vocabulary, digest=digest),
            "batch": lambda: verify_queries(batch),
            "open": lambda: check_opening(query, opening, tokens),
        },
        SECONDS,
    )
    return {**found, "keys": keys, "bytes": len(proof.proof), "chars": len(proof.to_header())}


def measured(bucket: int, threads: int) -> dict[str, Any]:
    """Measure one bucket in a process with so many threads."""
    command = [sys.executable, __file__, "--bucket", str(bucket)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peer() -> tuple[float, float, int] | None:
    """Return the peer's seconds to prove and to verify, and its bytes; None without cargo."""
    program = build_peer(RUST, "privity-bench-query")
    if program is None:
        return None
    run = [str(program), str(PEER_TOKENS), str(SECONDS)]
    proving, verifying, size = subprocess.run(run, check=True, capture_output=True).stdout.split()
    return int(proving) / 1e9, int(verifying) / 1e9, int(size)


def rln() -> dict[str, float] | None:
    """Return seconds to prove and verify one RLN signal on one thread; None without the kernel."""
    command = [sys.executable, __file__, "--rln"]
    environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, env=environment)
    return json.loads(done.stdout) if done.returncode == 0 else None


def rln_figures() -> dict[str, float]:
    """Measure zerokit's statement in this process."""
    from privity.hazmat.native import native

    core = native("Rln", "MerkleTree")
    kernel, tree = core.Rln.load(), core.MerkleTree(20)
    secret = (7).to_bytes(32, "little")
    limit = (100).to_bytes(32, "little")
    index = tree.append(core.poseidon([core.poseidon([secret]), limit]))
    x, outside = core.hash_to_field(b"x"), core.hash_to_field(b"e")

    def prove() -> Any:
        return kernel.prove(secret, 100, 3, tree.path(index), index, x, outside)

    proof, root, y, nullifier = prove()
    return median_seconds(
        {
            "prove": prove,
            "verify": lambda: kernel.verify(proof, root, x, y, nullifier, outside),
        },
        SECONDS,
    )


def main() -> None:
    """Measure and report."""
    from privity.anon.vocabulary import BUCKETS

    title("Proved queries (our time / the peer's; below 1 is faster)")
    report = Report("query")
    cores = os.cpu_count() or 1
    for threads in sorted({1, cores}):
        for bucket in BUCKETS:
            found = measured(bucket, threads)
            line = (
                f"prove {_ms(found['prove'])}   verify {_ms(found['verify'])}   "
                f"in a batch of {BATCH} {_ms(found['batch'] / BATCH)}   "
                f"open {_ms(found['open'])}   {found['bytes']} B   keys once {found['keys']:.1f} s"
            )
            what = f"{bucket} tokens, {threads} thread{'s' * (threads > 1)}"
            report.add(what, line, tokens=bucket, threads=threads, **found)
            if bucket == PEER_TOKENS and threads == 1:
                _beside(report, found)
    report.write()


def _beside(report: Report, ours: dict[str, Any]) -> None:
    met = "met" if ours["prove"] < GOAL_S else "MISSED"
    report.add(
        "512 tokens on one core, goal 2 s",
        f"{_ms(ours['prove'])}   {met}",
        seconds=ours["prove"],
        goal=GOAL_S,
    )
    theirs = peer()
    if theirs is not None:
        proving, verifying, size = theirs
        line = (
            f"prove {_ms(proving)} (ratio {ours['prove'] / proving:.2f})   "
            f"verify {_ms(verifying)} (ratio {ours['verify'] / verifying:.2f})   "
            f"{size} B (ratio {ours['bytes'] / size:.2f})"
        )
        report.add(
            "bulletproofs, 512 numbers below 2^16",
            line,
            peer="bulletproofs",
            peer_seconds=proving,
            peer_verify_seconds=verifying,
            peer_bytes=size,
            ratio=round(ours["prove"] / proving, 3),
        )
    zerokit = rln()
    if zerokit is not None:
        line = f"prove {_ms(zerokit['prove'])}   verify {_ms(zerokit['verify'])}   128 B"
        report.add("one RLN proof (Groth16, zerokit's keys)", line, **zerokit)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


if __name__ == "__main__":
    if "--bucket" in sys.argv:
        print(json.dumps(figures(int(sys.argv[-1]))))
    elif "--rln" in sys.argv:
        print(json.dumps(rln_figures()))
    else:
        main()
