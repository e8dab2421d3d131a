"""Floor 2: what verification makes of a statement: checks, verified evidence, an attested enclave.

These types carry the proof. Whoever asks for an `AttestedEnclave` can only be given one that
`privity.attest.verify_statement` made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import datetime
from types import MappingProxyType

from privity.disclosure import Basis
from privity.errors import InputError
from privity.identity.digests import digest
from privity.identity.jcs import canonical
from privity.statement import Keyset, Statement

__all__ = [
    "Approved",
    "AttestedEnclave",
    "Check",
    "Logged",
    "VerifiedEvidence",
    "measurement_of",
]


def measurement_of(kind: str, registers: Mapping[str, str]) -> str:
    """Return ``sha256:`` over a kind and all registers it measured: one name for what runs."""
    return digest(canonical({"kind": kind, "registers": dict(registers)}))


@dataclass(frozen=True)
class Check:
    """One thing a verifier looked at.

    Attributes:
        name: the same name an error carries when it fails.
        ok: whether it held.
        detail: what was seen, in a few words, without secrets.
        hint: what the person can do about one that failed.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class VerifiedEvidence:
    """One piece of evidence that its verifier accepted.

    Attributes:
        kind: ``tdx``, ``sgx``, ``snp``, ``nitro``, ``nvidia`` or ``dev``.
        measurement: what it measured, as one ``sha256:`` digest; see `measurement_of`.
        basis: the grounds on which the host is believed to be kept out.
        dev: True if it proves nothing about hardware.
        checks: what was checked, in order.
        registers: what was measured, by the name of each register: lower-case hex or short text.
            Reference values are compared with these.
    """

    kind: str
    measurement: str
    basis: frozenset[Basis]
    dev: bool
    checks: tuple[Check, ...] = ()
    registers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "registers", MappingProxyType(dict(self.registers)))


@dataclass(frozen=True)
class Approved:
    """Somebody the person trusts approved what was measured.

    Attributes:
        name: what the manifest calls it.
        manifest: ``sha256:`` of the manifest.
        signer: the did:key that signed it.
    """

    name: str
    manifest: str
    signer: str


@dataclass(frozen=True)
class Logged:
    """The keyset is in a log the person trusts.

    Attributes:
        origin: the log's name.
        size: how many entries it had.
        root: its Merkle root then, 32 bytes.
        witnesses: how many trusted witnesses cosigned that.
    """

    origin: str
    size: int
    root: bytes
    witnesses: int


_MINT = object()


@dataclass(frozen=True)
class AttestedEnclave:
    """An enclave whose statement verified. `privity.attest.verify_statement` alone makes these.

    Attributes:
        statement: what it published.
        evidence: what of it was verified; never empty.
        verified_at: the time it was verified for.
        checks: everything that was checked, in order.
        approved: who approved the code; None where nobody did, or nobody was asked.
        logged: the log that has its keyset; None where none does, or none was asked.

    Guarantees:
        No other code can construct one (tests/unit/test_attest.py).
    """

    statement: Statement
    evidence: tuple[VerifiedEvidence, ...]
    verified_at: datetime
    checks: tuple[Check, ...]
    approved: Approved | None = None
    logged: Logged | None = None
    _: KW_ONLY
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise InputError("an AttestedEnclave comes from privity.attest.verify_statement alone")

    @property
    def keyset(self) -> Keyset:
        """The keys that were shown to be the enclave's."""
        return self.statement.keyset

    @property
    def statement_digest(self) -> str:
        """``sha256:`` of the statement's bytes."""
        return self.statement.digest

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of evidence, in the statement's order."""
        return tuple(one.kind for one in self.evidence)

    @property
    def dev(self) -> bool:
        """True if any of the evidence is of the development kind. It never flatters."""
        return any(one.dev for one in self.evidence)
