"""Cuts a process off from files, networks and other processes, before it is told a secret.

The code that trains is measured and has no reason to write a file or to open a socket. What it
imports is large, parses in native code, and writes caches, locks and traces without being asked: so
the system is told to refuse. Linux does that with a filter of system calls (seccomp), which no code
in the process can take off again. The filter lists what computing needs and refuses all else: a
list of what is bad would be a list of what somebody thought of.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from pathlib import Path

from privity.errors import EngineError

__all__ = ["confine"]

# Linux: include/uapi/linux/prctl.h, capability.h, seccomp.h, bpf_common.h, audit.h
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAP_AMBIENT = 24, 38, 22, 47
_AMBIENT_CLEAR_ALL, _MODE_FILTER = 4, 2
_CAPABILITY_VERSION_3, _CAP_IPC_LOCK, _MOST_CAPABILITIES = 0x20080522, 14, 64
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16

_OPEN_FILES = 128

# By machine: its audit number, and where its numbers stand below.
_MACHINES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}
# The last system call known here; a newer one is "not there", which the C library is ready for.
_LAST_KNOWN = 451

# Allowed: name, number on x86_64, number on aarch64. Files are read, memory is had, threads of this
# process wait for one another, the time is asked. Nothing here makes or changes a file, nor reaches
# another process.
_CALLS = """
read 0 63, readv 19 65, pread64 17 67, preadv 295 69, write 1 64, writev 20 66, lseek 8 62,
close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24, open 2 -, openat 257 56,
stat 4 -, lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44,
access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78,
getdents 78 -, getdents64 217 61, getcwd 79 17, fcntl 72 25, ioctl 16 29,
poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20,
brk 12 214, mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233,
mbind 237 235, get_mempolicy 239 236,
clone 56 220, exit 60 93, exit_group 231 94, futex 202 98, set_robust_list 273 99,
rseq 334 293, set_tid_address 218 96, restart_syscall 219 128, arch_prctl 158 -,
sched_yield 24 124, sched_getaffinity 204 123, sched_setaffinity 203 122, sched_getparam 143 121,
sched_getscheduler 145 120, sched_get_priority_min 147 126, sched_get_priority_max 146 125,
getpriority 140 141, getcpu 309 168,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132,
tgkill 234 131,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, nanosleep 35 101,
clock_nanosleep 230 115, times 100 153, getrusage 98 165,
getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176,
getegid 108 177, uname 63 160, sysinfo 99 179, getrandom 318 278, getrlimit 97 163,
prlimit64 302 261
"""
# The C library starts threads by `clone` where it is told that there is no `clone3`, whose flags
# lie in memory.
_NOT_THERE = "clone3 435 435"

# Opening: O_NOCTTY, O_NONBLOCK, O_CLOEXEC, and O_DIRECTORY, O_NOFOLLOW, O_LARGEFILE with the values
# of either machine. Not O_WRONLY, O_RDWR, O_CREAT, nor O_TRUNC, which cuts a file that is read.
_READING = 0x100 | 0x800 | 0x80000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
_CLONE_THREAD = 0x10000
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. No lock, lease or seal.
_FCNTL = (0, 1, 2, 3, 4, 1030)
# TCGETS, TCGETS2, TIOCGWINSZ (is it a terminal), FIONCLEX, FIOCLEX
_IOCTL = (0x5401, 0x802C542A, 0x5413, 0x5450, 0x5451)
# ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM: matrix registers
_ARCH_PRCTL = (0x1021, 0x1022, 0x1023)


def confine() -> None:
    """Leave this process nothing but to compute, to read files, and to answer.

    What is open already stays open: the pipes it was given. To be called while it has one thread.

    Raises:
        EngineError: this system cannot do it; then nothing secret may be given to the process.

    Guarantees:
        After it, no file is made, changed or opened for writing, no socket, queue or memory of
        others is had, no process is started or reached, and no capability is left but that of
        locking memory, by Python or by C (tests/adversary/test_train_confinement.py).
    """
    if not sys.platform.startswith("linux"):
        raise EngineError(
            "this system has no way to cut a training process off from files and networks",
            hint="train on Linux",
        )
    if len(os.listdir("/proc/self/task")) != 1:
        raise EngineError("a process is confined before it has a second thread")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Should a file that can be written be open after all: not one byte more in it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    most = min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    code = _program(platform.machine(), os.getpid())
    libc = ctypes.CDLL(None, use_errno=True)
    _drop_capabilities(libc)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    description = struct.pack("@HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, _PR_SET_SECCOMP, _MODE_FILTER, description)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up what root may do, for good: the bounding set too."""
    kept = 0
    try:
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    except (ValueError, OSError):
        # Memory is locked as it is had (see `hardening`); under a finite limit this one allows it.
        kept = 1 << _CAP_IPC_LOCK
    for number in range(_MOST_CAPABILITIES):
        # Refused where this process may not, which has none to give up then, or where there is no
        # such capability; what is left is looked at below.
        with contextlib.suppress(EngineError):
            _prctl(libc, _PR_CAPBSET_DROP, number)
    _prctl(libc, _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    held = _held()
    lower, upper = held & kept & 0xFFFFFFFF, (held & kept) >> 32
    # struct __user_cap_header_struct { version, pid }, __user_cap_data_struct[2] { effective,
    # permitted, inheritable }
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, struct.pack("=6I", lower, lower, 0, upper, upper, 0)) != 0:
        raise _cannot(ctypes.get_errno())
    if _held() & ~kept:
        raise EngineError("a training process cannot give up its capabilities")


