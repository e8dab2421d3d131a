"""What code is running, as one digest: the files of the installed privity package.

Real hardware measures a machine image; this measures the part of it that is privity, for the
``dev`` kind. Software that measures itself can lie, so the result names a version and proves none.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from privity.errors import InputError

__all__ = ["measure_package", "measure_tree"]


@cache
def measure_package() -> str:
    """Return the digest of the installed privity package, as it was at the first call."""
    # From this file's own place: importing the package itself would import every floor above.
    return measure_tree(Path(__file__).parents[1])


def measure_tree(root: Path) -> str:
    """Return ``sha256:`` over the names and contents of all files below ``root``.

    Byte-compiled files are left out: they differ between machines that run the same source. Each
    file adds ``length(path) ‖ path ‖ SHA-256(content)``, in the order of the paths' bytes.

    Raises:
        InputError: there is no file below ``root``, or one cannot be read.
    """
    names = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
    paths = {
        name.as_posix().encode(): path
        for name, path in names.items()
        if "__pycache__" not in name.parts and name.suffix != ".pyc"
    }
    if not paths:
        raise InputError(f"nothing to measure below {root}")
    total = hashlib.sha256(b"privity/tree/v1\0")
    for name in sorted(paths):
        try:
            content = paths[name].read_bytes()
        except OSError as error:
            raise InputError(f"cannot measure {paths[name]}: {error.strerror}") from error
        total.update(len(name).to_bytes(4, "big") + name + hashlib.sha256(content).digest())
    return "sha256:" + total.hexdigest()
