"""New files: written under another name, made durable, and only then called what they are."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from privity.errors import InputError

__all__ = ["name_file", "new_file", "sync_folder"]


@contextlib.contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Yield a file, mode 0600, that becomes ``path`` if the block ends well; otherwise none stays.

    Nobody sees a part of it under its name, and after a crash it is whole or absent. The file is
    unbuffered: what is written comes in large pieces.

    Args:
        path: in a folder that exists.
        replace: whether what ``path`` names now may go.

    Raises:
        InputError: ``path`` is there and may not be replaced, or cannot be written.
    """
    _check_absent(path, replace=replace)
    try:
        fd, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror}") from error
    temporary = Path(name)
    try:
        with open(fd, "w+b", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
        name_file(temporary, path, replace=replace)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _check_absent(path: Path, *, replace: bool) -> None:
    if os.path.lexists(path) and not replace:
        raise InputError(f"{path} is there already", hint="name another file, or remove it first")


def name_file(temporary: Path, path: Path, *, replace: bool = False) -> None:
    """Give a finished file its name; without ``replace`` by a link, which never takes another's.

    Raises:
        InputError: ``path`` is there and may not be replaced.
        OSError: it cannot be done.
    """
    if replace:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        _check_absent(path, replace=False)
        raise
    except OSError:  # a file system without links
        _check_absent(path, replace=False)
        os.rename(temporary, path)
        return
    temporary.unlink()


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
