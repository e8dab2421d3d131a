"""Files that are memory: sealed, locked, and open in no process they were not handed to."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from privity.errors import EngineError
from privity.node import memory_file
from privity.node.memory_file import MemoryFile

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="files in memory are Linux'"
)

CONTENTS = os.urandom(1 << 20) + b"end"


@pytest.fixture
def memory() -> MemoryFile:
    memory = MemoryFile(len(CONTENTS))
    memory.lock().write(CONTENTS[:1000])
    return memory


def test_what_was_written_in_parts_is_read_as_a_whole() -> None:
    memory = MemoryFile(len(CONTENTS))
    sink = memory.lock()
    for start in range(0, len(CONTENTS), 100_001):
        sink.write(CONTENTS[start : start + 100_001])
    memory.seal()
    assert memory.path.read_bytes() == CONTENTS
    memory.close()


def test_nobody_writes_to_it_once_sealed(memory: MemoryFile) -> None:
    memory.seal()
    for attempt in (
        lambda: os.pwrite(memory.fd, b"x", 0),
        lambda: os.ftruncate(memory.fd, 1),
        lambda: os.ftruncate(memory.fd, 1 << 22),
        lambda: os.pwrite(os.open(memory.path, os.O_RDWR), b"x", 0),
    ):
        with pytest.raises(OSError):
            attempt()
    memory.close()


def test_only_a_child_it_is_handed_to_has_it(memory: MemoryFile) -> None:
    script = "import os,sys; print([os.readlink(f'/proc/self/fd/{n}') for n in range(3, 64) if "
    script += "os.path.lexists(f'/proc/self/fd/{n}')])"
    command = [sys.executable, "-c", script]
    without = subprocess.run(command, capture_output=True, text=True, close_fds=False, check=True)
    handed = subprocess.run(
        command, capture_output=True, text=True, pass_fds=(memory.fd,), check=True
    )
    assert "memfd" not in without.stdout
    assert "memfd:privity" in handed.stdout
    memory.close()


def test_it_has_no_name_and_is_gone_when_closed(memory: MemoryFile) -> None:
    assert os.readlink(memory.path).startswith("/memfd:privity")
    assert os.fstat(memory.fd).st_nlink == 0
    path = memory.path
    memory.close()
    memory.close()
    assert memory.fd == -1 and not (path.exists() and "memfd" in os.readlink(path))


def test_all_of_it_is_locked() -> None:
    before = _locked_kib()
    try:
        memory = MemoryFile(4 << 20)
        memory.lock()
        memory.seal()
    except EngineError:
        pytest.skip("this system lets nothing be locked, and swaps")
    if _locked_kib() == before:
        pytest.skip("this system lets nothing be locked")
    assert _locked_kib() - before >= 4 << 10
    memory.close()
    assert _locked_kib() - before < 4 << 10


class _CannotLock:
    """The C library, without the right to lock memory."""

    def __init__(self) -> None:
        self._libc = memory_file._libc()

    def __getattr__(self, name: str) -> object:
        return getattr(self._libc, name)

    def mlock(self, place: int, size: int) -> int:
        ctypes.set_errno(12)
        return -1


@pytest.mark.parametrize("swaps", [True, False])
def test_what_cannot_be_locked_is_refused_where_swap_could_take_it(
    swaps: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    libc = _CannotLock()
    monkeypatch.setattr(memory_file, "_libc", lambda: libc)
    monkeypatch.setattr(memory_file, "swap_is_on", lambda: swaps)
    if swaps:
        with pytest.raises(EngineError, match="this machine swaps"):
            MemoryFile(1 << 20).lock()
    else:
        memory = MemoryFile(1 << 20)
        memory.lock().write(b"x")
        memory.seal()
        memory.close()
        assert "not locked" in caplog.text


def test_what_cannot_be_locked_is_taken_where_swap_was_accepted_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    libc = _CannotLock()
    monkeypatch.setattr(memory_file, "_libc", lambda: libc)
    monkeypatch.setattr(memory_file, "swap_is_on", lambda: True)
    memory = MemoryFile(1 << 20, unsafe_swap=True)
    memory.lock().write(b"x")
    memory.seal()
    memory.close()
    assert "may be written to swap" in caplog.text


def test_more_than_there_is_is_an_error() -> None:
    with pytest.raises(EngineError, match="no memory"):
        MemoryFile(1 << 62).seal()


def test_nothing_at_all_can_be_kept() -> None:
    memory = MemoryFile(0)
    memory.lock()
    memory.seal()
    assert memory.path.read_bytes() == b""
    memory.close()


def _locked_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmLck"):
            return int(line.split()[1])
    return 0


@pytest.mark.parametrize("swaps", [True, False])
def test_with_swap_it_is_locked_before_it_is_written(
    swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_file, "swap_is_on", lambda: swaps)
    before, memory = _locked_kib(), MemoryFile(4 << 20)
    try:
        memory.lock()
    except EngineError:
        pytest.skip("this system lets nothing be locked")
    assert (_locked_kib() - before >= 4 << 10) == swaps
    memory.close()


def test_more_than_it_holds_is_an_error(memory: MemoryFile) -> None:
    memory.seal()
    with pytest.raises(EngineError, match="no memory left"):
        memory.lock().write(b"x")
    memory.close()
