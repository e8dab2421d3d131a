"""Where a log is read from: a folder, or a URL. Nothing read is believed before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
import httpx

from privity.attest.log.checkpoint import Checkpoint, open_checkpoint
from privity.attest.log.entry import MAX_BYTES as ENTRY_BYTES
from privity.attest.log.entry import Entry, parse_entry
from privity.attest.log.folder import CHECKPOINT
from privity.attest.log.note import MAX_BYTES as NOTE_BYTES
from privity.attest.log.note import Note, NoteKey
from privity.attest.log.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    TileTree,
    needed,
    root_of,
    tiles_of,
    unpack_entries,
)
from privity.errors import (
    EvidenceError,
    InputError,
    MalformedError,
    OpenError,
    OversizeError,
    PeerError,
    PrivityError,
)
from privity.hazmat.merkle import HASH_BYTES, Tree, leaf_hash
from privity.wording import failure_words

__all__ = ["FolderSource", "LogContents", "LogSource", "UrlSource", "fetch_consistency", "read_log"]

_TILE_BYTES = WIDTH * HASH_BYTES
_BUNDLE_BYTES = WIDTH * (ENTRY_BYTES + 2)
_AT_ONCE = 8


class LogSource(Protocol):
    """A reader of a log's files."""

    async def read(self, path: str, *, most: int) -> bytes | None:
        """Return a file, None where there is none.

        Raises:
            PeerError: the log cannot be reached, or answers wrongly.
            InputError: the folder cannot be read.
        """


class FolderSource:
    """A log's folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, path: str, *, most: int) -> bytes | None:
        """Return a file; see `LogSource.read`."""
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"cannot read {self._folder / path}: {error.strerror}") from error
        if len(data) > most:
            raise InputError(f"{self._folder / path} is larger than {most} bytes")
        return data


class UrlSource:
    """A log that a web server serves.

    Args:
        url: the log's prefix.
        http: the client to use. Its transport decides what the log's server learns of who asks.
    """

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._http = http

    async def read(self, path: str, *, most: int) -> bytes | None:
        """Return a file; see `LogSource.read`."""
        try:
            async with self._http.stream(
                "GET", f"{self._url}/{path}", follow_redirects=False
            ) as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code != 200:
                    raise PeerError(f"the log answered HTTP {answer.status_code}")
                return await read_body(answer, most)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise PeerError(f"the log cannot be reached: {failure_words(error)}") from error


async def read_body(answer: httpx.Response, most: int) -> bytes:
    """Return the body of a streamed answer; raises `PeerError` beyond ``most`` bytes."""
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > most:
            raise PeerError(f"the log's answer is larger than {most} bytes")
    return bytes(body)


async def fetch_consistency(
    url: str, one: int, other: int, *, http: httpx.AsyncClient
) -> list[bytes]:
    """Return the proof that a log's smaller tree begins its larger one, for `check_logged`.

    The log learns that somebody behind ``http`` knows trees of these sizes.

    Args:
        url: the log's prefix, or that of a mirror: what comes is checked, not believed.
        one: the size of a tree the log signed.
        other: that of another, larger or smaller.
        http: the client to use.

    Raises:
        PeerError: the log cannot be reached, or lacks a tile.
    """
    return await prove_consistency(UrlSource(url, http), one, other)


async def prove_consistency(source: LogSource, one: int, other: int) -> list[bytes]:
    """Return the same from any source; raises `InputError` where a folder cannot be read."""
    old, size = sorted((one, other))
    if old == size or old <= 0:
        return []
    tiles = await _fetch(source, needed(size, lambda tree: tree.consistency(old)))
    return TileTree(size, tiles.__getitem__).consistency(old)


@dataclass(frozen=True)
class LogContents:
    """All of a log, checked against its checkpoint.

    Attributes:
        checkpoint: what its log signed.
        note: the same with all its signatures.
        entries: everything it records; None in the place of what this version cannot read.
        raw: the entries' bytes.
    """

    checkpoint: Checkpoint
    note: Note
    entries: tuple[Entry | None, ...]
    raw: tuple[bytes, ...]


async def read_log(source: LogSource, logs: Sequence[NoteKey]) -> LogContents:
    """Read and check a whole log. This is what a monitor runs.

    Every entry is hashed, and the root over all of them compared with the signed one; every tile
    must say the same.

    Raises:
        EvidenceError: ``.check`` is ``log signature`` or ``log inclusion``.
        PeerError: a file is missing or is none.
        InputError: the folder cannot be read.
    """
    data = await source.read(CHECKPOINT, most=NOTE_BYTES)
    if data is None:
        raise PeerError("there is no log here: it has no checkpoint")
    try:
        note = Note.parse(data)
        checkpoint = open_checkpoint(note, logs)
    except (MalformedError, OpenError, OversizeError) as error:
        raise EvidenceError(error.message, check="log signature") from None
    raw: list[bytes] = []
    for bundle in tiles_of(ENTRIES, checkpoint.size):
        entries = _unpack(await _read(source, bundle, _BUNDLE_BYTES))
        if len(entries) < bundle.width:
            raise EvidenceError("a bundle lacks entries", check="log inclusion")
        raw += entries[: bundle.width]
    tree = Tree([leaf_hash(entry) for entry in raw])
    if tree.root() != checkpoint.root:
        raise EvidenceError(
            "the log's entries do not have the root it signed", check="log inclusion"
        )
    await _check_tiles(source, checkpoint.size, b"".join(leaf_hash(entry) for entry in raw))
    return LogContents(checkpoint, note, tuple(_entry(one) for one in raw), tuple(raw))


async def _check_tiles(source: LogSource, size: int, hashes: bytes) -> None:
    """Hold every tile to the hashes of the entries, since proofs are made from tiles."""
    level = 0
    while hashes:
        tiles = tuple(tiles_of(level, size))
        found = await _fetch(source, tiles)
        if b"".join(found[tile] for tile in tiles) != hashes:
            raise EvidenceError(
                f"the log's tiles of level {level} are not of its entries", check="log inclusion"
            )
        full = [found[tile] for tile in tiles if tile == tile.full]
        hashes, level = b"".join(root_of(tile) for tile in full), level + 1


async def _fetch(source: LogSource, tiles: Sequence[Tile]) -> dict[Tile, bytes]:
    """Read tiles, some at a time."""
    found: dict[Tile, bytes | PrivityError] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def one(tile: Tile) -> None:
        async with limiter:
            try:
                found[tile] = tile.check(await _read(source, tile, _TILE_BYTES))
            except MalformedError as error:
                found[tile] = PeerError(f"the log's {tile.path}: {error.message}")
            except PrivityError as error:  # kept: a task group would wrap it
                found[tile] = error

    async with anyio.create_task_group() as group:
        for tile in tiles:
            group.start_soon(one, tile)
    whole: dict[Tile, bytes] = {}
    for tile, data in found.items():
        if isinstance(data, PrivityError):
            raise data
        whole[tile] = data
    return whole


async def _read(source: LogSource, tile: Tile, most: int) -> bytes:
    """Read a tile, or the full one that may have taken its place."""
    data = await source.read(tile.path, most=most)
    if data is None and tile != tile.full:
        data = await source.read(tile.full.path, most=most)
    if data is None:
        raise PeerError(f"the log has no {tile.path}")
    return data


def _unpack(bundle: bytes) -> list[bytes]:
    try:
        return unpack_entries(bundle)
    except MalformedError as error:
        raise PeerError(f"the log's entries: {error.message}") from None


def _entry(data: bytes) -> Entry | None:
    try:
        return parse_entry(data)
    except (MalformedError, OversizeError):
        return None
