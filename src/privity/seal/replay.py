"""A gateway's memory of the requests it served, so that none is served twice (RFC 9458 §6.5).

Each sealed request carries a fresh HPKE encapsulation, and one that authenticates cannot have its
encapsulation changed; so a digest of the encapsulation names the request. A request with a sealed
``Date`` is remembered while that date is acceptable. One without is remembered as long as the
private key that opened it exists. The memory is bounded: when it is full new requests are refused,
because forgetting one would let it be served again. Those without a date, and those that turned out
to be no request at all, may fill half of it, so that a flood of them does not shut out the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import time
from collections.abc import Callable, Collection, Hashable
from datetime import UTC
from email.utils import parsedate_to_datetime

from privity.errors import MalformedError, OversizeError, ReplayError, SealError

__all__ = ["ReplayWindow"]


class ReplayWindow:
    """The encapsulations served, each for as long as it could be served again. Run by the gateway.

    Args:
        window_s: how far, in seconds, a sealed date may be from the gateway's clock, either way.
        capacity: how many requests are remembered at most (about 200 bytes each).
        clock: seconds since the epoch.

    Guarantees:
        An encapsulation that was reserved and settled is never accepted again while its key lives,
        nor after the clock was set back. Requests without a date or a head leave room for dated
        ones (tests/property/test_replay.py).

    Requires:
        Each `reserve` that succeeds is followed by one `settle` or one `abandon`; until then the
        request is being received, and the gateway's limit of concurrent requests bounds it.
    """

    def __init__(
        self,
        *,
        window_s: float = 300.0,
        capacity: int = 1 << 18,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.window_s = window_s
        self._capacity = capacity
        self._clock = clock
        self._latest = clock()
        self._seen: dict[bytes, Hashable] = {}  # digest -> the key that opened it
        self._expiries: list[tuple[float, bytes]] = []  # heap; undated requests have no entry

    def __len__(self) -> int:
        return len(self._seen)

    def reserve(self, enc: bytes, key: Hashable) -> None:
        """Remember an encapsulation whose request has just authenticated.

        It is kept as undated until `settle` or `abandon` says otherwise.

        Args:
            enc: the HPKE encapsulation of the request.
            key: names the private key that opened it, for `retain`.

        Raises:
            ReplayError: it was served before.
            OversizeError: the memory is full; it is not remembered.
        """
        self._expire()
        digest = _digest(enc)
        if digest in self._seen:
            raise ReplayError("this sealed request was served before")
        if len(self._seen) >= self._capacity:
            raise OversizeError("as many requests are remembered as this gateway can")
        self._seen[digest] = key

    def settle(self, enc: bytes, date: bytes | None) -> None:
        """Take the sealed date of a reserved request into account.

        One that is refused here is not served, and so is not remembered either: dates far in the
        future must not fill the memory.

        Args:
            enc: as given to `reserve`.
            date: the value of the sealed ``Date`` field, an IMF-fixdate; None where it has none.

        Raises:
            ReplayError: the date is further from the gateway's clock than the window.
            MalformedError: the date is not one.
            OversizeError: it has none, and the part of the memory for such requests is full.
        """
        digest = _digest(enc)
        try:
            expiry = self._checked(date)
        except SealError:
            self._seen.pop(digest, None)
            raise
        if expiry is not None and digest in self._seen:  # its key may have retired meanwhile
            heapq.heappush(self._expiries, (expiry, digest))

    def abandon(self, enc: bytes) -> None:
        """Keep a reserved request that was never served, since its head did not arrive or parse.

        It counts as one without a date, and is forgotten where the memory for those is full, which
        is safe as it was not served. Until then it is kept, so that sending it again does not show
        whether it had a head.

        Args:
            enc: as given to `reserve`.
        """
        with contextlib.suppress(OversizeError):
            self.settle(enc, None)

    def _checked(self, date: bytes | None) -> float | None:
        """Return until when a date is acceptable, None where there is none."""
        if date is None:
            if len(self._seen) - len(self._expiries) > self._capacity // 2:
                raise OversizeError("as many requests without a date are remembered as can be")
            return None
        stamp = _seconds(date)
        if abs(stamp - self._expire()) > self.window_s:
            raise ReplayError("the date of this request is too far from the gateway's clock")
        return stamp + self.window_s

    def retain(self, keys: Collection[Hashable]) -> None:
        """Forget the requests that were opened by keys which no longer exist."""
        self._seen = {digest: key for digest, key in self._seen.items() if key in keys}
        self._expiries = [entry for entry in self._expiries if entry[1] in self._seen]
        heapq.heapify(self._expiries)

    def _expire(self) -> float:
        """Forget what could no longer be served; return the clock's highest reading."""
        # Never backwards: a clock set back would make dates acceptable that are already forgotten.
        self._latest = max(self._latest, self._clock())
        while self._expiries and self._expiries[0][0] < self._latest:
            self._seen.pop(heapq.heappop(self._expiries)[1], None)
        return self._latest


def _digest(enc: bytes) -> bytes:
    return hashlib.sha256(enc).digest()[:16]


def _seconds(date: bytes) -> float:
    try:
        stamp = parsedate_to_datetime(date.decode("ascii"))
        return stamp.replace(tzinfo=stamp.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise MalformedError("the sealed date is not an HTTP date") from error
