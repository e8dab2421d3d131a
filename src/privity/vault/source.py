"""Where sealed bytes are read from: anything that gives ``length`` bytes at ``offset``."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Protocol

from privity.errors import InputError, TruncatedError

__all__ = ["BytesSource", "FileSource", "Source"]


class Source(Protocol):
    """Bytes that can be read anywhere, by several threads at once."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def fetch(self, offset: int, length: int) -> bytes | memoryview:
        """Return exactly ``length`` bytes at ``offset``.

        Raises:
            TruncatedError: there are fewer.
            PeerError: whoever holds them did not give them.
        """


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def fetch(self, offset: int, length: int) -> bytes:
        """Return bytes; see `Source`."""
        part = self._data[offset : offset + length]
        if len(part) != length:
            raise TruncatedError("the bytes end before the artefact does")
        return part


class FileSource:
    """A local file, open until `close`; its size is as it was on opening.

    Raises:
        InputError: it cannot be read, or is not a file with a size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.size = os.lseek(self._fd, 0, os.SEEK_END)
            except BaseException:
                os.close(self._fd)
                raise
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error

    def fetch(self, offset: int, length: int) -> bytes:
        """Return bytes; see `Source`. A reading error is an `InputError`."""
        parts: list[bytes] = []
        try:
            while length:
                part = os.pread(self._fd, length, offset)
                if not part:
                    raise TruncatedError(f"{self._path} ends before the artefact does")
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {error.strerror}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