def _held() -> int:
    """Return the capabilities this thread has or may take, as bits."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    found = (line.split() for line in lines)
    return int(next(one[1] for one in found if one and one[0] == "CapPrm:"), 16)


def _prctl(libc: ctypes.CDLL, option: int, first: int, second: bytes | None = None) -> None:
    none = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(first), none if second is None else second, none, none):
        raise _cannot(ctypes.get_errno())


def _cannot(number: int) -> EngineError:
    return EngineError(f"a training process cannot be cut off from files: {os.strerror(number)}")


def _program(machine: str, pid: int) -> bytes:
    """Return the filter for this machine and process, as the kernel reads it."""
    if machine not in _MACHINES:
        raise EngineError(
            f"a training process cannot be cut off from files on {machine}",
            hint=f"train on {' or '.join(_MACHINES)}",
        )
    arch, column = _MACHINES[machine]
    steps = [
        _step(_LOAD, _AT_ARCH),
        # A call in another architecture's numbering would pass for another call.
        _step(_IF_EQUAL, arch, skip_if_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_NUMBER),
        # The x32 numbering lies above too.
        _step(_IF_AT_LEAST, _LAST_KNOWN + 1, skip_if_false=1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for number in _numbers(_NOT_THERE, column).values():
        steps += (
            _step(_IF_EQUAL, number, skip_if_false=1),
            _step(_RETURN, _ERRNO | errno.ENOSYS),
        )
    held_to = _conditions(pid)
    for name, number in _numbers(_CALLS, column).items():
        then = held_to.get(name, (_step(_RETURN, _ALLOW),))
        steps += (_step(_IF_EQUAL, number, skip_if_false=len(then)), *then)
    return b"".join((*steps, _step(_RETURN, _ERRNO | errno.EPERM)))


def _numbers(text: str, column: int) -> dict[str, int]:
    rows = (row.split() for row in text.split(","))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _conditions(pid: int) -> dict[str, tuple[bytes, ...]]:
    """Return, for the calls that are allowed with some arguments alone, the steps that decide."""
    return {
        "open": _without(1, ~_READING & 0xFFFFFFFF, errno.EACCES),
        "openat": _without(2, ~_READING & 0xFFFFFFFF, errno.EACCES),
        "clone": _with(0, _CLONE_THREAD),
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "arch_prctl": _one_of(0, _ARCH_PRCTL),
        # Of this process alone: 0 is the caller.
        "prlimit64": _one_of(0, (0, pid)),
        "sched_setaffinity": _one_of(0, (0,)),
        "tgkill": _one_of(0, (pid,)),
    }


def _argument(place: int) -> bytes:
    # The lower half: both machines are little-endian, and none of these has more than 32 bits.
    return _step(_LOAD, _AT_ARGUMENTS + 8 * place)


def _without(place: int, bits: int, refusal: int) -> tuple[bytes, ...]:
    return (
        _argument(place),
        _step(_IF_ANY_BIT, bits, skip_if_false=1),
        _step(_RETURN, _ERRNO | refusal),
        _step(_RETURN, _ALLOW),
    )


def _with(place: int, bit: int) -> tuple[bytes, ...]:
    return (
        _argument(place),
        _step(_IF_ANY_BIT, bit, skip_if_false=1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EPERM),
    )


def _one_of(place: int, values: tuple[int, ...]) -> tuple[bytes, ...]:
    tests: list[bytes] = [_argument(place)]
    for value in values:
        tests += (_step(_IF_EQUAL, value, skip_if_false=1), _step(_RETURN, _ALLOW))
    return (*tests, _step(_RETURN, _ERRNO | errno.EPERM))


def _step(code: int, value: int, *, skip_if_true: int = 0, skip_if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if_true, skip_if_false, value)
