"""Remembers what an examination found, for as long as time cannot change it.

An examination is a function of the evidence, its endorsements, what it must bind, the trust it is
judged under and the time. All but the time are the key here; and each result says for which times
it is the same. So a hit is the very result that examining again would give.
"""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from privity.attest.evidence import EvidenceVerifier, Findings

__all__ = ["Cached", "Memory"]


class _Timed(Protocol):
    @property
    def period(self) -> tuple[datetime, datetime] | None: ...


T = TypeVar("T", bound=_Timed)


class Memory(Generic[T]):
    """Results by their key, each for the times at which it is the same.

    Args:
        most: how many are kept; the one not used for longest goes first.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, now: datetime) -> T | None:
        """Return what was kept under a key, if it still holds."""
        with self._lock:
            found = self._kept.get(key)
            if found is None or not _holds(found, now):
                return None
            self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, found: T, now: datetime) -> None:
        """Keep a result, unless it is not known when it holds."""
        if not _holds(found, now):
            return
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()


class Cached:
    """A verifier that examines the same evidence once.

    Args:
        inner: examines; its trust must not change.
        most: how many results are kept; the one not used for longest goes first.

    Guarantees:
        Another evidence, endorsement or bound value, or a time outside of the result's period, is
        examined anew (tests/unit/test_evidence_cache.py).
    """

    def __init__(self, inner: EvidenceVerifier, *, most: int = 256) -> None:
        self._inner = inner
        self._memory: Memory[Findings] = Memory(most=most)

    @property
    def kind(self) -> str:
        """The kind it judges."""
        return self._inner.kind

    def examine(
        self,
        evidence: dict[str, Any],
        bound: bytes | None,
        endorsements: Sequence[dict[str, Any]],
        now: datetime,
    ) -> Findings:
        """Return what `EvidenceVerifier.examine` would; raises `MalformedError` as it does."""
        # Version 2 of marshal has no references, so equal JSON values have equal bytes; that two
        # orders of one object's members differ costs a second examination and nothing else.
        key = hashlib.sha256(marshal.dumps((evidence, bound, list(endorsements)), 2)).digest()
        found = self._memory.get(key, now)
        if found is None:
            found = self._inner.examine(evidence, bound, endorsements, now)
            self._memory.put(key, found, now)
        return found


def _holds(found: _Timed, now: datetime) -> bool:
    return found.period is not None and found.period[0] <= now < found.period[1]
