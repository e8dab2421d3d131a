"""Placeholder until the vendor's keys are written down."""

from __future__ import annotations

from privity.attest.anchor import Anchor

__all__ = ["AMD"]

AMD: tuple[Anchor, ...] = ()
