"""The folder of a log: static files that any web server can serve, written by one process.

Nothing of an append counts until the checkpoint over it has taken the old one's place, which is
one rename. So a crash leaves the log as it was, with at most some files of a width that no
checkpoint names; the next append writes over them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from privity.attest.log.checkpoint import Checkpoint, open_checkpoint
from privity.attest.log.note import MAX_BYTES, Algorithm, Note, NoteKey, Signature
from privity.attest.log.tiles import ENTRIES, WIDTH, Tile, pack_entry, root_of, tiles_of
from privity.errors import InputError, MalformedError, OpenError, OversizeError
from privity.hazmat.merkle import EMPTY, HASH_BYTES, Tree, leaf_hash
from privity.identity.keys import SigningKey

__all__ = ["LogFolder", "locked", "write_durably"]

CHECKPOINT = "checkpoint"

_LOCK = ".lock"


class LogFolder:
    """A log that grows. `open` it in a ``with``: it holds the folder's lock.

    All leaf hashes are kept in memory: 64 bytes an entry.

    Guarantees:
        Killed at any moment, the folder opens again as a log that is consistent with every
        checkpoint it ever showed, and no second process can write to it
        (tests/adversary/test_log_crash.py).
    """

    def __init__(self, path: Path, key: SigningKey) -> None:
        self.path = path
        self._key = key
        self._note: Note
        self._checkpoint: Checkpoint
        self._tree: Tree
        self._bundle: bytes
        self._indexes: dict[bytes, int]
        self._load()

    @classmethod
    def create(cls, path: Path, origin: str, key: SigningKey) -> None:
        """Make an empty log.

        Raises:
            InputError: there is one, the folder cannot be written, or the origin cannot name it.
        """
        try:
            NoteKey.of(origin, Algorithm.ED25519, key)
            note = Checkpoint(origin, 0, EMPTY).sign(key)
        except MalformedError as error:
            raise InputError(
                f"{origin!r} cannot be a log's origin: {error.message}",
                hint="use its URL without the scheme, such as log.example/2026",
            ) from None
        with locked(path):
            if (path / CHECKPOINT).exists():
                raise InputError(f"{path} holds a log already")
            write_durably(path / CHECKPOINT, note.to_bytes())

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, key: SigningKey) -> Iterator[LogFolder]:
        """Open a log to append to it, for as long as the context lasts.

        Raises:
            InputError: there is no log, another process writes to it, the key is not its key, or
                its files contradict its checkpoint.
        """
        if not (path / CHECKPOINT).exists():
            raise InputError(f"{path} holds no log", hint="privity log init")
        with locked(path):
            yield cls(path, key)

    @property
    def checkpoint(self) -> Checkpoint:
        """The state of the log."""
        return self._checkpoint

    @property
    def note(self) -> Note:
        """The checkpoint with its signatures."""
        return self._note

    @property
    def key(self) -> NoteKey:
        """The log's public key."""
        return NoteKey.of(self._checkpoint.origin, Algorithm.ED25519, self._key)

    def find(self, entry: bytes) -> int | None:
        """Return the index of an entry with these bytes, the first one; None if there is none."""
        return self._indexes.get(leaf_hash(entry))

    def append(self, entry: bytes) -> int:
        """Add an entry and return its index, durable and under a new checkpoint.

        Raises:
            MalformedError: the entry is too long for a bundle.
            InputError: the folder cannot be written. The log is as it was, or has the entry.
        """
        packed = pack_entry(entry)
        try:
            return self._append(entry, packed)
        except OSError as error:
            self._load()  # what is on the disk counts, not what this object had gone on to
            raise InputError(f"cannot write to {self.path}: {error.strerror}") from error

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that entry ``index`` is in the tree of ``size`` entries."""
        return self._tree.inclusion(index, size)

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return the proof that the tree of ``old`` entries begins that of ``size``."""
        return self._tree.consistency(old, size)

    def add_signatures(self, size: int, signatures: Sequence[Signature]) -> None:
        """Put witnesses' lines below the checkpoint, in place of older ones of the same keys.

        The caller has verified them. If the log has grown beyond ``size``, nothing is done.
        """
        if size != self._checkpoint.size or not signatures:
            return
        new = {(line.name, line.key_id): line for line in signatures}
        kept = [line for line in self._note.signatures if (line.name, line.key_id) not in new]
        note = Note(self._note.text, (*kept, *new.values()))
        try:
            write_durably(self.path / CHECKPOINT, note.to_bytes())
        except OSError as error:
            raise InputError(f"cannot write to {self.path}: {error.strerror}") from error
        self._note = note

    def _append(self, entry: bytes, packed: bytes) -> int:
        index = self._checkpoint.size
        width = index % WIDTH + 1
        bundle = packed if width == 1 else self._bundle + packed
        write_durably(self.path / Tile(ENTRIES, index // WIDTH, width).path, bundle)
        new = leaf_hash(entry)
        for level in range(64):
            hashes = self._edge(level) + new
            place = (index >> 8 * level) // WIDTH
            width = len(hashes) // HASH_BYTES
            write_durably(self.path / Tile(level, place, width).path, hashes)
            if width < WIDTH:
                break
            new = root_of(hashes)
        self._tree.append(leaf_hash(entry))
        checkpoint = Checkpoint(self._checkpoint.origin, index + 1, self._tree.root())
        note = checkpoint.sign(self._key)
        write_durably(self.path / CHECKPOINT, note.to_bytes())
        self._checkpoint, self._note, self._bundle = checkpoint, note, bundle
        self._indexes.setdefault(leaf_hash(entry), index)
        self._prune(index + 1)
        return index

    def _prune(self, size: int) -> None:
        """Delete the partial tiles that full ones replace, as C2SP tlog-tiles allows.

        Each holds a copy of all before it: kept, they would take 128 times the room of the log.
        """
        for level in (ENTRIES, *range(64)):
            place, rest = divmod(size >> 8 * max(level, 0), WIDTH)
            if rest or place == 0:
                return
            full = self.path / Tile(level, place - 1).path
            shutil.rmtree(full.with_name(full.name + ".p"), ignore_errors=True)

    def _edge(self, level: int) -> bytes:
        """Return the hashes of the partial tile at the level's end, empty where there is none."""
        count = self._checkpoint.size >> 8 * level
        if count % WIDTH == 0:
            return b""
        return self._read(Tile(level, count // WIDTH, count % WIDTH))

    def _read(self, tile: Tile) -> bytes:
        return tile.check((self.path / tile.path).read_bytes())

    def _load(self) -> None:
        """Read the log from its files, and hold them to its checkpoint."""
        try:
            with (self.path / CHECKPOINT).open("rb") as file:
                self._note = Note.parse(file.read(MAX_BYTES + 1))
            origin = self._note.text.partition("\n")[0]
            key = NoteKey.of(origin, Algorithm.ED25519, self._key)
            self._checkpoint = open_checkpoint(self._note, [key])
            size = self._checkpoint.size
            leaves = b"".join(self._read(tile) for tile in tiles_of(0, size))
            self._tree = Tree(
                [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]
            )
            self._bundle = b""
            if size % WIDTH:
                bundle = self.path / Tile(ENTRIES, size // WIDTH, size % WIDTH).path
                self._bundle = bundle.read_bytes()
        except OSError as error:
            raise InputError(f"the log in {self.path} cannot be read: {error.strerror}") from error
        except OpenError:
            raise InputError(f"the log in {self.path} is not signed by this key") from None
        except (MalformedError, OversizeError) as error:
            raise InputError(f"the log in {self.path} is damaged: {error.message}") from None
        if self._tree.root() != self._checkpoint.root:
            raise InputError(
                f"the log in {self.path} is damaged: its tiles do not have its checkpoint's root",
                hint="restore the folder from a copy; never sign over it",
            )
        self._indexes = {self._tree.leaf(at): at for at in reversed(range(size))}


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder that one process at a time may write to.

    Args:
        folder: made if it is absent.
        wait: wait for another that holds it.

    Raises:
        InputError: another holds it, or the folder cannot be written.
    """
    import fcntl  # here: who only verifies a log needs no such system

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise InputError(f"another process is writing to {folder}") from None
        yield
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that others may read (0644), whole or not at all, and safe from power loss."""
    fresh = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in fresh:
        _sync(folder.parent)
    handle, temporary = tempfile.mkstemp(prefix=".new.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
