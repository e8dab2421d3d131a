"""The folder of a person's files: made private, written whole, refused where it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from privity.errors import InputError
from privity.home import home, read_private, write_private


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
