"""Signed manifests and signed revocations: a document, and Ed25519 signatures below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Protocol

from privity.attest.manifest import Manifest, check_texts
from privity.errors import MalformedError, OpenError
from privity.identity.digests import check_digest, digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.keys import SigningKey, VerifyKey
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import format_time, whole_second

__all__ = [
    "DocumentSignature",
    "Revocation",
    "SignedManifest",
    "SignedRevocation",
    "parse_documents",
]

MAX_BYTES = 131_072
"""Largest signed manifest or revocation, in bytes."""

_LABELS = {"manifest": b"privity/manifest/v1\0", "revocation": b"privity/revocation/v1\0"}
_SIGNATURE_BYTES = 64
_MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Revocation:
    """A signer takes a manifest back.

    Attributes:
        manifest: `Manifest.digest`.
        reason: why, for people.
        time: from when on the manifest no longer counts.
    """

    manifest: str
    reason: str
    time: datetime

    def __post_init__(self) -> None:
        check_digest(self.manifest)
        check_texts(self.reason)
        object.__setattr__(self, "time", whole_second(self.time))

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of its canonical JSON, signatures left out."""
        return digest(canonical(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return the revocation as JSON-ready data."""
        return {
            "manifest": self.manifest,
            "reason": self.reason,
            "time": format_time(self.time),
            "version": 1,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Revocation:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields.constant("version", 1)
        revocation = cls(fields.digest("manifest"), fields.text("reason"), fields.time("time"))
        fields.done()
        return revocation


class _Signable(Protocol):
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class DocumentSignature:
    """One signature below a document: a did:key and 64 bytes."""

    key: str
    signature: bytes = field(repr=False)


@dataclass(frozen=True)
class SignedManifest:
    """A manifest and the signatures below it, unverified until `signers` is asked.

    Attributes:
        manifest: what is signed.
        signatures: by whom.
    """

    manifest: Manifest
    signatures: tuple[DocumentSignature, ...]

    @classmethod
    def sign(cls, manifest: Manifest, *keys: SigningKey) -> SignedManifest:
        """Return the manifest signed by these keys."""
        return cls(manifest, _sign("manifest", manifest, keys))

    def signers(self) -> tuple[str, ...]:
        """Return the did:keys that signed; raises `OpenError` unless all signatures verify."""
        return _verify("manifest", self.manifest, self.signatures)

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON-ready data."""
        return {"manifest": self.manifest.to_json(), "signatures": _listed(self.signatures)}

    @classmethod
    def from_json(cls, value: Any) -> SignedManifest:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields = Fields(value, "signed manifest")
        signed = cls(Manifest.from_fields(fields.inner("manifest")), _signatures(fields))
        fields.done()
        return signed

    @classmethod
    def parse(cls, data: bytes) -> SignedManifest:
        """Read a file of it in canonical JSON.

        Raises:
            OversizeError: more than 131,072 bytes.
            MalformedError: it is none.
        """
        return cls.from_json(loads_canonical(data, max_bytes=MAX_BYTES))


@dataclass(frozen=True)
class SignedRevocation:
    """A revocation and the signatures below it, unverified until `signers` is asked."""

    revocation: Revocation
    signatures: tuple[DocumentSignature, ...]

    @classmethod
    def sign(cls, revocation: Revocation, *keys: SigningKey) -> SignedRevocation:
        """Return the revocation signed by these keys."""
        return cls(revocation, _sign("revocation", revocation, keys))

    def signers(self) -> tuple[str, ...]:
        """Return the did:keys that signed; raises `OpenError` unless all signatures verify."""
        return _verify("revocation", self.revocation, self.signatures)

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON-ready data."""
        return {"revocation": self.revocation.to_json(), "signatures": _listed(self.signatures)}

    @classmethod
    def from_json(cls, value: Any) -> SignedRevocation:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields = Fields(value, "signed revocation")
        signed = cls(Revocation.from_fields(fields.inner("revocation")), _signatures(fields))
        fields.done()
        return signed

    @classmethod
    def parse(cls, data: bytes) -> SignedRevocation:
        """Read a file of it in canonical JSON; raises as `SignedManifest.parse` does."""
        return cls.from_json(loads_canonical(data, max_bytes=MAX_BYTES))


def parse_documents(
    files: Sequence[bytes],
) -> tuple[tuple[SignedManifest, ...], tuple[SignedRevocation, ...]]:
    """Read files of which each is a signed manifest or a signed revocation.

    Raises:
        OversizeError: one is larger than 131,072 bytes.
        MalformedError: one is neither.
    """
    manifests: list[SignedManifest] = []
    revocations: list[SignedRevocation] = []
    for data in files:
        value = loads_canonical(data.strip(), max_bytes=MAX_BYTES)
        if isinstance(value, dict) and "revocation" in value:
            revocations.append(SignedRevocation.from_json(value))
        else:
            manifests.append(SignedManifest.from_json(value))
    return tuple(manifests), tuple(revocations)


def _sign(
    label: str, document: _Signable, keys: Sequence[SigningKey]
) -> tuple[DocumentSignature, ...]:
    if not 0 < len(keys) <= _MAX_SIGNATURES:
        raise MalformedError(f"a {label} has 1 to {_MAX_SIGNATURES} signatures")
    message = _LABELS[label] + canonical(document.to_json())
    return tuple(DocumentSignature(key.did, key.sign(message)) for key in keys)


def _verify(
    label: str, document: _Signable, signatures: Sequence[DocumentSignature]
) -> tuple[str, ...]:
    """Return who signed. All signatures must verify: what nobody checks could be altered."""
    message = _LABELS[label] + canonical(document.to_json())
    for one in signatures:
        try:
            _verified(one.key, one.signature, message)
        except MalformedError as error:
            raise OpenError(error.message) from None
    return tuple(one.key for one in signatures)


@lru_cache(maxsize=128)  # only what verified is kept: an error is not
def _verified(key: str, signature: bytes, message: bytes) -> None:
    VerifyKey(key).verify(signature, message)


def _listed(signatures: Sequence[DocumentSignature]) -> list[dict[str, Any]]:
    return [{"key": one.key, "signature": encode_base64url(one.signature)} for one in signatures]


def _signatures(fields: Fields) -> tuple[DocumentSignature, ...]:
    found: list[DocumentSignature] = []
    for one in fields.items("signatures", least=1, most=_MAX_SIGNATURES):
        inner = Fields(one, f"{fields.where}.signatures[]")
        signature = inner.blob("signature", least=_SIGNATURE_BYTES, most=_SIGNATURE_BYTES)
        found.append(DocumentSignature(inner.text("key"), signature))
        inner.done()
    return tuple(found)
