"""Buys, pays and is paid out in a process that is killed at its n-th step, for every n.

``python paid_crash.py FOLDER CHAIN`` prints one JSON line for each n: what wallet, store and ledger
hold after another process has finished what was under way. FOLDER has ``contracts.json`` and the
keys of ``operator``, ``person`` and ``issuer``; CHAIN is anvil's URL, put back to its beginning for
each n. A step is one on disk (`wallet_crash`), a transaction sent, or a question to the desk. The
desk dies with the wallet: it is in the same process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import httpx

from privity.anon.credits import CreditTerms, Issuer
from privity.anon.desk import CreditDesk, OpenJob
from privity.anon.payment_terms import PaymentTerms
from privity.anon.stores import open_store
from privity.anon.tariff import flat_tariff
from privity.anon.wallet import Wallet
from privity.infer.anonymous.purse import SharedWallet
from privity.infer.anonymous.teller import Teller
from privity.ledger.abi import load_artefact
from privity.ledger.accounts import load_account
from privity.ledger.addresses import Addresses
from privity.ledger.client import Ledger
from privity.ledger.local_chain import LocalChain
from privity.ledger.sending import Limits
from privity.node.enclave_payment import PaymentMiddleware
from privity.node.payments import LedgerTill, load_issuer_key
from wallet_crash import KEY, Steps, forked

BOUGHT, HELD, CHARGED, LEASE_S = 1000, 60, 15, 60


class Stepping(httpx.AsyncBaseTransport):
    """Dies before or after what goes out, where it is due."""

    def __init__(self, inner: httpx.AsyncBaseTransport, steps: Steps, only: bytes) -> None:
        self._inner = inner
        self._steps = steps
        self._only = only

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        counts = self._only in await request.aread()
        if counts:
            self._steps.between()
        response = await self._inner.handle_async_request(request)
        if counts:
            self._steps.between()
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Case:
    """One run of the whole, in a folder of its own."""

    root: Path
    folder: Path
    chain: str

    @property
    def addresses(self) -> Addresses:
        return Addresses.from_file(self.root / "contracts.json")

    def ledger(self, name: str, steps: Steps) -> Ledger:
        """Return the ledger, as one who acts."""
        return Ledger(
            self.chain,
            self.addresses,
            signer=load_account(self.root / f"{name}.key"),
            confirmations=0,
            journal=self.folder / f"{name}.journal",
            transport=Stepping(_transport(), steps, b"eth_sendRawTransaction"),
            limits=Limits(poll_s=0.01),
        )

    @property
    def issuer(self) -> Issuer:
        return Issuer(load_issuer_key(self.root / "issuer.key"), self.addresses.deployment)

    @property
    def store(self) -> str:
        return f"sqlite:{self.folder / 'spends.db'}"

    @asynccontextmanager
    async def opened(self, steps: Steps, now: float) -> AsyncIterator[tuple[Teller, CreditDesk]]:
        """Open the wallet's teller, and the enclave's desk that it asks."""
        issuer, wallet = self.issuer, SharedWallet(self.folder / "wallet", KEY)
        async with (
            self.ledger("operator", steps) as operator,
            self.ledger("person", steps) as person,
            open_store(self.store) as store,
        ):
            desk = CreditDesk(issuer, store, clock=lambda: now, lease_s=LEASE_S)
            terms = PaymentTerms(
                issuer.terms.public, flat_tariff(), "0x", 60, issuer.terms.deployment
            )
            app = PaymentMiddleware(_nothing, desk, terms, LedgerTill(operator, issuer))

            async def way() -> httpx.AsyncBaseTransport:
                return Stepping(httpx.ASGITransport(app=app), steps, b"")

            yield Teller(wallet, person, way, young_s=0), desk


def _transport() -> httpx.AsyncHTTPTransport:
    # Loopback without TLS: reading the machine's certificates takes longer than a whole run.
    return httpx.AsyncHTTPTransport(verify=False)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("no job is served here")


async def use(case: Case, steps: Steps, now: float) -> None:
    """Finish what was under way; buy once, pay for one job, and be paid the rest out."""
    async with case.opened(steps, now) as (teller, desk):
        steps.install()
        await teller.recover()
        wallet = SharedWallet(case.folder / "wallet", KEY)
        kinds = {one.kind for one in _history(case)}
        if "bought" not in kinds:
            await teller.top_up(BOUGHT)
        if kinds <= {"bought"} and wallet.read().balance:
            await _job(case, desk, steps)
        await teller.exit()


async def _job(case: Case, desk: CreditDesk, steps: Steps) -> None:
    wallet, terms = SharedWallet(case.folder / "wallet", KEY), case.issuer.terms
    with wallet.turn(terms) as opened:
        reserved = opened.spend(HELD)
    steps.between()
    job = await desk.begin(reserved.spend, least=HELD)
    steps.between()
    if not isinstance(job, OpenJob):
        raise RuntimeError("a new spend was known")
    refund = await job.settle(CHARGED)
    steps.between()
    with wallet.turn(terms) as opened:
        opened.refunded(reserved.id, refund)


def _history(case: Case) -> list[Any]:
    if not (case.folder / "wallet" / "wallet.journal").exists():
        return []
    return list(Wallet.read(case.folder / "wallet", KEY).history())


async def look(case: Case) -> dict[str, Any]:
    """Return what everybody holds."""
    wallet = Wallet.read(case.folder / "wallet", KEY)
    async with open_store(case.store) as store:
        charged, _ = await store.charged_since(0, 1000)
    async with case.ledger("person", Steps(None)) as ledger:
        totals = await ledger.credits.totals()
        assert ledger.sender is not None
        tokens = await ledger.token.balance(ledger.sender.account.address)
        held = await ledger.token.balance(case.addresses.credits)
    entries = [(one.kind, one.amount) for one in wallet.history()]
    return {
        "balance": wallet.balance,
        "charged": sum(amount for _, amount in charged),
        "contract": held,
        "exited": totals.exited,
        "history": sorted(entries),
        "issued": totals.issued,
        "pending": totals.pending,
        "tokens": tokens,
        "unfinished": len(wallet.unfinished()) + len(wallet.purchases()),
    }


def _warm(case: Case) -> None:
    """Import here what every run would import, and make what no run may change."""
    load_artefact("Credits").calldata("used", bytes(32))
    load_account(case.root / "person.key")
    CreditTerms(case.issuer.terms.deployment, case.issuer.terms.public)
    import_module("eth_utils.address")


def main(root: Path, url: str) -> None:
    """Die at each step in turn."""
    chain, deadly, killed = LocalChain(url, "anvil"), 0, True
    _warm(Case(root, root, url))
    snapshot = chain.ask("evm_snapshot")
    while killed:
        deadly += 1
        case = Case(root, root / str(deadly), url)
        case.folder.mkdir()
        first = Steps(deadly)
        status = forked(lambda: anyio.run(use, case, first, 1000.0))  # noqa: B023
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

        def finish() -> None:
            anyio.run(use, case, Steps(None), 1000.0 + LEASE_S + 1)  # noqa: B023
            left = anyio.run(look, case)  # noqa: B023
            print(json.dumps({"killed": killed, "step": deadly, **left}), flush=True)  # noqa: B023

        if forked(finish) != 0 or (not killed and status != 0):
            raise RuntimeError(f"the wallet was not usable after step {deadly}")
        chain.ask("evm_revert", snapshot)
        snapshot = chain.ask("evm_snapshot")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
