"""Signed notes (C2SP signed-note v1): text signed by one or more named keys, and their vkeys.

A key is known by its name and by four bytes of a hash, never by these alone: whoever verifies has
the whole public key beforehand, as a verifier key, ``name+hash+base64``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

from privity.errors import MalformedError, OversizeError
from privity.identity.did_key import encode_did
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.multibase import decode_base64, encode_base64

__all__ = ["Algorithm", "Note", "NoteKey", "Signature"]

MAX_BYTES = 65_536
"""Largest note read, in bytes."""

_MAX_SIGNATURES = 64
_MAX_NAME = 255
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Algorithm(IntEnum):
    """What a key's signatures cover: the type byte of C2SP signed-note."""

    ED25519 = 1
    COSIGNATURE = 4
    """A witness's: Ed25519 over a checkpoint and the time it was seen (C2SP tlog-cosignature)."""


@dataclass(frozen=True)
class NoteKey:
    """The public half of a named key.

    Attributes:
        name: for a log, its origin; for a witness, a URL without its scheme.
        algorithm: what its signatures cover.
        public: its 32 Ed25519 bytes.
    """

    name: str
    algorithm: Algorithm
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        _verifier(self.public)  # refuses points of small order, as for every key of ours

    @classmethod
    def of(cls, name: str, algorithm: Algorithm, key: SigningKey) -> NoteKey:
        """Return the public half of ``key`` under a name."""
        return cls(name, algorithm, key.verify_key.public_bytes)

    @cached_property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; they prove nothing."""
        head = self.name.encode() + b"\n" + bytes([self.algorithm])
        return hashlib.sha256(head + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key, as configurations carry it."""
        encoded = encode_base64(bytes([self.algorithm]) + self.public)
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    @lru_cache(maxsize=256)  # the same few keys of the configuration, for each statement
    def parse(cls, text: str) -> NoteKey:
        """Read a verifier key of Ed25519 or of Ed25519 cosignatures.

        Raises:
            MalformedError: another form or algorithm, or a key id that is not this key's.
        """
        parts = text.split("+", 2) if len(text) <= _MAX_NAME + 128 else []
        if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise MalformedError("not a verifier key: name+hash+base64 was expected")
        data = decode_base64(parts[2])
        if len(data) != 33 or data[0] not in tuple(Algorithm):
            raise MalformedError("a verifier key, but not of Ed25519")
        key = cls(parts[0], Algorithm(data[0]), data[1:])
        if key.key_id.hex() != parts[1]:
            raise MalformedError("a verifier key whose hash is not of its name and key")
        return key

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if these 64 bytes are this key's over ``message``; raises `OpenError`."""
        _verified(self.public, signature, message)


@dataclass(frozen=True)
class Signature:
    """One signature line, unverified.

    Attributes:
        name: the name it says its key has.
        key_id: the four bytes it says its key has.
        data: the signature, in the algorithm's own form.
    """

    name: str
    key_id: bytes
    data: bytes

    @property
    def line(self) -> str:
        """The line, with its newline."""
        return f"— {self.name} {encode_base64(self.key_id + self.data)}\n"

    def claims(self, key: NoteKey) -> bool:
        """Tell whether the line names this key; that alone proves nothing."""
        return self.name == key.name and self.key_id == key.key_id

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a line without its newline; raises `MalformedError`."""
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—":
            raise MalformedError("not a signature line of a note")
        _check_name(parts[1])
        data = decode_base64(parts[2])
        if len(data) < 5:
            raise MalformedError("a signature line of a note without a signature")
        return cls(parts[1], data[:4], data[4:])


@dataclass(frozen=True)
class Note:
    """Text, and the signature lines below it; nothing is verified yet.

    Attributes:
        text: what is signed, its last newline included.
        signatures: the lines, in order.
    """

    text: str
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        """Return the one byte form."""
        return (self.text + "\n" + "".join(one.line for one in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read what `to_bytes` writes.

        Raises:
            OversizeError: more than `MAX_BYTES`.
            MalformedError: anything else.

        Guarantees:
            Total, and ``Note.parse(data).to_bytes() == data`` (tests/property/test_log.py).
        """
        if len(data) > MAX_BYTES:
            raise OversizeError(f"a note of {len(data)} bytes; the limit is {MAX_BYTES}")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("a note that is not UTF-8") from None
        head, blank, tail = whole.rpartition("\n\n")
        if not blank or not tail.endswith("\n") or _CONTROL.search(whole):
            raise MalformedError("not a signed note: text, a blank line, signature lines")
        return cls(head + "\n", parse_signatures(tail))


@lru_cache(maxsize=256)
def _verifier(public: bytes) -> VerifyKey:
    return VerifyKey(encode_did(public))


@lru_cache(maxsize=512)  # only what verified is kept: an error is not
def _verified(public: bytes, signature: bytes, message: bytes) -> None:
    _verifier(public).verify(signature, message)


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Read 1 to 64 signature lines, each with its newline; raises `MalformedError`."""
    lines = text.split("\n")
    if lines.pop() or not 0 < len(lines) <= _MAX_SIGNATURES:
        raise MalformedError(f"a note has 1 to {_MAX_SIGNATURES} signature lines")
    return tuple(Signature.parse(line) for line in lines)


def sign(text: str, key: SigningKey, name: str) -> Signature:
    """Return the plain Ed25519 signature line of ``key`` over a note's text."""
    named = NoteKey.of(name, Algorithm.ED25519, key)
    return Signature(name, named.key_id, key.sign(text.encode()))


def parse_keys(texts: Sequence[str], algorithm: Algorithm) -> tuple[NoteKey, ...]:
    """Read verifier keys that must all be of one algorithm; raises `MalformedError`."""
    keys = tuple(NoteKey.parse(text) for text in texts)
    if any(key.algorithm is not algorithm for key in keys):
        raise MalformedError(f"a verifier key that is not of type {algorithm:#04x}")
    return keys


def _check_name(name: str) -> None:
    odd = "+" in name or any(char.isspace() for char in name) or _CONTROL.search(name)
    if odd or not 0 < len(name) <= _MAX_NAME:
        raise MalformedError("a key name is empty, too long, or has a space or a plus in it")
