"""What an owner allows with an artefact: which code, for what, until when, how often, for how much.

A grant is the owner's release policy for one key, signed by the owner's did:key. A broker acts on
it and cannot widen it; the enclave that gets the key gets the grant too, and obeys its lease.
Wire format: spec/key-release.md.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from privity.attest.grant_revocation import GrantRevocation, SignedGrantRevocation
from privity.attest.grant_signature import check_signature, take_signature
from privity.attest.manifest import ReferenceValue
from privity.errors import InputError, MalformedError
from privity.identity.did_key import parse_did
from privity.identity.digests import check_digest, digest
from privity.identity.fields import Fields
from privity.identity.jcs import canonical, loads_canonical
from privity.identity.keys import SigningKey
from privity.identity.multibase import encode_base64url
from privity.identity.timestamps import format_time, whole_second
from privity.policy.evidence import EvidencePolicy

__all__ = [
    "MAX_GRANT_BYTES",
    "Grant",
    "GrantRevocation",
    "Price",
    "Purpose",
    "SignedGrant",
    "SignedGrantRevocation",
]

MAX_GRANT_BYTES = 65_536

_GRANT_LABEL = b"privity/grant/v1\0"
_MAX_ENTRIES = 64
_MAX_RECIPIENT = 4096
_MAX_LEASE_S = 86_400
_ROOT = re.compile(r"tree-sha256:[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}")


class Purpose(enum.StrEnum):
    """What the plaintext may be used for."""

    SERVE = "serve"
    """Answer prompts with it."""
    TRAIN = "train"
    """Run an approved training program over it."""


@dataclass(frozen=True)
class Price:
    """What one use costs: a whole number of a unit, such as 250 of ``EUR-cent``."""

    amount: int
    unit: str

    def __post_init__(self) -> None:
        if not 0 < self.amount < 2**53 or not 0 < len(self.unit) <= 64:
            raise MalformedError("a price is a positive whole number of a named unit")

    def to_json(self) -> dict[str, Any]:
        """Return the price as JSON-ready data."""
        return {"amount": self.amount, "unit": self.unit}


@dataclass(frozen=True)
class Grant:
    """What the owner of an artefact allows with its key.

    Attributes:
        owner: the owner's did:key, which signs the grant.
        artefact: the artefact's id.
        root: the artefact's plaintext root, ``tree-sha256:…``.
        name: what a model is served as.
        purpose: what for.
        issued: when it was given.
        expires: when it ends.
        measurements: code approved by its registers. All evidence of a statement must show one.
        signers: did:keys whose reference manifests approve code. Where measurements are named
            too, both must hold; one of the two is always named.
        policy: the floor under evidence. Its ``reference`` and ``log`` are not read: the first
            follows from ``signers``; the second protects many from seeing different keys, and
            here one owner challenges one enclave.
        unsafe_dev: give the key to ``dev`` evidence too, which keeps it from nobody.
        programs: digests of the training programs approved; for `Purpose.TRAIN`.
        recipient: whom outputs are sealed to, the owner's vault recipient.
        uses: how many times the key may be released; None is any number. Renewing a lease that
            still runs is no new use.
        price: what a use costs; None is nothing.
        lease_s: seconds after which the enclave must have asked again, or drop the plaintext.

    Raises:
        MalformedError: a part is out of its range, or a purpose lacks what it needs.
    """

    owner: str
    artefact: str
    root: str
    name: str
    purpose: Purpose
    issued: datetime
    expires: datetime
    measurements: tuple[ReferenceValue, ...] = ()
    signers: tuple[str, ...] = ()
    policy: EvidencePolicy = field(default_factory=EvidencePolicy)
    unsafe_dev: bool = False
    programs: tuple[str, ...] = ()
    recipient: str | None = None
    uses: int | None = None
    price: Price | None = None
    lease_s: int = 300

    def __post_init__(self) -> None:
        object.__setattr__(self, "issued", whole_second(self.issued))
        object.__setattr__(self, "expires", whole_second(self.expires))
        for did in (self.owner, *self.signers):
            parse_did(did)
        for program in self.programs:
            check_digest(program)
        if not _ROOT.fullmatch(self.root):
            raise MalformedError("a grant's root is tree-sha256: and 64 lower-case hex digits")
        if not _ID.fullmatch(self.artefact):
            raise MalformedError("a grant's artefact is an id of 32 lower-case hex digits")
        if not _NAME.fullmatch(self.name):
            raise MalformedError("a grant's name has 1 to 256 printable characters")
        if self.expires <= self.issued:
            raise MalformedError("a grant that expires before it is issued")
        self._check_numbers()
        if not self.measurements and not self.signers:
            raise MalformedError("a grant names measurements, or signers who approve them")
        if self.purpose is Purpose.TRAIN and not (self.programs and self.recipient):
            raise MalformedError("a grant to train names programs, and a recipient of what results")

    def _check_numbers(self) -> None:
        if max(len(self.measurements), len(self.signers), len(self.programs)) > _MAX_ENTRIES:
            raise MalformedError(f"a grant lists at most {_MAX_ENTRIES} of each")
        if self.uses is not None and not 0 < self.uses < 2**53:
            raise MalformedError("a grant's uses are a positive whole number, or unlimited")
        if not 0 < self.lease_s <= _MAX_LEASE_S:
            raise MalformedError(f"a lease lasts 1 to {_MAX_LEASE_S} seconds")
        if self.recipient is not None and not 0 < len(self.recipient) <= _MAX_RECIPIENT:
            raise MalformedError(f"a recipient has 1 to {_MAX_RECIPIENT} characters")

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of its canonical JSON: the grant's name."""
        return digest(canonical(self.to_json()))

    def sign(self, key: SigningKey) -> SignedGrant:
        """Return the grant signed. Run by the owner.

        Raises:
            MalformedError: the key is not the owner's.
        """
        return SignedGrant(self, key.sign(_GRANT_LABEL + canonical(self.to_json())))

    def to_json(self) -> dict[str, Any]:
        """Return the grant as JSON-ready data."""
        return {
            "artefact": self.artefact,
            "expires": format_time(self.expires),
            "issued": format_time(self.issued),
            "lease_s": self.lease_s,
            "measurements": [one.to_json() for one in self.measurements],
            "name": self.name,
            "owner": self.owner,
            "policy": self.policy.to_table(),
            "price": None if self.price is None else self.price.to_json(),
            "programs": list(self.programs),
            "purpose": self.purpose.value,
            "recipient": self.recipient,
            "root": self.root,
            "signers": list(self.signers),
            "unsafe_dev": self.unsafe_dev,
            "uses": self.uses,
            "version": 1,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Grant:
        """Read what `to_json` writes; raises `MalformedError`."""
        fields.constant("version", 1)
        entries = fields.items("measurements", most=_MAX_ENTRIES)
        grant = cls(
            artefact=fields.text("artefact"),
            expires=fields.time("expires"),
            issued=fields.time("issued"),
            lease_s=fields.count("lease_s", least=1, most=_MAX_LEASE_S),
            measurements=tuple(
                ReferenceValue.from_fields(Fields(one, "grant.measurements[]")) for one in entries
            ),
            name=fields.text("name"),
            owner=fields.text("owner"),
            policy=_policy(fields.object("policy")),
            price=fields.optional("price", lambda name: _price(fields.inner(name))),
            programs=_texts(fields, "programs"),
            purpose=_purpose(fields.text("purpose")),
            recipient=fields.optional(
                "recipient", lambda name: fields.text(name, max_chars=_MAX_RECIPIENT)
            ),
            root=fields.text("root"),
            signers=_texts(fields, "signers"),
            unsafe_dev=_flag(fields, "unsafe_dev"),
            uses=fields.optional("uses", lambda name: fields.count(name, least=1)),
        )
        fields.done()
        return grant


@dataclass(frozen=True)
class SignedGrant:
    """A grant with its owner's signature. There is none whose signature does not hold.

    Raises:
        EvidenceError: ``.check`` is ``grant signature``.

    Guarantees:
        A grant signed by another key, or altered in any bit, is refused
        (tests/adversary/test_grant.py).
    """

    grant: Grant
    signature: bytes

    def __post_init__(self) -> None:
        message = _GRANT_LABEL + canonical(self.grant.to_json())
        check_signature(self.grant.owner, self.signature, message, "grant")

    @property
    def digest(self) -> str:
        """The grant's name."""
        return self.grant.digest

    def to_json(self) -> dict[str, Any]:
        """Return the signed grant as JSON-ready data."""
        return {"grant": self.grant.to_json(), "signature": encode_base64url(self.signature)}

    def to_bytes(self) -> bytes:
        """Return the one byte form: canonical JSON."""
        return canonical(self.to_json())

    @classmethod
    def from_json(cls, value: Any) -> SignedGrant:
        """Read what `to_json` writes; raises `MalformedError` and `EvidenceError`."""
        fields = Fields(value, "signed grant")
        signed = cls(Grant.from_fields(fields.inner("grant")), take_signature(fields))
        fields.done()
        return signed

    @classmethod
    def parse(cls, data: bytes) -> SignedGrant:
        """Read a signed grant in its one byte form, and check its signature.

        Raises:
            OversizeError: more than `MAX_GRANT_BYTES`.
            MalformedError: anything but what `to_bytes` writes.
            EvidenceError: ``.check`` is ``grant signature``.
        """
        return cls.from_json(loads_canonical(data, max_bytes=MAX_GRANT_BYTES))


def _purpose(text: str) -> Purpose:
    try:
        return Purpose(text)
    except ValueError:
        raise MalformedError("grant.purpose must be serve or train") from None


def _policy(table: dict[str, Any]) -> EvidencePolicy:
    try:
        policy = EvidencePolicy().with_table(table)
    except InputError as error:
        raise MalformedError(f"grant.policy: {error.message}") from None
    # One spelling: what was signed is what is shown, and nothing is left to a reader's defaults.
    if policy.to_table() != table:
        raise MalformedError("grant.policy does not say everything, in its one spelling")
    return policy


def _price(fields: Fields) -> Price:
    price = Price(fields.count("amount", least=1), fields.text("unit", max_chars=64))
    fields.done()
    return price


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    values = fields.items(name, most=_MAX_ENTRIES)
    if not all(isinstance(value, str) for value in values):
        raise MalformedError(f"grant.{name} must be a list of texts")
    return tuple(values)


def _flag(fields: Fields, name: str) -> bool:
    value = fields.take(name)
    if not isinstance(value, bool):
        raise MalformedError(f"grant.{name} must be true or false")
    return value
