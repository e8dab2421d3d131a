"""What a log records: keysets, manifests of approved code, and revocations, as canonical JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from privity.errors import MalformedError
from privity.identity.did_key import parse_did
from privity.identity.digests import check_digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.timestamps import format_time, whole_second

__all__ = ["Entry", "KeysetEntry", "ManifestEntry", "RevocationEntry", "read_entry"]

MAX_BYTES = 4096
"""Largest entry, in bytes."""

_MAX_NAME = 255


@dataclass(frozen=True)
class KeysetEntry:
    """An enclave of this name holds these keys, during this time.

    Attributes:
        enclave: the name people know the enclave by, such as its host name.
        keyset: `Keyset.digest`.
        since: when its time begins.
        until: when its time has ended; exclusive.
    """

    enclave: str
    keyset: str
    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        _check_name(self.enclave)
        check_digest(self.keyset)
        object.__setattr__(self, "since", whole_second(self.since))
        object.__setattr__(self, "until", whole_second(self.until))
        if self.until <= self.since:
            raise MalformedError("a keyset's time ends before it begins")

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "enclave": self.enclave,
            "from": format_time(self.since),
            "keyset": self.keyset,
            "type": "keyset",
            "until": format_time(self.until),
        }


@dataclass(frozen=True)
class ManifestEntry:
    """A signer approved code.

    Attributes:
        name: the manifest's name.
        digest: `Manifest.digest`.
        signer: the did:key of the signer.
    """

    name: str
    digest: str
    signer: str

    def __post_init__(self) -> None:
        _check_name(self.name)
        check_digest(self.digest)
        parse_did(self.signer)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "digest": self.digest,
            "name": self.name,
            "signer": self.signer,
            "type": "manifest",
        }


@dataclass(frozen=True)
class RevocationEntry:
    """A signer took an approval back.

    Attributes:
        manifest: `Manifest.digest` of what is revoked.
        digest: `Revocation.digest`.
        signer: the did:key of the signer.
    """

    manifest: str
    digest: str
    signer: str

    def __post_init__(self) -> None:
        check_digest(self.manifest)
        check_digest(self.digest)
        parse_did(self.signer)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "digest": self.digest,
            "manifest": self.manifest,
            "signer": self.signer,
            "type": "revocation",
        }


Entry = KeysetEntry | ManifestEntry | RevocationEntry


def read_entry(value: Any) -> Entry:
    """Read an entry from JSON data; raises `MalformedError`.

    Guarantees:
        ``canonical(read_entry(value).to_json()) == canonical(value)``
        (tests/property/test_log.py): what was judged is what was hashed.
    """
    fields = Fields(value, "log entry")
    kind = fields.text("type", max_chars=32)
    entry: Entry
    if kind == "keyset":
        entry = KeysetEntry(
            enclave=fields.text("enclave", max_chars=_MAX_NAME),
            keyset=fields.digest("keyset"),
            since=fields.time("from"),
            until=fields.time("until"),
        )
    elif kind == "manifest":
        entry = ManifestEntry(
            name=fields.text("name", max_chars=_MAX_NAME),
            digest=fields.digest("digest"),
            signer=fields.text("signer"),
        )
    elif kind == "revocation":
        entry = RevocationEntry(
            manifest=fields.digest("manifest"),
            digest=fields.digest("digest"),
            signer=fields.text("signer"),
        )
    else:
        raise MalformedError("a log entry of a type this version does not know")
    fields.done()
    return entry


def entry_bytes(entry: Entry) -> bytes:
    """Return the leaf's bytes: canonical JSON; raises `MalformedError` beyond `MAX_BYTES`."""
    data = canonical(entry.to_json())
    if len(data) > MAX_BYTES:
        raise MalformedError(f"a log entry of {len(data)} bytes; the limit is {MAX_BYTES}")
    return data


def parse_entry(data: bytes) -> Entry:
    """Read what `entry_bytes` writes; raises `MalformedError` or `OversizeError`."""
    return read_entry(loads_canonical(data, max_bytes=MAX_BYTES))


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _MAX_NAME:
        raise MalformedError(f"a name in a log has 1 to {_MAX_NAME} characters")
