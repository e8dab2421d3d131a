"""Renders a deployment for one of the platforms, and writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from privity.errors import InputError
from privity.node.deploy import akash, host, phala, rofl, secretvm
from privity.node.deploy.request import DeployRequest
from privity.node.deploy.result import Expectation, Rendered, reference_body

__all__ = ["TARGETS", "render", "write"]

_Files = Callable[[DeployRequest], dict[str, str]]
_Expect = Callable[[DeployRequest, dict[str, str]], Expectation]

_PLATFORMS: dict[str, tuple[_Files, _Expect]] = {
    "phala": (phala.files, phala.expect),
    "rofl": (rofl.files, rofl.expect),
    "secretvm": (secretvm.files, secretvm.expect),
    "akash": (akash.files, akash.expect),
    "host": (host.files, host.expect),
}

TARGETS = tuple(_PLATFORMS)
"""The platforms there are manifests for."""

_REFERENCE = "reference.json"
_WITHOUT_GPU = frozenset({"rofl", "host"})


def render(target: str, request: DeployRequest) -> Rendered:
    """Return the manifests of one enclave on one platform, and the measurement to expect.

    Raises:
        InputError: there is no such target, it has no GPUs, or a file cannot be read.

    Guarantees:
        No image without its digest is in any file, and every enclave names its attester
        (tests/adversary/test_deploy.py). The same request gives the same bytes
        (tests/unit/test_deploy.py).
    """
    if target not in _PLATFORMS:
        raise InputError(f"{target!r} is no target", hint=f"one of {', '.join(TARGETS)}")
    if request.gpu and target in _WITHOUT_GPU:
        raise InputError(
            f"the manifest of {target} cannot ask for a confidential GPU",
            hint="phala, secretvm and akash can",
        )
    make, measure = _PLATFORMS[target]
    files = make(request)
    expect = measure(request, files)
    reference, missing = reference_body(request, expect)
    return Rendered(target, files, expect, reference, missing)


def write(rendered: Rendered, folder: Path) -> list[Path]:
    """Write the files, and the reference manifest's body, to a folder; never over others.

    Raises:
        InputError: a file is there with other contents, or the folder cannot be written.
    """
    texts = dict(rendered.files)
    texts[_REFERENCE] = json.dumps(rendered.reference, indent=2, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [
            folder / name
            for name, text in texts.items()
            if (folder / name).exists() and (folder / name).read_bytes() != text.encode()
        ]
        if taken:
            raise InputError(f"{taken[0]} is there already", hint="take another folder")
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
            if name.endswith(".sh"):
                (folder / name).chmod(0o755)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    return [folder / name for name in texts]
