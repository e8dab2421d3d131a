"""A log as static files (C2SP tlog-tiles): where each hash lies, and proofs made from tiles.

A tile is up to 256 hashes side by side; a tile of level *l* holds the roots of full tiles of level
*l* - 1. A proof needs a logarithm of tiles, so whoever has a file server can serve a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from privity.errors import MalformedError
from privity.hazmat.merkle import EMPTY, HASH_BYTES, CompactTree, node_hash

__all__ = ["ENTRIES", "WIDTH", "Tile", "TileTree", "pack_entry", "tiles_of", "unpack_entries"]

WIDTH = 256
"""Hashes in a full tile."""

ENTRIES = -1
"""The level that stands for bundles of entries."""

_HEIGHT = 8
_LEVELS = range(ENTRIES, 64)
_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5})([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True)
class Tile:
    """One file of a log.

    Attributes:
        level: 0 for leaves' hashes, `ENTRIES` for the entries themselves.
        index: its place in the level.
        width: how many hashes or entries it holds, 1 to `WIDTH`.
    """

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's URL or folder."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        digits = f"{self.index:03d}"
        digits = digits.zfill((len(digits) + 2) // 3 * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        place = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        part = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{place}{part}"

    @property
    def full(self) -> Tile:
        """The full tile at its place, which may have taken a partial one's."""
        return Tile(self.level, self.index)

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read what `path` writes, and no other path; raises `MalformedError`."""
        match = _PATH.fullmatch(path)
        if match is None or int(match[4] or 1) >= WIDTH:
            raise MalformedError("not the path of a tile")
        level = ENTRIES if match[1] == "entries" else int(match[1])
        index = int(re.sub(r"[x/]", "", match[2]) + match[3])
        tile = cls(level, index, int(match[4]) if match[4] else WIDTH)
        if level not in _LEVELS or tile.path != path:
            raise MalformedError("not the path of a tile")
        return tile

    def check(self, data: bytes) -> bytes:
        """Return the hashes of this tile from a file that may be the full one.

        Raises:
            MalformedError: the file is of neither length.
        """
        if len(data) not in (self.width * HASH_BYTES, WIDTH * HASH_BYTES):
            raise MalformedError("a tile of a length that is not its width's")
        return data[: self.width * HASH_BYTES]


def tiles_of(level: int, size: int) -> Iterator[Tile]:
    """Yield the tiles of one level (or the bundles of entries) of a log of ``size`` entries."""
    count = size >> _HEIGHT * max(level, 0)
    for index in range(count // WIDTH):
        yield Tile(level, index)
    if count % WIDTH:
        yield Tile(level, count // WIDTH, count % WIDTH)


class TileTree:
    """Proofs over the first ``size`` entries of a log, read from its tiles.

    Args:
        size: how many entries the tree has.
        read: returns a tile's hashes; nothing is believed of them but that proofs made from them
            are checked by whoever uses those.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self.size = size
        self._read = read

    def root(self) -> bytes:
        """Return the root of the tree."""
        return self._range(0, self.size) if self.size else EMPTY

    def inclusion(self, index: int) -> list[bytes]:
        """Return the proof that entry ``index`` is in the tree (RFC 6962 §2.1.1).

        Raises:
            MalformedError: there is no such entry.
        """
        if not 0 <= index < self.size:
            raise MalformedError(f"a log of {self.size} entries has no entry {index}")
        proof: list[bytes] = []
        start, end = 0, self.size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start = middle
        return proof[::-1]

    def consistency(self, old: int) -> list[bytes]:
        """Return the proof that the first ``old`` entries begin the tree (RFC 6962 §2.1.2).

        Raises:
            MalformedError: not ``0 < old <= size``.
        """
        if not 0 < old <= self.size:
            raise MalformedError(f"no proof leads from {old} entries to {self.size}")
        proof: list[bytes] = []
        start, end, whole = 0, self.size, True
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._range(start, end))
        return proof[::-1]

    def _range(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0:
            return self._node(width.bit_length() - 1, start >> width.bit_length() - 1)
        middle = start + _split(width)
        return node_hash(self._range(start, middle), self._range(middle, end))

    def _node(self, height: int, index: int) -> bytes:
        """Return the root of a full subtree, from the hashes of one tile."""
        level, rest = divmod(height, _HEIGHT)
        first = index << rest
        count = self.size >> _HEIGHT * level
        place = first // WIDTH
        tile = Tile(level, place, min(WIDTH, count - place * WIDTH))
        hashes = self._read(tile)
        at = first % WIDTH
        return root_of(hashes[at * HASH_BYTES : (at + (1 << rest)) * HASH_BYTES])


def root_of(hashes: bytes) -> bytes:
    """Return the root over subtrees' roots that lie side by side."""
    tree = CompactTree()
    for at in range(0, len(hashes), HASH_BYTES):
        tree.append(hashes[at : at + HASH_BYTES])
    return tree.root()


def needed(size: int, prove: Callable[[TileTree], object]) -> tuple[Tile, ...]:
    """Return the tiles that ``prove`` reads from a tree of ``size``, before there are any."""
    seen: dict[Tile, None] = {}

    def note(tile: Tile) -> bytes:
        seen[tile] = None
        return bytes(tile.width * HASH_BYTES)

    prove(TileTree(size, note))
    return tuple(seen)


def pack_entry(entry: bytes) -> bytes:
    """Return one entry as a bundle carries it: its length in two bytes, then itself."""
    if len(entry) >= 1 << 16:
        raise MalformedError("a log entry of more than 65,535 bytes")
    return len(entry).to_bytes(2, "big") + entry


def unpack_entries(bundle: bytes) -> list[bytes]:
    """Read a bundle's entries; raises `MalformedError`."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if end > len(bundle) or at + 2 > len(bundle):
            raise MalformedError("a bundle of log entries that breaks off")
        entries.append(bundle[at + 2 : end])
        at = end
    if len(entries) > WIDTH:
        raise MalformedError(f"a bundle of more than {WIDTH} log entries")
    return entries


def _split(width: int) -> int:
    return 1 << (width - 1).bit_length() - 1
