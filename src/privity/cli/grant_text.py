"""How a grant reads."""

from __future__ import annotations

__all__ = ["short"]


def short(name: str) -> str:
    """Return the beginning of a digest, which `privity model revoke` takes."""
    return name.removeprefix("sha256:")[:12]
