"""The device's own key: one per home, for its owner alone."""

from __future__ import annotations

import threading
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from privity.errors import InputError
from privity.identity.keystore import device_key, load_key, load_or_create_key, uses_keyring


def test_the_device_key_is_made_once_and_kept_0600(privity_home: Path) -> None:
    first = device_key()
    assert device_key().did == first.did
    (file,) = privity_home.iterdir()
    assert file.name == "device.key"
    assert file.stat().st_mode & 0o777 == 0o600


def test_callers_at_once_get_the_same_key(tmp_path: Path) -> None:
    path, dids, start = tmp_path / "key", [], threading.Barrier(8)

    def call() -> None:
        start.wait()
        dids.append(load_or_create_key(path).did)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(dids) == 8
    assert len(set(dids)) == 1
    assert [file.name for file in tmp_path.iterdir() if file.name != "privity-home"] == ["key"]


def test_a_key_others_can_read_is_refused() -> None:
    device_key()
    from privity.home import home

    (home() / "device.key").chmod(0o644)
    with pytest.raises(InputError, match="can be read by others") as caught:
        device_key()
    assert caught.value.hint.startswith("chmod 600")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"z6Mk", b"z3u2" + b"1" * 400])
def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="damaged") as caught:
        load_or_create_key(path)
    assert path.read_bytes() == content
    assert "1111" not in str(caught.value)


def test_an_absent_or_unwritable_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        load_key(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        load_or_create_key(tmp_path / "file" / "key")


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring of our own for the test, through the library's own interface."""

    priority = 1.0  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


@pytest.fixture
def memory_keyring(monkeypatch: pytest.MonkeyPatch) -> MemoryKeyring:
    ring = MemoryKeyring()
    monkeypatch.setattr(keyring, "get_password", ring.get_password)
    monkeypatch.setattr(keyring, "set_password", ring.set_password)
    monkeypatch.setenv("PRIVITY_KEYRING", "1")
    return ring


def test_the_keyring_by_choice_leaves_no_file(
    memory_keyring: MemoryKeyring, privity_home: Path
) -> None:
    assert device_key().did == device_key().did
    assert len(memory_keyring.kept) == 1
    assert list(privity_home.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "used"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)]
)
def test_the_key_and_the_doctor_agree_on_whether_the_keyring_is_used(
    memory_keyring: MemoryKeyring,
    monkeypatch: pytest.MonkeyPatch,
    privity_home: Path,
    value: str | None,
    used: bool,
) -> None:
    from privity.cli.doctor import _keyring

    monkeypatch.delenv("PRIVITY_KEYRING")
    if value is not None:
        monkeypatch.setenv("PRIVITY_KEYRING", value)
    device_key()
    (finding,) = _keyring()
    assert uses_keyring() == used
    assert len(memory_keyring.kept) == used
    assert (privity_home / "device.key").exists() != used
    assert ("not used" not in finding.detail) == used


def test_a_keyring_that_fails_does_not_fall_back_to_a_file(
    memory_keyring: MemoryKeyring, privity_home: Path
) -> None:
    memory_keyring.locked = True
    with pytest.raises(InputError, match="keyring") as caught:
        device_key()
    assert "PRIVITY_KEYRING" in caught.value.hint
    assert list(privity_home.iterdir()) == []
