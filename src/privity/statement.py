"""Floor 2: what an enclave publishes about itself, and what a verifier makes of it.

A `Statement` lists the keys an enclave holds and the evidence that only its measured code can use
them. Parsing says nothing about truth: `privity.attest.verify_statement` alone turns the bytes
into a `privity.attested.AttestedEnclave`, and only that can be sealed to. Wire format:
spec/statement.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from privity.errors import MalformedError
from privity.identity.did_key import parse_did
from privity.identity.digests import check_content, digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import format_time, whole_second

__all__ = [
    "MAX_BYTES",
    "MEDIA_TYPE",
    "NONCE_BYTES",
    "PATH",
    "Beacon",
    "Freshness",
    "Keyset",
    "Model",
    "Nonce",
    "Software",
    "Statement",
    "device_nonce",
    "report_data",
]

PATH = "/.well-known/privity/statement"
MEDIA_TYPE = "application/privity-statement+json"

MAX_BYTES = 262_144
"""Largest statement, in bytes: room for several quotes with their certificate chains."""

NONCE_BYTES = 32

_MAX_OHTTP = 65_536
_MAX_MODELS = 256
_MAX_EVIDENCE = 16
_MAX_ENDORSEMENTS = 64


@dataclass(frozen=True)
class Model:
    """A model the enclave serves.

    Attributes:
        id: the name requests use.
        weights: digest of the weights, the root of their hash tree (``tree-sha256:``) where privity
            made it; None where the enclave cannot know it.
        engine: what runs it, such as ``xllamacpp 2026.10``.
    """

    id: str
    weights: str | None
    engine: str

    def __post_init__(self) -> None:
        _check_text(self.id, "a model's id")
        _check_text(self.engine, "a model's engine")
        if self.weights is not None:
            check_content(self.weights)

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON-ready data."""
        return {"engine": self.engine, "id": self.id, "weights": self.weights}

    @classmethod
    def from_fields(cls, fields: Fields) -> Model:
        """Read what `to_json` writes; raises `MalformedError`."""
        model = cls(
            id=fields.text("id"),
            weights=fields.optional("weights", fields.text),
            engine=fields.text("engine"),
        )
        fields.done()
        return model


@dataclass(frozen=True)
class Software:
    """A piece of software in the enclave, as it names itself: ``privity`` ``0.1.0``."""

    name: str
    version: str

    def __post_init__(self) -> None:
        _check_text(self.name, "a software's name")
        _check_text(self.version, "a software's version")


