"""What a gateway and a credit desk must not forget: the protocols, and how one opens a store.

A store is the memory that makes "once" mean once: which signal was seen under which nullifier,
and which spend was begun, by whom, and what was given back. Run by gateways and enclaves; several
that share one store share one view. `stores_sqlite` is embedded, `stores_postgres` and
`stores_redis` are for several machines; all three pass one suite (tests/unit/test_stores.py).

Guarantees:
    An answer is given after what it says is durable: neither ``kill -9`` of the process nor of
    the server loses what was answered (tests/adversary/test_stores_crash.py). Of any number of
    callers at once, in any number of processes, one is first
    (`test_one_of_many_at_once_is_first`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import parse_qs, urlsplit

from privity.anon.field import Field
from privity.errors import InputError, MissingDependency, PeerError, PrivityError

__all__ = [
    "Began",
    "Charged",
    "Conflict",
    "Fresh",
    "Lapsed",
    "OpenableStore",
    "Recorded",
    "Running",
    "Seen",
    "Settled",
    "SignalStore",
    "SpendStore",
    "Standing",
    "Store",
    "Taken",
    "checked_settlement",
    "open_store",
    "store_failed",
]


class Seen(Enum):
    """What became of a signal that does not contradict another.

    Attributes:
        NEW: it was the first under its nullifier, and is kept.
        DUPLICATE: the same signal was kept before.
    """

    NEW = "new"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Conflict:
    """Another signal was kept under this nullifier: two points of one line.

    Attributes:
        x: of the signal that was kept.
        y: of the signal that was kept.
    """

    x: Field
    y: Field

    def __repr__(self) -> str:
        # With the second point it is somebody's secret.
        return "Conflict(…)"


Recorded = Seen | Conflict


@dataclass(frozen=True)
class Fresh:
    """Nobody began this spend before; the caller now holds its lease."""


@dataclass(frozen=True)
class Running:
    """The same spend is being served.

    Attributes:
        until: when its lease ends, in seconds since the epoch.
    """

    until: float


@dataclass(frozen=True)
class Lapsed:
    """The same spend was begun and never settled, and its lease is over.

    The caller holds it now, to refund it whole: what it paid for is never served again.
    """


@dataclass(frozen=True)
class Settled:
    """The same spend was settled.

    Attributes:
        refund: the bytes that were given back, to be given again.
        charged: credits that were kept.
    """

    refund: bytes
    charged: int

    def __repr__(self) -> str:
        return f"Settled(charged={self.charged})"


@dataclass(frozen=True)
class Taken:
    """Another spend used this nullifier: a double spend."""


Began = Fresh | Running | Lapsed | Settled | Taken
Charged = tuple[bytes, int]
"""A nullifier, and what was charged under it."""


class SignalStore(Protocol):
    """Remembers signals by scope, epoch and nullifier."""

    async def record(
        self, scope: str, epoch: int, nullifier: Field, x: Field, y: Field
    ) -> Recorded:
        """Keep a signal, or say what is kept in its place; atomic.

        Only signals whose proof verified may be given: what is recorded bars others.

        Raises:
            PeerError: the store failed; it is not known whether the signal was kept.
        """
        ...

    async def prune(self, before_epoch: int) -> int:
        """Forget all signals of epochs before one; return how many there were.

        Raises:
            PeerError: the store failed.
        """
        ...


class SpendStore(Protocol):
    """Remembers spends by their nullifiers, for as long as their issuer's key lives."""

    async def begin(
        self, nullifier: bytes, fingerprint: bytes, held: int, *, lease_s: float, now: float
    ) -> Began:
        """Begin a spend before it is served, or say how it stands; atomic.

        Args:
            nullifier: of the credit that is spent.
            fingerprint: SHA-256 of the spend; a retry has the same.
            held: credits the spend holds; what is charged cannot be more.
            lease_s: seconds after which an unsettled spend is refunded whole, and never served.
            now: seconds since the epoch, by the caller's clock.

        Raises:
            PeerError: the store failed; a retry finds the spend running at worst.
        """
        ...

    async def settle(
        self, nullifier: bytes, fingerprint: bytes, refund: bytes, charged: int
    ) -> bytes:
        """Settle a spend that was begun; return the refund that is kept, the first one settled.

        Raises:
            InputError: it was not begun with this fingerprint, or more is charged than it holds.
            PeerError: the store failed; call again.
        """
        ...

    async def charged_since(self, cursor: int, most: int) -> tuple[Sequence[Charged], int]:
        """Return up to ``most`` settled spends that cost something, and the next cursor.

        Begin with 0. Each spend is returned once along the cursors, however many settle meanwhile.

        Raises:
            PeerError: the store failed.
        """
        ...


