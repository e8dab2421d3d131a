"""How many sealed messages each client of a relay sends: a bucket of tokens an address.

Addresses are keys in memory, as long as their bucket is not full again, and nowhere else.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from privity.errors import InputError

__all__ = ["ClientRates"]

_MOST = 65_536  # addresses whose bucket is kept: some megabytes


class ClientRates:
    """Counts what each address may still send.

    Args:
        per_s: tokens that come back, a second.
        burst: tokens at most; as many may be owed.
        most: addresses kept. Who sent longest ago is forgotten first.
        clock: seconds, monotonic.

    Raises:
        InputError: nothing would get through, or all of it.
    """

    def __init__(
        self,
        per_s: float,
        burst: float,
        *,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (0 < per_s < math.inf and 1 <= burst < math.inf):
            raise InputError("a client's rate is above 0, its burst 1 or more, and neither endless")
        self._per_s, self._burst, self._most, self._clock = per_s, burst, most, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def __len__(self) -> int:
        return len(self._left)

    def __repr__(self) -> str:
        return f"ClientRates(per_s={self._per_s}, burst={self._burst})"

    def take(self, address: str) -> bool:
        """Take a token, and tell whether there was one."""
        left = self._now(address)
        self._keep(address, left - 1 if left >= 1 else left)
        return left >= 1

    def charge(self, address: str, tokens: float) -> None:
        """Take tokens that may not be there: they come back before the next one is given."""
        self._keep(address, max(self._now(address) - tokens, -self._burst))

    def _now(self, address: str) -> float:
        left, since = self._left.get(_network(address), (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - since) * self._per_s)

    def _keep(self, address: str, left: float) -> None:
        key = _network(address)
        self._left[key] = left, self._clock()
        self._left.move_to_end(key)
        while len(self._left) > self._most:
            self._left.popitem(last=False)
        self._forget_full()

    def _forget_full(self) -> None:
        """Forget who sent longest ago, two at a time, where the bucket is full again."""
        for _ in range(min(2, len(self._left))):  # at a high rate even the newest is full
            key, (left, since) = next(iter(self._left.items()))
            if left + (self._clock() - since) * self._per_s < self._burst:
                return
            del self._left[key]


def _network(address: str) -> str:
    """Return what counts as one client: an address, or a /64 of version 6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return address
