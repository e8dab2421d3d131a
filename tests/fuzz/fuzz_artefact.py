"""Sealed artefacts: head, description and chunks; indexes and recipients beside them."""

from __future__ import annotations

import io

from fuzz.harness import Made, attempt
from privity.vault.artefact import Meta, Reader, seal_stream
from privity.vault.header import ArtefactKey, read_header
from privity.vault.index import Index
from privity.vault.recipients import Recipient, new_identity
from privity.vault.source import BytesSource

_SECRET = bytes(range(32))
_CONTENTS = b"weights " * 100


def _entropy(size: int) -> bytes:
    return (_SECRET * (size // 32 + 1))[:size]


def _key() -> ArtefactKey:
    return ArtefactKey.generate(_entropy)


def one(data: bytes) -> None:
    attempt(Index.parse, data)
    attempt(Recipient.parse, data.decode("latin-1"))
    attempt(read_header, BytesSource(data))
    reader = attempt(Reader, BytesSource(data), _key())
    if reader is not None:
        sink = io.BytesIO()
        if attempt(reader.copy_to, sink) is not None:
            assert sink.getvalue() in (_CONTENTS, b""), "contents that nobody sealed"


def seeds() -> Made:
    identity, _ = new_identity(_entropy)
    made = []
    for contents, recipients in ((_CONTENTS, []), (b"", [identity.recipient])):
        sink = io.BytesIO()
        seal_stream(
            io.BytesIO(contents), sink, meta=Meta("x.gguf", "model"), recipients=recipients,
            key=_key(), entropy=_entropy,
        )  # fmt: skip
        made.append(sink.getvalue())
    index = Index("ab" * 16, 2 << 20, 1 << 20, ("cd" * 32, "ef" * 32))
    return Made([*made, index.to_bytes(), str(identity.recipient).encode()])
