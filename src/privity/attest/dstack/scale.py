"""As much of SCALE, Substrate's encoding, as dstack's attestations (version 0) are written in."""

from __future__ import annotations

from privity.errors import MalformedError

__all__ = ["Scale"]

_MAX_BYTES = 1 << 20


class Scale:
    """Reads one value after another from untrusted bytes; every method raises `MalformedError`."""

    def __init__(self, data: bytes) -> None:
        if len(data) > _MAX_BYTES:
            raise MalformedError("SCALE: more than 1 MiB")
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Take ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise MalformedError("SCALE: a value is cut short")
        data, self._at = self._data[self._at : end], end
        return data

    def compact(self) -> int:
        """Take a compact integer below 2**30, in its shortest form."""
        first = self.take(1)[0]
        size = (1, 2, 4, 0)[first & 3]
        if not size:
            raise MalformedError("SCALE: a number larger than any length here")
        value = int.from_bytes(bytes((first,)) + self.take(size - 1), "little") >> 2
        if size > 1 and value < (0, 0, 1 << 6, 0, 1 << 14)[size]:
            raise MalformedError("SCALE: a number is not in its shortest form")
        return value

    def blob(self) -> bytes:
        """Take bytes after their length."""
        return self.take(self.compact())

    def text(self) -> str:
        """Take UTF-8 text after its length."""
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("SCALE: a text is not UTF-8") from None

    def done(self) -> None:
        """Refuse bytes nothing took."""
        if self._at != len(self._data):
            raise MalformedError("SCALE: there are bytes after the end")
