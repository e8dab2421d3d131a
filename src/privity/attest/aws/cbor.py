"""As much of CBOR (RFC 8949) as attestation documents are written in, read strictly.

Integers, byte and text strings, null, arrays, and maps with integer or text keys; all in their
shortest form. A map may have an indefinite length where the caller allows it, as AWS's security
module writes its documents; nothing else may. No tags, no floating point, no shared values.
"""

from __future__ import annotations

from typing import Any

from privity.errors import MalformedError

__all__ = ["read_cbor"]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_NULL, _OPEN_MAP, _BREAK = 0xF6, 0xBF, 0xFF
_MAX_DEPTH = 4
_MAX_ITEMS = 64


def read_cbor(data: bytes, *, most: int, open_maps: bool = False) -> Any:
    """Return the one value that ``data`` encodes.

    Args:
        data: untrusted bytes.
        most: how many bytes it may have.
        open_maps: whether maps may have an indefinite length.

    Raises:
        MalformedError: anything else, more than 64 items in one array or map, a key twice, or
            more than 4 levels.

    Guarantees:
        Total; without ``open_maps``, one byte string for each value
        (tests/property/test_nitro.py).
    """
    if len(data) > most:
        raise MalformedError(f"CBOR: more than {most} bytes")
    reader = _Reader(data, open_maps)
    value = reader.value(0)
    reader.done()
    return value


class _Reader:
    def __init__(self, data: bytes, open_maps: bool) -> None:
        self._data = data
        self._at = 0
        self._open_maps = open_maps

    def done(self) -> None:
        if self._at != len(self._data):
            raise MalformedError("CBOR: there are bytes after the end")

    def value(self, depth: int) -> Any:
        first = self._peek()
        if depth > _MAX_DEPTH:
            raise MalformedError(f"CBOR: more than {_MAX_DEPTH} levels")
        if first == _NULL:
            self._at += 1
            return None
        if first == _OPEN_MAP and self._open_maps:
            self._at += 1
            return self._open_map(depth)
        major, number = self._head()
        if major == _UNSIGNED:
            return number
        if major == _NEGATIVE:
            return -1 - number
        if major == _BYTES:
            return self._take(number)
        if major == _TEXT:
            return self._text(number)
        if number > _MAX_ITEMS:
            raise MalformedError(f"CBOR: more than {_MAX_ITEMS} items")
        if major == _ARRAY:
            return [self.value(depth + 1) for _ in range(number)]
        return self._map(number, depth)

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(count):
            self._member(found, depth)
        return found

    def _open_map(self, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        while self._peek() != _BREAK:
            if len(found) == _MAX_ITEMS:
                raise MalformedError(f"CBOR: more than {_MAX_ITEMS} items")
            self._member(found, depth)
        self._at += 1
        return found

    def _member(self, found: dict[Any, Any], depth: int) -> None:
        key = self.value(depth + 1)
        if not isinstance(key, str | int):
            raise MalformedError("CBOR: a key that is neither text nor an integer")
        if key in found:
            raise MalformedError("CBOR: a key that is there twice")
        found[key] = self.value(depth + 1)

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, short = first >> 5, first & 0x1F
        if major > _MAP or short > 27:
            raise MalformedError("CBOR: a kind of value not allowed here")
        if short < 24:
            return major, short
        size = 1 << (short - 24)
        number = int.from_bytes(self._take(size), "big")
        if number < (24 if size == 1 else 1 << (4 * size)):
            raise MalformedError("CBOR: a number is not in its shortest form")
        return major, number

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("CBOR: a text is not UTF-8") from None

    def _peek(self) -> int:
        if self._at >= len(self._data):
            raise MalformedError("CBOR: a value is cut short")
        return self._data[self._at]

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise MalformedError("CBOR: a value is cut short")
        data, self._at = self._data[self._at : end], end
        return data
