"""How a grant reads: its name, whom it allows, and how it stands."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from privity.cli import grant_options

if TYPE_CHECKING:
    from privity.attest.grant import Grant
    from privity.node.broker import GrantState
    from privity.node.owner_client import Given

__all__ = ["NO_LEDGER", "allowed", "allowed_rows", "short", "standing"]

NO_LEDGER = "priced: no ledger yet, the broker refuses it"
"""What becomes of a grant with a price."""

_MAX_VALUE = 24


def short(name: str) -> str:
    """Return the beginning of a digest, which `privity model revoke` takes."""
    return name.removeprefix("sha256:")[:12]


def allowed(grant: Grant) -> dict[str, Any]:
    """Return who may have the key and for how much, as JSON-ready data."""
    return {
        "measurements": [one.to_json() for one in grant.measurements],
        "signers": list(grant.signers),
        "unsafe_dev": grant.unsafe_dev,
        "programs": list(grant.programs),
        "price": None if grant.price is None else grant.price.to_json(),
    }


def allowed_rows(grant: Grant, *, whole: bool) -> dict[str, str]:
    """Return the same for people; without ``whole`` long values are their beginnings."""
    codes = [_code(one.kind, dict(one.registers), whole=whole) for one in grant.measurements]
    rows = {"code": " or ".join(codes), "signers": " or ".join(grant.signers)}
    if grant.unsafe_dev:
        rows["dev"] = "accepted, which keeps the key from nobody"
    if whole:
        rows["programs"] = ", ".join(map(grant_options.program_text, grant.programs))
    else:
        rows["programs"] = ", ".join(map(short, grant.programs))
    if grant.price is not None:
        rows["price"] = f"{grant.price.amount} {grant.price.unit} a use"
    return {name: text for name, text in rows.items() if text}


def _code(kind: str, registers: dict[str, str], *, whole: bool) -> str:
    """Return a measurement as ``--measurement`` takes it."""
    return f"{kind}:" + ",".join(
        f"{name}={value if whole or len(value) <= _MAX_VALUE else value[:_MAX_VALUE] + '…'}"
        for name, value in sorted(registers.items())
    )


def standing(one: Given, state: GrantState | None, now: datetime) -> str:
    """Return ``runs``, ``revoked``, ``expired``, ``used up``, or ``unknown`` of one elsewhere."""
    grant = one.signed.grant
    if one.revocation is not None or (state is not None and state.revoked is not None):
        return "revoked"
    # Also where the broker noted its end by a clock that was ahead of this one.
    if now >= grant.expires or (state is not None and state.expired):
        return "expired"
    if state is None:
        return "unknown"
    leased = any(until > now for until in state.leases.values())
    return "used up" if state.over(now) and not leased else "runs"
