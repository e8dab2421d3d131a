"""The artefact keys in a broker's folder, each wrapped under the broker's own, for one owner.

That one lies beside them: whoever reads the whole folder reads every key (spec/key-release.md).
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privity.attest.grant import Grant
from privity.attest.release import KEY_BYTES
from privity.errors import InputError, OpenError
from privity.home import create_private_once, read_private, write_private
from privity.identity.digests import digest
from privity.identity.jcs import canonical

__all__ = ["KEYS", "KeptKeys", "write_kept"]

KEYS = "keys"
"""The folder they lie in, under the broker's."""

_WRAP_LABEL = b"privity/broker-key/v1\0"
_NONCE_BYTES = 12
_OWN_KEY = "broker.key"


class KeptKeys:
    """The artefact keys of a broker.

    Args:
        folder: the broker's.

    Raises:
        InputError: the broker's own key cannot be read, or made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / KEYS
        self._wrapping = AESGCM(_own_key(folder / _OWN_KEY))

    def put(self, grant: Grant, key: bytes) -> None:
        """Keep the key of the grant's artefact, for its owner; raises `InputError`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = nonce + self._wrapping.encrypt(nonce, key, _wrapped_for(grant))
        write_kept(self._path(grant), wrapped)

    def get(self, grant: Grant) -> bytes:
        """Return the key of the grant's artefact.

        Raises:
            OpenError: what lies there is another's, altered, or of another broker.
            InputError: it cannot be read.
        """
        data = read_private(self._path(grant))
        try:
            return self._wrapping.decrypt(
                data[:_NONCE_BYTES], data[_NONCE_BYTES:], _wrapped_for(grant)
            )
        except (InvalidTag, ValueError):
            raise OpenError("the kept artefact key is not under this broker's key") from None

    def _path(self, grant: Grant) -> Path:
        owner = digest(grant.owner.encode()).removeprefix("sha256:")[:16]
        return self._folder / f"{grant.artefact}.{owner}.key"


def write_kept(path: Path, data: bytes) -> None:
    """Write a file of a broker's folder; raises `InputError`."""
    try:
        write_private(path, data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _own_key(path: Path) -> bytes:
    """Return the key that artefact keys are wrapped under, made on first use."""
    if not path.exists():
        create_private_once(path, secrets.token_bytes(KEY_BYTES))
    key = read_private(path)
    if len(key) != KEY_BYTES:
        raise InputError(
            f"{path} is not a broker's key",
            hint="restore it from a copy: the keys in this folder open with it alone",
        )
    return key


def _wrapped_for(grant: Grant) -> bytes:
    return _WRAP_LABEL + canonical({"artefact": grant.artefact, "owner": grant.owner})
