"""The local chain: found where it may be, or said how to get it; and the one without anvil."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from privity.cli.app import run
from privity.errors import InputError, MissingDependency, PeerError
from privity.ledger import local_chain
from privity.ledger.accounts import Account
from privity.ledger.client import Ledger
from privity.ledger.credits import sign_exit
from privity.ledger.deploy import UNIT, DevTerms, deploy_all
from privity.ledger.history import MemberHistory
from privity.ledger.local_chain import find_anvil, run_chain
from privity.ledger.providers import ProviderKind
from privity.node import devnet, devnet_needs


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave no anvil to be found."""
    monkeypatch.delenv("PRIVITY_ANVIL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(local_chain, "_IN_TREE", "no/such/folder")
    return tmp_path


def program(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_where_there_is_none_it_is_said_how_to_get_one(nowhere: Path) -> None:
    with pytest.raises(MissingDependency) as caught:
        find_anvil()
    assert "PRIVITY_ANVIL" in caught.value.hint and "`npm ci --prefix " in caught.value.hint


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a devnet that is started fail the test."""

    def never(_settings: object) -> object:
        raise AssertionError("nothing can be started without its parts")

    monkeypatch.setattr(local_chain, "_has_evm", lambda: False)
    monkeypatch.setattr(devnet_needs, "find_default", lambda: None)
    monkeypatch.setattr(devnet, "run_devnet", never)


@pytest.mark.usefixtures("nowhere", "unstarted")
def test_a_devnet_names_all_that_is_missing_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "privity_core", None)
    monkeypatch.setattr(devnet_needs, "find_spec", lambda name: None)
    assert run(["devnet", "--anonymous", "--engine", "http://127.0.0.1:9"]) == 1
    said = capsys.readouterr().err
    told = "; ".join(
        (
            "anvil, the local chain, is not on this machine",
            "the native wheel privity-core is missing",
            "the ledger's libraries are not installed: eth-abi, eth-account, eth-utils",
        )
    )
    assert said.startswith(f"error: {told}\nhint: ")
    assert said.count("\n") == 4, "a line of hints for each"


@pytest.mark.usefixtures("nowhere", "unstarted")
def test_a_plain_devnet_needs_its_engine_and_no_chain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devnet_needs, "find_spec", lambda name: None)
    assert run(["devnet"]) == 1
    assert capsys.readouterr().err.startswith("error: the embedded engine, xllamacpp, is not")


@pytest.mark.usefixtures("nowhere")
def test_the_doctor_says_that_there_is_no_chain_and_who_needs_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["doctor", "--only", "anvil"]) == 0
    said = capsys.readouterr().out
    assert "only `privity devnet --anonymous` needs it" in said and "npm ci" in said


def test_it_is_found_where_it_is_named_then_on_the_path(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = program(nowhere / "anvil")
    assert find_anvil() == on_path
    named = program(nowhere / "another")
    monkeypatch.setenv("PRIVITY_ANVIL", str(named))
    assert find_anvil() == named


def test_what_is_named_and_no_program_is_refused(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(nowhere / "anvil")
    monkeypatch.setenv("PRIVITY_ANVIL", str(nowhere))
    with pytest.raises(InputError, match="no program"):
        find_anvil()


def test_one_that_does_not_start_is_said_so(nowhere: Path) -> None:
    program(nowhere / "anvil")
    with pytest.raises(PeerError, match="did not start"), run_chain(embedded=False):
        pass


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.skipif(
    not all(map(find_spec, ("eth_tester", "eth", "web3"))),
    reason="eth-tester, py-evm and web3 are not installed here",
)
async def test_without_anvil_the_embedded_chain_does_the_same(
    nowhere: Path, tmp_path: Path
) -> None:
    with run_chain() as chain:
        assert chain.program == "embedded"
        account, journal = Account.generate(), tmp_path / "journal.json"
        chain.fund(account.address)
        terms = DevTerms(issuer_key=b"\x07" * 32)
        addresses = await deploy_all(chain.url, account, terms, journal=journal)
        async with Ledger(
            chain.url, addresses, signer=account, confirmations=0, journal=journal
        ) as ledger:
            added = await ledger.register_member((1).to_bytes(32, "little"), 5)
            history = MemberHistory()
            await history.update(ledger.members)
            assert history.events == (added,)
            with pytest.raises(InputError, match="refused slash: not the secret"):
                await ledger.slash(0, (2).to_bytes(32, "little"))
            await ledger.token.allow(addresses.providers, UNIT)
            await ledger.registry.register(
                ProviderKind.RELAY, "did:key:z6Mk", "http://127.0.0.1:1", b"\x01" * 32, 1
            )
            assert len((await ledger.providers()).entries) == 1
            number = await ledger.deposit(UNIT, b"\x02" * 32)
            await ledger.credits.claim(number)
            leave = sign_exit(
                account, addresses, amount=UNIT, to=account.address, nonce=b"\x03" * 32
            )
            await ledger.exit_unspent(leave)
            assert (await ledger.credits.totals()).exited == UNIT
            with pytest.raises(InputError, match="too early"):
                await ledger.credits.refund(await ledger.deposit(UNIT, b"\x04" * 32))
            chain.ask("evm_increaseTime", 61)
            await ledger.credits.refund(1)
