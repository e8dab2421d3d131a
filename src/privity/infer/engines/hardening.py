"""Keeps what a process holds in memory from being written to disk behind its back.

A core dump writes all of a process's memory to a file; the system's swap writes parts of it. Both
would hold prompts. This runs in the enclave and in the engine's process, first thing.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from privity.errors import EngineError

__all__ = ["Hardening", "harden", "swap_is_on"]

# Linux: include/uapi/linux/prctl.h, linux/capability.h and asm-generic/mman.h
_PR_SET_DUMPABLE = 4
_CAP_IPC_LOCK = 14
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def swap_is_on() -> bool:
    """Tell whether this machine writes memory to swap; where that cannot be told, it does."""
    try:
        return len(Path("/proc/swaps").read_text().splitlines()) > 1
    except OSError:
        return True


@dataclass(frozen=True)
class Hardening:
    """What holds for this process from now on.

    Attributes:
        no_core_dumps: a crash writes no memory to a file.
        undumpable: other processes of the same user may not read its memory or its open files.
        locked: its memory is never written to swap.
    """

    no_core_dumps: bool
    undumpable: bool
    locked: bool

    def gaps(self) -> tuple[str, ...]:
        """Return what does not hold, in words for an operator's log."""
        words = (
            (self.no_core_dumps, "a crash may write memory to a core dump"),
            (self.undumpable, "processes of the same user may read this one's memory"),
            (self.locked, "memory may be written to swap: raise RLIMIT_MEMLOCK, or use no swap"),
        )
        return tuple(text for holds, text in words if not holds)

    def refuse_swap(self) -> None:
        """Refuse to go on where this process's memory may be written to swap.

        Raises:
            EngineError: it is not locked, and the machine swaps.
        """
        if not self.locked and swap_is_on():
            raise EngineError(
                "memory is not locked and this machine swaps: what a sealed model opens to could "
                "be written to its disk",
                hint="turn swap off, or lift the limit on locked memory (RLIMIT_MEMLOCK unlimited, "
                "or CAP_IPC_LOCK); --unsafe-swap accepts it",
            )


def harden(*, unsafe_inspectable: bool = False) -> Hardening:
    """Turn off core dumps, debugging and swapping for this process, as far as the system lets it.

    Args:
        unsafe_inspectable: leave the process open to others of the same user, for tests that have
            to look into it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return Hardening(no_core_dumps=True, undumpable=False, locked=False)
    libc = ctypes.CDLL(None, use_errno=True)
    undumpable = not unsafe_inspectable and libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    return Hardening(no_core_dumps=True, undumpable=undumpable, locked=_lock(libc))


def _lock(libc: ctypes.CDLL) -> bool:
    # Under a finite limit, locking future memory would make a later allocation fail, in the midst
    # of somebody's answer. On fault, so that unused stacks of threads take no memory.
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and not _may_lock_any():
        return False
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def _may_lock_any() -> bool:
    """Tell whether the limit on locked memory does not apply to this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> _CAP_IPC_LOCK & 1)
    return False
