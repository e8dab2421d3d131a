"""The native wheel `privity-core`: proofs, credits and query proofs, written in Rust.

The main job does without it; `anonymous` routes do not. It raises ValueError for bad input, and
whoever calls it translates that at their own boundary. Its types are in
``rust/python/privity_core/__init__.pyi``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from privity.errors import MissingDependency

__all__ = ["have_native", "native"]

_HINT = (
    "`make setup` in a checkout of privity builds it, where cargo (Rust 1.88 or newer) is: "
    "https://rustup.rs"
)


def native(*names: str) -> ModuleType:
    """Return the module `privity_core`.

    Args:
        names: what the caller uses of it; a wheel built with fewer kernels may lack them.

    Raises:
        MissingDependency: the wheel is not installed, or lacks one of ``names``.
    """
    try:
        module = importlib.import_module("privity_core")
    except ImportError:
        raise MissingDependency("the native wheel privity-core is missing", hint=_HINT) from None
    lacking = [name for name in names if not hasattr(module, name)]
    if lacking:
        raise MissingDependency(
            f"the native wheel privity-core was built without {', '.join(lacking)}", hint=_HINT
        )
    return module


def have_native(*names: str) -> bool:
    """Tell whether `native` would return."""
    try:
        native(*names)
    except MissingDependency:
        return False
    return True
