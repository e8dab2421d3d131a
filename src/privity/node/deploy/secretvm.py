"""Secret VM: one compose file in a TDX machine of Secret Network's.

Its initial file system extends RTMR3 with the SHA-256 of the compose file, then with the root file
system's. Source: scrtlabs/secretvm-verify, node/src/rtmr.ts.
"""

from __future__ import annotations

import hashlib

from privity.node.deploy.request import DeployRequest
from privity.node.deploy.result import Expectation
from privity.node.deploy.service import ROOT, compose_text, enclave_service

__all__ = ["expect", "files", "replay"]

_FOLDER = "/sys/kernel/config"
_HEAD = "An enclave for Secret VM. The bytes of this file are measured: do not edit it."
_FILE = "docker-compose.yaml"
_REGISTRY = (
    "of the machine type and artefact release: scrtlabs/secretvm-verify, artifacts_registry/tdx.csv"
)
_REGISTER_BYTES = 48


def files(request: DeployRequest) -> dict[str, str]:
    """Return the compose file."""
    # configfs belongs to root, so this container runs as root, without any capability.
    service = enclave_service(request, "tsm", user=ROOT, volumes=[f"{_FOLDER}:{_FOLDER}"])
    return {_FILE: compose_text(request, service, _HEAD)}


def expect(request: DeployRequest, rendered: dict[str, str]) -> Expectation:
    """Return RTMR3 where the root file system is known, and what the machine decides."""
    known = dict(request.platform.registers)
    names = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
    elsewhere = {name: _REGISTRY for name in names if name not in known}
    if request.platform.rootfs is None:
        elsewhere["rtmr3"] = f"from this file and rootfs_data {_REGISTRY}"
    else:
        compose = hashlib.sha256(rendered[_FILE].encode()).digest()
        known["rtmr3"] = replay([compose, bytes.fromhex(request.platform.rootfs)]).hex()
    return Expectation(
        kind="tdx",
        known=known,
        elsewhere=elsewhere,
        unmeasured=(
            "an environment file given beside the compose file is not measured: give none",
            "a machine created as upgradeable or persistent may change after it was measured",
        ),
    )


def replay(digests: list[bytes]) -> bytes:
    """Return a register of 48 bytes after these digests extended it, each padded with zeros."""
    register = bytes(_REGISTER_BYTES)
    for one in digests:
        padded = one.ljust(_REGISTER_BYTES, b"\0")
        register = hashlib.sha384(register + padded).digest()
    return register
