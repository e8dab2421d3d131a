"""What a device remembers of each log: the largest tree it has seen. A split view shows by it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from privity.attest.log.checkpoint import MAX_SIZE
from privity.attest.log.folder import locked
from privity.errors import InputError, MalformedError, OversizeError
from privity.hazmat.merkle import HASH_BYTES
from privity.home import home, read_private, write_private
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url

__all__ = ["LogMemory", "Remembered"]

_MAX_BYTES = 4096


@dataclass(frozen=True)
class Remembered:
    """The largest tree of one log that was verified here.

    Attributes:
        size: its entries.
        root: the 32-byte root over them.
    """

    size: int
    root: bytes


class LogMemory:
    """A folder with one 0600 file for each log.

    Args:
        folder: None for ``logs/`` in the privity home.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home() / "logs"

    def get(self, origin: str) -> Remembered | None:
        """Return what is remembered of a log; None if it was never seen.

        Raises:
            InputError: the file is damaged or open to others. It is not passed over: whoever can
                damage it would make the device forget.
        """
        path = self._path(origin)
        if not path.exists():
            return None
        try:
            fields = Fields(loads_canonical(read_private(path), max_bytes=_MAX_BYTES), "log memory")
            fields.constant("origin", origin)
            seen = Remembered(
                size=fields.count("size", most=MAX_SIZE),
                root=fields.blob("root", least=HASH_BYTES, most=HASH_BYTES),
            )
            fields.done()
        except (MalformedError, OversizeError) as error:
            raise InputError(
                f"{path} is damaged: {error.message}",
                hint="remove it to begin anew with this log; what was seen of it is forgotten then",
            ) from None
        return seen

    def keep(self, origin: str, seen: Remembered, *, compared: Remembered | None) -> None:
        """Remember a tree that `check_logged` verified; a smaller one than before is not kept.

        Args:
            origin: the log.
            seen: the tree it showed.
            compared: what was remembered when this tree was judged; None at first sight.

        Raises:
            InputError: the folder cannot be written, or another tree than the one compared with
                was kept in the meantime: nothing shows that this one is of one growth with it.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {self.folder}: {error.strerror}") from error
        with locked(self.folder, wait=True):
            known = self.get(origin)
            if known == seen:
                return
            if known is not None and known.size == seen.size:
                raise InputError(f"two trees of one size were shown for the log {origin!r}")
            if known != compared:
                raise InputError(
                    f"another tree of the log {origin!r} was seen while this one was judged",
                    hint="try again: this one is compared with that one then",
                )
            if known is None or known.size < seen.size:
                value = {"origin": origin, "root": encode_base64url(seen.root), "size": seen.size}
                write_private(self._path(origin), canonical(value))

    def _path(self, origin: str) -> Path:
        return self.folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"
