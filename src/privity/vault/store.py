"""Reading artefacts where they lie: by ranges, ahead of whoever reads in sequence.

So an enclave decrypts a model straight from the store, at the speed of the line, without a copy of
the sealed file; and a person looks at the head of one without fetching the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from privity.errors import (
    InputError,
    MalformedError,
    OversizeError,
    TruncatedError,
)
from privity.vault.index import INDEX_NAME, MAX_INDEX_BYTES, Index, part_name
from privity.vault.place import Place, open_place, translated
from privity.vault.source import FileSource

if TYPE_CHECKING:
    pass

__all__ = ["StoreSource", "open_store_reader", "read_index"]

_BLOCK = 4 << 20
_AHEAD = 4
_REMEMBERED = 16


def read_index(place: Place) -> Index | None:
    """Return the index of a place, or None where there is none.

    Raises:
        PeerError: the store did not answer, or refused.
        MalformedError, OversizeError: what lies there is no index.
    """
    import obstore
    from obstore.exceptions import NotFoundError

    with translated(place.name):
        try:
            found = obstore.get(place.store, place.path(INDEX_NAME))
        except (NotFoundError, FileNotFoundError, NotADirectoryError):
            return None
        if found.meta["size"] > MAX_INDEX_BYTES:
            raise OversizeError(f"the index at {place.name} has more than {MAX_INDEX_BYTES} bytes")
        data = bytes(found.bytes())
    try:
        return Index.parse(data)
    except MalformedError as error:
        raise MalformedError(f"no artefact at {place.name}: {error.message}") from None


class StoreSource:
    """The sealed bytes of an artefact in a store, read by ranges, ahead of a reader in sequence.

    For any number of threads. Memory: at most some fifteen blocks of 4 MiB.

    Attributes:
        size: bytes of the sealed artefact.
        place: where it lies.
        index: what parts it has there; None where it is one object.
    """

    def __init__(self, place: Place, index: Index | None, size: int) -> None:
        self.place, self.index, self.size = place, index, size
        self._objects, self._part_bytes = [place.path()], size
        if index is not None:
            names = (part_name(number, digest) for number, digest in enumerate(index.parts))
            self._objects = [place.path(name) for name in names]
            self._part_bytes = index.part_bytes
        self._pool = ThreadPoolExecutor(_AHEAD + 1, thread_name_prefix="privity-store")
        self._lock = threading.Lock()
        self._blocks: dict[int, Future[memoryview]] = {}
        self._ends: list[int] = []

    def fetch(self, offset: int, length: int) -> bytes | memoryview:
        """Return exactly ``length`` bytes at ``offset``; see `privity.vault.source.Source`."""
        end = offset + length
        if end > self.size:
            raise TruncatedError(f"{self.place.name} ends before the artefact does")
        with self._lock:
            # Whoever asks for much at once needs no reading ahead.
            streams = length <= _BLOCK and offset in self._ends
            self._ends = [*self._ends[1 - _REMEMBERED :], end]
            numbers = range(offset // _BLOCK, -(-end // _BLOCK))
            wanted = [self._block(number) for number in numbers] if streams else []
            if streams:
                self._look_ahead(numbers)
        if not streams:
            return self._fetch(offset, length)
        parts = []
        for number, block in zip(numbers, wanted, strict=True):
            start = number * _BLOCK
            data = self._fetch(start, self._block_size(number)) if block is None else block.result()
            parts.append(data[max(offset - start, 0) : end - start])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Stop reading ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> StoreSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _block(self, number: int) -> Future[memoryview] | None:
        """Return a block that comes; None for one long gone. Under the lock."""
        if self._blocks and number < min(self._blocks):
            return None
        if number not in self._blocks:
            size = self._block_size(number)
            self._blocks[number] = self._pool.submit(self._fetch, number * _BLOCK, size)
        return self._blocks[number]

    def _look_ahead(self, numbers: range) -> None:
        """Ask for the next blocks and let go of those behind. Under the lock."""
        last = -(-self.size // _BLOCK)
        for number in range(numbers.stop, min(numbers.stop + _AHEAD, last)):
            self._block(number)
        for number in [one for one in self._blocks if one < numbers.start - 4]:
            del self._blocks[number]
        for number in [one for one in self._blocks if one > numbers.stop + 2 * _AHEAD]:
            del self._blocks[number]  # of another stream, given up

    def _block_size(self, number: int) -> int:
        return min(_BLOCK, self.size - number * _BLOCK)

    def _fetch(self, offset: int, length: int) -> memoryview:
        """Return a range, which may cross parts, straight from the store."""
        pieces = []
        while length:
            number, start = divmod(offset, self._part_bytes)
            count = min(length, self._part_bytes - start)
            pieces.append(self._range(self._objects[number], start, count))
            offset, length = offset + count, length - count
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def _range(self, name: str, start: int, length: int) -> memoryview:
        import obstore

        with translated(self.place.name):
            data = obstore.get_range(self.place.store, name, start=start, length=length)
        view = memoryview(cast("bytes", data))
        if len(view) != length:
            raise TruncatedError(f"{self.place.name} gave {len(view)} of {length} bytes asked for")
        return view


def open_store_reader(
    url: str, *, environ: Mapping[str, str] | None = None
) -> StoreSource | FileSource:
    """Return the sealed bytes at a URL or path, for `privity.vault.Reader`; close it afterwards.

    What was pushed there is read by its index; otherwise the URL is taken for one object, or one
    file, that is itself the artefact.

    Raises:
        InputError: the URL names no store, or nothing is there.
        PeerError: the store did not answer, or refused.
        MalformedError, OversizeError: the index there is none.
    """
    path = _local_path(url)
    if path is not None and path.is_file():
        return FileSource(path)
    place = open_place(url, environ=environ)
    index = read_index(place)
    if index is not None:
        return StoreSource(place, index, index.size)
    return StoreSource(place, None, _object_size(place))


def _object_size(place: Place) -> int:
    import obstore
    from obstore.exceptions import NotFoundError

    if place.prefix:
        with translated(place.name):
            try:
                return max(1, int(obstore.head(place.store, place.path())["size"]))
            except (NotFoundError, FileNotFoundError, IsADirectoryError):
                pass
    raise InputError(f"there is no artefact at {place.name}", hint="privity model push puts it")


def _local_path(url: str) -> Path | None:
    if "://" not in url:
        return Path(url)
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
