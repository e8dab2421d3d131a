"""Epochs: the spans of time in which a member's messages are counted.

An epoch is ``floor(Unix time / epoch_s)``. Clocks differ and requests wait in relays, so the one
before and the one after pass as well; what was seen is kept for longer than it can pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from privity.errors import InputError

__all__ = ["EPOCH_S", "Epochs"]

EPOCH_S = 60
"""Seconds of an epoch, where nothing else is said."""

_REACH = 1  # epochs before and after the current one that pass
_APART = 2  # further epochs that another gateway's clock may be behind by, at a shared store


class Epochs:
    """Counts epochs by a clock.

    Args:
        epoch_s: seconds of one.
        clock: seconds since 1970.

    Raises:
        InputError: an epoch is shorter than a second.
    """

    def __init__(self, epoch_s: float = EPOCH_S, *, clock: Callable[[], float] = time.time) -> None:
        if not 1 <= epoch_s < math.inf:
            raise InputError("an epoch is a second or longer")
        self.epoch_s = epoch_s
        self._clock = clock

    @property
    def now(self) -> int:
        """The number of the current epoch."""
        return int(self._clock() // self.epoch_s)

    def until_next(self) -> float:
        """Return the seconds until the next epoch begins."""
        return self.epoch_s - self._clock() % self.epoch_s

    def passes(self, epoch: int) -> bool:
        """Tell whether a signal of an epoch may pass now."""
        return abs(epoch - self.now) <= _REACH

    @property
    def forgettable(self) -> int:
        """The epoch before which no gateway lets anything pass, so that signals may be forgotten.

        Three epochs later than they stop to pass here: of gateways that share a store, one whose
        clock is two epochs ahead must not forget what another would let pass again.
        """
        return self.now - _REACH - _APART
