"""The issuer's key changes while a person's purchases wait: real processes and a real chain.

No deposit is lost: not one that was claimed under the old key and whose answer did not arrive, and
not one that was made after the change, with an enclave that had not been told of it yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anonymous_net import LIMIT_S, needs_network
from paid_net import PaidNet, paid_net, payer
from privity.anon.payment_terms import ISSUE_PATH
from privity.errors import PaymentError
from privity.identity.multibase import encode_base64url
from privity.infer.anonymous.desk import said

pytestmark = [needs_network, pytest.mark.anyio, pytest.mark.slow]

AMOUNT = 100


def operator(net: PaidNet, *words: str) -> object:
    """Run a command of the operator's with more than its name."""
    done = subprocess.run(
        [sys.executable, "-m", "privity.cli", "operator", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "PRIVITY_HOME": str(net.folder / "home")},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[PaidNet]:
    with paid_net(tmp_path / "net") as found:
        yield found


async def test_a_change_of_the_issuers_key_loses_no_deposit(net: PaidNet, tmp_path: Path) -> None:
    async with payer(net, tmp_path / "one", tokens=0) as one:
        terms = await one.teller._terms()
        with one.wallet.turn(terms) as wallet:
            _, request = wallet.buy(AMOUNT)
        ledger = one.teller._ledger
        deposit = await ledger.deposit(AMOUNT, hashlib.sha256(request).digest())
        asked = {"deposit": deposit, "request": encode_base64url(request)}
        await said(one.teller._desk, ISSUE_PATH, asked)  # claimed; its answer is lost

        payments = ("--payments", str(net.payments))
        next_key = net.folder / "next.key"
        operator(net, "propose-key", *payments, "--key", str(next_key))
        net.chain.ask("evm_increaseTime", 61)
        net.chain.ask("anvil_mine", "0x1")
        operator(net, "activate-key", *payments)

        with pytest.raises(PaymentError) as refused:  # the enclave still has the old one
            await one.teller.finish_purchases()
        assert refused.value.check == "issuer" and "wallet top-up" in refused.value.hint
        with pytest.raises(PaymentError):
            await one.teller.top_up(1000)
        assert len(one.wallet.read().purchases()) == 2

        text = net.payments.read_text()
        net.payments.write_text(text.replace('"issuer.key"', f'"{next_key.name}"'))
        for enclave in net.enclaves:
            enclave.stop()
            enclave.start()
        assert await one.teller.finish_purchases() == AMOUNT + 1000
        assert not one.wallet.read().purchases()
        answer = await one.ask(0)
        assert answer.status == 200
        left = one.wallet.read().balance
        assert left == AMOUNT + 1000 - net.receipts[-1]
        assert await one.teller.exit() == left
    totals = await ledger_totals(net)
    assert totals == (0, AMOUNT + 1000)


async def ledger_totals(net: PaidNet) -> tuple[int, int]:
    """Return what waits and what was issued, by the contract."""
    async with net.ledger() as ledger:
        totals = await ledger.credits.totals()
    return totals.pending, totals.issued
