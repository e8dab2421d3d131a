"""Work on the chunks of a file on several threads, with the ordered part of it done in order.

Each lane (thread) owns its buffers, draws a chunk, hashes and ciphers it while the interpreter
lock is released, and waits for its turn to write. Memory is a few buffers per lane, whatever the
size of the file.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

__all__ = ["LANES", "Turns", "run_lanes"]

LANES = max(2, min(4, os.cpu_count() or 2))
"""Threads per file: beyond four, disks and memory are what one waits for."""


class _Abandoned(Exception):
    """Another lane failed; its error is the one that counts."""


class Turns:
    """Numbers the chunks, and lets lanes do the ordered part of their work in that order."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._next = 0
        self._failed = False

    def draw(self) -> int:
        """Return the next number; drawing is atomic. Every number drawn needs its `turn`."""
        return next(self._numbers)

    @contextlib.contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Hold the turn of ``number``: after all lower ones, before all higher ones."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self._next == number)
            if self._failed:
                raise _Abandoned
        yield
        with self._changed:
            self._next += 1
            self._changed.notify_all()

    def fail(self) -> None:
        """End every wait, now and later; the lanes give up."""
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    @property
    def failed(self) -> bool:
        """Whether a lane has failed."""
        return self._failed


def run_lanes(lane: Callable[[Turns], None], lanes: int = LANES) -> None:
    """Run ``lane`` on several threads until all have returned; raise what the first raised.

    Args:
        lane: draws numbers from the `Turns` it is given until there is no more work.
        lanes: how many threads.
    """
    turns = Turns()

    def guarded() -> None:
        try:
            lane(turns)
        except BaseException:
            turns.fail()
            raise

    with ThreadPoolExecutor(lanes, thread_name_prefix="privity-lane") as pool:
        futures = [pool.submit(guarded) for _ in range(lanes)]
        try:
            errors = [future.exception() for future in futures]
        except BaseException:  # Ctrl-C while waiting
            turns.fail()
            raise
    failed = [error for error in errors if error is not None]
    if failed:
        raise next((error for error in failed if not isinstance(error, _Abandoned)), failed[0])
