"""New files: written without a name or under another, made durable, and only then given theirs."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from privity.errors import InputError

__all__ = ["name_file", "new_file", "sync_folder"]


@contextlib.contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Yield a file, mode 0600, that becomes ``path`` if the block ends well; otherwise none stays.

    Nobody sees a part of it under its name, and after a crash it is whole or absent. On Linux it
    has no name at all until then, so that not even a killed process leaves plaintext behind. The
    file is unbuffered: what is written comes in large pieces.

    Args:
        path: in a folder that exists.
        replace: whether what ``path`` names now may go.

    Raises:
        InputError: ``path`` is there and may not be replaced, or cannot be written.

    Guarantees:
        Nothing stays of a file whose writer was killed: `test_a_killed_writer_leaves_nothing`.
    """
    _check_absent(path, replace=replace)
    temporary = None
    try:
        fd = _nameless(path.parent)
        if fd is None:
            fd, name = tempfile.mkstemp(
                prefix=f".{path.name[:64]}.", suffix=".part", dir=path.parent
            )
            temporary = Path(name)
    except OSError as error:
        raise InputError(
            f"cannot write to {path.parent}: {error.strerror}",
            hint="name a file in a folder that exists and is yours to write to",
        ) from error
    try:
        with open(fd, "w+b", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
            if temporary is None and replace:  # only a rename replaces, and that needs a name
                temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.part")
                _link_nameless(file.fileno(), temporary)
            elif temporary is None:
                _link_nameless(file.fileno(), path)
        if temporary is not None:
            name_file(temporary, path, replace=replace)
        sync_folder(path.parent)
    except FileExistsError:
        _check_absent(path, replace=False)
        raise InputError(
            f"cannot write {path}: another file came and went", hint="try again"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


def _check_absent(path: Path, *, replace: bool) -> None:
    if os.path.lexists(path) and not replace:
        raise InputError(f"{path} is there already", hint="name another file, or remove it first")


def _nameless(folder: Path) -> int | None:
    """Open a file without a name; None where the system or the file system has no such thing."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    with contextlib.suppress(OSError):  # a folder that is not there fails again, with a name
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    return None


def _link_nameless(fd: int, path: Path) -> None:
    # A folder's descriptor makes Python call linkat, which alone follows the link in /proc.
    folder = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        os.link(str(fd), path, src_dir_fd=folder)
    finally:
        os.close(folder)
