"""A confined process writes no file, opens no socket and starts no program, try as it may."""

from __future__ import annotations

import ctypes
import os
import re
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
    "cutting a file opened to be read": "os.open('old', os.O_RDONLY | os.O_TRUNC)",
    "a file's mode": "os.chmod('old', 0o600)",
    "a file's times": "os.utime('old')",
    "a lock": "__import__('fcntl').flock(os.open('old', os.O_RDONLY), 2)",
    "a child": "os.fork() or os._exit(0)",
    "a signal to the parent": "os.kill(os.getppid(), 0)",
    "the parent's limits": "__import__('resource').prlimit(os.getppid(), 7)",
    "the parent's memory": "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "a name others see": "fail_on(libc.prctl(15, b'canary', 0, 0, 0))",
    "a descriptor of the terminal": "__import__('fcntl').ioctl(0, 0x5412, b'x')",
    "unlocking memory": "fail_on(libc.munlockall())",
    "many open files": "[os.dup(0) for _ in range(1000)]",
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
    assert answer.split()[1] in ("EPERM", "EACCES", "EFBIG", "ENOSYS", "ENOENT", "EMFILE")
    assert [path.name for path in tmp_path.iterdir() if path.name != "privity-home"] == ["old"]
    assert (tmp_path / "old").read_text() == "content"


def test_the_same_attempts_succeed_unconfined(tmp_path: Path) -> None:
    """Otherwise the refusals above could be of another cause."""
    for name in ("a new file", "appending", "a socket", "a file without a name", "a link"):
        folder = tmp_path / name
        folder.mkdir()
        assert attempt(ATTEMPTS[name], folder, confined=False) == "done", name


WAYS_OUT = """
import ctypes, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
queue, segment, descriptor = map(int, sys.argv[1:])
class Handle(ctypes.Structure):
    _fields_ = [("n", ctypes.c_uint), ("t", ctypes.c_int), ("h", ctypes.c_ubyte * 128)]
handle, mount = Handle(128), ctypes.c_int()
libc.name_to_handle_at(-100, b"old", ctypes.byref(handle), ctypes.byref(mount), 0)
from privity.node.confinement import confine
confine()
def by_handle():
    fd = libc.open_by_handle_at(os.open(".", os.O_RDONLY), ctypes.byref(handle), os.O_RDWR)
    if fd < 0:
        return False
    mmap.mmap(fd, 6)[:6] = b"SECRET"  # RLIMIT_FSIZE does not see mapped writes
    return True
def by_parents_descriptor():
    fd = libc.syscall(438, libc.syscall(434, os.getppid(), 0), descriptor, 0)
    return fd >= 0 and os.write(fd, b"SECRET") == 6
def by_queue():
    return libc.msgsnd(queue, struct.pack("@l", 1) + b"SECRET", 6, 0) == 0
def by_segment():
    libc.shmat.restype = ctypes.c_void_p
    place = libc.shmat(segment, None, 0)
    if place in (None, ctypes.c_void_p(-1).value):
        return False
    ctypes.memmove(place, b"SECRET", 6)
    return True
def by_mount():
    return libc.syscall(430, b"tmpfs", 0) >= 0
def by_memory():
    class Part(ctypes.Structure):
        _fields_ = [("at", ctypes.c_void_p), ("n", ctypes.c_size_t)]
    own = ctypes.create_string_buffer(8)
    part = Part(ctypes.addressof(own), 8)
    return libc.process_vm_readv(
        os.getpid(), ctypes.byref(part), 1, ctypes.byref(part), 1, 0) == 8
print("out" if WAY() else "refused", flush=True)
"""


def take_way_out(way: str, folder: Path, *, confined: bool = True) -> str:
    (folder / "old").write_bytes(b"x" * 4096)
    script = WAYS_OUT.replace("WAY", way)
    if not confined:
        script = script.replace("\nconfine()", "")
    libc = ctypes.CDLL(None, use_errno=True)
    queue, segment = libc.msgget(0, 0o1600), libc.shmget(0, 4096, 0o1600)
    reading, writing = os.pipe()  # stands for a socket the trainer has open, such as the broker's
    try:
        arguments = map(str, (queue, segment, writing))
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    finally:
        libc.msgctl(queue, 0, None)
        libc.shmctl(segment, 0, None)
        os.close(reading)
        os.close(writing)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "way",
    ["by_handle", "by_parents_descriptor", "by_queue", "by_segment", "by_mount", "by_memory"],
)
def test_ways_round_names_and_descriptors_are_closed(way: str, tmp_path: Path) -> None:
    assert take_way_out(way, tmp_path) == "refused"
    assert (tmp_path / "old").read_bytes() == b"x" * 4096


@pytest.mark.parametrize("way", ["by_queue", "by_segment", "by_memory"])
def test_these_ways_lead_out_of_an_unconfined_process(way: str, tmp_path: Path) -> None:
    """Otherwise the refusals above could be of another cause."""
    assert take_way_out(way, tmp_path, confined=False) == "out"


def test_a_confined_process_has_no_capability_and_few_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from privity.node.confinement import confine; confine()\n"
            "print(open('/proc/self/status').read()); print(open('/proc/self/limits').read())",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line.split() for line in done.stdout.splitlines()]
    held = {line[0]: int(line[1], 16) for line in said if line and line[0].startswith("Cap")}
    locking = 1 << 14
    assert {name: value & ~locking for name, value in held.items() if name != "CapBnd:"} == {
        "CapInh:": 0,
        "CapPrm:": 0,
        "CapEff:": 0,
        "CapAmb:": 0,
    }
    if os.geteuid() == 0:
        assert held["CapBnd:"] == 0
    assert [line[3:5] for line in said if line[:2] == ["Max", "open"]] == [["128", "128"]]


def test_threads_are_confined_too_and_start(tmp_path: Path) -> None:
    script = """
import os, threading
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
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['thread']"


def test_a_process_with_threads_is_not_confined_by_half() -> None:
    script = """
import threading
from privity.errors import EngineError
from privity.node.confinement import confine
stop = threading.Event()
threading.Thread(target=stop.wait).start()
try:
    confine()
except EngineError:
    print('refused')
stop.set()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "refused"


def test_where_it_cannot_be_done_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="cut off from files on sparc"):
        confinement._program("sparc", 1)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EngineError, match="no way to cut"):
        confinement.confine()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_ends_by_refusing_and_jumps_within_itself(machine: str) -> None:
    code = confinement._program(machine, 4711)
    steps = [code[at : at + 8] for at in range(0, len(code), 8)]
    for at, step in enumerate(steps):
        assert at + 1 + max(step[2], step[3]) < len(steps) or step[0] == 0x06
    assert steps[-1] == bytes.fromhex("06000000") + (0x00050001).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("header", "column"),
    [("x86_64-linux-gnu/asm/unistd_64.h", 1), ("asm-generic/unistd.h", 2)],
)
def test_the_numbers_are_the_systems(header: str, column: int) -> None:
    path = Path("/usr/include", header)
    if not path.is_file():
        pytest.skip(f"no {header} here")
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", path.read_text())
    known = {name: int(number) for name, number in found}
    known.setdefault("newfstatat", known.get("fstatat", -1))  # its name in the generic table
    for text in (confinement._CALLS, confinement._NOT_THERE):
        for name, number in confinement._numbers(text, column).items():
            assert known[name] == number, name
