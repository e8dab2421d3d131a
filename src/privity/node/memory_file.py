"""A file that is memory alone: where an enclave keeps what it decrypted.

A memfd has no name on any disk and goes with the last process that holds it. Its pages are locked,
so that swap never takes them, and once written it is sealed: nobody can change, grow or shorten it.
Another process gets it only by being handed the open file.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from privity.errors import EngineError, MissingDependency
from privity.infer.engines.hardening import swap_is_on

__all__ = ["MemoryFile"]

logger = logging.getLogger("privity.enclave")

# Linux: include/uapi/linux/memfd.h, fcntl.h and asm-generic/mman-common.h
_MFD_NOEXEC_SEAL = 0x0008
_F_ADD_SEALS = 1033
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # of seals themselves, shrinking, growing, writing
_PROT_READ, _MAP_SHARED, _MADV_DONTDUMP = 1, 1, 16
_MAP_FAILED = ctypes.c_void_p(-1).value


class MemoryFile:
    """Plaintext of a known size in memory: written once, sealed, then read.

    Args:
        size: bytes it will hold.
        unsafe_swap: take memory that cannot be locked also where swap could take it.

    Raises:
        EngineError: there is not enough memory.
        MissingDependency: the system has no such files.

    Guarantees:
        Nothing of it is in a file of any disk (tests/e2e/test_sealed_model.py); after `seal`
        nobody can change it, and only a child it is handed to has it open
        (tests/unit/test_sealed_memory.py). It may be closed in one thread while another writes:
        nothing lands in the file that gets its number next (tests/adversary/test_sealed_model.py).
    """

    def __init__(self, size: int, *, unsafe_swap: bool = False) -> None:
        if not sys.platform.startswith("linux"):
            raise MissingDependency(
                "files in memory are Linux'; on this system nothing sealed is opened in an enclave"
            )
        self.size = size
        self._unsafe_swap = unsafe_swap
        self._place = 0
        self._using = threading.RLock()  # held wherever the number is used, and where it ends
        self.fd = _memfd()
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            self.close()
            raise EngineError(f"there is no memory for {size} bytes: {error.strerror}") from error

    @property
    def path(self) -> Path:
        """Its path in whatever process has it open under this number."""
        return Path(f"/proc/self/fd/{self.fd}")

    def lock(self) -> BinaryIO:
        """Return where the contents are written, in order.

        Where the machine swaps, nothing is written before every page is locked. Where it does not,
        pages are locked once they are full, in `seal`: locking empty ones means to clear them too.

        Raises:
            EngineError: there is not enough memory; or it cannot be locked, and swap could take it;
                or it was closed, which the writes say as well.
        """
        with self.held():
            if swap_is_on() and not self._place:
                self._map()
        return cast(BinaryIO, _Sink(self))

    def seal(self) -> None:
        """Let nobody write to it from now on, this process included; all of it is locked after.

        Raises:
            EngineError: the system does not let it, or it was closed.
        """
        with self.held() as fd:
            try:
                fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
            except OSError as error:
                raise EngineError(f"memory cannot be sealed: {error.strerror}") from error
            if not self._place:
                self._map()

    def close(self) -> None:
        """Let go of it: the memory is free once no child has it open. Again does nothing.

        Blocks while another thread writes a piece of it or has it locked.
        """
        with self._using:
            if self._place:
                _libc().munmap(self._place, self.size)
                self._place = 0
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1

    @contextmanager
    def held(self) -> Iterator[int]:
        """Give its number, which nobody closes meanwhile; raises `EngineError` once closed."""
        with self._using:
            if self.fd < 0:
                raise EngineError("the memory was let go")
            yield self.fd

    def _map(self) -> None:
        if not self.size:
            return
        libc = _libc()
        # From a second, read-only opening: a mapping that could be made writable would keep the
        # seal against writing from being set.
        reading = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            place = libc.mmap(None, self.size, _PROT_READ, _MAP_SHARED, reading, 0)
            why = os.strerror(ctypes.get_errno())
        finally:
            os.close(reading)
        if place == _MAP_FAILED:
            raise EngineError(f"there is no memory for {self.size} bytes: {why}")
        self._place = place
        libc.madvise(place, self.size, _MADV_DONTDUMP)
        if libc.mlock(place, self.size) == 0:
            return
        why = os.strerror(ctypes.get_errno())
        swaps = swap_is_on()
        if swaps and not self._unsafe_swap:
            raise EngineError(
                f"memory cannot be locked ({why}), and this machine swaps: plaintext could be "
                "written to its disk",
                hint="raise RLIMIT_MEMLOCK or grant CAP_IPC_LOCK, or turn swap off",
            )
        then = "it may be written to swap" if swaps else "there is no swap to take it now"
        logger.warning("memory is not locked (%s); %s", why, then)

    def __repr__(self) -> str:
        return f"<MemoryFile of {self.size} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a memory file stays in its process")


class _Sink:
    """Writes all it is given, where the last write ended."""

    def __init__(self, memory: MemoryFile) -> None:
        self._memory, self._offset = memory, 0

    def write(self, data: bytes | memoryview) -> int:
        left = memoryview(data)
        while left:
            with self._memory.held() as fd:
                try:
                    written = os.pwrite(fd, left, self._offset)
                except OSError as error:
                    raise EngineError(f"there is no memory left: {error.strerror}") from error
            self._offset, left = self._offset + written, left[written:]
        return len(data)


def _memfd() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("privity", flags | _MFD_NOEXEC_SEAL)
    except OSError:  # before Linux 6.3
        return os.memfd_create("privity", flags)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_long,
    )
    for name in ("munmap", "mlock"):
        getattr(libc, name).argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc
