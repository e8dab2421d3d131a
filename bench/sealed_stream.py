"""What a person feels: the real model through device, relay, enclave, beside calling it directly.

One llama.cpp server with the bundled SmolLM2-135M answers both: directly over HTTP, and through
four processes of ours (the daemon of `privity up`, a relay, an enclave, the engine behind it), all
on this machine's cores. Runs alternate; the question differs every time and prefix caches are off.
Sealed as the answer is made, and in the default shape, in which records leave at ticks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx

from measure import Report, child, title
from roles import Streamed, daemon, sealed_path, stream_answer

HERE = Path(__file__).parent


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=25, help="of each side")
    parser.add_argument("--tokens", type=int, default=150, help="of each answer")
    options = parser.parse_args()
    title("Sealed stream of the real model, beside calling the same engine directly")
    report = Report("sealed_stream")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(child(str(HERE / "llama_server.py")))
        path = stack.enter_context(sealed_path(home, engine))
        clients = {}
        for name, seal in (("sealed", "cadence_ms = 0"), ("shaped", "")):
            mine = home / name
            mine.mkdir(mode=0o700)
            (mine / "config.toml").write_text(f"{path.trust}[seal]\n{seal}\n")
            via = ["--enclave", path.enclave, "--relay", path.relay]
            clients[name] = stack.enter_context(daemon(mine, *via))
        # llama.cpp closes idle connections after seconds, so each request gets one of its own, as
        # the enclave has it.
        fresh = httpx.Limits(max_keepalive_connections=0)
        direct = stack.enter_context(httpx.Client(base_url=engine, timeout=120, limits=fresh))
        clients["direct"] = direct
        runs: dict[str, list[Streamed]] = {name: [] for name in clients}
        for number in range(-2, options.runs):  # the first two warm both sides up
            for name, client in clients.items():
                one = stream_answer(client, number, options.tokens)
                if number >= 0:
                    runs[name].append(one)
    _report(report, runs["direct"], runs["sealed"])
    _report_shaped(report, runs["direct"], runs["shaped"])
    report.write()


def _report(report: Report, direct: list[Streamed], sealed: list[Streamed]) -> None:
    rate, peer = (statistics.median(run.rate for run in runs) for runs in (sealed, direct))
    report.add(
        "tokens/s, device → relay → enclave",
        f"{rate:>8.1f}   direct {peer:>8.1f}   ratio {rate / peer:.3f}   (goal ≥ 0.97)",
        tokens_per_second=rate,
        peer="the same llama.cpp server, called directly",
        peer_tokens_per_second=peer,
        ratio=round(rate / peer, 4),
        goal=0.97,
    )
    added = [ours.first - theirs.first for ours, theirs in zip(sealed, direct, strict=True)]
    first, peer = (statistics.median(run.first for run in runs) for runs in (sealed, direct))
    report.add(
        "time to first token, concurrency 1",
        f"{first * 1e3:>5.1f} ms   direct {peer * 1e3:>5.1f} ms   added, median of pairs "
        f"{statistics.median(added) * 1e3:.1f} ms   (goal ≤ 10 ms)",
        seconds=first,
        peer_seconds=peer,
        added_seconds=statistics.median(added),
        ratio=round(first / peer, 3),
        goal_added_seconds=0.010,
    )


def _report_shaped(report: Report, direct: list[Streamed], shaped: list[Streamed]) -> None:
    """Add what the default shape costs: a token waits for its tick, half of one in the middle."""
    added = [ours.first - theirs.first for ours, theirs in zip(shaped, direct, strict=True)]
    rate, peer = (statistics.median(run.rate for run in runs) for runs in (shaped, direct))
    report.add(
        "the same in the default shape",
        f"{rate:>8.1f}   direct {peer:>8.1f}   ratio {rate / peer:.3f}, first token "
        f"{statistics.median(added) * 1e3:+.1f} ms",
        tokens_per_second=rate,
        ratio=round(rate / peer, 4),
        added_seconds=statistics.median(added),
    )


if __name__ == "__main__":
    main()
