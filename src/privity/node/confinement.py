"""Cuts a process off from files and networks for good, before it is told a secret.

The code that trains is measured and has no reason to write a file or to open a socket. What it
imports is large, and writes caches, locks and traces without being asked: so the system is told to
refuse. Linux does that with a filter of system calls (seccomp), which no code in the process, nor
any it starts, can take off again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys

from privity.errors import EngineError

__all__ = ["confine"]

# Linux: include/uapi/linux/prctl.h, seccomp.h, bpf_common.h, audit.h
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16

# A file opened so could be written: O_WRONLY | O_RDWR | O_CREAT. O_TMPFILE holds O_RDWR.
_WRITING = 0x1 | 0x2 | 0x40
# The last system call this list was made against; a newer one is "not there", which the C library
# is ready for.
_LAST_KNOWN = 451

# By machine: its audit number, the calls refused outright, and where those that open files have
# their flags. socket, socketpair, connect · ptrace, process_vm_readv/writev · names made without
# content (creat, mkdir, mknod, link, symlink, rename, xattrs) · truncate · memfd_create · execve ·
# shared memory and queues · io_uring, which could do all of these · openat2, whose flags lie in
# memory · bpf, perf_event_open, add_key.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        "41 42 53 101 310 311 83 85 86 88 82 133 188 189 190 258 259 264 265 266 316 76 319 59 322 "
        "29 68 240 425 437 321 298 248",
        {2: 1, 257: 2},
    ),
    "aarch64": (
        0xC00000B7,
        "198 199 203 117 270 271 5 6 7 33 34 36 37 38 276 45 279 221 281 194 186 180 425 437 280 "
        "241 217",
        {56: 2},
    ),
}


def confine() -> None:
    """Refuse this process every file it could write, every socket and every other program.

    What is open already stays open: the pipes it was given. Files can still be read.

    Raises:
        EngineError: this system cannot do it; then nothing secret may be given to the process.

    Guarantees:
        After it, no file is made or opened for writing, no socket is opened and no program is
        started, by Python or by C (tests/adversary/test_train_confinement.py).
    """
    if not sys.platform.startswith("linux"):
        raise EngineError(
            "this system has no way to cut a training process off from files and networks",
            hint="train on Linux",
        )
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Should a file that can be written be open after all: not one byte more in it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    code = _program(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    description = struct.pack("@HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    for call in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), description, none, none),
    ):
        if libc.prctl(*call) != 0:
            why = os.strerror(ctypes.get_errno())
            raise EngineError(f"a training process cannot be cut off from files: {why}")


def _program(machine: str) -> bytes:
    """Return the filter for this machine, as the kernel reads it."""
    if machine not in _MACHINES:
        raise EngineError(
            f"a training process cannot be cut off from files on {machine}",
            hint=f"train on {' or '.join(_MACHINES)}",
        )
    arch, refused, opening = _MACHINES[machine]
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
    for number in map(int, refused.split()):
        steps += (
            _step(_IF_EQUAL, number, skip_if_false=1),
            _step(_RETURN, _ERRNO | errno.EPERM),
        )
    for number, place in opening.items():
        steps += (
            _step(_IF_EQUAL, number, skip_if_false=4),
            _step(_LOAD, _AT_ARGUMENTS + 8 * place),  # the lower half: both are little-endian
            _step(_IF_ANY_BIT, _WRITING, skip_if_false=1),
            _step(_RETURN, _ERRNO | errno.EACCES),
            _step(_RETURN, _ALLOW),
        )
    return b"".join((*steps, _step(_RETURN, _ALLOW)))


def _step(code: int, value: int, *, skip_if_true: int = 0, skip_if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if_true, skip_if_false, value)
