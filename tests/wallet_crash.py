"""Uses a wallet and a desk in a process that is killed at its n-th step on disk, for every n.

``python wallet_crash.py FOLDER`` prints one JSON line for each n: what was left, after another
process had opened the wallet and finished what was under way. A step is a write, half a write, a
sync, a rename, or a moment between two calls. The processes are forked from this one, which has no
threads, and killed with SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from privity.anon.credits import Issuer, IssuerKey
from privity.anon.desk import CreditDesk, OpenJob
from privity.anon.stores import open_store
from privity.anon.wallet import Wallet

KEY = b"\7" * 32
EPOCH = 77
BOUGHT, HELD, CHARGED = 1000, 60, 15

_write, _fsync, _replace = os.write, os.fsync, os.replace


class Steps:
    """Counts steps, and dies at one of them."""

    def __init__(self, deadly: int | None) -> None:
        self.deadly = deadly
        self.count = 0

    def due(self) -> bool:
        """Count a step; tell whether it is the one to die at."""
        self.count += 1
        return self.count == self.deadly

    def die(self) -> None:
        """Be killed."""
        os.kill(os.getpid(), signal.SIGKILL)

    def between(self) -> None:
        """Die between two calls, where it is due."""
        if self.due():
            self.die()

    def write(self, fd: int, data: Any) -> int:
        """Write; or nothing, or half, and die."""
        self.between()
        if self.due():
            _write(fd, bytes(data)[: len(data) // 2])
            self.die()
        return _write(fd, data)

    def fsync(self, fd: int) -> None:
        """Sync; or die before, or after."""
        self.between()
        _fsync(fd)
        self.between()

    def replace(self, source: Any, target: Any) -> None:
        """Rename; or die before, or after."""
        self.between()
        _replace(source, target)
        self.between()

    def install(self) -> None:
        """Put these in place of the system's."""
        os.write, os.fsync, os.replace = self.write, self.fsync, self.replace  # type: ignore[assignment]


def log(folder: Path, line: str) -> None:
    """Note what left the wallet; the world outside does not die with it."""
    fd = os.open(folder / "outside", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    _write(fd, line.encode() + b"\n")
    os.close(fd)


async def use(folder: Path, steps: Steps, clock: float) -> None:
    """Finish what was under way; then buy, take ids, pay for one job."""
    bank = Issuer(IssuerKey((folder / "issuer").read_bytes()), "crash")
    steps.install()
    async with open_store(f"sqlite:{folder / 'spends.db'}") as store:
        desk = CreditDesk(bank, store, clock=lambda: clock, lease_s=60)
        with Wallet.open(folder / "wallet", KEY, terms=bank.terms) as wallet:
            for reserved in wallet.unfinished():
                wallet.refunded(reserved.id, await desk.recover(reserved.spend))
            for name, pending in wallet.purchases().items():
                wallet.bought(name, bank.issue(pending.request, BOUGHT))
            if wallet.begun_membership is None:
                wallet.join(b"\2" * 32, 100)
            for _ in range(2):
                log(folder, f"id {wallet.take_message_id(EPOCH)}")
                steps.between()
            if not wallet.history():
                name, request = wallet.buy(BOUGHT)
                steps.between()
                wallet.bought(name, bank.issue(request, BOUGHT))
            reserved = wallet.spend(HELD)
            steps.between()
            job = await desk.begin(reserved.spend, least=HELD)
            steps.between()
            if not isinstance(job, OpenJob):
                raise RuntimeError("a new spend was known")
            log(folder, "served")
            refund = await job.settle(CHARGED)
            steps.between()
            wallet.refunded(reserved.id, refund)


async def look(folder: Path) -> dict[str, Any]:
    """Return what is left."""
    wallet = Wallet.read(folder / "wallet", KEY)
    async with open_store(f"sqlite:{folder / 'spends.db'}") as store:
        charged, _ = await store.charged_since(0, 1000)
    outside = (folder / "outside").read_text().splitlines()
    entries = [(one.kind, one.amount) for one in wallet.history()]
    return {
        "balance": wallet.balance,
        "bought": sum(amount for kind, amount in entries if kind == "bought"),
        "spent": sum(amount for kind, amount in entries if kind == "spent"),
        "charged": sum(amount for _, amount in charged),
        "ids": [int(line.split()[1]) for line in outside if line.startswith("id")],
        "served": outside.count("served"),
        "unfinished": len(wallet.unfinished()) + len(wallet.purchases()),
    }


def forked(work: Callable[[], None]) -> int:
    """Run in a process of its own; return its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def main(root: Path) -> None:
    """Die at each step in turn."""
    key, deadly, killed = IssuerKey.generate(), 0, True
    while killed:
        deadly += 1
        folder = root / str(deadly)
        folder.mkdir()
        (folder / "issuer").write_bytes(key.secret)
        first = Steps(deadly)
        status = forked(lambda: anyio.run(use, folder, first, 1000.0))  # noqa: B023
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        again = forked(lambda: anyio.run(use, folder, Steps(None), 2000.0))  # noqa: B023
        if again != 0 or (not killed and status != 0):
            raise RuntimeError(f"the wallet was not usable after step {deadly}")

        def tell() -> None:
            left = anyio.run(look, folder)  # noqa: B023
            print(json.dumps({"killed": killed, "step": deadly, **left}), flush=True)  # noqa: B023

        forked(tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
