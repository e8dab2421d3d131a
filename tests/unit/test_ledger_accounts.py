"""Accounts of the ledger: kept as the device's key is, and shown nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from privity.errors import InputError
from privity.ledger.accounts import Account, load_account, load_or_create_account

KEY = bytes.fromhex("4646464646464646464646464646464646464646464646464646464646464646")


def test_the_address_is_eip_155s() -> None:
    assert Account(KEY).address == "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"


def test_a_key_is_made_once_and_only_the_person_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "account.key"
    made = load_or_create_account(path)
    assert load_or_create_account(path).address == made.address == load_account(path).address
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "account.key"
    path.write_text(KEY.hex())
    path.chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        load_account(path)


@pytest.mark.parametrize("text", ["", "00" * 32, "ff" * 32, "46" * 31, KEY.hex() + "00", "ключ"])
def test_a_damaged_one_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "account.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InputError) as caught:
        load_account(path)
    assert not text or text not in f"{caught.value}{caught.value.hint}"


def test_no_text_of_an_account_holds_its_key() -> None:
    account = Account(KEY)
    shown = [repr(account), str(account), repr(vars(account))]
    with pytest.raises(InputError) as caught:
        account.sign_transaction({"type": 2, "to": KEY.hex()})
    shown += [str(caught.value), caught.value.hint, repr(caught.value.__cause__)]
    assert not any("4646464646" in text for text in shown)


def test_the_keyring_is_used_where_the_person_chose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring

    kept: dict[tuple[str, str], str] = {}
    monkeypatch.setenv("PRIVITY_KEYRING", "1")
    monkeypatch.setattr(keyring, "get_password", lambda s, n: kept.get((s, n)))
    monkeypatch.setattr(keyring, "set_password", lambda s, n, v: kept.update({(s, n): v}))
    path = tmp_path / "account.key"
    assert load_or_create_account(path).address == load_or_create_account(path).address
    assert len(kept) == 1
    assert not path.exists()


def test_signing_leaves_the_limit_of_recursion_as_it_was() -> None:
    # eth-account raises it so far that deeply nested JSON, from anyone, ends the interpreter.
    script = (
        "import sys; from privity.ledger.accounts import Account; "
        "Account(b'1' * 32); print(sys.getrecursionlimit())"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert out.stdout.strip() == b"1000"
