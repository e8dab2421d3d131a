"""Files that others may remove at any moment: what a search for secrets walks through."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

_CHUNK = 1 << 24


def readable_files(
    folder: Path, *, since: float = 0, outside: Collection[Path] = ()
) -> Iterator[Path]:
    """Yield the regular files in a folder and below it that this process can read.

    A temporary folder may hold a million files of other programs: each costs one call here.

    Args:
        since: in seconds since 1970; files that were last changed before it are left out.
        outside: folders not to look into.
    """
    left_out = {str(path) for path in outside}
    folders = [str(folder)]
    while folders:
        try:
            entries = os.scandir(folders.pop())
        except OSError:
            continue  # gone meanwhile, or not ours to read
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.path not in left_out:
                        folders.append(entry.path)
                elif _changed(entry, since) and os.access(entry.path, os.R_OK):
                    yield Path(entry.path)


def _changed(entry: os.DirEntry[str], since: float) -> bool:
    """Tell whether it is a regular file that was changed at that moment or later."""
    try:
        status = entry.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime >= since


def held(path: Path, runs: Collection[bytes], *, most: int | None = None) -> set[bytes]:
    """Return those of the runs of bytes that a file holds; none where it is gone.

    Args:
        most: how much of it is read, in bytes, rounded up to chunks of 16 MiB; all where None.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return set()
    longest = max(map(len, runs))
    found: set[bytes] = set()
    with os.fdopen(fd, "rb") as file:
        tail = b""
        while (most is None or file.tell() < most) and (data := file.read(_CHUNK)):
            data = tail + data
            found.update(run for run in runs if run in data)
            tail = data[-longest:]
    return found


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
