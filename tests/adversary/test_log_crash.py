"""A log's folder under crashes, second writers, foreign keys and damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from privity.attest.log import (
    Algorithm,
    Checkpoint,
    FolderSource,
    KeysetEntry,
    LogFolder,
    NoteKey,
    read_log,
)
from privity.attest.log import folder as folder_module
from privity.attest.log.entry import entry_bytes
from privity.attest.log.source import prove_consistency
from privity.errors import InputError
from privity.hazmat.merkle import verify_consistency
from privity.identity.keys import SigningKey

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = SigningKey(b"\1" * 32)
ORIGIN = "log.example"
VKEY = NoteKey.of(ORIGIN, Algorithm.ED25519, KEY)


def _entry(number: int, name: str = "ai.example") -> bytes:
    digest = f"sha256:{number:064x}"
    return entry_bytes(KeysetEntry(name, digest, NOW, NOW + timedelta(days=1)))


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk out, which is most of the time of an append."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def _log(path: Path, size: int) -> None:
    LogFolder.create(path, ORIGIN, KEY)
    with LogFolder.open(path, KEY) as log:
        for number in range(size):
            assert log.append(_entry(number)) == number


def _audit(path: Path) -> Checkpoint:
    contents = anyio.run(read_log, FolderSource(path), [VKEY])
    assert len(contents.entries) == contents.checkpoint.size
    return contents.checkpoint


def _assert_growth(path: Path, old: Checkpoint, new: Checkpoint) -> None:
    assert new.size >= old.size
    if old.size:
        proof = anyio.run(prove_consistency, FolderSource(path), old.size, new.size)
        verify_consistency(old.size, old.root, new.size, new.root, proof)


class Killed(BaseException):
    """Stands for the end of the process."""


def _dying_after(renames: int) -> Callable[[str, Path], None]:
    left = renames
    replace = os.replace

    def rename(source: str, target: Path) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        replace(source, target)

    return rename


# 255 and 256: an append that fills a tile, and one that begins the next, above as well.
@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 511])
def test_a_crash_between_any_two_writes_leaves_a_log_that_only_grew(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsynced: None
) -> None:
    path = tmp_path / "log"
    _log(path, size)
    shown = _audit(path)
    for crashed_after in range(9):
        with monkeypatch.context() as patch:
            patch.setattr(folder_module.os, "replace", _dying_after(crashed_after))
            try:
                with LogFolder.open(path, KEY) as log:
                    log.append(_entry(1000 + crashed_after, "lost.example"))
                finished = True
            except Killed:
                finished = False
        after = _audit(path)
        _assert_growth(path, shown, after)
        assert (after.size == shown.size + 1) is finished
        shown = after
        if finished:
            break
    else:
        raise AssertionError("an append takes more writes than were tried")
    assert crashed_after >= 3
    with LogFolder.open(path, KEY) as log:
        log.append(_entry(2000))
    _assert_growth(path, shown, _audit(path))


def test_a_crash_leaves_no_file_that_a_later_append_cannot_write_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsynced: None
) -> None:
    path = tmp_path / "log"
    _log(path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "replace", _dying_after(2))
        with pytest.raises(Killed), LogFolder.open(path, KEY) as log:
            log.append(_entry(77))
    with LogFolder.open(path, KEY) as log:
        assert log.find(_entry(77)) is None
        assert log.append(_entry(88)) == 3
    assert _audit(path).size == 4
    assert not [one for one in path.rglob(".new.*")]


def test_a_full_disk_leaves_a_log_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsynced: None
) -> None:
    path = tmp_path / "log"
    _log(path, 3)
    with LogFolder.open(path, KEY) as log:
        with monkeypatch.context() as patch:
            left = iter([False, True])

            def rename(source: str, target: Path, replace: object = os.replace) -> None:
                if next(left):
                    raise OSError(28, "No space left on device")
                replace(source, target)  # type: ignore[operator]

            patch.setattr(folder_module.os, "replace", rename)
            with pytest.raises(InputError, match="No space left"):
                log.append(_entry(77))
        assert log.checkpoint.size == 3
        assert log.append(_entry(78)) == 3
    assert _audit(path).size == 4


WRITER = """
import sys
from pathlib import Path
from privity.attest.log import LogFolder
from privity.identity.keys import SigningKey
sys.path.insert(0, sys.argv[2])
from adversary.test_log_crash import _entry
with LogFolder.open(Path(sys.argv[1]), SigningKey(b"\\1" * 32)) as log:
    number = log.checkpoint.size
    while True:
        log.append(_entry(number))
        number += 1
        print(log.checkpoint.size, log.checkpoint.root.hex(), flush=True)
