"""A confined process writes no file, opens no socket and starts no program, try as it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from privity.errors import EngineError
from privity.node import confinement

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the filter of system calls is Linux's"
)

ATTEMPTS = {
    "a new file": "open('new', 'w')",
    "an existing file": "open('old', 'r+b')",
    "appending": "open('old', 'a')",
    "a temporary file": "__import__('tempfile').TemporaryFile()",
    "a file in shared memory": "open('/dev/shm/privity-confined', 'w')",
    "a file without a name": "os.memfd_create('x')",
    "a file opened before": "os.write(before, b'x')",
    "a longer file opened before": "os.ftruncate(before, 100)",
    "a folder": "os.mkdir('folder')",
    "a link": "os.symlink('canary', 'link')",
    "another name": "os.rename('old', 'canary')",
    "an attribute": "os.setxattr('old', 'user.canary', b'x')",
    "cutting a file": "os.truncate('old', 0)",
    "a device": "open('/dev/null', 'wb')",
    "a socket": "socket.socket()",
    "a pair of sockets": "socket.socketpair()",
    "a socket of the system": "socket.socket(socket.AF_UNIX)",
    "a name looked up": "socket.create_connection(('localhost', 9))",
    "another program": "os.execv('/bin/true', ['true'])",
    "a program by C": "os.posix_spawn('/bin/true', ['true'], {})",
    "shared memory by name": (
        "__import__('multiprocessing.shared_memory').shared_memory.SharedMemory(create=True,size=8)"
    ),
    "shared memory of the system": "fail_on(libc.shmget(0, 4096, 0o1600))",
    "a new kind of opening": "fail_on(libc.syscall(437, -100, b'new', b'x' * 24, 24))",
    "asking by a ring": "fail_on(libc.syscall(425, 8, b'\\0' * 120))",
    "a call not known yet": "fail_on(libc.syscall(463))",
}
SCRIPT = """
import ctypes, errno, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
before = os.open('old', os.O_RDWR)
def fail_on(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), 'refused')
from privity.node.confinement import confine
if sys.argv[1] == 'confined':
    confine()
try:
    {attempt}
except OSError as error:
    print('refused', errno.errorcode[error.errno])
else:
    print('done')
"""


def attempt(text: str, folder: Path, *, confined: bool) -> str:
    (folder / "old").write_text("content")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(attempt=text), "confined" if confined else "free"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_confined_process_is_refused(name: str, tmp_path: Path) -> None:
    answer = attempt(ATTEMPTS[name], tmp_path, confined=True)
    assert answer.startswith("refused "), answer
    assert answer.split()[1] in ("EPERM", "EACCES", "EFBIG", "ENOSYS", "ENOENT")
    assert [path.name for path in tmp_path.iterdir() if path.name != "privity-home"] == ["old"]
    assert (tmp_path / "old").read_text() == "content"


def test_the_same_attempts_succeed_unconfined(tmp_path: Path) -> None:
    """Otherwise the refusals above could be of another cause."""
    for name in ("a new file", "appending", "a socket", "a file without a name", "a link"):
        folder = tmp_path / name
        folder.mkdir()
        assert attempt(ATTEMPTS[name], folder, confined=False) == "done", name


def test_children_and_threads_are_confined_too(tmp_path: Path) -> None:
    script = """
import os, sys, threading
from privity.node.confinement import confine
confine()
found = []
def work():
    try:
        open('new', 'w')
    except OSError:
        found.append('thread')
thread = threading.Thread(target=work)
thread.start()
thread.join()
if os.fork() == 0:
    try:
        open('new', 'w')
    except OSError:
        os._exit(7)
    os._exit(0)
print(found, os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['thread'] 7"


def test_where_it_cannot_be_done_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="cut off from files on sparc"):
        confinement._program("sparc")
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EngineError, match="no way to cut"):
        confinement.confine()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_ends_by_allowing_and_jumps_within_itself(machine: str) -> None:
    code = confinement._program(machine)
    steps = [code[at : at + 8] for at in range(0, len(code), 8)]
    for at, step in enumerate(steps):
        assert at + 1 + max(step[2], step[3]) < len(steps) or step[0] == 0x06
    assert steps[-1] == bytes.fromhex("06000000") + (0x7FFF0000).to_bytes(4, "little")
