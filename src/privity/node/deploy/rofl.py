"""Oasis ROFL: a container app in a TDX machine, registered on chain.

Source: oasisprotocol/cli, build/rofl/manifest.go (the manifest and its validation) and
cmd/rofl/build/validate.go (what a compose file may hold); oasisprotocol/oasis-sdk, docs/rofl.
"""

from __future__ import annotations

from typing import Any

from privity.node.deploy.request import DeployRequest
from privity.node.deploy.result import Expectation
from privity.node.deploy.service import ROOT, compose_text, enclave_service
from privity.node.deploy.yaml_text import yaml_text

__all__ = ["expect", "files"]

_HEAD = "An enclave for Oasis ROFL; rofl.yaml beside it names this file."
_MANIFEST_HEAD = """An enclave for Oasis ROFL. `oasis rofl create` adds the deployment,
`oasis rofl build` the identity of the enclave."""
_STORAGE_MB = 20_000
_BUILD = (
    "oasis rofl build computes it from the firmware, kernel and stage 2 that the CLI pins, this "
    "compose file and these resources; the machine's quote shows it"
)


def files(request: DeployRequest) -> dict[str, str]:
    """Return the manifest and the compose file."""
    # ROFL's own check refuses a mount of configfs, so there is none here; see docs/deploy/rofl.md.
    service = enclave_service(request, "tsm", user=ROOT, volumes=[])
    del service["volumes"]
    manifest: dict[str, Any] = {
        "name": request.name,
        "version": "0.1.0",
        "tee": "tdx",
        "kind": "container",
        "resources": {
            "memory": request.memory_mb,
            "cpus": request.cpus,
            # Ephemeral: its key is made at each boot and dies with it.
            "storage": {"kind": "disk-ephemeral", "size": _STORAGE_MB},
        },
        "artifacts": {"container": {"compose": "compose.yaml"}},
    }
    return {
        "rofl.yaml": yaml_text(manifest, head=_MANIFEST_HEAD),
        "compose.yaml": compose_text(request, service, _HEAD),
    }


def expect(request: DeployRequest, rendered: dict[str, str]) -> Expectation:
    """Return what was given: nothing of a ROFL machine can be computed without its artefacts."""
    known = dict(request.platform.registers)
    names = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
    return Expectation(
        kind="tdx",
        known=known,
        elsewhere={name: _BUILD for name in names if name not in known},
        unmeasured=(
            "ROFL gives containers no interface to a quote of their own: the enclave ends at "
            "start, saying so, until the platform offers one (docs/deploy/rofl.md)",
        ),
    )
