"""Which training program this is, as one digest that an owner's grant can list.

The digest covers the source that decides what a run reads, does and lets out, and the settings it
takes. It names the program; that this program runs is what evidence shows: the digest stands in the
enclave's keyset, as the software ``program``, and evidence binds the keyset. What lies below it
(Python, torch, the rest of privity, the system) is in the evidence's own measurement.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from privity.errors import InputError
from privity.identity.digests import digest
from privity.identity.jcs import canonical
from privity.statement import Software
from privity.train.settings import schema

__all__ = ["PROGRAM", "SOURCES", "measure_program", "program_software"]

PROGRAM = "program"
"""The name under which a keyset lists the program's digest."""

SOURCES = (
    "node/confinement.py",
    "node/dataset_reading.py",
    "node/train_process.py",
    "node/trainer.py",
    "node/training_child.py",
    "train",
)
"""What is measured, below the package's folder: the program, and what keeps it to itself."""


@cache
def measure_program(root: Path | None = None) -> str:
    """Return ``sha256:`` of the training program, as it was at the first call.

    Args:
        root: the folder of the privity package; by default the one that is running.

    Raises:
        InputError: a part of it cannot be read.

    Guarantees:
        One changed byte in any of it gives another digest
        (tests/adversary/test_train_program.py).
    """
    root = Path(__file__).parents[1] if root is None else root
    files = {path.relative_to(root).as_posix(): path for path in _files(root)}
    try:
        source = {name: digest(files[name].read_bytes()) for name in sorted(files)}
    except OSError as error:
        raise InputError(f"cannot measure the training program: {error.strerror}") from error
    body = canonical({"settings": schema(), "source": source})
    return "sha256:" + hashlib.sha256(b"privity/train-program/v1\0" + body).hexdigest()


def program_software() -> Software:
    """Return the entry of the keyset that names this program."""
    return Software(PROGRAM, measure_program())


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for name in SOURCES:
        path = root / name
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found
