"""Floor 5: how a role attests: with the hardware the machine has, or as ``dev``, loudly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privity.attest.evidence import Quoter
from privity.attest.evidence_dev import DevQuoter, DevRoot
from privity.attest.quoters.choose import AttesterSettings, choose_quoters
from privity.identity.timestamps import utc_now
from privity.node.publication import approval_in

__all__ = ["AttestationSettings"]


@dataclass(frozen=True)
class AttestationSettings:
    """How a role proves what it runs.

    Attributes:
        dev_root: the file of the development root that vouches for it where no hardware does;
            made if there is none.
        names: which attesters to use; none chooses by what the machine has.
        attesters: where to look for them, and what to send along.
        manifest: the file of a signed manifest that approves this role's code.
    """

    dev_root: Path
    names: tuple[str, ...] = ()
    attesters: AttesterSettings = field(default_factory=AttesterSettings)
    manifest: Path | None = None

    @property
    def root(self) -> str:
        """The did:key of the development root, which vouches only where no hardware does."""
        return DevRoot.load_or_create(self.dev_root).did

    def quoters(self) -> tuple[Quoter, ...]:
        """Return the quoters to use; raises as `choose_quoters` does."""

        def dev() -> Quoter:
            return DevQuoter(DevRoot.load_or_create(self.dev_root), now=utc_now())

        return choose_quoters(self.attesters, self.names, dev=dev)

    def approval(self) -> tuple[dict[str, Any], ...]:
        """Return the endorsement of the manifest, if there is one.

        Raises:
            InputError: the file cannot be read, or is no signed manifest.
        """
        return () if self.manifest is None else (approval_in(self.manifest),)
