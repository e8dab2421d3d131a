"""Roles that hold a ledger or a store end at a SIGTERM in order: 143, and nothing said."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anvil import anvil
from native import needs_native
from privity.cli.app import run
from privity.ledger.accounts import load_account
from privity.ledger.local_chain import LocalChain

pytestmark = [pytest.mark.slow, needs_native]

ROLES = {
    "gateway": (
        *("gateway", "--enclave", "http://127.0.0.1:1", "--scope", "0x" + "11" * 20),
        *("--store", "sqlite:{folder}/store.db", "--confirmations", "0"),
    ),
    "relay": ("relay", "--follow-registry", "--local-targets"),
}


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalChain, Path]]:
    """A chain with the contracts on it, and the folder of their addresses."""
    folder = tmp_path_factory.mktemp("laid")
    with anvil() as chain, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIVITY_HOME", str(folder / "home"))
        assert run(["ledger", "account", str(folder / "owner.key")]) == 0
        chain.fund(load_account(folder / "owner.key").address)
        files = ["--issuer", str(folder / "issuer.key"), "--out", str(folder / "contracts.json")]
        owner = ["--account", str(folder / "owner.key")]
        assert run(["ledger", "deploy", "--ledger", chain.url, *owner, *files]) == 0
        yield chain, folder


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_told_to_end_says_nothing(
    role: str, laid: tuple[LocalChain, Path], tmp_path: Path
) -> None:
    chain, folder = laid
    words = [word.format(folder=tmp_path) for word in ROLES[role]]
    where = ["--ledger", chain.url, "--contracts", str(folder / "contracts.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "privity.cli", "serve", *words, *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready, process.communicate()[1]
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (128 + signal.SIGTERM, "")
