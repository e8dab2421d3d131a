"""Where a grant stands, as the lines of a broker's log about it say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from privity.attest.grant import SignedGrant
from privity.attest.grant_revocation import SignedGrantRevocation
from privity.attest.release import Standing
from privity.identity.timestamps import parse_time
from privity.node.broker_log import Line

__all__ = ["GrantState"]


@dataclass(frozen=True)
class GrantState:
    """A grant and what became of it.

    Attributes:
        signed: the grant.
        uses: how often its key was released.
        revoked: the owner's reason, or None.
        expired: whether its end was noted.
        leases: until when each process that holds the key may go on, by its receipts key.
    """

    signed: SignedGrant
    uses: int = 0
    revoked: str | None = None
    expired: bool = False
    leases: dict[str, datetime] = field(default_factory=dict)

    def standing(self, receipts: str, now: datetime) -> Standing:
        """Return where the grant stands for one process."""
        until = self.leases.get(receipts)
        renewing = until is not None and now < until
        return Standing(self.revoked, self.uses, renewing=renewing, ended=self._ended(now))

    def lease_s(self, now: datetime) -> int:
        """Return for how many seconds the key may be used: never past the end of the grant."""
        grant = self.signed.grant
        return min(grant.lease_s, (grant.expires - now) // timedelta(seconds=1))

    @property
    def age(self) -> tuple[datetime, str]:
        """What newer grants have more of."""
        return self.signed.grant.issued, self.signed.digest

    def over(self, now: datetime) -> bool:
        """Tell whether it allows no new use to anybody any more."""
        grant = self.signed.grant
        used_up = grant.uses is not None and self.uses >= grant.uses
        return self.revoked is not None or self._ended(now) or used_up

    def _ended(self, now: datetime) -> bool:
        # Its end was noted, whatever time it is now; or no lease fits before it.
        return self.expired or self.lease_s(now) < 1

    def after(self, line: Line) -> GrantState:
        """Return what the state is after a line about the grant.

        Raises:
            KeyError, TypeError, MalformedError: the line does not say what its event has to.
        """
        if line.event in ("granted", "renewed"):
            until = parse_time(line.about["lease"])
            leases = {**self.leases, line.about["enclave"]["receipts"]: until}
            running = {who: end for who, end in leases.items() if end > line.time}
            return replace(self, uses=self.uses + (line.event == "granted"), leases=running)
        if line.event == "revoked":
            revocation = SignedGrantRevocation.from_json(line.about["revocation"]).revocation
            return replace(self, revoked=revocation.reason)
        return replace(self, expired=True) if line.event == "expired" else self
