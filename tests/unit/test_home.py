"""The folder of a person's files: made private, written whole, refused where it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from privity.errors import InputError
from privity.home import home, read_file, read_private, write_private


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
