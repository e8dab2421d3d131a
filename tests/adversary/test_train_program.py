"""Which program trains: no byte of it changes under the same digest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import privity
from privity.errors import InputError
from privity.train import program
from privity.train.program import SOURCES, measure_program

PACKAGE = Path(privity.__file__).parent
FILES = sorted(
    path.relative_to(PACKAGE)
    for name in SOURCES
    for path in ((PACKAGE / name).glob("*.py") if (PACKAGE / name).is_dir() else [PACKAGE / name])
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PACKAGE / name, tmp_path / name)
    return tmp_path


def test_a_copy_of_the_program_has_its_digest(copy: Path) -> None:
    assert measure_program(copy) == measure_program()


@pytest.mark.parametrize("name", FILES, ids=str)
def test_one_changed_byte_is_another_program(copy: Path, name: Path) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert measure_program(copy) != measure_program()


def test_what_decides_what_leaves_is_measured() -> None:
    names = {str(name) for name in FILES}
    assert {"train/lora.py", "train/settings.py", "node/train_process.py"} < names
    assert {"node/trainer.py", "node/training_child.py", "node/confinement.py"} < names


def test_a_new_a_renamed_and_a_missing_file_are_another_program(copy: Path) -> None:
    (copy / "train" / "more.py").write_text("")
    more = measure_program(copy)
    (copy / "train" / "more.py").rename(copy / "train" / "other.py")
    measure_program.cache_clear()
    assert len({more, measure_program(copy), measure_program()}) == 3
    (copy / "node" / "trainer.py").unlink()
    measure_program.cache_clear()
    with pytest.raises(InputError, match="cannot measure"):
        measure_program(copy)


def test_other_limits_of_settings_are_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    before = measure_program()
    measure_program.cache_clear()
    monkeypatch.setattr(program, "schema", lambda: {"limits": {"steps": [1, 10**9]}})
    assert measure_program() != before
    measure_program.cache_clear()
