"""The public head of a sealed artefact: which artefact, and to whom its key is sealed.

::

    head      = magic (20) ‖ uint32 length ‖ canonical JSON ‖ mac (32)
    JSON      = { "chunk", "cipher", "id", "recipients": [ { "enc", "kem", "key" } ] }
    mac       = HMAC-SHA-256(header key, magic ‖ length ‖ JSON)

The artefact key is sealed to each recipient with HPKE (RFC 9180), bound to the artefact's id.
The header key comes from the artefact key, so the mac commits to it: two keys that both pass it
would be a collision of SHA-256, while AES-GCM alone lets one ciphertext open under two keys. So all
recipients who get past the head hold the same key, and see the same contents.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from privity.errors import InputError, MalformedError, OpenError, OversizeError, TruncatedError
from privity.hazmat.hpke import KEMS, SUITES, Suite, setup_recipient, setup_sender
from privity.hazmat.kdf import HKDF_SHA256, expand, extract
from privity.hazmat.kem import Entropy
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url
from privity.vault.recipients import Identity, Recipient
from privity.vault.source import Source

__all__ = [
    "CHUNK_BYTES",
    "KEY_BYTES",
    "MAX_RECIPIENTS",
    "ArtefactKey",
    "Header",
    "Stanza",
    "make_header",
    "read_header",
    "unwrap",
]

CHUNK_BYTES = 1 << 20
KEY_BYTES = 32
MAX_RECIPIENTS = 64

_MAGIC = b"privity.artefact/v1\n"
_LENGTH_BYTES = 4
_MAC_BYTES = 32
_MAX_JSON = 131_072
_CIPHER = "AES-256-GCM"
_WRAPPED_BYTES = KEY_BYTES + 16
_FIRST_READ = 4096
_ID = re.compile(r"[0-9a-f]{32}")


class ArtefactKey:
    """The 32 secret bytes that open one artefact; never shown, compared in constant time.

    `erase` overwrites them. What was derived from them, inside a `Reader` above all, lives on.
    """

    __slots__ = ("_key",)

    def __init__(self, data: bytes | bytearray) -> None:
        if len(data) != KEY_BYTES:
            raise InputError(f"an artefact key is {KEY_BYTES} bytes, not {len(data)}")
        self._key = bytearray(data)

    @classmethod
    def generate(cls, entropy: Entropy = os.urandom) -> ArtefactKey:
        """Return a fresh key."""
        return cls(entropy(KEY_BYTES))

    def derive(self, artefact: str, purpose: str) -> bytes:
        """Return 32 secret bytes for one purpose in one artefact (HKDF-SHA256, salt: its id).

        Raises:
            InputError: the key was erased.
        """
        if not self._key:
            raise InputError("this artefact key was erased")
        secret = extract(bytes.fromhex(artefact), bytes(self._key))
        return expand(secret, b"privity/artefact/v1 " + purpose.encode(), KEY_BYTES)

    def unsafe_bytes(self) -> bytes:
        """Return the key itself, to seal it to somebody: whoever has it has the contents."""
        return bytes(self._key)

    def erase(self) -> None:
        """Overwrite and forget the key."""
        for place in range(len(self._key)):
            self._key[place] = 0
        self._key.clear()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArtefactKey) and hmac.compare_digest(self._key, other._key)

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __repr__(self) -> str:
        return "<ArtefactKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an artefact key is not pickled")


@dataclass(frozen=True)
class Stanza:
    """The artefact key, sealed to one recipient whom the stanza does not name."""

    kem_id: int
    enc: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Header:
    """The head as read: nothing in it is checked before a key is there.

    Attributes:
        id: of the artefact: 32 hex digits, random.
        stanzas: the key, once for each recipient.
        signed: the bytes that the mac covers.
        mac: as found.
        end: where the head ends, in bytes.
    """

    id: str
    stanzas: tuple[Stanza, ...]
    signed: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """Bytes of the whole head."""
        return len(self.signed) + _MAC_BYTES

    def to_bytes(self) -> bytes:
        """Return the head as it stands in the file."""
        return self.signed + self.mac

    def check(self, key: ArtefactKey) -> None:
        """Check that the head was made by a holder of ``key``, and unaltered since.

        Raises:
            OpenError: it was not; the key is of another artefact, or bytes were altered.
        """
        if not hmac.compare_digest(_mac(key, self.id, self.signed), self.mac):
            raise OpenError(
                f"the key does not open the artefact {self.id}, or its head was altered"
            )


def make_header(
    artefact: str,
    key: ArtefactKey,
    recipients: Sequence[Recipient],
    *,
    unsafe_classical: bool = False,
) -> Header:
    """Return the head of an artefact whose key is sealed to each recipient. Run by the owner.

    Args:
        artefact: its id.
        key: its key.
        recipients: up to 64.
        unsafe_classical: also allow recipients whom a quantum computer would rob.

    Raises:
        InputError: too many recipients, or a classical one without ``unsafe_classical``.
        MalformedError: a recipient's key is not usable.
    """
    if len(recipients) > MAX_RECIPIENTS:
        raise InputError(
            f"{len(recipients)} recipients; at most {MAX_RECIPIENTS} fit",
            hint="seal it again for the others, or to one key that they share",
        )
    if not unsafe_classical and not all(one.post_quantum for one in recipients):
        raise InputError(
            "a recipient age1… (X25519 alone) would open the artefact to a quantum computer",
            hint="ask for an age1pq1… key (age-keygen -pq, privity model key)",
        )
    stanzas = tuple(_wrap(artefact, key, one) for one in recipients)
    body = canonical(
        {
            "chunk": CHUNK_BYTES,
            "cipher": _CIPHER,
            "id": artefact,
            "recipients": [
                {
                    "enc": encode_base64url(one.enc),
                    "kem": KEMS[one.kem_id].name,
                    "key": encode_base64url(one.key),
                }
                for one in stanzas
            ],
        }
    )
    signed = _MAGIC + len(body).to_bytes(_LENGTH_BYTES, "big") + body
    return Header(artefact, stanzas, signed, _mac(key, artefact, signed))


def read_header(source: Source) -> Header:
    """Read the head of an artefact; it takes no key and proves nothing.

    Raises:
        MalformedError: it is not the head of an artefact.
        OversizeError: it says it is larger than any.
        TruncatedError: the file ends within it.
    """
    start = bytes(source.fetch(0, min(_FIRST_READ, source.size)))
    if start[: len(_MAGIC)] != _MAGIC[: len(start)] or not start:
        raise MalformedError("not a sealed artefact: it does not begin as one")
    if len(start) < len(_MAGIC) + _LENGTH_BYTES:
        raise TruncatedError("the artefact ends within its head")
    before = len(_MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(start[len(_MAGIC) : before], "big")
    if length > _MAX_JSON:
        raise OversizeError(f"the artefact's head says it has {length} bytes; at most {_MAX_JSON}")
    end = before + length + _MAC_BYTES
    if end > source.size:
        raise TruncatedError("the artefact ends within its head")
    if end > len(start):
        start += source.fetch(len(start), end - len(start))
    artefact, stanzas = _parse(start[before : before + length])
    return Header(artefact, stanzas, start[: before + length], start[before + length : end])


def unwrap(header: Header, identity: Identity) -> ArtefactKey:
    """Return the artefact key that a stanza of the head holds for ``identity``.

    Raises:
        OpenError: no stanza is for it, or the head was altered.
    """
    for stanza in header.stanzas:
        if stanza.kem_id != identity.key.kem_id:
            continue
        try:
            context = setup_recipient(
                _suite(stanza.kem_id), identity.key, stanza.enc, _info(header.id)
            )
            key = ArtefactKey(context.open(stanza.key))
        except OpenError:
            continue
        header.check(key)
        return key
    raise OpenError(
        f"the artefact {header.id} is not sealed to this key",
        hint="its owner can seal it to yours, or grant it",
    )


def _wrap(artefact: str, key: ArtefactKey, recipient: Recipient) -> Stanza:
    suite = _suite(recipient.kem_id)
    enc, context = setup_sender(suite, recipient.public_key, _info(artefact))
    return Stanza(recipient.kem_id, enc, context.seal(key.unsafe_bytes()))


def _suite(kem_id: int) -> Suite:
    return SUITES[kem_id, HKDF_SHA256, 0x0002]  # AES-256-GCM, as the contents


def _info(artefact: str) -> bytes:
    return b"privity/artefact-key/v1\0" + bytes.fromhex(artefact)


def _mac(key: ArtefactKey, artefact: str, signed: bytes) -> bytes:
    return hmac.digest(key.derive(artefact, "header"), signed, "sha256")


def _parse(body: bytes) -> tuple[str, tuple[Stanza, ...]]:
    fields = Fields(loads_canonical(body, max_bytes=_MAX_JSON), "head")
    fields.constant("chunk", CHUNK_BYTES)
    fields.constant("cipher", _CIPHER)
    artefact = fields.text("id", max_chars=32)
    if not _ID.fullmatch(artefact):
        raise MalformedError("head.id must be 32 hex digits")
    stanzas = tuple(
        _stanza(Fields(item, "head.recipients[]"))
        for item in fields.items("recipients", most=MAX_RECIPIENTS)
    )
    fields.done()
    return artefact, stanzas


def _stanza(fields: Fields) -> Stanza:
    name = fields.text("kem", max_chars=16)
    kem = next((kem for kem in KEMS.values() if kem.name == name), None)
    if kem is None:
        raise MalformedError(f"{fields.where}.kem is not one that privity knows")
    enc = fields.blob("enc", least=kem.n_enc, most=kem.n_enc)
    key = fields.blob("key", least=_WRAPPED_BYTES, most=_WRAPPED_BYTES)
    fields.done()
    return Stanza(kem.id, enc, key)
