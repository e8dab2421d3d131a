"""How an artefact lies in a store: equal parts, named by their contents, and an index written last.

::

    <place>/parts/<number, 5 digits>-<SHA-256 of the part, 64 hex digits>
    <place>/artefact.json   canonical JSON { "artefact", "part_bytes", "parts", "size", "version" }

A part's name holds its digest, so that parts of two artefacts never stand for each other, an
interrupted upload goes on with what is there, and an index that was read stays true while a newer
one is being written. The index only finds the bytes: the artefact itself authenticates them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from privity.errors import InputError, MalformedError
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical

__all__ = ["INDEX_NAME", "MAX_INDEX_BYTES", "Index", "part_bytes_for", "part_name"]

INDEX_NAME = "artefact.json"
MAX_INDEX_BYTES = 8 << 20

_LEAST_PART, _USUAL_PART, _MOST_PART = 1 << 20, 8 << 20, 64 << 20
_MAX_PARTS = 65_536
_MAX_BYTES = _MAX_PARTS * _MOST_PART
_DIGEST = re.compile(r"[0-9a-f]{64}")


def part_bytes_for(size: int) -> int:
    """Return the size of parts for an artefact of ``size`` bytes: 8 MiB, more for huge ones.

    Raises:
        InputError: an artefact of more than 4 TiB.
    """
    part = _USUAL_PART
    while part * _MAX_PARTS < size:
        part *= 2
    if part > _MOST_PART:
        raise InputError("an artefact of more than 4 TiB does not fit into a store's index")
    return part


def part_name(number: int, digest: str) -> str:
    """Return where part ``number`` with this SHA-256 lies, below the artefact's place."""
    return f"parts/{number:05d}-{digest}"


@dataclass(frozen=True)
class Index:
    """Which parts make up the artefact in a place.

    Attributes:
        artefact: its id, as its head says.
        size: bytes of the sealed artefact.
        part_bytes: of every part but the last.
        parts: the SHA-256 of each, in hex.
    """

    artefact: str
    size: int
    part_bytes: int
    parts: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return the index as it lies in a store."""
        return canonical(
            {
                "artefact": self.artefact,
                "part_bytes": self.part_bytes,
                "parts": list(self.parts),
                "size": self.size,
                "version": 1,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """Read what `to_bytes` writes.

        Raises:
            MalformedError: it is something else.
            OversizeError: it is larger than any index.
        """
        fields = Fields(loads_canonical(data, max_bytes=MAX_INDEX_BYTES), "index")
        fields.constant("version", 1)
        index = cls(
            artefact=fields.text("artefact", max_chars=32),
            size=fields.count("size", least=1, most=_MAX_BYTES),
            part_bytes=fields.count("part_bytes", least=_LEAST_PART, most=_MOST_PART),
            parts=tuple(fields.items("parts", least=1, most=_MAX_PARTS)),
        )
        fields.done()
        if index.part_bytes % _LEAST_PART:
            raise MalformedError("index.part_bytes must be a multiple of 1 MiB")
        if len(index.parts) != -(-index.size // index.part_bytes):
            raise MalformedError("index.parts does not have as many parts as the size needs")
        if not all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in index.parts):
            raise MalformedError("index.parts must hold SHA-256 digests in hex")
        return index