"""


def test_a_writer_killed_at_any_time_loses_nothing_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "log"
    LogFolder.create(path, ORIGIN, KEY)
    shown = _audit(path)
    for pause in (0.0, 0.011, 0.023):
        command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parents[1])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        whole = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        after = _audit(path)
        _assert_growth(path, shown, after)
        if whole:
            size, root = whole[-1].split()
            _assert_growth(path, Checkpoint(ORIGIN, int(size), bytes.fromhex(root)), after)
        assert after.size > shown.size
        shown = after


def test_a_tree_shown_before_its_tiles_filled_up_still_has_its_proofs(
    tmp_path: Path, unsynced: None
) -> None:
    """Partial tiles are deleted once full ones stand in for them, and only those."""
    path = tmp_path / "log"
    _log(path, 255)
    shown = _audit(path)
    with LogFolder.open(path, KEY) as log:
        for number in range(255, 260):
            log.append(_entry(number))
    assert sorted(one.name for one in (path / "tile" / "0").iterdir()) == ["000", "001.p"]
    assert sorted(one.name for one in (path / "tile" / "entries").iterdir()) == ["000", "001.p"]
    assert [one.name for one in (path / "tile" / "1").rglob("*") if one.is_file()] == ["1"]
    _assert_growth(path, shown, _audit(path))
    proof = anyio.run(prove_consistency, FolderSource(path), 100, 255)
    assert proof


def test_a_second_writer_is_refused(tmp_path: Path, unsynced: None) -> None:
    path = tmp_path / "log"
    _log(path, 1)
    with LogFolder.open(path, KEY):
        with pytest.raises(InputError, match="another process"), LogFolder.open(path, KEY):
            raise AssertionError("opened twice")
        assert _audit(path).size == 1  # reading needs no lock
    with LogFolder.open(path, KEY) as log:
        assert log.checkpoint.size == 1


def test_another_key_cannot_go_on_with_a_log(tmp_path: Path, unsynced: None) -> None:
    path = tmp_path / "log"
    _log(path, 1)
    with (
        pytest.raises(InputError, match="not signed by this key"),
        LogFolder.open(path, SigningKey(b"\2" * 32)),
    ):
        raise AssertionError("opened")
    with pytest.raises(InputError, match="holds a log already"):
        LogFolder.create(path, ORIGIN, KEY)


@pytest.mark.parametrize("file", ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"])
def test_a_damaged_folder_is_not_signed_over(file: str, tmp_path: Path, unsynced: None) -> None:
    path = tmp_path / "log"
    _log(path, 3)
    data = bytearray((path / file).read_bytes())
    data[40] ^= 1
    (path / file).write_bytes(data)
    if file.startswith("tile/entries"):
        with pytest.raises(Exception, match="do not have the root"):
            _audit(path)
        return
    with pytest.raises(InputError, match=r"damaged|not signed"), LogFolder.open(path, KEY):
        raise AssertionError("opened")


def test_a_folder_put_back_to_an_older_copy_is_a_rollback_that_shows(
    tmp_path: Path, unsynced: None
) -> None:
    """Nothing inside the folder can tell; memory, witnesses and consistency proofs do."""
    path = tmp_path / "log"
    _log(path, 3)
    older = (path / "checkpoint").read_bytes()
    with LogFolder.open(path, KEY) as log:
        log.append(_entry(3))
        forgotten = log.checkpoint
    (path / "checkpoint").write_bytes(older)
    with LogFolder.open(path, KEY) as log:
        log.append(_entry(4))
        forked = log.checkpoint
    assert (forked.size, forked.root != forgotten.root) == (forgotten.size, True)


def test_files_are_readable_by_a_web_server_and_the_key_is_not_among_them(
    tmp_path: Path, unsynced: None
) -> None:
    path = tmp_path / "log"
    _log(path, 3)
    files = [one for one in path.rglob("*") if one.is_file() and one.name != ".lock"]
    assert files and all(one.stat().st_mode & 0o777 == 0o644 for one in files)
    assert not any(KEY.unsafe_seed() in one.read_bytes() for one in files)
