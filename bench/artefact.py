"""Sealing and opening an artefact of several gigabytes, beside age, on the same file.

Ours as `privity model seal` and `open` do it: two or more threads, hashes of everything, a durable
file at the end (fsync). The peers are `pyrage` (the Rust age in a wheel) and, where it is on PATH,
Go age 1.3; both are given what they are fastest at: whole files, one X25519 recipient, no fsync.
Higher is better: a ratio is our throughput over the peer's, in turn, in one run. A second figure
waits until the peer's file is on the disk too. The last opens into nothing but memory.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage

from measure import Report, title
from privity.vault import FileSource, Meta, Reader, read_header, root_of_file, seal_stream, unwrap
from privity.vault.files import new_file
from privity.vault.recipients import new_identity

BLOCK = 1 << 20


class Nowhere(io.BytesIO):
    """A sink that keeps nothing."""

    def write(self, data: Any) -> int:
        """Take it all."""
        return len(data)


class Bench:
    """One plaintext, and what ours and the peers make of it."""

    def __init__(self, folder: Path, mebibytes: int, rounds: int) -> None:
        self.folder, self.size, self.rounds = folder, mebibytes * BLOCK, rounds
        self.plain = folder / "plain"
        self.me, _ = new_identity()
        self.theirs = pyrage.x25519.Identity.generate()
        (folder / "key").write_text(str(self.theirs) + "\n")
        self.times: dict[str, list[float]] = {}
        noise = os.urandom(BLOCK)
        with self.plain.open("wb") as file:
            for number in range(mebibytes):
                file.write(number.to_bytes(8, "big") + noise[8:])
            os.fsync(file.fileno())

    def path(self, name: str) -> Path:
        """Return a file of this run."""
        return self.folder / name

    def timed(self, name: str, work: Callable[[], object], made: str | None = None) -> None:
        """Record how long ``work`` took, and how long until what it made is on the disk."""
        if made:
            self.path(made).unlink(missing_ok=True)
        os.sync()  # what others left to be written is not this one's
        start = time.perf_counter()
        work()
        self.times.setdefault(name, []).append(time.perf_counter() - start)
        if made:
            with self.path(made).open("rb+") as file:
                os.fsync(file.fileno())
            self.times.setdefault(f"{name}, durable", []).append(time.perf_counter() - start)

    def run(self) -> None:
        """Do everything, in turn."""
        for _ in range(self.rounds):
            self.timed("seal", self.seal, "a.sealed")
            self.timed("pyrage seal", self.pyrage_seal, "a.age")
            if shutil.which("age"):
                self.timed("age seal", self.age_seal, "b.age")
            self.timed("open", self.open, "back")
            self.timed("pyrage open", self.pyrage_open, "back")
            if shutil.which("age"):
                self.timed("age open", self.age_open, "back")
            self.timed("open to memory", self.open_nowhere)
            self.timed("pyrage open to memory", self.pyrage_open_nowhere)
            self.timed("root", lambda: root_of_file(self.plain))

    def seal(self) -> None:
        """Seal, as the command does."""
        with self.plain.open("rb", buffering=0) as source, new_file(self.path("a.sealed")) as sink:
            meta = Meta("plain", "model")
            seal_stream(source, sink, meta=meta, recipients=[self.me.recipient])

    def open(self) -> None:
        """Open, as the command does."""
        with FileSource(self.path("a.sealed")) as source, new_file(self.path("back")) as sink:
            Reader(source, unwrap(read_header(source), self.me)).copy_to(sink)

    def open_nowhere(self) -> None:
        """Open, and keep nothing."""
        with FileSource(self.path("a.sealed")) as source:
            Reader(source, unwrap(read_header(source), self.me)).copy_to(Nowhere())

    def pyrage_seal(self) -> None:
        """Seal with pyrage."""
        recipients = [self.theirs.to_public()]
        pyrage.encrypt_file(str(self.plain), str(self.path("a.age")), recipients)

    def pyrage_open(self) -> None:
        """Open with pyrage."""
        pyrage.decrypt_file(str(self.path("a.age")), str(self.path("back")), [self.theirs])

    def pyrage_open_nowhere(self) -> None:
        """Open with pyrage, and keep nothing."""
        with self.path("a.age").open("rb") as source:
            pyrage.decrypt_io(source, Nowhere(), [self.theirs])

    def age_seal(self) -> None:
        """Seal with Go age."""
        recipient = str(self.theirs.to_public())
        command = ["age", "-r", recipient, "-o", str(self.path("b.age")), str(self.plain)]
        subprocess.run(command, check=True)

    def age_open(self) -> None:
        """Open with Go age."""
        command = ["age", "-d", "-i", str(self.path("key")), "-o", str(self.path("back"))]
        subprocess.run([*command, str(self.path("b.age"))], check=True)

    def report(self, report: Report) -> None:
        """Print and record the medians."""
        rates = {name: self.size / statistics.median(took) for name, took in self.times.items()}
        for what in ("seal", "open", "open to memory"):
            for peer in ("pyrage", "age"):
                theirs = rates.get(f"{peer} {what}")
                if theirs is None:
                    continue
                line = f"{_rate(rates[what])}   {peer} {_rate(theirs)}"
                line += f"   ratio {rates[what] / theirs:.2f}"
                durable = rates.get(f"{peer} {what}, durable")
                if durable is not None:
                    line += f"   (on the disk: {rates[what] / durable:.2f})"
                report.add(
                    f"{what}, beside {peer}",
                    line,
                    bytes_per_second=rates[what],
                    peer=peer,
                    peer_bytes_per_second=theirs,
                    ratio=round(rates[what] / theirs, 3),
                    ratio_durable=durable and round(rates[what] / durable, 3),
                    goal=1.0,
                )
        report.add("root of the plain file", _rate(rates["root"]), bytes_per_second=rates["root"])


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e9:.2f} GB/s"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=4096, help="of plaintext")
    parser.add_argument("--rounds", type=int, default=3, help="the median of how many")
    parser.add_argument("--folder", type=Path, help="where the files go, and are removed")
    given = parser.parse_args()
    title(f"artefact of {given.mebibytes} MiB (our throughput / the peer's; above 1 is faster)")
    report = Report("artefact")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), given.mebibytes, given.rounds)
        bench.run()
        bench.report(report)
    report.write()


if __name__ == "__main__":
    main()
