"""Digests as documents carry them: a name of an algorithm, a colon and 64 lower-case hex digits.

``sha256:`` is SHA-256 of the bytes. ``tree-sha256:`` is the root of the hash tree of RFC 9162
§2.1.1 over leaves of 1 MiB, which names contents of many gigabytes: it can be computed on several
cores, and a part can be checked alone. `privity.vault.root` computes it.
"""

from __future__ import annotations

import hashlib
import re

from privity.errors import MalformedError

__all__ = ["check_content", "check_digest", "digest", "tree_digest"]

_FORM = re.compile(r"sha256:[0-9a-f]{64}")
_CONTENT_FORM = re.compile(r"(?:tree-)?sha256:[0-9a-f]{64}")


def digest(data: bytes) -> str:
    """Return ``sha256:<hex>`` of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tree_digest(root: bytes) -> str:
    """Return ``tree-sha256:<hex>`` of the 32-byte root of a tree over leaves of 1 MiB."""
    return "tree-sha256:" + root.hex()


def check_digest(text: str) -> str:
    """Return ``text`` if it is a digest in the spelling of `digest`.

    Raises:
        MalformedError: it is not.
    """
    if not _FORM.fullmatch(text):
        raise MalformedError("not a digest: sha256: and 64 lower-case hex digits were expected")
    return text


def check_content(text: str) -> str:
    """Return ``text`` if it names contents, such as weights, by `digest` or by `tree_digest`.

    Raises:
        MalformedError: it does not.
    """
    if not _CONTENT_FORM.fullmatch(text):
        raise MalformedError(
            "not a digest: sha256: or tree-sha256: and 64 lower-case hex digits were expected"
        )
    return text
