"""Akash: a lease with a provider whose machines run Kata containers in TDX or SEV-SNP.

Source: akash-network/chain-sdk, go/sdl/sdl-input.schema.yaml and go/sdl/tee.go.
"""

from __future__ import annotations

from typing import Any

from privity.node.deploy.request import DeployRequest
from privity.node.deploy.result import Expectation
from privity.node.deploy.service import PORT, enclave_command
from privity.node.deploy.yaml_text import yaml_text

__all__ = ["expect", "files"]

_HEAD = "An enclave for Akash. params.tee asks for a provider that runs it in a confidential guest."
_STORAGE_MB = 20_000
_PRICE = "10000"
_PROVIDER = (
    "of the provider's guest kernel, firmware and initial file system, which the provider chooses: "
    "ask it for them and measure them, or read the register of a lease you trust"
)


def files(request: DeployRequest) -> dict[str, str]:
    """Return the SDL."""
    resources: dict[str, Any] = {
        "cpu": {"units": request.cpus},
        "memory": {"size": f"{request.memory_mb}Mi"},
        "storage": {"size": f"{_STORAGE_MB}Mi"},
    }
    if request.gpu:
        resources["gpu"] = {"units": 1, "attributes": {"vendor": {"nvidia": [{"model": "h100"}]}}}
    name = request.name
    sdl = {
        "version": "2.1",
        "services": {
            name: {
                "image": str(request.image),
                "args": enclave_command(request, "tsm"),
                "env": ["PRIVITY_HOME=/tmp/privity"],
                "expose": [{"port": PORT, "as": 80, "to": [{"global": True}]}],
                "params": {"tee": "cpu-gpu" if request.gpu else "cpu"},
            }
        },
        "profiles": {
            "compute": {name: {"resources": resources}},
            "placement": {"anywhere": {"pricing": {name: {"denom": "uact", "amount": _PRICE}}}},
        },
        "deployment": {name: {"anywhere": {"profile": name, "count": 1}}},
    }
    return {"deploy.yaml": yaml_text(sdl, head=_HEAD)}


def expect(request: DeployRequest, rendered: dict[str, str]) -> Expectation:
    """Return what SNP shows of such a guest; on a TDX provider it is mrtd and rtmr0 to rtmr2."""
    return Expectation(
        kind="snp",
        elsewhere={"measurement": _PROVIDER},
        unmeasured=(
            "the launch measurement is of the guest that runs containers, not of this image: "
            "unless the guest enforces a policy that names the image (host_data), the provider "
            "could run another",
            "whether a container may ask for a report is the provider's choice: where it may not, "
            "the enclave ends at start, saying so (docs/deploy/akash.md)",
        ),
    )
