"""SHA-256 digests as documents carry them: ``sha256:`` and 64 lower-case hex digits."""

from __future__ import annotations

import hashlib
import re

from privity.errors import MalformedError

__all__ = ["check_digest", "digest"]

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def digest(data: bytes) -> str:
    """Return ``sha256:<hex>`` of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_digest(text: str) -> str:
    """Return ``text`` if it is a digest in the spelling of `digest`.

    Raises:
        MalformedError: it is not.
    """
    if not _FORM.fullmatch(text):
        raise MalformedError("not a digest: sha256: and 64 lower-case hex digits were expected")
    return text
