"""A mark for tests that need py-libp2p, which is an extra."""

from __future__ import annotations

from functools import cache

import pytest

from privity.errors import MissingDependency


@cache
def _missing() -> str:
    try:
        from privity.anon.messages import stack  # noqa: F401
    except MissingDependency as error:
        return f"{error.message}: {error.hint}"
    return ""


needs_libp2p = pytest.mark.skipif(bool(_missing()), reason=_missing() or "py-libp2p is there")
