"""The metadata of a GGUF file, without its tensors: what a tokenizer is made of stands there.

Source: the GGUF specification, version 3 (ggml/docs/gguf.md).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from privity.errors import InputError, MalformedError

__all__ = ["read_metadata"]

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_MOST_ENTRIES = 4096
_MOST_TEXT = 1 << 20
_MOST_ITEMS = 1 << 22
_MOST_BYTES = 256 << 20


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a GGUF file: numbers, texts, booleans, and lists of one of these.

    Raises:
        InputError: it cannot be read, or is not GGUF of version 2 or 3.

    Guarantees:
        Total, in bounded memory (tests/property/test_tokens.py).
    """
    try:
        with path.open("rb") as file:
            return _Reader(file).metadata()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except MalformedError as error:
        raise InputError(f"{path} is not a GGUF file: {error.message}") from None


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_BYTES

    def metadata(self) -> dict[str, Any]:
        magic, version, _tensors, entries = self._unpack("<4sIQQ")
        if magic != b"GGUF" or version not in _VERSIONS:
            raise MalformedError("its first bytes are another format's")
        if entries > _MOST_ENTRIES:
            raise MalformedError(f"more than {_MOST_ENTRIES} entries")
        found: dict[str, Any] = {}
        for _ in range(entries):
            name = self._text()
            (kind,) = self._unpack("<I")
            found[name] = self._array() if kind == _ARRAY else self._value(kind)
        return found

    def _take(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise MalformedError(f"more than {_MOST_BYTES} bytes of metadata")
        data = self._file.read(size)
        if len(data) != size:
            raise MalformedError("it ends too early")
        return data

    def _unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self._take(struct.calcsize(form)))

    def _text(self) -> str:
        (size,) = self._unpack("<Q")
        if size > _MOST_TEXT:
            raise MalformedError(f"a text of more than {_MOST_TEXT} bytes")
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise MalformedError("a text that is not UTF-8") from None

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind not in _SCALARS:
            raise MalformedError("a value of a kind there is not")
        return self._unpack(_SCALARS[kind])[0]

    def _array(self) -> list[Any]:
        kind, count = self._unpack("<IQ")
        if count > _MOST_ITEMS:
            raise MalformedError(f"a list of more than {_MOST_ITEMS}")
        if kind in _SCALARS:
            form = f"<{count}{_SCALARS[kind][1]}"
            return list(self._unpack(form))
        return [self._value(kind) for _ in range(count)]
