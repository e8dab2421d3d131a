"""Maps of conversations that outlive the process: sealed, one file each.

The key is derived from this device's own signing key, which is where the person chose to keep it
(`privity.identity.keystore`). A file's name is a keyed hash: it tells nobody which conversation it
is. Its length is one of a few. A file that nothing used for 30 days is removed.

That an older file of the same conversation was put back is not noticed: nothing outside of the file
says which was the last. Answers that hold newer stand-ins are then not restored.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag

from privity.errors import InputError, OpenError
from privity.hazmat.aead import AES_256_GCM, Cipher
from privity.hazmat.kdf import expand, extract
from privity.home import home, read_private, write_private
from privity.identity.keystore import device_key

__all__ = ["MapStore", "SealedMaps", "sealed_maps"]

_MAGIC = b"privity pseudonyms 2\n"
_SALT = 32
_SIZE = 8
_SMALLEST = 16 << 10
_UNUSED_S = 30 * 86400.0
_NAME = re.compile(r"\.?[0-9a-f]{64}(?:\..*)?\Z")
"""Of a file of ours, and of one that was being written."""
_NONCE = bytes(AES_256_GCM.nonce_size)
_HINT = "forget the conversation's stand-ins to begin anew; the file was left as it is"


class MapStore(Protocol):
    """Where maps are kept beyond the process."""

    def name(self, conversation: str) -> str:
        """Return under which name a conversation's map is kept, which does not tell which it is."""

    def load(self, name: str) -> bytes | None:
        """Return a map, or None where there is none."""

    def save(self, name: str, data: bytes) -> None:
        """Keep a map in place of what was kept under the name."""

    def forget(self, name: str) -> None:
        """Keep it no longer."""

    def forget_all(self) -> None:
        """Keep none of them."""


class SealedMaps:
    """Maps in files of one folder, encrypted and authenticated.

    Args:
        folder: where they are.
        secret: 32 bytes that only this device knows.
        randomness: makes the salts.
        clock: seconds since 1970, as the times of files are.

    Guarantees:
        A file altered, of another key or under another name is refused, and left as it is
        (tests/adversary/test_pseudonyms.py::test_an_altered_map_is_refused_and_left_as_it_is).
        A file's length is 16 KiB times a power of two, and a little
        (tests/adversary/test_pseudonym_leaves.py::test_the_length_of_a_kept_map_tells_little).
        Files not used for 30 days are removed as the store is opened, and as a map is kept
        (tests/adversary/test_pseudonym_leaves.py::test_a_kept_map_that_nobody_used_is_removed).
    """

    def __init__(
        self,
        folder: Path,
        secret: bytes,
        *,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._names = expand(secret, b"privity/pseudonyms/name", 32)
        self._keys = expand(secret, b"privity/pseudonyms/key", 32)
        self._randomness = randomness
        self._clock = clock
        self._sweep()

    def name(self, conversation: str) -> str:
        """Return the name of a conversation's file."""
        return hmac.digest(
            self._names, conversation.encode("utf-8", "surrogatepass"), "sha256"
        ).hex()

    def load(self, name: str) -> bytes | None:
        """Return the map in a file, or None where there is no such file.

        Raises:
            OpenError: it is not what this device wrote there.
            InputError: it cannot be read, or others can read it.
        """
        path = self._folder / name
        if not path.exists():
            return None
        data = read_private(path)
        salt, sealed = data[len(_MAGIC) : len(_MAGIC) + _SALT], data[len(_MAGIC) + _SALT :]
        try:
            if not data.startswith(_MAGIC):
                raise InvalidTag
            opened = _unpadded(self._cipher(salt).decrypt(_NONCE, sealed, self._bound(name)))
        except InvalidTag:
            raise OpenError(
                "a kept map of stand-ins is altered, or sealed with another key", hint=_HINT
            ) from None
        with contextlib.suppress(OSError):  # a folder that is only read keeps its times
            os.utime(path, (self._clock(),) * 2)
        return opened

    def save(self, name: str, data: bytes) -> None:
        """Seal a map into its file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        # A key for each writing, from 32 fresh random bytes: the one nonce is used once with it.
        salt = self._randomness(_SALT)
        sealed = self._cipher(salt).encrypt(_NONCE, _padded(data), self._bound(name))
        try:
            write_private(self._folder / name, _MAGIC + salt + sealed)
        except OSError as error:
            raise InputError(
                f"cannot write a map of stand-ins into {self._folder}: {error.strerror}",
                hint="keep them in memory, or make room",
            ) from error
        self._sweep()

    def forget(self, name: str) -> None:
        """Remove a file; that there is none is no error."""
        (self._folder / name).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Remove every file of the folder."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove the files that nothing used for 30 days."""
        with contextlib.suppress(OSError):  # no folder yet, or one that is only read
            for path in list(self._folder.iterdir()):
                if _NAME.match(path.name) and self._clock() - path.stat().st_mtime > _UNUSED_S:
                    path.unlink(missing_ok=True)

    def _cipher(self, salt: bytes) -> Cipher:
        return AES_256_GCM.cipher(expand(extract(salt, self._keys), b"file", AES_256_GCM.key_size))

    @staticmethod
    def _bound(name: str) -> bytes:
        return _MAGIC + name.encode("ascii")


def _padded(data: bytes) -> bytes:
    """Return data behind its length, filled up to 16 KiB times a power of two."""
    size = _SMALLEST
    while size < _SIZE + len(data):
        size *= 2
    return (len(data).to_bytes(_SIZE, "big") + data).ljust(size, b"\0")


def _unpadded(data: bytes) -> bytes:
    return data[_SIZE : _SIZE + int.from_bytes(data[:_SIZE], "big")]


def sealed_maps() -> SealedMaps:
    """Return this person's kept maps, under a key derived from this device's.

    Raises:
        InputError: the device's key cannot be read.
    """
    seed = device_key().unsafe_seed()
    return SealedMaps(home() / "pseudonyms", extract(b"privity/pseudonyms/v1", seed))
