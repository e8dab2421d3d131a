"""Whom an artefact is sealed to: age's keys, in age's spelling.

``age1pq1…`` (X-Wing: ML-KEM-768 and X25519) is what privity makes and what a seal asks for: a
sealed model lies in stores for years, where it waits for a quantum computer. ``age1…`` (X25519
alone) is understood and refused unless asked for. Secrets are ``AGE-SECRET-KEY-PQ-1…`` and
``AGE-SECRET-KEY-1…``. Source: C2SP age, sections on its native recipients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from privity.errors import InputError, MalformedError
from privity.hazmat.hpke import KEMS
from privity.hazmat.kem import Entropy, KemPrivateKey
from privity.hazmat.kem_x25519 import DhkemX25519
from privity.hazmat.kem_xwing import XWing
from privity.home import create_private_once, home, read_private
from privity.vault import bech32

__all__ = ["Identity", "Recipient", "new_identity", "owner_identity", "parse_identity_file"]

_PUBLIC_PREFIX = {XWing.id: "age1pq", DhkemX25519.id: "age"}
_SECRET_PREFIX = {XWing.id: "age-secret-key-pq-", DhkemX25519.id: "age-secret-key-"}
_MAX_FILE = 65_536


@dataclass(frozen=True)
class Recipient:
    """A public key that artefacts are sealed to.

    Attributes:
        kem_id: of X-Wing or of X25519.
        public_key: serialised as HPKE does.
    """

    kem_id: int
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """Read ``age1pq1…`` or ``age1…``.

        Raises:
            MalformedError: it is neither, was mistyped, or is of another age plug-in.
        """
        kem_id, key = _read(text.strip(), _PUBLIC_PREFIX, "a recipient (age1pq1… or age1…)")
        if len(key) != KEMS[kem_id].n_pk:
            raise MalformedError(f"the recipient holds {len(key)} bytes, which is no public key")
        return cls(kem_id, key)

    @property
    def post_quantum(self) -> bool:
        """Whether what is sealed to it stays sealed when quantum computers come."""
        return self.kem_id == XWing.id

    def __str__(self) -> str:
        return bech32.encode(_PUBLIC_PREFIX[self.kem_id], self.public_key)


@dataclass(frozen=True)
class Identity:
    """The private key of a recipient, held by the cryptographic library."""

    key: KemPrivateKey = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read ``AGE-SECRET-KEY-PQ-1…`` or ``AGE-SECRET-KEY-1…``.

        Raises:
            MalformedError: it is neither, or was mistyped; the message quotes nothing of it.
        """
        kem_id, seed = _read(text.strip(), _SECRET_PREFIX, "an age secret key")
        if len(seed) != KEMS[kem_id].n_sk:
            raise MalformedError("the secret key has the wrong length")
        return cls(KEMS[kem_id].load_private_key(seed))

    @property
    def recipient(self) -> Recipient:
        """The public key to hand to whoever seals."""
        return Recipient(self.key.kem_id, self.key.public_bytes)


def new_identity(entropy: Entropy = os.urandom) -> tuple[Identity, str]:
    """Return a fresh X-Wing identity, and the secret text that `Identity.parse` reads."""
    seed = entropy(XWing.n_sk)
    text = bech32.encode(_SECRET_PREFIX[XWing.id], seed).upper()
    return Identity(KEMS[XWing.id].load_private_key(seed)), text


def parse_identity_file(data: bytes, place: str) -> Identity:
    """Return the one identity in a file as ``age-keygen`` writes it: lines, comments after ``#``.

    Raises:
        InputError: the file holds none, several, or something else.
    """
    text = data[:_MAX_FILE].decode("ascii", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if len(keys) != 1:
        raise InputError(
            f"{place} holds {len(keys)} keys; one was expected",
            hint="a line AGE-SECRET-KEY-PQ-1…, as `age-keygen -pq` writes",
        )
    try:
        return Identity.parse(keys[0])
    except MalformedError as error:
        raise InputError(
            f"the key in {place} is damaged: {error.message}",
            hint="restore it from a copy: what was sealed to it opens with nothing else",
        ) from None


def owner_identity() -> Identity:
    """Return the key of whoever uses this privity home, made on first use.

    It is kept in ``vault/owner.key``, mode 0600, in age's spelling.

    Raises:
        InputError: it cannot be read or written, is damaged, or is open to others.

    Guarantees:
        Processes that call it at once get the same key: `test_one_owner_key_is_made`.
    """
    path = home() / "vault" / "owner.key"
    if not path.exists():
        identity, secret = new_identity()
        content = f"# public key: {identity.recipient}\n{secret}\n"
        create_private_once(path, content.encode("ascii"))
    return parse_identity_file(read_private(path), str(path))


def _read(text: str, prefixes: dict[int, str], what: str) -> tuple[int, bytes]:
    """Return the KEM and the bytes of Bech32 text with one of the prefixes."""
    try:
        prefix, data = bech32.decode(text)
    except MalformedError as error:
        raise MalformedError(f"not {what}: {error.message}") from None
    upper = prefixes is _SECRET_PREFIX
    for kem_id, expected in prefixes.items():
        if prefix == expected and text == (text.upper() if upper else text.lower()):
            return kem_id, data
    raise MalformedError(f"not {what}")
