"""Signed notes and checkpoints (C2SP), cosignatures, verifier keys, requests to witnesses."""

from __future__ import annotations

from dataclasses import replace

from fuzz.harness import NOW, Made, attempt
from privity.attest.log.checkpoint import Checkpoint, cosign, cosignatures, open_checkpoint
from privity.attest.log.note import Algorithm, Note, NoteKey, Signature
from privity.identity.keys import SigningKey
from privity.node.witness import parse_request

_LOG, _WITNESS = SigningKey(b"\3" * 32), SigningKey(b"\4" * 32)
_ORIGIN = "log.example/privity"
_KEY = NoteKey.of(_ORIGIN, Algorithm.ED25519, _LOG)
_COSIGNER = NoteKey.of("witness.example", Algorithm.COSIGNATURE, _WITNESS)
_CHECKPOINT = Checkpoint(_ORIGIN, 7, bytes(32))


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    attempt(NoteKey.parse, text)
    attempt(Signature.parse, text)
    attempt(Checkpoint.parse, text)
    attempt(parse_request, data)
    note = attempt(Note.parse, data)
    if note is None:
        return
    assert note.to_bytes() == data
    opened = attempt(open_checkpoint, note, [_KEY])
    assert opened in (None, _CHECKPOINT), "a checkpoint was read that no log signed"
    for seen in attempt(cosignatures, note, [_COSIGNER]) or ():
        assert seen.time == NOW


def seeds() -> Made:
    note = _CHECKPOINT.sign(_LOG)
    line = cosign(note, _WITNESS, "witness.example", NOW)
    request = b"old 3\n" + b"A" * 43 + b"=\n\n" + note.to_bytes()
    cosigned = replace(note, signatures=(*note.signatures, line))
    return Made(
        [note.to_bytes(), cosigned.to_bytes(), _KEY.vkey.encode(), note.text.encode(), request]
    )
