"""The connections a node made itself, and their end.

py-libp2p 0.8.1 forgets some of the sockets it dialled, those whose other end went first among them;
they stay open until Python collects them.
"""

from __future__ import annotations

import contextlib
from typing import Any

from privity.anon.messages.stack import TCP, ended

__all__ = ["Dialler"]


class Dialler(TCP):  # type: ignore[misc]
    """TCP that knows which connections it made."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Any] = []

    async def dial(self, maddr: Any) -> Any:
        """Connect, and remember the connection while it is open."""
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


def _is_open(connection: Any) -> bool:
    return bool(connection.stream.stream.socket.fileno() != -1)
