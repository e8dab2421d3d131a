"""Marks for tests that need the native wheel, which is built only where cargo is."""

from __future__ import annotations

import pytest

from privity.hazmat.native import have_native

_REASON = "the native wheel privity-core is not installed here: make setup builds it with cargo"

needs_native = pytest.mark.skipif(not have_native(), reason=_REASON)


def needs_kernel(*names: str) -> pytest.MarkDecorator:
    """Return a mark that skips where the wheel lacks one of ``names``."""
    return pytest.mark.skipif(
        not have_native(*names), reason=f"{_REASON}, with {', '.join(names)} in it"
    )
