"""Where this device's own signing key lives: a 0600 file, or the operating system's keyring.

The file is the default, since a keyring may ask for a password or be absent on a server.
``PRIVITY_KEYRING=1`` chooses the keyring. There is no fall-back from one to the other: a key the
person asked to be kept in the keyring must not turn up in a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from privity.errors import InputError, MalformedError
from privity.home import create_private_once, home, read_private
from privity.identity.did_key import encode_secret, parse_secret
from privity.identity.keys import SigningKey

__all__ = ["device_key", "load_key", "load_or_create_key", "secret_in_keyring", "uses_keyring"]

_FILE = "device.key"
_SERVICE = "privity device key"


def uses_keyring() -> bool:
    """Tell whether the person chose the keyring: ``PRIVITY_KEYRING`` is set, and not to ``0``."""
    return os.environ.get("PRIVITY_KEYRING", "") not in ("", "0")


def device_key() -> SigningKey:
    """Return this device's signing key, made on first use.

    Raises:
        InputError: the stored key cannot be read, is damaged, or is open to others.
    """
    if uses_keyring():
        return _from_keyring(str(home()))
    return load_or_create_key(home() / _FILE)


def load_or_create_key(path: Path) -> SigningKey:
    """Return the key in ``path``, made first if there is none.

    Raises:
        InputError: the file cannot be read or written, is damaged, or is open to others.

    Guarantees:
        Processes that call it at once get the same key (tests/unit/test_keystore.py).
    """
    if not path.exists():
        secret = encode_secret(SigningKey.generate().unsafe_seed())
        create_private_once(path, secret.encode("ascii") + b"\n")
    return load_key(path)


def load_key(path: Path) -> SigningKey:
    """Return the key in ``path``.

    Raises:
        InputError: there is none, it is damaged, or others on this machine can read it.
    """
    return _parse(read_private(path).decode("ascii", errors="replace"), str(path))


def _parse(text: str, place: str) -> SigningKey:
    try:
        return SigningKey(parse_secret(text.strip()))
    except MalformedError as error:
        raise InputError(
            f"the key in {place} is damaged: {error.message}",
            hint="restore it from a copy, or remove it to begin with a new key",
        ) from None


def secret_in_keyring(service: str, account: str, make: Callable[[], str]) -> str:
    """Return a secret out of the system's keyring, made there where there is none.

    Args:
        service: what the secret is.
        account: whose it is.
        make: returns a new one.

    Raises:
        InputError: the keyring did not answer.
    """
    # Imported here: it takes 100 ms and most people keep the file.
    import keyring
    import keyring.errors

    try:
        stored = keyring.get_password(service, account)
        if stored is None:
            stored = make()
            keyring.set_password(service, account, stored)
    except keyring.errors.KeyringError as error:
        raise InputError(
            f"the keyring of this system did not answer: {type(error).__name__}",
            hint="unlock or install one, or unset PRIVITY_KEYRING to keep the key in a file",
        ) from error
    return stored


def _from_keyring(account: str) -> SigningKey:
    def make() -> str:
        return encode_secret(SigningKey.generate().unsafe_seed())

    return _parse(secret_in_keyring(_SERVICE, account, make), "the keyring")
