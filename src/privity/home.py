"""Floor 0: where privity keeps a person's files, how it writes them, and how it reads any.

One folder, ``$PRIVITY_HOME`` or the platform's data folder, mode 0700; every file in it 0600 and
written whole or not at all. What a person names is read whole or not at all, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from privity.errors import InputError

__all__ = [
    "create_private_once",
    "home",
    "locked",
    "read_file",
    "read_private",
    "write_private",
    "writing",
]


def home() -> Path:
    """Return the folder of this person's privity files, created 0700 if absent.

    Raises:
        InputError: it cannot be made there.
    """
    given = os.environ.get("PRIVITY_HOME")
    path = Path(given) if given else Path(platformdirs.user_data_dir("privity", appauthor=False))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be privity's folder: {error.strerror}",
            hint="PRIVITY_HOME says where it is" if given else "PRIVITY_HOME can say another",
        ) from error
    return path


def write_private(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` with mode 0600, atomically and durably.

    A reader sees the old file or the new one, never a part; a crash loses at most the new one.
    """
    temporary = _write_beside(path, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say that ``path`` cannot be written as an `InputError`, with what helps."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}",
            hint=f"make room, or make {path.parent} a folder that you can write to",
        ) from error


def create_private_once(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` as `write_private` does, unless something is there already.

    Raises:
        InputError: it cannot be written.

    Guarantees:
        Of several who call it at once, one writes and the others find what it wrote
        (tests/unit/test_home.py::test_of_several_who_make_a_file_at_once_the_first_wins).
    """
    with writing(path):
        temporary = _write_beside(path, data)
        try:
            # A link, not a rename: whoever comes second keeps what the first one wrote.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold the lock that the file ``path`` is; it and its folder are made if absent. Blocks.

    Args:
        path: whose lock; what is in it does not count.
        shared: let others that ask so hold it too.
        wait: until nobody else holds it in another way.

    Raises:
        BlockingIOError: somebody does, and it is not waited for.
        InputError: the file cannot be made or written.
    """
    with writing(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(held, how if wait else how | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)


def _write_beside(path: Path, data: bytes) -> Path:
    """Write a file, 0600, to be moved to ``path``, and return where it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 by mkstemp
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def read_file(path: Path, *, most: int, what: str, absent: bytes | None = None) -> bytes:
    """Return all of a file that the person named.

    Args:
        path: the file.
        most: the largest size it may have, in bytes.
        what: what messages call it, such as ``the manifest``.
        absent: what to return where there is no such file, if that is no error.

    Raises:
        InputError: it cannot be read, or is larger.

    Guarantees:
        A file is never cut: one byte more than ``most`` is an error (tests/unit/test_home.py).
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError as error:
        if absent is not None:
            return absent
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or "not a path"
        raise InputError(f"cannot read {what} {path}: {reason}") from error
    if len(data) > most:
        raise InputError(
            f"{what} {path} is larger than {most} bytes", hint="is it the file you meant?"
        )
    return data


def read_private(path: Path) -> bytes:
    """Read a secret file, refusing one that others on this machine can read.

    Raises:
        InputError: the file is absent, or its mode lets group or others in.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise InputError(
            f"{path} can be read by others on this machine (mode {mode & 0o777:o})",
            hint=f"chmod 600 {path}",
        )
    return data
