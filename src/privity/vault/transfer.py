"""Moving sealed artefacts to and from stores, so that an interrupted move goes on where it stopped.

Several parts travel at once, each held in memory whole: at most four of 8 MiB. Nothing is kept
beside the parts themselves to resume from: a part that is there, whole, is not sent again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from privity.errors import InputError, MalformedError, OpenError
from privity.vault.files import name_file, sync_folder
from privity.vault.header import read_header
from privity.vault.index import INDEX_NAME, Index, part_bytes_for, part_name
from privity.vault.lanes import Turns, run_lanes
from privity.vault.place import Place, open_place, translated
from privity.vault.root import Progress
from privity.vault.source import FileSource, Source
from privity.vault.store import StoreSource, open_store_reader, read_index

__all__ = ["Moved", "pull", "push"]

_AT_ONCE = 4


@dataclass(frozen=True)
class Moved:
    """What a push or a pull did.

    Attributes:
        artefact: the id.
        size: bytes of the sealed artefact.
        moved: bytes that travelled; the rest was there already.
    """

    artefact: str
    size: int
    moved: int


def push(
    path: Path,
    url: str,
    *,
    replace: bool = False,
    progress: Progress | None = None,
    environ: Mapping[str, str] | None = None,
    part_bytes: int | None = None,
) -> Moved:
    """Upload a sealed artefact; run again after an interruption, it sends what is missing.

    Args:
        path: the artefact.
        url: see `privity.vault.store.open_place`.
        replace: whether another artefact that lies there may go.
        progress: told the bytes that are there so far.
        environ: see `open_place`.
        part_bytes: of a part; by default 8 MiB.

    Raises:
        InputError: the file cannot be read, or another artefact lies there.
        MalformedError, TruncatedError, OversizeError: the file is not an artefact: a plaintext is
            never uploaded.
        PeerError: the store did not answer, or refused.
    """
    with FileSource(path) as source:
        artefact = read_header(source).id
        place = open_place(url, create=True, environ=environ)
        there = read_index(place)
        if there is not None and there.artefact != artefact and not replace:
            raise InputError(
                f"another artefact, {there.artefact}, lies at {place.name}",
                hint="push to another place, or add --replace",
            )
        part_bytes = part_bytes or part_bytes_for(source.size)
        upload = _Upload(source, place, part_bytes, progress)
        run_lanes(upload.lane, _AT_ONCE)
        index = Index(artefact, source.size, part_bytes, tuple(upload.digests))
    if there != index:
        _put(place, INDEX_NAME, index.to_bytes())
        if there is not None:
            _remove_parts(place, keep=index)
    return Moved(artefact, index.size, upload.sent)


class _Upload:
    """The lanes that upload: each reads a part, looks whether it is there, and sends it."""

    def __init__(
        self, source: Source, place: Place, part_bytes: int, progress: Progress | None
    ) -> None:
        self._source, self._place, self._progress = source, place, progress
        self._part_bytes = part_bytes
        self.digests: list[str] = []
        self.sent = 0
        self._done = 0

    def lane(self, turns: Turns) -> None:
        while (offset := (number := turns.draw()) * self._part_bytes) < self._source.size:
            size = min(self._part_bytes, self._source.size - offset)
            data = self._source.fetch(offset, size)
            digest = hashlib.sha256(data).hexdigest()
            name = part_name(number, digest)
            sent = 0 if _size_there(self._place, name) == size else size
            if sent:
                _put(self._place, name, data)
            with turns.turn(number):
                self.digests.append(digest)
                self.sent += sent
                self._done += size
                if self._progress:
                    self._progress(self._done)


def pull(
    url: str,
    path: Path,
    *,
    progress: Progress | None = None,
    environ: Mapping[str, str] | None = None,
) -> Moved:
    """Download a sealed artefact; run again after an interruption, it fetches what is missing.

    What came so far lies beside ``path`` in a hidden file named after the index, whose parts are
    verified again before they count. Without an index (one plain object) a pull starts anew.

    Raises:
        InputError: ``path`` is there already or cannot be written, or nothing is at the URL.
        OpenError: a part is not what the index says: the store altered it.
        MalformedError: what lies there is not an artefact, or not the one the index names.
        TruncatedError, PeerError: the store gave less than it should, or did not answer.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} is there already", hint="name another file")
    with open_store_reader(url, environ=environ) as source:
        index = source.index if isinstance(source, StoreSource) else None
        part_bytes = index.part_bytes if index else part_bytes_for(source.size)
        expected = index.parts if index else ()
        tag = hashlib.sha256(index.to_bytes() if index else os.urandom(32)).hexdigest()[:16]
        temporary = path.with_name(f".{path.name[:64]}.{tag}.part")
        download = _Download(source, part_bytes, expected, progress)
        try:
            artefact = download.into(temporary, index)
            name_file(temporary, path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        finally:
            if index is None:
                temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        return Moved(artefact, source.size, download.fetched)


class _Download:
    """The lanes that download: each fetches a part that is not there, and verifies it."""

    def __init__(
        self, source: Source, part_bytes: int, digests: tuple[str, ...], progress: Progress | None
    ) -> None:
        self._source, self._part_bytes = source, part_bytes
        self._digests, self._progress = digests, progress
        self._fd, self._resumed = -1, False
        self.fetched = 0
        self._done = 0

    def into(self, temporary: Path, index: Index | None) -> str:
        """Fill the file, and return the id in the artefact's head."""
        self._resumed = temporary.exists()
        self._fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(self._fd, self._source.size)
            run_lanes(self._lane, _AT_ONCE)
            os.fsync(self._fd)
        finally:
            os.close(self._fd)
        with FileSource(temporary) as file:
            artefact = read_header(file).id
        if index is not None and index.artefact != artefact:
            raise MalformedError("the index names another artefact than the one that came")
        return artefact

    def _lane(self, turns: Turns) -> None:
        while (offset := (number := turns.draw()) * self._part_bytes) < self._source.size:
            size = min(self._part_bytes, self._source.size - offset)
            fetched = 0 if self._is_there(number, offset, size) else size
            if fetched:
                data = self._source.fetch(offset, size)
                if self._digests and hashlib.sha256(data).hexdigest() != self._digests[number]:
                    raise OpenError(f"part {number} is not what its index says; the store erred")
                _write_at(self._fd, data, offset)
            with turns.turn(number):
                self.fetched += fetched
                self._done += size
                if self._progress:
                    self._progress(self._done)

    def _is_there(self, number: int, offset: int, size: int) -> bool:
        """Tell whether an earlier pull brought this part whole."""
        if not self._digests or not self._resumed:
            return False
        data = os.pread(self._fd, size, offset)
        return hashlib.sha256(data).hexdigest() == self._digests[number]


def _write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _size_there(place: Place, name: str) -> int | None:
    """Return the size of an object, or None where there is none.

    One question for each part rather than one list: a web server answers it too.
    """
    import obstore
    from obstore.exceptions import NotFoundError

    with translated(place.name):
        try:
            return int(obstore.head(place.store, place.path(name))["size"])
        except (NotFoundError, FileNotFoundError):
            return None


def _put(place: Place, name: str, data: bytes | memoryview) -> None:
    import obstore

    with translated(place.name, writing=True):
        # One request for each part: an interrupted upload leaves no half of one to be billed.
        obstore.put(place.store, place.path(name), bytes(data), use_multipart=False)


def _remove_parts(place: Place, *, keep: Index) -> None:
    """Remove the parts of what lay there before; where a store cannot list, they stay."""
    import obstore
    from obstore.exceptions import BaseError

    kept = {place.path(part_name(number, one)) for number, one in enumerate(keep.parts)}
    try:
        for batch in obstore.list(place.store, place.path("parts")):
            stale = [item["path"] for item in batch if item["path"] not in kept]
            if stale:
                obstore.delete(place.store, stale)
    except BaseError:
        return
