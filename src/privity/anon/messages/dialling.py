"""The connections a node made itself, to whom it was told to, and their end.

py-libp2p 0.8.1 dials on its own whatever address a peer gives for itself or for others: while it
has few connections it looks for more. A node of ours connects to the addresses that a person named.

It also forgets some of the sockets it dialled, those whose other end went first among them; they
stay open until Python collects them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from privity.anon.messages.stack import TCP, NotDialled, ended

__all__ = ["Dialler"]


class Dialler(TCP):  # type: ignore[misc]
    """TCP that knows which connections it made, and makes those alone that it was told to.

    Guarantees:
        No peer has a node connect to an address that nobody named
        (tests/adversary/test_message_peers.py).
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Any] = []
        self._named: set[str] = set()

    def name(self, addresses: Iterable[Any]) -> None:
        """Let these addresses be connected to: a person named them."""
        self._named.update(map(_place, addresses))

    async def dial(self, maddr: Any) -> Any:
        """Connect, and remember the connection while it is open."""
        if _place(maddr) not in self._named:
            raise NotDialled("nobody named this address")
        connection = await super().dial(maddr)
        self._made = [one for one in self._made if _is_open(one)]
        self._made.append(connection)
        return connection

    async def close(self) -> None:
        """Close whatever is open."""
        for connection in self._made:
            with contextlib.suppress(*ended):
                await connection.close()
        self._made.clear()


def _place(maddr: Any) -> str:
    return str(maddr).partition("/p2p/")[0]


def _is_open(connection: Any) -> bool:
    return bool(connection.stream.stream.socket.fileno() != -1)
