"""Maps of conversations that outlive the process: sealed, one file each.

The key is derived from this device's own signing key, which is where the person chose to keep it
(`privity.identity.keystore`). A file's name is a keyed hash: it tells nobody which conversation it
is.
"""

from __future__ import annotations

import hmac
import secrets
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

_MAGIC = b"privity pseudonyms 1\n"
_SALT = 32
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

    Guarantees:
        A file altered, of another key or under another name is refused, and left as it is
        (tests/adversary/test_pseudonyms.py::test_an_altered_map_is_refused_and_left_as_it_is).
    """

    def __init__(
        self,
        folder: Path,
        secret: bytes,
        *,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._folder = folder
        self._names = expand(secret, b"privity/pseudonyms/name", 32)
        self._keys = expand(secret, b"privity/pseudonyms/key", 32)
        self._randomness = randomness

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
            return self._cipher(salt).decrypt(_NONCE, sealed, self._bound(name))
        except InvalidTag:
            raise OpenError(
                "a kept map of stand-ins is altered, or sealed with another key", hint=_HINT
            ) from None

    def save(self, name: str, data: bytes) -> None:
        """Seal a map into its file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        # A key for each writing, from 32 fresh random bytes: the one nonce is used once with it.
        salt = self._randomness(_SALT)
        sealed = self._cipher(salt).encrypt(_NONCE, data, self._bound(name))
        try:
            write_private(self._folder / name, _MAGIC + salt + sealed)
        except OSError as error:
            raise InputError(
                f"cannot write a map of stand-ins into {self._folder}: {error.strerror}",
                hint="keep them in memory, or make room",
            ) from error

    def forget(self, name: str) -> None:
        """Remove a file; that there is none is no error."""
        (self._folder / name).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Remove every file of the folder."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)

    def _cipher(self, salt: bytes) -> Cipher:
        return AES_256_GCM.cipher(expand(extract(salt, self._keys), b"file", AES_256_GCM.key_size))

    @staticmethod
    def _bound(name: str) -> bytes:
        return _MAGIC + name.encode("ascii")


def sealed_maps() -> SealedMaps:
    """Return this person's kept maps, under a key derived from this device's.

    Raises:
        InputError: the device's key cannot be read.
    """
    seed = device_key().unsafe_seed()
    return SealedMaps(home() / "pseudonyms", extract(b"privity/pseudonyms/v1", seed))
