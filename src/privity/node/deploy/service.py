"""The enclave as a container: one command and one compose service, whatever the platform."""

from __future__ import annotations

from typing import Any

from privity.node.deploy.request import DeployRequest
from privity.node.deploy.yaml_text import yaml_text

__all__ = [
    "CONTAINER_USER",
    "MANIFEST",
    "PORT",
    "ROOT",
    "compose_text",
    "enclave_command",
    "enclave_service",
]

PORT = 8080
CONTAINER_USER = "10001:10001"
ROOT = "0:0"
_HOME = "/run/privity"
MANIFEST = "/etc/privity/manifest.json"
"""Where the container finds the signed manifest, on platforms that can hand it one."""


def enclave_command(request: DeployRequest, attester: str) -> list[str]:
    """Return the arguments of ``privity`` in the container.

    The attester is named, so that an enclave without its hardware ends instead of serving as
    ``dev``. No key or secret is among them: manifests are public.
    """
    command = ["serve", "enclave", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
    command += ["--attester", attester]
    if request.gpu:
        command += ["--attester", "nvidia"]
    if request.model is not None:
        command += ["--artefact", request.model.url, "--broker", request.model.broker]
    publishing = request.publishing
    if publishing.pccs is not None:
        command += ["--pccs", publishing.pccs]
    if publishing.log is not None and publishing.log_name is not None:
        command += ["--log", publishing.log, "--name", publishing.log_name]
    if publishing.manifest is not None:
        command += ["--manifest", MANIFEST]
    return command


def enclave_service(
    request: DeployRequest, attester: str, *, user: str, volumes: list[str]
) -> dict[str, Any]:
    """Return the compose service: nothing written to disk, no privileges, no core dumps."""
    service: dict[str, Any] = {
        "image": str(request.image),
        "platform": "linux/amd64",
        "command": enclave_command(request, attester),
        "user": user,
        "environment": {"PRIVITY_HOME": _HOME},
        "read_only": True,
        "tmpfs": [f"{_HOME}:mode=0700,uid={user.split(':')[0]}", "/tmp:mode=1777"],  # noqa: S108
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ulimits": {"core": 0, "memlock": -1},
        "ports": [f"{PORT}:{PORT}"],
        "volumes": volumes,
        "restart": "on-failure",
    }
    if request.gpu:
        gpus = {"driver": "nvidia", "count": "all", "capabilities": ["gpu", "compute", "utility"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [gpus]}}}
    return service


def compose_text(request: DeployRequest, service: dict[str, Any], head: str) -> str:
    """Return a compose file of that one service."""
    return yaml_text({"services": {request.name: service}}, head=head)
