"""The reader of a model file's metadata is total."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InputError
from privity.infer.engines.gguf_metadata import read_metadata

NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 40)
PIECES = st.lists(
    st.binary(max_size=12)
    | NUMBERS.map(lambda number: struct.pack("<Q", number))
    | st.integers(0, 14).map(lambda kind: struct.pack("<I", kind)),
    max_size=20,
)


@given(st.integers(0, 4), NUMBERS, PIECES)
def test_metadata_is_read_or_refused(version: int, entries: int, pieces: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        head = struct.pack("<4sIQQ", b"GGUF", version, 0, entries)
        path.write_bytes(head + b"".join(pieces))
        with suppress(InputError):
            assert len(read_metadata(path)) <= entries