@dataclass(frozen=True)
class Keyset:
    """All keys an enclave holds, and what it serves under them.

    Attributes:
        ohttp: its ``application/ohttp-keys`` list (RFC 9458 §3), to seal requests to.
        receipts: the did:key that signs its receipts.
        models: what it serves.
        software: what it says it runs; the evidence measures it, this only names it.
    """

    ohttp: bytes
    receipts: str
    models: tuple[Model, ...] = ()
    software: tuple[Software, ...] = ()

    def __post_init__(self) -> None:
        parse_did(self.receipts)
        if not 0 < len(self.ohttp) <= _MAX_OHTTP:
            raise MalformedError(f"a keyset's ohttp keys have 1 to {_MAX_OHTTP} bytes")
        if len(self.models) > _MAX_MODELS or len(self.software) > _MAX_MODELS:
            raise MalformedError(f"a keyset lists at most {_MAX_MODELS} models and software")

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of its canonical JSON: the one name of all these keys together."""
        return digest(canonical(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return the keyset as JSON-ready data."""
        return {
            "models": [model.to_json() for model in self.models],
            "ohttp": encode_base64url(self.ohttp),
            "receipts": self.receipts,
            "software": [{"name": one.name, "version": one.version} for one in self.software],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Keyset:
        """Read what `to_json` writes; raises `MalformedError`."""
        models = fields.items("models", most=_MAX_MODELS)
        software = fields.items("software", most=_MAX_MODELS)
        keyset = cls(
            ohttp=fields.blob("ohttp", most=_MAX_OHTTP),
            receipts=fields.text("receipts"),
            models=tuple(Model.from_fields(Fields(one, "keyset.models[]")) for one in models),
            software=tuple(_software(Fields(one, "keyset.software[]")) for one in software),
        )
        fields.done()
        return keyset


@dataclass(frozen=True)
class Nonce:
    """Freshness by the verifier's own challenge: 32 random bytes it chose for this statement."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != NONCE_BYTES:
            raise MalformedError(f"a statement nonce has {NONCE_BYTES} bytes")

    @property
    def bound(self) -> bytes:
        """The 32 bytes that `report_data` covers."""
        return self.value

    def to_json(self) -> dict[str, Any]:
        """Return the freshness as JSON-ready data."""
        return {"nonce": encode_base64url(self.value)}


@dataclass(frozen=True)
class Beacon:
    """Freshness by time, for whoever sent no challenge: evidence made for a stated period.

    It rests on the enclave's clock, so a verifier with a choice sends a nonce.
    """

    issued: datetime
    expires: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "issued", whole_second(self.issued))
        object.__setattr__(self, "expires", whole_second(self.expires))
        if self.expires <= self.issued:
            raise MalformedError("a beacon that expires before it is issued")

    @property
    def bound(self) -> bytes:
        """The 32 bytes that `report_data` covers: a digest of the period."""
        return hashlib.sha256(b"privity/beacon/v1\0" + canonical(self.to_json())).digest()

    def to_json(self) -> dict[str, Any]:
        """Return the freshness as JSON-ready data."""
        return {"expires": format_time(self.expires), "issued": format_time(self.issued)}


Freshness = Nonce | Beacon


@dataclass(frozen=True)
class Statement:
    """What an enclave says of itself; nothing in it is verified yet.

    Attributes:
        keyset: the keys.
        freshness: the challenge or the period the evidence was made for.
        evidence: one or more, each an object with a ``kind``.
        endorsements: what a verifier needs to judge the evidence, each with the same ``kind``.
    """

    keyset: Keyset
    freshness: Freshness
    evidence: tuple[dict[str, Any], ...]
    endorsements: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the statement as JSON-ready data."""
        return {
            "endorsements": list(self.endorsements),
            "evidence": list(self.evidence),
            "freshness": self.freshness.to_json(),
            "keyset": self.keyset.to_json(),
            "version": 1,
        }

    def to_bytes(self) -> bytes:
        """Return the one byte form: canonical JSON."""
        return canonical(self.to_json())

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of `to_bytes`."""
        return digest(self.to_bytes())

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read a statement in its one byte form.

        Raises:
            OversizeError: more than `MAX_BYTES`.
            MalformedError: anything but what `to_bytes` writes.

        Guarantees:
            Total, and ``Statement.parse(data).to_bytes() == data``
            (tests/property/test_statement.py).
        """
        fields = Fields(loads_canonical(data, max_bytes=MAX_BYTES), "statement")
        fields.constant("version", 1)
        statement = cls(
            keyset=Keyset.from_fields(fields.inner("keyset")),
            freshness=_freshness(fields.take("freshness")),
            evidence=_kinds(fields.items("evidence", least=1, most=_MAX_EVIDENCE)),
            endorsements=_kinds(fields.items("endorsements", most=_MAX_ENDORSEMENTS)),
        )
        fields.done()
        return statement


def report_data(keyset: Keyset, nonce: bytes) -> bytes:
    """Return the 64 bytes that evidence must carry to bind these keys to this freshness.

    ``SHA-512("privity/keyset/v1" ‖ JCS(keyset) ‖ nonce)``. The nonce has a fixed length and comes
    last, so the parts cannot be shifted into each other.

    Args:
        keyset: the keys.
        nonce: 32 bytes, the `Freshness.bound` of the statement.

    Raises:
        MalformedError: a nonce of another length.
    """
    if len(nonce) != NONCE_BYTES:
        raise MalformedError(f"a statement nonce has {NONCE_BYTES} bytes")
    return hashlib.sha512(b"privity/keyset/v1" + canonical(keyset.to_json()) + nonce).digest()


def device_nonce(bound: bytes) -> bytes:
    """Return the 32-byte challenge for a device beside the processor, such as a GPU.

    ``SHA-256("privity/device-nonce/v1" ‖ 0x00 ‖ report data)``: processor and devices answer one
    challenge, over one keyset.

    Args:
        bound: the 64 bytes of `report_data`.
    """
    return hashlib.sha256(b"privity/device-nonce/v1\0" + bound).digest()


def _check_text(value: str, what: str) -> None:
    if not 0 < len(value) <= 512:
        raise MalformedError(f"{what} has 1 to 512 characters")


def _software(fields: Fields) -> Software:
    software = Software(name=fields.text("name"), version=fields.text("version"))
    fields.done()
    return software


def _freshness(value: Any) -> Freshness:
    fields = Fields(value, "statement.freshness")
    freshness: Freshness
    if "nonce" in value:
        freshness = Nonce(fields.blob("nonce", least=NONCE_BYTES, most=NONCE_BYTES))
    else:
        freshness = Beacon(issued=fields.time("issued"), expires=fields.time("expires"))
    fields.done()
    return freshness


def _kinds(values: list[Any]) -> tuple[dict[str, Any], ...]:
    for value in values:
        Fields(value, "statement.evidence[]").text("kind", max_chars=64)
    return tuple(values)
