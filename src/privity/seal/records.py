"""Content in records of one size, so that the length of each token does not show.

Asked for and confirmed *inside* the seal: a request with the field ``privity-records: 512`` asks,
a response with the same field and value confirms, and its content then is a sequence of records of
512 bytes, each in a sealed chunk of its own. When they leave is in shaping.py. A gateway that does
not know a field leaves it out of its response; without this one the content is plain.

A record is the number of bytes used (two bytes, network order), those bytes, and zero bytes up to
its size. One that uses none is *cover*.
"""

from __future__ import annotations

from privity.errors import InputError, MalformedError, TruncatedError

__all__ = [
    "CADENCES",
    "CADENCE_HEADER",
    "DEFAULT_SIZE",
    "RECORDS_HEADER",
    "SIZES",
    "RecordReader",
    "RecordWriter",
    "parse_cadence",
    "parse_number",
    "parse_size",
]

RECORDS_HEADER = b"privity-records"
CADENCE_HEADER = b"privity-cadence"

_LENGTH = 2
# With its Binary HTTP chunk length (up to 4 bytes) a record has to fit one sealed chunk.
SIZES = range(16, 16384 - 4 + 1)
"""Bytes a record may have."""
DEFAULT_SIZE = 2048
CADENCES = range(1, 60_000 + 1)
"""Milliseconds there may be between batches of records."""


def parse_size(value: bytes) -> int:
    """Return the record size in bytes that a `RECORDS_HEADER` field asks for or confirms.

    Raises:
        MalformedError: not a number from 16 to 16380.
    """
    return parse_number(value, SIZES, RECORDS_HEADER)


def parse_cadence(value: bytes) -> int:
    """Return the milliseconds between batches in a `CADENCE_HEADER` field.

    Raises:
        MalformedError: not a number from 1 to 60000.
    """
    return parse_number(value, CADENCES, CADENCE_HEADER)


def parse_number(value: bytes, allowed: range, name: bytes) -> int:
    """Return the number in a field ``name`` of a sealed head.

    Raises:
        MalformedError: not a number of ``allowed``.
    """
    # ASCII digits only: int() would also take signs, spaces, underscores and other scripts.
    if not 1 <= len(value) <= 5 or not value.isdigit() or int(value) not in allowed:
        raise MalformedError(f"{name.decode()} is not a number from {allowed[0]} to {allowed[-1]}")
    return int(value)


class RecordWriter:
    """Turns content into records at once, keeping nothing back. Run by the Gateway.

    Args:
        size: bytes of each record, 16 to 16380.

    Attributes:
        room: bytes of content that one holds.

    Guarantees:
        Every record has exactly that size, whatever was written (tests/property/test_sizes.py).
    """

    def __init__(self, size: int) -> None:
        if size not in SIZES:
            raise InputError(f"records have {SIZES[0]} to {SIZES[-1]} bytes")
        self.room = size - _LENGTH
        self._zeros = bytes(self.room)

    def write(self, data: bytes) -> list[bytes]:
        """Return as few records as hold ``data``; none for no data."""
        room = self.room
        if 0 < len(data) <= room:  # the hot path: a token's worth
            return [self._record(data)]
        return [self._record(data[at : at + room]) for at in range(0, len(data), room)]

    def batch(self, data: bytes, count: int) -> list[bytes]:
        """Return ``count`` records with ``data``, which must fit them: the rest is cover."""
        records = self.write(data)
        return records + [self.cover()] * (count - len(records))

    def cover(self) -> bytes:
        """Return a record that says nothing."""
        return self._record(b"")

    def _record(self, data: bytes) -> bytes:
        used = len(data)
        return used.to_bytes(_LENGTH, "big") + data + self._zeros[used:]


class RecordReader:
    """Turns records back into content, however they are split. Run by the Client.

    Args:
        size: bytes of each record, as the response confirmed.

    Guarantees:
        Only `PrivityError` escapes, whatever the bytes (tests/property/test_records.py).
    """

    def __init__(self, size: int) -> None:
        if size not in SIZES:
            raise InputError(f"records have {SIZES[0]} to {SIZES[-1]} bytes")
        self._size = size
        self._zeros = bytes(size)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the content of each record they completed, cover left out.

        Raises:
            MalformedError: a record claims more than it can hold, or its fill is not zero.
        """
        size = self._size
        if not self._buffer and len(data) == size:  # the hot path: one record
            content = self._content(data)
            return [content] if content else []
        self._buffer += data
        whole = len(self._buffer) // size * size
        if not whole:
            return []
        records = bytes(self._buffer[:whole])
        del self._buffer[:whole]
        contents = [self._content(records[at : at + size]) for at in range(0, whole, size)]
        return [content for content in contents if content]

    def finish(self) -> None:
        """Say that the content has ended.

        Raises:
            TruncatedError: it ends inside a record.
        """
        if self._buffer:
            raise TruncatedError("the content stops inside a record")

    def _content(self, record: bytes) -> bytes:
        end = (record[0] << 8 | record[1]) + _LENGTH
        # Non-zero fill would be a channel that no one checks.
        if end > self._size or record[end:] != self._zeros[end:]:
            raise MalformedError("a record has an impossible length, or its fill is not zero")
        return record[_LENGTH:end]
