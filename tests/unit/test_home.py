"""The folder of a person's files: made private, written whole, refused where it cannot be."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from privity.errors import InputError
from privity.home import create_private_once, home, locked, read_file, read_private, write_private


@pytest.mark.parametrize("below", ["", "more"])
def test_a_home_that_cannot_be_a_folder_is_an_input_error(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    monkeypatch.setenv("PRIVITY_HOME", str(taken / below))
    with pytest.raises(InputError, match="cannot be privity's folder") as refused:
        home()
    assert "PRIVITY_HOME" in refused.value.hint


def test_files_are_private_and_replaced_whole(privity_home: Path) -> None:
    path = home() / "secret"
    write_private(path, b"one")
    write_private(path, b"two")
    assert read_private(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(privity_home) == ["secret"]  # nothing half-written beside it


def test_of_several_who_make_a_file_at_once_the_first_wins(privity_home: Path) -> None:
    path, start = home() / "below" / "secret", threading.Barrier(8)

    def make(number: int) -> bytes:
        start.wait()
        create_private_once(path, bytes([number]) * 1000)
        return read_private(path)

    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(make, range(8)))
    create_private_once(path, b"later")
    assert seen == {read_private(path)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["secret"]  # nothing of the others is left


def test_a_file_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as refused:
        create_private_once(tmp_path / "file" / "secret", b"one")
    assert str(tmp_path / "file") in refused.value.hint
    taken = tmp_path / "link"
    taken.symlink_to(tmp_path / "elsewhere")
    create_private_once(taken, b"one")
    assert not (tmp_path / "elsewhere").exists()  # a link that lies there is not written through


def test_a_lock_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="cannot write") as refused,
        locked(tmp_path / "file" / "a"),
    ):
        pass
    assert "make room" in refused.value.hint


def test_what_fails_while_a_lock_is_held_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), locked(tmp_path / "turn"):
        raise BlockingIOError


def test_a_lock_is_one_holders_or_shared(privity_home: Path) -> None:
    path = privity_home / "folder" / "turn"
    with locked(path):
        for shared in (False, True):
            with pytest.raises(BlockingIOError), locked(path, shared=shared, wait=False):
                pass
    with locked(path, shared=True), locked(path, shared=True, wait=False):
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
    with locked(path, wait=False):
        assert path.stat().st_mode & 0o077 == 0


def test_a_secret_that_others_can_read_is_refused(privity_home: Path) -> None:
    path = home() / "secret"
    write_private(path, b"one")
    path.chmod(0o644)
    with pytest.raises(InputError, match="can be read by others"):
        read_private(path)


def test_one_byte_over_the_limit_is_an_error_and_never_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    assert read_file(path, most=8, what="the manifest") == b"12345678"
    path.write_bytes(b"123456789")
    with pytest.raises(InputError, match=r"the manifest .*file is larger than 8 bytes") as refused:
        read_file(path, most=8, what="the manifest")
    assert refused.value.hint


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "nul\0"):
        with pytest.raises(InputError, match="cannot read the manifest"):
            read_file(path, most=8, what="the manifest")
    assert read_file(tmp_path / "none", most=8, what="the manifest", absent=b"") == b""
    with pytest.raises(InputError, match="cannot read"):  # a folder is there, and no file
        read_file(tmp_path, most=8, what="the manifest", absent=b"")
