"""What a person trusts when evidence is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from privity.attest.roots import Roots
from privity.errors import InputError, MalformedError
from privity.identity.did_key import parse_did
from privity.policy.evidence import EvidencePolicy

__all__ = ["Trust"]


@dataclass(frozen=True)
class Trust:
    """Whom a person believes, about hardware, about code and about keys.

    Attributes:
        dev_roots: did:keys of development roots. Evidence under them proves nothing about
            hardware, and no preset policy but ``dev`` admits it.
        policy: the floor under evidence.
        roots: the hardware vendors' roots.
        signers: did:keys of those whose manifests approve measurements.
        manifests: signed manifests and revocations kept on this device; a statement may carry
            manifests of its own.
        logs: C2SP verifier keys of the transparency logs that keysets must be in.
        witnesses: C2SP verifier keys of the witnesses that count.

    Raises:
        InputError: a root or a signer that is not a did:key.
    """

    dev_roots: tuple[str, ...] = ()
    policy: EvidencePolicy = field(default_factory=EvidencePolicy)
    roots: Roots = field(default_factory=Roots)
    signers: tuple[str, ...] = ()
    manifests: tuple[bytes, ...] = ()
    logs: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, names in (("dev root", self.dev_roots), ("signer", self.signers)):
            for name in names:
                try:
                    parse_did(name)
                except MalformedError as error:
                    raise InputError(f"trust: a {what} is {error.message}") from None
