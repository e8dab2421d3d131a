"""The challenges that a broker draws: each good once, for a minute."""

from __future__ import annotations

from collections.abc import Callable

from privity.attest.grant import Purpose
from privity.attest.release import CHALLENGE_S
from privity.node.broker import Asked
from privity.statement import NONCE_BYTES

__all__ = ["Challenges"]

_MAX_CHALLENGES = 1024


class Challenges:
    """The challenges that wait for an answer, and those that had one.

    Args:
        clock_s: seconds that only grow.
        randomness: where challenges come from.

    Guarantees:
        None is good twice, nor after `CHALLENGE_S`; so many wait at most that whoever asks for
        more costs no memory (tests/adversary/test_broker.py).
    """

    def __init__(self, clock_s: Callable[[], float], randomness: Callable[[int], bytes]) -> None:
        self._clock_s, self._randomness = clock_s, randomness
        self._drawn: dict[bytes, tuple[Asked, float]] = {}
        self._spent: dict[bytes, tuple[Asked, float]] = {}

    def draw(self, artefact: str, purpose: Purpose) -> Asked | None:
        """Return a fresh challenge, or None where too many wait already."""
        self._forget()
        if len(self._drawn) + len(self._spent) >= _MAX_CHALLENGES:
            return None
        asked = Asked(artefact, purpose, self._randomness(NONCE_BYTES))
        self._drawn[asked.nonce] = asked, self._clock_s() + CHALLENGE_S
        return asked

    def spend(self, nonce: bytes) -> Asked | None:
        """Return what a challenge was drawn for, once."""
        # A look-up by hash. Its time tells nothing of use: a part of 32 random bytes, guessed
        # right, is no challenge, and one that was drawn is known to whoever drew it.
        self._forget()
        entry = self._drawn.pop(nonce, None)
        if entry is None:
            return None
        self._spent[nonce] = entry
        return entry[0]

    def replayed(self, nonce: bytes) -> Asked | None:
        """Return what an answered challenge was drawn for, the first time it comes again."""
        entry = self._spent.pop(nonce, None)
        return None if entry is None else entry[0]

    def _forget(self) -> None:
        now = self._clock_s()
        for kept in (self._drawn, self._spent):
            for nonce in [nonce for nonce, (_, until) in kept.items() if until <= now]:
                del kept[nonce]
