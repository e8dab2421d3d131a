"""A purchase, a job and a payout, killed at every step on disk, to the ledger and to the desk.

The processes are real, and killed with SIGKILL, wallet and desk together: tests/paid_crash.py. The
chain is anvil, so that a transaction that was sent is mined though its sender is dead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from anonymous_net import needs_network
from anvil import anvil
from privity.home import write_private
from privity.ledger.accounts import load_or_create_account
from privity.ledger.deploy import DevTerms, deploy_all
from privity.ledger.local_chain import LocalChain
from privity.node.payments import load_issuer_key

pytestmark = [needs_network, pytest.mark.slow]

TESTS = Path(__file__).parents[1]
FUNDS, BOUGHT, CHARGED = 10**6, 1000, 15


def prepare(folder: Path, chain: LocalChain) -> None:
    """Put the contracts there, and give the person something to buy with."""
    names = ("deployer", "operator", "person")
    accounts = {name: load_or_create_account(folder / f"{name}.key") for name in names}
    for account in accounts.values():
        chain.fund(account.address)
    terms = DevTerms(
        issuer_key=load_issuer_key(folder / "issuer.key").public,
        operator=accounts["operator"].address,
        signer=accounts["operator"].address,
        denominations=(BOUGHT,),
        issue_delay=3600,
        mint=[accounts["person"].address],
        minted=FUNDS,
    )

    async def deploy() -> bytes:
        journal = folder / "deployer.journal"
        return (
            await deploy_all(chain.url, accounts["deployer"], terms, journal=journal)
        ).to_bytes()

    write_private(folder / "contracts.json", anyio.run(deploy))


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what was left after a death at each step."""
    root = tmp_path_factory.mktemp("paid-crash")
    with anvil() as chain:
        prepare(root, chain)
        done = subprocess.run(
            [sys.executable, str(TESTS / "paid_crash.py"), str(root), chain.url],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
            capture_output=True,
            timeout=900,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_step_was_died_at(ends: list[dict[str, Any]]) -> None:
    assert len(ends) > 60
    assert [one["killed"] for one in ends] == [True] * (len(ends) - 1) + [False]


def test_nothing_is_bought_twice_or_paid_for_in_vain(ends: list[dict[str, Any]]) -> None:
    for one in ends:
        assert (one["issued"], one["pending"]) == (BOUGHT, 0), one
        assert [amount for kind, amount in one["history"] if kind == "bought"] == [BOUGHT], one


def test_what_was_not_charged_is_paid_out_once(ends: list[dict[str, Any]]) -> None:
    for one in ends:
        assert one["charged"] in (0, CHARGED), one
        assert one["exited"] == BOUGHT - one["charged"], one
        assert one["tokens"] == FUNDS - one["charged"], one
        assert one["contract"] == one["charged"], one
        assert (one["balance"], one["unfinished"]) == (0, 0), one
        assert sum(n for kind, n in one["history"] if kind == "spent") == one["charged"], one
