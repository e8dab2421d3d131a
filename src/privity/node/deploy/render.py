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
_WITH_MANIFEST = frozenset({"host"})
_NO_LOG = (
    "no log: policies that ask for one, as `confidential` does, refuse the enclave. Render with "
    "--log and --log-name; a keyset added to a log by hand does not help, as devices look for the "
    "proof in what the enclave publishes"
)
_NO_COLLATERAL = (
    "no --pccs: TDX evidence comes without Intel's collateral, and devices that have none refuse it"
)


def render(target: str, request: DeployRequest) -> Rendered:
    """Return the manifests of one enclave on one platform, and the measurement to expect.

    Raises:
        InputError: there is no such target, it cannot do what is asked, or a file cannot be read.

    Guarantees:
        No image without its digest is in any file, and every enclave names its attester
        (tests/adversary/test_deploy.py). The same request gives the same bytes
        (tests/unit/test_deploy.py).
    """
    if target not in _PLATFORMS:
        raise InputError(f"{target!r} is no target", hint=f"one of {', '.join(TARGETS)}")
    _check_possible(target, request)
    make, measure = _PLATFORMS[target]
    files = make(request)
    expect = measure(request, files)
    reference, missing = reference_body(request, expect)
    return Rendered(target, files, expect, reference, missing, _lacks(request, expect))


def _check_possible(target: str, request: DeployRequest) -> None:
    if request.gpu and target in _WITHOUT_GPU:
        raise InputError(
            f"the manifest of {target} cannot ask for a confidential GPU",
            hint="phala, secretvm and akash can",
        )
    if request.publishing.manifest is not None and target not in _WITH_MANIFEST:
        raise InputError(
            f"{target} cannot hand the enclave a manifest: all that reaches it there is in files "
            "that are rendered now, and the manifest is signed over what these measure as",
            hint="give it to those who trust you, for trust.manifests of their config.toml",
        )
    if request.publishing.pccs is not None and target == "host" and request.boot.tee == "snp":
        raise InputError("--pccs is for TDX, and the guest is of SNP", hint="--tee tdx, or neither")


def _lacks(request: DeployRequest, expect: Expectation) -> tuple[str, ...]:
    """Return what devices with a strict policy will miss."""
    lacks = [] if request.publishing.log is not None else [_NO_LOG]
    if expect.kind == "tdx" and request.publishing.pccs is None:
        lacks.append(_NO_COLLATERAL)
    return tuple(lacks)


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