class Store(SignalStore, SpendStore, Protocol):
    """Both, in one place; usable within ``async with``."""

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            InputError: it is not durable, or not a store of this kind.
            PeerError: it cannot be reached.
        """
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what was answered stays."""
        ...


def open_store(url: str) -> Store:
    """Return the store a URL names, to be opened with ``async with``.

    Args:
        url: ``sqlite:PATH``, ``postgresql://…`` or ``redis://…`` (``rediss://``, ``unix://``).
            With ``?unsafe_durability=1`` a server that may forget what it answered is accepted.

    Raises:
        InputError: it names none.
        MissingDependency: its client library is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        from privity.anon.stores_sqlite import SqliteStore

        return SqliteStore(Path(rest))
    if scheme not in ("postgresql", "postgres", "redis", "rediss", "unix"):
        raise InputError(
            "the URL names no store", hint="give sqlite:PATH, postgresql://… or redis://…"
        )
    bare, unsafe = _without_unsafe(url)
    try:
        if scheme in ("postgresql", "postgres"):
            from privity.anon.stores_postgres import PostgresStore

            return PostgresStore(bare, unsafe_durability=unsafe)
        from privity.anon.stores_redis import RedisStore

        return RedisStore(bare, unsafe_durability=unsafe)
    except ImportError as error:
        server = "postgres" if scheme.startswith("postgres") else "redis"
        raise MissingDependency(
            f"the client library of {server} is not installed",
            hint="pip install 'privity[stores]'",
        ) from error


def _without_unsafe(url: str) -> tuple[str, bool]:
    """Take our own parameter out of a URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError("the URL of the store is not one") from error
    kept = [one for one in parts.query.split("&") if not one.startswith("unsafe_durability=")]
    unsafe = parse_qs(parts.query).get("unsafe_durability") == ["1"]
    bare = url if len(kept) == parts.query.count("&") + 1 else _rejoined(url, kept)
    return bare, unsafe


def _rejoined(url: str, query: Sequence[str]) -> str:
    # Not urlunsplit: it would drop the empty host of unix:///path and postgresql:///name.
    base = url.partition("?")[0]
    return base + ("?" + "&".join(query) if query else "")


class OpenableStore(ABC):
    """A store that is opened and closed with a block, and closed where opening it fails."""

    async def __aenter__(self) -> Self:
        """Open it; raises as `Store.__aenter__`."""
        try:
            await self._open()
        except PrivityError:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self._close()

    @abstractmethod
    async def _open(self) -> None:
        """Open it, or raise a `PrivityError`."""

    @abstractmethod
    async def _close(self) -> None:
        """Close what is open of it."""


@dataclass(frozen=True)
class Standing:
    """A spend as a store keeps it; how the two SQL stores judge a retry alike.

    Attributes:
        fingerprint: of the spend that was begun.
        held: credits it holds.
        until: when its lease ends.
        refund: what was given back; None until it is settled.
        charged: what was kept; None until it is settled.
    """

    fingerprint: bytes
    held: int
    until: float
    refund: bytes | None
    charged: int | None

    def begun_again(self, fingerprint: bytes, now: float) -> Began:
        """Say how the spend stands for who would begin it with ``fingerprint``."""
        if self.fingerprint != fingerprint:
            return Taken()
        if self.refund is not None and self.charged is not None:
            return Settled(self.refund, self.charged)
        return Running(self.until) if self.until > now else Lapsed()


def checked_settlement(found: Standing | None, fingerprint: bytes, charged: int) -> Standing:
    """Return the spend to settle, or raise `InputError`."""
    if found is None or found.fingerprint != fingerprint:
        raise InputError("this spend was not begun here")
    if found.refund is None and not 0 <= charged <= found.held:
        raise InputError("a spend cannot be charged more than it holds")
    return found


def store_failed(what: str) -> PeerError:
    """Return the error of a store that failed; its own text could carry a URL with a password."""
    return PeerError(
        f"the {what} store failed; it is not known whether it kept what it was given",
        hint="look at its server's or disk's state; nothing is served without it",
    )
