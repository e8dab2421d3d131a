"""The fields that a sealed request carries outside its seal, for whoever admits it.

What is in them is made and checked elsewhere (`privity.anon.rln`, `privity.anon.query`); on the way
only their names and forms count, so that they carry nothing else.
"""

from __future__ import annotations

import re

__all__ = ["ADMISSION", "ADMISSION_FIELDS", "QUERY_PROOF"]

ADMISSION = b"privity-admission"
"""Carries a proof of membership."""

QUERY_PROOF = b"privity-query-proof"
"""Carries a proof of what is asked."""

ADMISSION_FIELDS = {
    ADMISSION: re.compile(rb"[A-Za-z0-9_-]{311}"),  # 233 bytes, always
    QUERY_PROOF: re.compile(rb"[A-Za-z0-9_-]{1,24576}"),
}
"""The fields of a client that pass, and what they may hold: base64url without padding."""
