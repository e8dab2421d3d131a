"""Files that others may remove at any moment: what a search for secrets walks through."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def readable_files(folder: Path) -> Iterator[Path]:
    """Yield the regular files in a folder and below it that this process can read."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if is_regular(path) and os.access(path, os.R_OK):
                yield path


def is_regular(path: Path) -> bool:
    """Tell whether it is there, and a regular file."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def changed_at(path: Path) -> float:
    """Return when it was changed, in seconds since 1970; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
