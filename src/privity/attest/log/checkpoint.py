"""Checkpoints of a log (C2SP tlog-checkpoint), and witnesses' cosignatures (tlog-cosignature).

A checkpoint says: the log of this origin has this many entries, under this root. The log signs
it; a witness that found it consistent with all it has seen of this log cosigns it, with the time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from privity.attest.log.note import (
    Algorithm,
    Note,
    NoteKey,
    Signature,
    sign,
)
from privity.errors import InputError, MalformedError, OpenError
from privity.hazmat.merkle import HASH_BYTES
from privity.identity.keys import SigningKey
from privity.identity.multibase import decode_base64, encode_base64

__all__ = ["Checkpoint", "Cosignature", "cosign", "cosignatures", "open_checkpoint"]

MAX_SIZE = 2**53 - 1
"""Most entries a log may have: what every reader of JSON counts exactly."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_SIGNATURE_BYTES = 64
_LAST_TIME = 253_402_300_799  # of the year 9999


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log at one size.

    Attributes:
        origin: the log's name.
        size: how many entries it has.
        root: the 32-byte root over them (RFC 6962).
        extensions: further lines, which mean nothing here; a log of ours writes none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if any(not line or "\n" in line for line in lines):
            raise MalformedError("a checkpoint with an empty line")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise MalformedError("a checkpoint of an impossible size or root")

    @property
    def text(self) -> str:
        """The text that is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text; raises `MalformedError` for anything but what `text` writes."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not _SIZE.fullmatch(lines[1]):
            raise MalformedError("not a checkpoint: origin, size and root were expected")
        return cls(lines[0], int(lines[1]), decode_base64(lines[2]), tuple(lines[3:]))

    def sign(self, key: SigningKey) -> Note:
        """Return the checkpoint as the log signs it, under its origin as key name."""
        return Note(self.text, (sign(self.text, key, self.origin),))


@dataclass(frozen=True)
class Cosignature:
    """A witness's verified signature.

    Attributes:
        witness: its key.
        time: when it saw the checkpoint as the latest of the log, by its own clock.
    """

    witness: NoteKey
    time: datetime


def open_checkpoint(note: Note, logs: Sequence[NoteKey]) -> Checkpoint:
    """Return the checkpoint in a note, signed by the log it names.

    Args:
        note: the note.
        logs: keys of the logs that are known; a key stands for the origin of its own name alone.

    Raises:
        MalformedError: it is no checkpoint.
        OpenError: no known log signed it; or a line in the name of one does not verify.
    """
    checkpoint = Checkpoint.parse(note.text)
    signed = False
    for key in logs:
        if key.name != checkpoint.origin or key.algorithm is not Algorithm.ED25519:
            continue
        for line in note.signatures:
            if line.claims(key):
                key.verify(line.data, note.text.encode())
                signed = True
    if not signed:
        raise OpenError("the checkpoint is not signed by a log that is trusted for its origin")
    return checkpoint


def cosign(note: Note, key: SigningKey, name: str, now: datetime) -> Signature:
    """Return a witness's line for a checkpoint. The witness has checked consistency before.

    Raises:
        InputError: a time before 1970 or without a zone.
    """
    if now.tzinfo is None or now.timestamp() < 1:
        raise InputError("a cosignature needs a time with a zone, after 1970")
    stamp = int(now.timestamp())
    named = NoteKey.of(name, Algorithm.COSIGNATURE, key)
    signature = key.sign(_cosigned(note.text, stamp))
    return Signature(name, named.key_id, stamp.to_bytes(8, "big") + signature)


def cosignatures(note: Note, witnesses: Sequence[NoteKey]) -> tuple[Cosignature, ...]:
    """Return the verified cosignatures of the witnesses named, the latest one of each key.

    Lines of other keys are passed over, as C2SP signed-note demands. A key that is listed under
    two names counts once: cosignatures do not cover the witness's name.

    Raises:
        OpenError: a line in the name of one of them does not verify.
        MalformedError: such a line has not the form of a cosignature.
    """
    latest: dict[bytes, Cosignature] = {}
    for witness in witnesses:
        if witness.algorithm is not Algorithm.COSIGNATURE:
            continue
        for line in note.signatures:
            if line.claims(witness):
                one = Cosignature(witness, _verify_cosignature(note.text, line, witness))
                seen = latest.get(witness.public)
                if seen is None or seen.time < one.time:
                    latest[witness.public] = one
    return tuple(latest.values())


def _verify_cosignature(text: str, line: Signature, witness: NoteKey) -> datetime:
    if len(line.data) != 8 + _SIGNATURE_BYTES:
        raise MalformedError("a cosignature of another length than a timestamp and a signature")
    stamp = int.from_bytes(line.data[:8], "big")
    if not 0 < stamp <= _LAST_TIME:
        raise MalformedError("a cosignature of no time")
    witness.verify(line.data[8:], _cosigned(text, stamp))
    return datetime.fromtimestamp(stamp, UTC)


def _cosigned(text: str, stamp: int) -> bytes:
    return f"cosignature/v1\ntime {stamp}\n{text}".encode()
